"""Each consumer takes each operator and finds what NumPy and SciPy find for the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.pipelines.operators import OPERATORS, SINGLE, case, dense
from tests.pipelines.page import CONSUMERS, GROUPS
from tests.pipelines.refused import REFUSALS, SINGLE_REFUSALS


def rows(chosen):
    """A parameter for each, named by its group, since PyLops has names of SciPy."""
    titles = {id(row): title for title, group in GROUPS.items() for row in group}
    return [pytest.param(row, id=f"{titles.get(id(row), 'no')}: {row.name}") for row in chosen]


def check(row, found, tolerance):
    """What was found is what the dense matrix gives, up to a part of the largest entry."""
    got = np.asarray(row.use(found.A, found.b))
    expected = np.asarray(row.expected(found.D, found.b.astype(np.float64)))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", OPERATORS)
def test_the_operators_are_these_matrices(name):
    """So that a wrong row can be told from a wrong column."""
    D = dense(name)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        A = case(name, dtype).A
        np.testing.assert_allclose(A @ np.eye(len(D)), D, atol=tolerance * np.abs(D).max())


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("row", rows(CONSUMERS))
def test_float64(row, name):
    """Every row by every column."""
    pytest.importorskip(row.needs, row.since)
    check(row, case(name, damped=row.damped), row.double)


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("row", rows(r for r in CONSUMERS if r.single is not None))
def test_float32(row, name):
    """A float32 operator and vector."""
    pytest.importorskip(row.needs, row.since)
    check(row, case(name, torch.float32, row.damped), row.single)


@pytest.mark.parametrize("row", rows(REFUSALS))
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_refused(row):
    """Each operator, with an error: if one day it works, the page is to say so."""
    pytest.importorskip(row.needs)
    for found in map(case, OPERATORS):
        with pytest.raises(row.error, match=row.match):
            row.use(found.A, found.b)


@pytest.mark.parametrize("row", rows(SINGLE_REFUSALS))
def test_refused_in_float32(row):
    """By SciPy, of a dense float32 matrix too."""
    for name in SINGLE:
        found = case(name, torch.float32)
        for A in (found.A, found.D.astype(np.float32)):
            with pytest.raises(row.error, match=row.match):
                row.use(A, found.b)
