"""
The blocks of the pages run, and print what the pages say.

The Python blocks of a page belong together and run in order. A ``text`` block below one is what
it prints. Blocks of other kinds (``{code-block} python``, ``sh``) are shown and not run.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "start.md", *sorted(DOCS.glob("concepts/*.md")), *sorted(DOCS.glob("howto/*.md"))]
OPTIONAL = ("transformers", "matplotlib", "sklearn")
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
UNITS = 2  # of the last place that is shown
NOTHING = 1e-5  # below it a number is rounding, of which the page shows one instance


def blocks(text):
    """Each Python block, and the text below it that it prints, if there is any."""
    found = []
    for kind, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if kind == "python":
            found.append([body, None])
        elif kind == "text" and found:
            assert found[-1][1] is None, "one output for each block"
            found[-1][1] = body
    return found


def last_place(shown):
    """The unit of the last digit of a number as it is written."""
    digits, _, exponent = shown.partition("e")
    places = len(digits.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - places)


def agree(shown, printed):
    """Whether two texts have the same words, and numbers that differ in the last digits alone."""
    if " ".join(NUMBER.sub("#", shown).split()) != " ".join(NUMBER.sub("#", printed).split()):
        return False
    for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        x, y = float(a.replace(",", "")), float(b.replace(",", ""))
        slack = max(UNITS * max(last_place(a), last_place(b)), 0.02 * abs(x), NOTHING)
        if not math.isclose(x, y, rel_tol=0.0, abs_tol=slack):
            return False
    return True


def run(page, text):
    """Run the blocks of a page; what each prints, beside what the page says."""
    namespace: dict[str, object] = {"__name__": "page"}
    for number, (code, shown) in enumerate(blocks(text), 1):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, f"{page}, block {number}", "exec"), namespace)
        yield number, shown, out.getvalue()


def test_agreement():
    """The last digits may differ, and rounding; nothing else may."""
    assert agree("w 11.274  5.11\n", "w 11.275 5.12")
    assert agree("4e-08, 1e-11", "6e-17, 3e-9")
    assert agree("1,500 products", "1,501 products")
    assert not agree("w 11.274", "w 11.9")
    assert not agree("True 26", "False 26")
    assert not agree("1 2", "1 2 3")
    assert not agree("3.0e-02", "9.0e-02")


def test_blocks_are_found():
    """Python blocks, each with its output; what is only shown is left out."""
    page = (
        "```python\n1\n```\n```text\nout\n```\n```{code-block} python\n2\n```\n```python\n3\n```\n"
    )
    assert blocks(page) == [["1\n", "out\n"], ["3\n", None]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs(page, tmp_path, monkeypatch):
    """In order, without a warning, printing what it says; files go where the reader stands."""
    text = page.read_text(encoding="utf-8")
    for package in OPTIONAL:
        if re.search(rf"^\s*(import|from) {package}\b", text, re.MULTILINE):
            pytest.importorskip(package)
    if "hessop.plot" in text:
        pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    try:
        for number, shown, printed in run(page.name, text):
            assert (shown is None) == (printed == ""), f"block {number} prints {printed!r}"
            assert shown is None or agree(shown, printed), f"block {number} prints\n{printed}"
    finally:
        if "hessop.plot" in text:
            from matplotlib import pyplot as plt

            plt.close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pictures_are_there(page):
    """Each picture that a page shows is a file, small enough to be kept with the sources."""
    for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        picture = page.parent / name
        assert picture.stat().st_size < 60_000, picture


def test_every_picture_is_drawn_and_shown():
    """By `examples.pictures`, and on some page."""
    pytest.importorskip("matplotlib")
    from examples.pictures import PICTURES

    kept = {path.stem for path in (DOCS / "pictures").iterdir()}
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert kept == set(PICTURES)
    assert all(f"pictures/{name}.png)" in text for name in kept)


def test_a_picture_can_be_drawn(tmp_path):
    """The quickest of them, as far as a file."""
    pytest.importorskip("matplotlib")
    from examples.pictures import draw

    assert draw("stability-precision", tmp_path).stat().st_size > 1000
