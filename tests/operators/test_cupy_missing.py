"""The door to CuPy where there is none, or no GPU: what is missing, and what to do."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

import hessop


def test_a_model_on_the_host():
    """Where it should be, and how it gets there."""
    text = r'^`A` must be on a CUDA device for CuPy; got cpu. Move the model .*to\("cuda"\).$'
    with pytest.raises(ValueError, match=text):
        hessop.aslinearoperator(np.eye(3)).to_cupy()


@pytest.mark.parametrize("there", [[], ["cupyx", "cupyx.scipy", "cupyx.scipy.sparse"]])
def test_no_cupy(monkeypatch, there):
    """Not installed, or without the libraries of CUDA that its solvers load: what to install."""
    for name in there:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in ["cupy", "cupyx", "cupyx.scipy.sparse.linalg"]:
        if name not in there:
            monkeypatch.setitem(sys.modules, name, None)
    A = hessop.aslinearoperator(np.eye(3))
    monkeypatch.setattr(A.product, "device", torch.device("cuda", 0))
    text = (
        r"^`CuPy` must be installed for operators and arrays on a GPU; got an import of "
        r'cupyx.scipy.sparse.linalg that failed .*Install "hessop\[gpu\]" \(for CUDA 13; '
    )
    with pytest.raises(ImportError, match=text):
        A.to_cupy()


def test_hessop_alone_does_not_import_it():
    """CuPy takes a while to start, and may not be there."""
    code = "import sys, hessop; sys.exit(any(m.startswith('cupy') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
