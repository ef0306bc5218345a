"""The variance of Hutchinson's estimator, against formulas and against samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import hessop
from hessop import _memory
from hessop.quadrature.probes import DISTRIBUTIONS
from hessop.quadrature.variance import trace_variance
from tests.spectra import global_states, recorded
from tests.strategies import problems


def dense(n=12, seed=0):
    """A symmetric matrix with a diagonal that matters."""
    M = np.random.default_rng(seed).standard_normal((n, n))
    return (M + M.T) / 2 + np.diag(np.linspace(-1, 4, n))


def formula(M, distribution):
    """As documented, in float64."""
    M = np.asarray(M, dtype=np.float64)
    n, squares = len(M), 2 * np.sum(M**2)
    if distribution == "rademacher":
        return squares - 2 * np.sum(np.diag(M) ** 2)
    if distribution == "sphere":
        return (squares - 2 * np.trace(M) ** 2 / n) * n / (n + 2)
    return squares


class TestExact:
    @settings(max_examples=60)
    @given(problems(max_n=20))
    def test_formulas(self, problem):
        """Of any spectrum, in either precision."""
        A = problem.operator()
        M = np.asarray(A @ np.eye(problem.n, dtype=A.dtype), dtype=np.float64)
        # the same product rounds a little differently in another block
        atol = 20 * problem.eps * np.sum(M**2) + 1e-300
        for distribution in DISTRIBUTIONS:
            found = trace_variance(A, distribution=distribution)
            assert isinstance(found, float)
            assert found == pytest.approx(formula(M, distribution), rel=0, abs=atol)
            assert found >= 0

    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    def test_it_is_that_of_samples(self, distribution):
        """Within four standard errors."""
        M = dense()
        s = hessop.trace(M, n_matvec=4000, distribution=distribution, rng=0).samples
        deviation = (s - np.trace(M)) ** 2
        expected = trace_variance(M, distribution=distribution)
        assert abs(np.mean(deviation) - expected) <= 4 * np.std(deviation) / np.sqrt(4000)

    def test_nothing_is_lost_in_a_difference(self):
        """Small entries beside a large diagonal, and a small spread beside a large mean."""
        M = 1e9 * np.eye(5)
        M[0, 1] = M[1, 0] = 1e-3
        assert trace_variance(M) == pytest.approx(4e-6, rel=1e-12)
        M = np.diag([1e8, 1e8 + 1.0])
        assert trace_variance(M, distribution="sphere") == pytest.approx(0.5, rel=1e-12)

    @pytest.mark.parametrize("width", [1, 5, 12, 100])
    def test_blocks(self, width, monkeypatch):
        """As many columns at once as there is room for; n in all."""
        M = dense()
        expected = [trace_variance(M, distribution=d) for d in DISTRIBUTIONS]
        monkeypatch.setattr(_memory, "available_bytes", lambda device: 2 * width * 4 * 12 * 8)
        for d, value in zip(DISTRIBUTIONS, expected, strict=True):
            A, widths = recorded(M)
            assert trace_variance(A, distribution=d) == pytest.approx(value, rel=1e-13)
            assert widths == [min(width, 12 - a) for a in range(0, 12, width)]


class TestEstimated:
    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    @pytest.mark.parametrize("n_matvec", [2, 5])
    def test_unbiased(self, distribution, n_matvec):
        """The mean of many estimates is the variance, to four standard errors."""
        M = dense()
        found = [
            trace_variance(M, distribution=distribution, n_matvec=n_matvec, rng=seed)
            for seed in range(1000)
        ]
        expected = formula(M, distribution)
        error = np.std(found, ddof=1) / np.sqrt(1000)
        assert abs(np.mean(found) - expected) <= 4 * error
        assert error <= 0.1 * expected  # fine enough to tell

    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    def test_converges(self, distribution):
        """With the number of products."""
        M = dense(40)
        found = trace_variance(M, distribution=distribution, n_matvec=2000, rng=0)
        assert found == pytest.approx(formula(M, distribution), rel=0.05)

    def test_none_on_a_diagonal(self):
        """Signs see the diagonal exactly, at any size."""
        assert trace_variance(np.diag([1e9, 2.0, -3.0]), n_matvec=4, rng=0) == 0.0

    def test_products(self):
        """As many as asked for."""
        A, widths = recorded(dense())
        trace_variance(A, n_matvec=7, rng=0)
        assert widths == [7]

    def test_reproducible(self):
        """By the seed; the global states stay."""
        before = global_states()
        one, two, other = (trace_variance(dense(), n_matvec=5, rng=s) for s in (0, 0, 1))
        assert one == two != other
        assert global_states() == before


@pytest.mark.parametrize("n_matvec", [None, 6])
def test_types_of_input(n_matvec):
    """NumPy, torch, products; float32 and float64."""
    M = dense()
    A = hessop.aslinearoperator(M)
    expected = trace_variance(M, n_matvec=n_matvec, rng=0)
    for X in (torch.from_numpy(M), A, A.product):
        assert trace_variance(X, n_matvec=n_matvec, rng=0) == pytest.approx(expected, rel=1e-13)
    single = trace_variance(torch.from_numpy(M).float(), n_matvec=n_matvec, rng=0)
    assert single == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"distribution": "normal"}, ValueError, r"^`distribution` must be one of 'rademacher', "),
        ({"n_matvec": 1}, ValueError, r"^`n_matvec` must be an integer >= 2; got 1\."),
        ({"n_matvec": 3.0}, TypeError, r"^`n_matvec` must be an integer >= 2; got 3\.0\."),
        ({"n_matvec": 3, "rng": "x"}, TypeError, r"^`rng` must be None, an int"),
        ({"A": np.ones((2, 3))}, ValueError, r"^`A` must be square"),
    ],
)
def test_bad_input(arguments, kind, match):
    """Named, with the rule and what came."""
    with pytest.raises(kind, match=match):
        trace_variance(**{"A": dense(), **arguments})


@pytest.mark.parametrize("n_matvec", [None, 3])
def test_products_must_be_finite(n_matvec):
    """NaN is no variance."""
    with pytest.raises(FloatingPointError, match=r"^`A` must give finite products"):
        trace_variance(np.full((4, 4), np.nan), n_matvec=n_matvec, rng=0)
