"""Hutch++, XTrace and XDiag against their definitions, and diagonals and layers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import synthetic
from hessop._space import LocalSpace
from hessop.operators import enter
from hessop.quadrature.exchangeable import XTrace
from hessop.quadrature.probes import DISTRIBUTIONS
from hessop.quadrature.trace import METHODS
from tests.spectra import recorded
from tests.strategies import problems, seeds


def low_rank(n, rank, seed):
    """A symmetric indefinite matrix."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, rank))
    return B @ np.diag(rng.standard_normal(rank)) @ B.T


def left_out(A, probes, i):
    """The projection onto the span of the products of all probes (rows) but i, and its rank."""
    U, sigma, _ = np.linalg.svd(A @ np.delete(probes, i, 0).T, full_matrices=False)
    U = U[:, sigma > 1e-10 * np.abs(A).max()]
    return U @ U.T, U.shape[1]


def sketch(A, probes, isotropic):
    """The same, in two helpings."""
    product, _ = enter(A)
    found = XTrace(product, LocalSpace(product.n, product.dtype, product.device), isotropic)
    half = len(probes) // 2
    for part in (probes[:half], probes[half:]):
        found.add(torch.from_numpy(part.copy()))
    return found


SHAPES = [(30, 6, 30), (30, 6, 4), (8, 8, 8), (8, 12, 8), (30, 6, 6), (20, 5, 1), (2, 2, 1)]


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize(("n", "count", "rank"), SHAPES)
def test_xtrace_by_its_definition(n, count, rank, isotropic):
    """Each probe left out in turn, with a projection of its own."""
    A = low_rank(n, rank, n)
    probes = np.random.default_rng(1).standard_normal((count, n))
    expected = []
    for i, z in enumerate(probes):
        P, size = left_out(A, probes, i)
        rest = z - P @ z
        share = (n - size) / (rest @ rest) if isotropic and size < n else 1.0
        expected.append(np.trace(P @ A @ P) + share * (rest @ A @ rest))
    found = sketch(A, probes, isotropic)
    scale = np.abs(A).sum()
    np.testing.assert_allclose(found.traces(), expected, rtol=0, atol=1e-12 * scale)
    assert found.n_matvec == count + min(count, rank)
    assert found.samples().mean() == pytest.approx(np.mean(expected), abs=1e-12 * scale)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize(("n", "count", "rank"), [(30, 6, 30), (30, 6, 5), (40, 27, 40)])
def test_jackknife_by_its_definition(n, count, rank, isotropic):
    """Sketches of fewer probes, made anew; the geometric mean of two variances."""
    A = low_rank(n, rank, n)
    probes = np.random.default_rng(3).standard_normal((count, n))
    groups = np.array_split(np.arange(count), min(count, 25))
    traces = sketch(A, probes, isotropic).traces()
    parts = [sketch(A, np.delete(probes, g, 0), isotropic).traces().mean() for g in groups]
    pseudo = len(groups) * traces.mean() - (len(groups) - 1) * np.array(parts)
    variance = np.sqrt(pseudo.var(ddof=1) / len(groups) * traces.var(ddof=1) / count)
    found = sketch(A, probes, isotropic).samples()
    assert len(found) == len(groups)
    np.testing.assert_allclose(found.mean(), traces.mean(), rtol=1e-9)
    np.testing.assert_allclose(found.var(ddof=1) / len(found), variance, rtol=1e-6, atol=1e-18)


@pytest.mark.parametrize("name", ["flat", "slow"])
def test_errors_of_sketches_are_honest(name):
    """In the mean over runs: those of the trace and of the diagonal, not too small, not twice."""
    bulk = np.random.default_rng(0).normal(0, 0.1, 110)
    w = {"flat": np.r_[bulk, np.linspace(0.5, 1.5, 10)], "slow": 1 / np.arange(1.0, 121)}[name]
    A = synthetic.operator(w, rng=1)
    exact = np.diag(A @ np.eye(120))
    runs = [hessop.trace(A, method="xtrace", n_matvec=24, rng=s) for s in range(150)]
    errors = np.array([r.estimate - w.sum() for r in runs])
    seen = np.sqrt(np.mean([r.standard_error**2 for r in runs]) / np.mean(errors**2))
    assert 0.9 <= seen <= 1.4
    runs = [hessop.diagonal(A, method="xdiag", n_matvec=24, rng=s) for s in range(40)]
    errors = np.array([r.estimate - exact for r in runs])
    seen = np.sqrt(np.mean([r.standard_error**2 for r in runs]) / np.mean(errors**2))
    assert 0.9 <= seen <= 1.4


@pytest.mark.parametrize(("n", "count", "rank"), SHAPES)
def test_xdiag_by_its_definition(n, count, rank):
    """Mean and standard error over the probes left out."""
    A = low_rank(n, rank, n)
    probes = np.random.default_rng(2).choice([-1.0, 1.0], (count, n))
    samples = []
    for i, z in enumerate(probes):
        P, _ = left_out(A, probes, i)
        samples.append(np.diag(P @ A) + z * (A @ z - P @ (A @ z)))
    found = sketch(A, probes, False).diagonals()
    scale = np.abs(A).sum()
    np.testing.assert_allclose(found.mean, np.mean(samples, 0), rtol=0, atol=1e-12 * scale)
    error = scipy.stats.sem(samples, axis=0)
    np.testing.assert_allclose(found.standard_error, error, rtol=0, atol=1e-12 * scale)


class TestTrace:
    @settings(max_examples=60)
    @given(problems(), st.sampled_from(tuple(METHODS)), st.sampled_from(DISTRIBUTIONS), seeds)
    def test_hostile_spectra(self, problem, method, distribution, seed):
        """With n products for a sketch of n directions, whatever the spectrum: exact."""
        n_matvec = 3 * problem.n + 3
        e = hessop.trace(
            problem.operator(),
            method=method,
            n_matvec=n_matvec,
            distribution=distribution,
            rng=seed,
        )
        assert np.isfinite(e.samples).all()
        if method != "hutchinson":
            scale = np.abs(problem.exact).sum() + problem.scale * problem.n**0.5
            assert abs(e.estimate - problem.exact.sum()) <= 1000 * problem.eps * scale

    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    @pytest.mark.parametrize("method", METHODS)
    def test_unbiased(self, method, distribution):
        """The mean of a thousand estimates, within four of its standard errors."""
        M = low_rank(12, 12, 0) + np.diag(np.arange(12.0))
        e = [
            hessop.trace(M, method=method, n_matvec=8, distribution=distribution, rng=s).estimate
            for s in range(1000)
        ]
        assert abs(np.mean(e) - np.trace(M)) <= 4 * np.std(e) / np.sqrt(len(e))

    @pytest.mark.parametrize("method", ["hutch++", "xtrace"])
    def test_far_better_where_few_eigenvalues_dominate(self, method):
        """Than Hutchinson's estimator for the same products."""
        w = np.concatenate([np.full(490, 1e-3), np.arange(1.0, 11.0)])
        A = synthetic.operator(w, rng=0)

        def error(method):
            options = {"n_matvec": 60, "distribution": "gaussian"}
            found = [hessop.trace(A, method=method, rng=s, **options) for s in range(10)]
            return np.sqrt(np.mean([(e.estimate - w.sum()) ** 2 for e in found]))

        assert error(method) < 0.01 * error("hutchinson")

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("budget", [4, 10, 31])
    def test_products_are_what_was_allowed(self, method, budget):
        """And are reported."""
        A, widths = recorded(synthetic.operator("gaussian", 80, rng=0))
        e = hessop.trace(A, method=method, n_matvec=budget, rng=0)
        assert sum(widths) == e.n_matvec
        assert budget - 1 <= e.n_matvec <= budget

    @pytest.mark.parametrize("method", METHODS)
    def test_rtol(self, method):
        """Reached, with fewer products than allowed; the error is of that size."""
        A = synthetic.operator("uniform", 500, rng=0)
        e = hessop.trace(A, method=method, n_matvec=1000, rtol=0.1, rng=0)
        low, high = e.confidence_interval()
        assert (high - low) / 2 <= 0.1 * abs(e.estimate)
        assert e.n_matvec < 1000
        assert abs(e.estimate - A.eigenvalues.sum()) <= 0.3 * abs(e.estimate)

    def test_rtol_that_is_not_reached(self):
        """Is warned of."""
        A = synthetic.operator("gaussian", 200, rng=0)
        with pytest.warns(
            hessop.ConvergenceWarning, match=r"`rtol` of 1e-06 was not reached in 40"
        ):
            e = hessop.trace(A, n_matvec=40, rtol=1e-6, rng=0)
        assert len(e.samples) == 40

    def test_probes_do_not_depend_on_looks(self):
        """Nor do estimates: the same with and without a tolerance that is never reached."""
        A = synthetic.operator("gaussian", 50, rng=0)
        plain = hessop.trace(A, n_matvec=33, rng=4)
        with pytest.warns(hessop.ConvergenceWarning):
            looked = hessop.trace(A, n_matvec=33, rtol=1e-9, rng=4)
        np.testing.assert_allclose(looked.samples, plain.samples, rtol=1e-13)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "hutch"}, r"`method` must be one of .*hutch\+\+"),
            ({"method": "xtrace", "n_matvec": 3}, "`n_matvec` must be .* 4"),
            ({"method": "hutch++", "n_matvec": 2}, "`n_matvec` must be .* 3"),
            ({"rtol": 0.0}, "`rtol` must be"),
            ({"distribution": "cauchy"}, "`distribution` must be one of"),
        ],
    )
    def test_bad_input(self, options, message):
        with pytest.raises(ValueError, match=message):
            hessop.trace(np.eye(5), **options)

    @pytest.mark.parametrize("method", METHODS)
    def test_not_finite(self, method):
        """Is named, not averaged."""
        A = hessop.TorchOperator(lambda X: X * torch.nan, 6, dtype=torch.float64)
        with pytest.raises(FloatingPointError, match="`A`"):
            hessop.trace(A, method=method, n_matvec=6, rng=0)


class TestDiagonal:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_exact_on_diagonal_operators(self, dtype):
        """Signs have no variance there."""
        A = synthetic.operator("hessian_like", 60, dtype=dtype, reflections=0, rng=0)
        e = hessop.diagonal(A, n_matvec=8, rng=0)
        exact = np.diag(A @ np.eye(60, dtype=A.dtype))
        scale = 100 * torch.finfo(dtype).eps * np.abs(exact).max()
        np.testing.assert_allclose(e.estimate, exact, rtol=0, atol=scale)
        assert e.estimate.dtype == e.standard_error.dtype == A.dtype
        assert (e.standard_error <= scale).all()

    def test_hutchinsons_variance(self):
        """The squares of the other entries of the row."""
        M = low_rank(15, 15, 3)
        e = hessop.diagonal(M, n_matvec=20_000, rng=0)
        variance = (np.sum(M**2, 1) - np.diag(M) ** 2) / 20_000
        np.testing.assert_allclose(e.standard_error, np.sqrt(variance), rtol=0.05)
        assert (np.abs(e.estimate - np.diag(M)) <= 4 * np.sqrt(variance)).all()

    @pytest.mark.parametrize(("method", "most"), [("hutchinson", 0.94), ("xdiag", 0.98)])
    def test_intervals_cover(self, method, most):
        """Nine in ten entries, over fifty seeds; that of a sketch is a little wide."""
        M = low_rank(40, 40, 5)
        hits = []
        for seed in range(50):
            low, high = hessop.diagonal(
                M, method=method, n_matvec=30, rng=seed
            ).confidence_interval(0.9)
            hits.append(np.mean((low <= np.diag(M)) & (np.diag(M) <= high)))
        assert 0.86 <= np.mean(hits) <= most

    def test_xdiag_is_exact_on_low_rank(self):
        """Once the range is seen."""
        M = low_rank(200, 5, 1)
        e = hessop.diagonal(M, method="xdiag", n_matvec=16, rng=0)
        np.testing.assert_allclose(e.estimate, np.diag(M), rtol=0, atol=1e-12 * np.abs(M).max())

    def test_bad_input(self):
        with pytest.raises(ValueError, match="`method` must be one of"):
            hessop.diagonal(np.eye(4), method="bekas")
        with pytest.raises(ValueError, match=r"`n_matvec` must be .* 4"):
            hessop.diagonal(np.eye(4), method="xdiag", n_matvec=3)
        one = hessop.diagonal(np.eye(4), n_matvec=1, rng=0)
        assert np.isnan(one.standard_error).all()


@pytest.fixture(scope="module")
def H():
    """A small network's Hessian."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)
    ).double()
    data = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
    return hessop.HessianOperator(model, torch.nn.CrossEntropyLoss(), data)


class TestLayers:
    @pytest.mark.parametrize("by", ["layer", "parameter"])
    def test_unbiased(self, H, by):
        """Within four standard errors of the traces of the dense blocks."""
        found = hessop.layer_traces(H, by=by, n_matvec=4000, rng=0)
        blocks = H.blocks(by)
        assert list(found) == list(blocks)
        for name, block in blocks.items():
            exact = np.trace(block @ np.eye(block.shape[0]))
            assert abs(found[name].estimate - exact) <= 4 * found[name].standard_error

    def test_they_sum_to_the_trace(self, H):
        """Of the same probes, which cost no more."""
        before = H.product.n_matvec
        found = hessop.layer_traces(H, n_matvec=7, rng=3)
        assert H.product.n_matvec - before == 7
        whole = hessop.trace(H, n_matvec=7, rng=3)
        total = sum(e.samples for e in found.values())
        np.testing.assert_allclose(total, whole.samples, rtol=1e-12)

    def test_what_has_no_layers(self):
        with pytest.raises(TypeError, match="`H` must be a curvature operator"):
            hessop.layer_traces(np.eye(3))
