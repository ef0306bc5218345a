"""docs/pipelines.md shows what runs, and what was tested."""

from __future__ import annotations

import contextlib
import io
import re

import pytest
import torch

from tests.pipelines.page import PAGE, page

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture
def _precision():
    """The page sets the default dtype."""
    default = torch.get_default_dtype()
    yield
    torch.set_default_dtype(default)


def test_the_tables_are_those_that_are_tested():
    """After a change: ``python -m tests.pipelines.page``."""
    assert page() == TEXT


@pytest.mark.usefixtures("_precision")
def test_the_blocks_run_and_print_this():
    """One after the other, each with what it prints below it."""
    found = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", TEXT, re.DOTALL)
    assert len(found) == TEXT.count("```python")
    namespace: dict[str, object] = {}
    for block, printed in found:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block, "pipelines.md", "exec"), namespace)
        assert out.getvalue() == printed
