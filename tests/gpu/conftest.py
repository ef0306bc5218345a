"""What only a GPU shows; where there is none, or no CuPy, the tests say so and are skipped."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import hessop


def _missing() -> str:
    """What is not there, or nothing."""
    if not torch.cuda.is_available():
        return "needs a CUDA device that torch can use"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cupy
            import cupyx.scipy.sparse.linalg  # noqa: F401
    except ImportError as error:
        return f'needs CuPy, as of pip install "hessop[gpu]" ({error})'
    return "" if cupy.is_available() else "needs a CUDA device that CuPy can use"


MISSING = _missing()


def pytest_collection_modifyitems(items):
    """What the libraries of that machine warn of, which are not those of the CI, is no failure."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("default"), append=False)


def pytest_runtest_setup(item):
    """Before the fixtures, which already use the device."""
    if MISSING:
        pytest.skip(MISSING)


@pytest.fixture(autouse=True)
def _settled():
    """An error of the device belongs to the test that made it."""
    yield
    torch.cuda.synchronize()


@pytest.fixture
def solvers():
    """CuPy's, imported where they can be; their own random starts are the same each time."""
    import cupy
    import cupyx.scipy.sparse.linalg

    cupy.random.seed(0)
    return cupyx.scipy.sparse.linalg


@pytest.fixture
def put():
    """Makes an array of NumPy one on the first device."""
    import cupy

    return cupy.asarray


@pytest.fixture
def operator():
    """Makes a dense matrix an operator of CuPy's, on the first device."""

    def make(matrix, dtype=torch.float64):
        tensor = torch.tensor(np.asarray(matrix), dtype=dtype, device="cuda:0")
        return hessop.aslinearoperator(tensor).to_cupy()

    return make
