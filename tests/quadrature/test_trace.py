"""Hutchinson's estimator: its mean, its variance, its interval."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

import hessop
from hessop import _memory, synthetic
from hessop.quadrature.probes import DISTRIBUTIONS
from tests.spectra import global_states, recorded


def dense(n=25, seed=0):
    """A symmetric matrix with a diagonal that matters and one that does not."""
    M = np.random.default_rng(seed).standard_normal((n, n))
    return (M + M.T) / 2 + np.diag(np.linspace(-3, 5, n))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", synthetic.SPECTRA)
def test_exact_on_diagonal_operators(name, dtype):
    """Rademacher probes have no variance there, from the first one on."""
    A = synthetic.operator(name, 60, dtype=dtype, reflections=0, rng=0)
    e = hessop.trace(A, n_matvec=5, rng=0)
    scale = np.abs(A.eigenvalues).sum()
    eps = torch.finfo(dtype).eps
    np.testing.assert_allclose(e.samples, A.eigenvalues.sum(), rtol=0, atol=2 * eps * scale)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_unbiased_and_of_the_variance_that_is_documented(distribution):
    """``2 ||A||_F^2``, less a share of the diagonal's or the trace's, in ten thousand samples."""
    M = dense()
    s = hessop.trace(M, n_matvec=10_000, distribution=distribution, rng=0).samples
    expected = 2 * np.sum(M**2)
    if distribution == "rademacher":
        expected -= 2 * np.sum(np.diag(M) ** 2)
    if distribution == "sphere":
        expected = (expected - 2 * np.trace(M) ** 2 / len(M)) * len(M) / (len(M) + 2)
    # Four standard errors: of the mean, and of the variance by its fourth moment.
    assert abs(np.mean(s) - np.trace(M)) <= 4 * np.sqrt(expected / len(s))
    deviation = (s - np.trace(M)) ** 2
    assert abs(np.mean(deviation) - expected) <= 4 * np.std(deviation) / np.sqrt(len(s))
    # which is fine enough to tell the two formulas apart
    share = 2 * np.sum(np.diag(M) ** 2)
    assert share > 8 * np.std(deviation) / np.sqrt(len(s))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_interval_covers_as_often_as_it_says(distribution):
    """Nine in ten, over four hundred seeds."""
    M = dense()
    hits = 0
    for seed in range(400):
        e = hessop.trace(M, n_matvec=10, distribution=distribution, rng=seed)
        low, high = e.confidence_interval(0.9)
        hits += low <= np.trace(M) <= high
    # 360 expected, of standard deviation 6; Student's interval is only nearly right for samples
    # that are only nearly normal
    assert 335 <= hits <= 385


class TestInterval:
    @pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
    @pytest.mark.parametrize("s", [2, 3, 30])
    def test_it_is_students(self, s, level):
        """As `scipy.stats.t` has it."""
        e = hessop.trace(dense(), n_matvec=s, rng=0)
        expected = scipy.stats.t.interval(
            level, s - 1, loc=np.mean(e.samples), scale=scipy.stats.sem(e.samples)
        )
        np.testing.assert_allclose(e.confidence_interval(level), expected, rtol=1e-12)

    @pytest.mark.parametrize("level", [0.5, 0.95])
    def test_bootstrap_is_scipys(self, level):
        """Percentiles of resampled means; of one sample none, of equal ones no width."""
        e = hessop.trace(dense(), n_matvec=25, rng=0)
        expected = scipy.stats.bootstrap(
            (e.samples,),
            np.mean,
            n_resamples=999,
            method="percentile",
            confidence_level=level,
            rng=3,
        ).confidence_interval
        found = e.confidence_interval(level, method="bootstrap", rng=3)
        assert found == (expected.low, expected.high)
        one = hessop.trace(dense(), n_matvec=1, rng=0)
        assert np.isnan(one.confidence_interval(method="bootstrap")).all()
        same = hessop.trace(np.diag([1.0, 2.0, 4.0]), n_matvec=6, rng=0)
        assert same.confidence_interval(method="bootstrap") == (7.0, 7.0)
        with pytest.raises(ValueError, match="`method` must be one of 'student', 'bootstrap'"):
            e.confidence_interval(method="normal")

    def test_names(self):
        """SciPy's: low and high; 95 percent by default."""
        e = hessop.trace(dense(), n_matvec=8, rng=0)
        interval = e.confidence_interval()
        assert (interval.low, interval.high) == tuple(interval)
        assert interval.low < e.estimate < interval.high
        assert interval == e.confidence_interval(0.95)
        assert interval == e.confidence_interval(confidence_level=0.95)

    def test_one_sample_has_none(self):
        """NaN, and no warning."""
        e = hessop.trace(dense(), n_matvec=1, rng=0)
        assert np.isnan(e.standard_error)
        assert np.isnan(e.confidence_interval()).all()
        assert np.isfinite(e.estimate)

    def test_no_width_where_all_samples_agree(self):
        """As for a diagonal operator."""
        e = hessop.trace(np.diag([1.0, 2.0, 4.0]), n_matvec=6, rng=0)
        assert e.confidence_interval() == (7.0, 7.0)


def test_estimate_is_the_mean():
    """Also as a float; the error is the mean's."""
    e = hessop.trace(dense(), n_matvec=12, rng=0)
    assert e.samples.shape == (12,)
    assert float(e) == e.estimate == np.mean(e.samples)
    assert e.standard_error == pytest.approx(np.std(e.samples, ddof=1) / np.sqrt(12), rel=1e-14)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_samples_are_quadratic_forms_in_the_probes(distribution):
    """Which are signs, or normal."""
    M = dense()
    seen = []

    def matmat(X):
        seen.append(X.clone().numpy())
        return torch.from_numpy(M) @ X

    A = hessop.TorchOperator(matmat, 25, dtype=torch.float64)
    e = hessop.trace(A, n_matvec=200, distribution=distribution, rng=0)
    Z = np.concatenate(seen, axis=1)
    np.testing.assert_allclose(e.samples, np.sum(Z * (M @ Z), axis=0), rtol=0, atol=1e-11)
    if distribution == "rademacher":
        assert set(np.unique(Z)) == {-1.0, 1.0}
    else:
        assert scipy.stats.kstest(Z.ravel(), "norm").pvalue > 1e-3


class TestProducts:
    def test_all_at_once(self):
        """One block product, as many vectors as asked for."""
        A, widths = recorded(dense())
        e = hessop.trace(A, n_matvec=17, rng=0)
        assert widths == [17]
        assert e.n_matvec == 17

    def test_default(self):
        """A hundred."""
        assert hessop.trace(dense(), rng=0).n_matvec == 100

    @pytest.mark.parametrize("width", [1, 3, 4])
    def test_memory_decides_how_many_go_together_not_which(self, width, monkeypatch):
        """The same samples in any grouping."""
        D = np.diag(np.arange(25.0)) + 1.0  # exactly symmetric, integers: sums are exact
        together = hessop.trace(D, n_matvec=10, rng=3)
        monkeypatch.setattr(_memory, "available_bytes", lambda device: 2 * width * 2 * 25 * 8)
        A, widths = recorded(D)
        grouped = hessop.trace(A, n_matvec=10, rng=3)
        assert widths == [min(width, 10 - a) for a in range(0, 10, width)]
        np.testing.assert_array_equal(grouped.samples, together.samples)

    def test_more_samples_begin_with_the_same(self):
        """Probe i of a seed is probe i."""
        few, many = (hessop.trace(dense(), n_matvec=s, rng=1) for s in (4, 9))
        np.testing.assert_allclose(few.samples, many.samples[:4], rtol=1e-12)

    def test_seeds(self):
        """The same int the same samples; another, others; None is really random."""
        one, two, other = (hessop.trace(dense(), n_matvec=5, rng=s).samples for s in (1, 1, 2))
        np.testing.assert_array_equal(one, two)
        assert (one != other).any()
        a, b = (hessop.trace(dense(), n_matvec=5).samples for _ in range(2))
        assert (a != b).any()

    def test_nothing_global(self):
        """Torch's and NumPy's random states are left alone."""
        before = global_states()
        hessop.trace(dense(), rng=0)
        hessop.trace(dense())
        assert global_states() == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("name", "value"), [("identity", 40.0), ("zero", 0.0)])
def test_degenerate(name, value, dtype):
    """Exact whatever the basis, for probes of signs."""
    A = synthetic.operator(name, 40, dtype=dtype, rng=0)
    e = hessop.trace(A, n_matvec=3, rng=0)
    np.testing.assert_allclose(e.samples, value, rtol=20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("value", [0.0, -2.5, 1e300])
def test_one_by_one(value):
    """The smallest matrix."""
    assert float(hessop.trace(np.array([[value]]), n_matvec=3, rng=0)) == pytest.approx(value)


def test_long_sums_in_single_precision():
    """A million terms, accumulated without their rounding adding up."""
    n = 1_000_000
    d = torch.full((n, 1), 0.1)
    A = hessop.TorchOperator(lambda X: d * X, n)
    e = hessop.trace(A, n_matvec=2, rng=0)
    np.testing.assert_allclose(e.samples, n * float(d[0]), rtol=1e-7)
