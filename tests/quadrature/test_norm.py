"""Norms by random probes and by one sweep: values, intervals, cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import _memory, synthetic
from hessop._estimates import Estimate
from hessop._norms import NormEstimate, SpectralNormEstimate
from hessop.quadrature.norm import norm
from tests.spectra import global_states, recorded
from tests.strategies import problems


def dense(n=25, seed=0):
    """A symmetric matrix."""
    M = np.random.default_rng(seed).standard_normal((n, n))
    return (M + M.T) / 2


class TestNormEstimate:
    """Whatever the samples are of."""

    def test_root_of_the_mean(self):
        """Of any power."""
        e = NormEstimate(np.array([7.0, 9.0]), 2, 3.0)
        assert float(e) == e.estimate == pytest.approx(2.0, rel=1e-15)

    @pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
    def test_error_by_the_slope_of_the_root(self, power):
        """Against a difference quotient."""
        samples = np.array([3.0, 5.0, 4.5, 4.0])
        e, mean = NormEstimate(samples, 4, power), np.mean(samples)
        slope = ((mean + 1e-6) ** (1 / power) - (mean - 1e-6) ** (1 / power)) / 2e-6
        expected = np.std(samples, ddof=1) / 2 * slope
        assert e.standard_error == pytest.approx(expected, rel=1e-8)

    @pytest.mark.parametrize("level", [0.5, 0.95])
    def test_interval_is_mapped(self, level):
        """The same probability: the root is monotone."""
        samples = np.array([3.0, 5.0, 4.5, 4.0])
        of_mean = Estimate(samples, 4).confidence_interval(level)
        interval = NormEstimate(samples, 4, 2.0).confidence_interval(level)
        np.testing.assert_allclose(interval, np.sqrt(of_mean), rtol=1e-15)
        assert interval.low < interval.high

    def test_bootstrap_is_mapped_too(self):
        """With the seed that was given."""
        samples = np.array([3.0, 5.0, 4.5, 4.0])
        how = {"method": "bootstrap", "rng": 3}
        of_mean = Estimate(samples, 4).confidence_interval(0.9, **how)
        interval = NormEstimate(samples, 4, 2.0).confidence_interval(0.9, **how)
        np.testing.assert_allclose(interval, np.sqrt(of_mean), rtol=1e-15)

    def test_no_norm_is_negative(self):
        """An interval of the mean may begin below zero."""
        interval = NormEstimate(np.array([0.0, 4.0]), 2, 2.0).confidence_interval()
        assert interval.low == 0.0
        assert interval.high > 2.0

    def test_zero(self):
        """Without a warning."""
        e = NormEstimate(np.zeros(3), 3, 2.0)
        assert (e.estimate, e.standard_error) == (0.0, 0.0)
        assert e.confidence_interval() == (0.0, 0.0)

    def test_one_sample_has_no_error(self):
        """NaN."""
        e = NormEstimate(np.array([4.0]), 1, 2.0)
        assert e.estimate == 2.0
        assert np.isnan([e.standard_error, *e.confidence_interval()]).all()


class TestFrobenius:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("name", synthetic.SPECTRA)
    def test_exact_on_diagonal_operators(self, name, dtype):
        """Signs have no variance there."""
        A = synthetic.operator(name, 60, dtype=dtype, reflections=0, rng=0)
        e = norm(A, n_matvec=5, rng=0)
        expected = np.linalg.norm(A.eigenvalues)
        assert e.estimate == pytest.approx(expected, rel=2 * torch.finfo(dtype).eps)

    def test_samples_have_the_square_as_their_mean(self):
        """And the variance of Hutchinson's samples of the square's trace."""
        M = dense()
        e = norm(M, n_matvec=10_000, rng=0)
        S = M @ M
        variance = 2 * (np.sum(S**2) - np.sum(np.diag(S) ** 2))
        assert e.power == 2.0
        assert abs(np.mean(e.samples) - np.sum(M**2)) <= 4 * np.sqrt(variance / 10_000)
        deviation = (e.samples - np.sum(M**2)) ** 2
        assert abs(np.mean(deviation) - variance) <= 4 * np.std(deviation) / 100

    def test_interval_covers_as_often_as_it_says(self):
        """Nine in ten, over four hundred seeds."""
        M = dense(60)
        exact, hits = np.linalg.norm(M), 0
        for seed in range(400):
            low, high = norm(M, n_matvec=10, rng=seed).confidence_interval(0.9)
            hits += low <= exact <= high
        assert 335 <= hits <= 385  # 360 expected, of standard deviation 6

    def test_probes_are_those_of_trace(self):
        """The samples are squared lengths of their products."""
        seen = []
        M = dense()

        def matmat(X):
            seen.append(X.clone().numpy())
            return torch.from_numpy(M) @ X

        A = hessop.TorchOperator(matmat, 25, dtype=torch.float64)
        hessop.trace(A, n_matvec=7, rng=3)
        e = norm(A, n_matvec=7, rng=3)
        np.testing.assert_array_equal(seen[0], seen[1])
        np.testing.assert_allclose(e.samples, np.sum((M @ seen[1]) ** 2, axis=0), rtol=1e-13)

    @pytest.mark.parametrize("width", [1, 3])
    def test_memory_decides_how_many_go_together_not_which(self, width, monkeypatch):
        """The same samples in any grouping."""
        D = np.diag(np.arange(25.0)) + 1.0
        together = norm(D, n_matvec=7, rng=3)
        monkeypatch.setattr(_memory, "available_bytes", lambda device: 2 * width * 2 * 25 * 8)
        A, widths = recorded(D)
        grouped = norm(A, n_matvec=7, rng=3)
        assert widths == [min(width, 7 - a) for a in range(0, 7, width)]
        np.testing.assert_array_equal(grouped.samples, together.samples)

    def test_what_float32_cannot_square(self):
        """Lengths are taken in float64."""
        A = torch.diag(torch.tensor([3e30, 4e30]))
        assert norm(A, rng=0).estimate == pytest.approx(5e30, rel=1e-6)


class TestSpectral:
    @settings(max_examples=150)
    @given(problems(), st.integers(1, 30), st.integers(0, 1000))
    def test_the_norm_is_in_the_interval(self, problem, n_matvec, seed):
        """For hostile spectra, at a level at which no draw is unlucky."""
        e = norm(problem.operator(), 2, n_matvec=n_matvec, rng=seed)
        low, high = e.confidence_interval(1 - 1e-9)
        # what Householder reflections make of the spectrum in this precision
        slack = 20 * problem.eps * problem.scale
        assert low - slack <= problem.scale <= high + slack
        assert e.estimate <= problem.scale + slack
        assert low <= e.estimate <= high

    @pytest.mark.parametrize("level", [0.0, 0.6, 0.9])
    def test_probability_is_sharp_where_one_eigenvalue_is_not_zero(self, level):
        """After one step the bound fails just where the start's part is less than assumed."""
        A, n = np.zeros((40, 40)), 40
        A[7, 7] = 1.0
        found = [norm(A, 2, n_matvec=1, rng=seed) for seed in range(1000)]
        misses = sum(e.confidence_interval(level).high < 1.0 for e in found)
        share = (1 - level) / 2  # the other end has the other half
        part = share**2 * np.pi / (2 * (n - 1))
        expected = scipy.stats.beta.cdf(part / (1 + part), 0.5, (n - 1) / 2)
        assert scipy.stats.binomtest(misses, 1000, expected).pvalue > 1e-2
        # which is what was promised, and not much less
        assert 0.9 * share <= expected <= share

    @pytest.mark.parametrize("n", [2, 3, 10, 10_000])
    def test_part_of_a_random_vector(self, n):
        """Of probability at most as assumed, against its exact distribution."""
        for share in (1e-12, 1e-3, 0.1, 0.5):
            part = share * np.sqrt(np.pi / (2 * (n - 1)))
            exact = scipy.stats.beta.cdf(part**2, 0.5, (n - 1) / 2)
            assert 0.7 * share <= exact <= share * (1 + 1e-12)

    @pytest.mark.parametrize("name", ["hessian_like", "uniform", "gaussian", "banded", "graded"])
    @pytest.mark.parametrize("m", [5, 20])
    def test_covers_in_simulation(self, name, m):
        """At least as often as it says."""
        hits = 0
        for seed in range(200):
            A = synthetic.operator(name, 200, reflections=0, rng=seed)
            low, high = norm(A, 2, n_matvec=m, rng=seed).confidence_interval(0.8)
            hits += low <= np.abs(A.eigenvalues).max() <= high
        assert hits >= 160

    @pytest.mark.parametrize("name", ["hessian_like", "uniform", "gaussian", "banded", "graded"])
    @pytest.mark.parametrize("m", [5, 10, 20, 40])
    def test_narrower_than_what_is_known_before(self, name, m):
        """Than the bound of Kuczynski and Wozniakowski, for both ends at once."""
        n, level = 200, 0.95
        A = synthetic.operator(name, n, rng=0)
        e = norm(A, 2, n_matvec=m, rng=1)
        root = math.log(2 * 1.648 * math.sqrt(n) / (1 - level)) / (2 * m - 1)
        theta = e.ritz_values
        spread = (theta[-1] - theta[0]) / (1 - 2 * root**2) if 2 * root**2 < 1 else math.inf
        assert e.confidence_interval(level).high - e.estimate < 0.9 * root**2 * spread

    @pytest.mark.parametrize(("name", "steps"), [("identity", 1), ("rank_one", 2), ("zero", 1)])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_exhausted(self, name, steps, dtype):
        """As many products as there are different eigenvalues; rounding is all that is left."""
        A, widths = recorded(synthetic.operator(name, 80, dtype=dtype, rng=0))
        e = norm(A, 2, rng=0)
        low, high = e.confidence_interval()
        assert e.n_matvec == steps == sum(widths)
        assert high - low <= 1e4 * torch.finfo(dtype).eps * e.estimate

    def test_what_is_taken_for_exhausted_may_not_be(self):
        """What a step leaves over is rounding, though an eigenvalue may have left it."""
        w = torch.ones(1000)
        w[3] += 2e-5
        e = norm(torch.diag(w), 2, rng=0)
        assert e.n_matvec == 1
        assert e.estimate < 1 + 1e-6
        assert 1 + 2e-5 < e.confidence_interval().high < 1 + 1e-2

    def test_noise_widens_either_end(self):
        """By what a Ritz value may be off, and not below zero."""
        ends = {}
        for noise in (0.0, 0.5, 3.0):
            theta, beta = np.array([-1.0, 2.0]), np.array([0.5, 0.1])
            e = SpectralNormEstimate(np.array([2.0]), 2, theta, beta, 10, noise)
            ends[noise] = np.array(e.confidence_interval())
        assert ends[0.0][0] == 2.0
        np.testing.assert_allclose(ends[0.5] - ends[0.0], [-0.5, 0.5], rtol=1e-12)
        np.testing.assert_allclose(ends[3.0] - ends[0.0], [-2.0, 3.0], rtol=1e-12)

    def test_all_steps(self):
        """After n of them the spectrum is known, at any level."""
        M = dense(20)
        e = norm(M, 2, n_matvec=100, rng=0)
        low, high = e.confidence_interval(1.0)
        assert e.n_matvec == 20
        np.testing.assert_allclose(e.ritz_values, np.linalg.eigvalsh(M), rtol=0, atol=1e-13)
        assert low <= np.abs(e.ritz_values).max() <= high <= low + 1e-12

    def test_certainty_is_not_to_be_had(self):
        """The upper end is infinite."""
        interval = norm(dense(), 2, n_matvec=5, rng=0).confidence_interval(1.0)
        assert interval.high == math.inf
        assert 0 < interval.low < math.inf

    @pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e20, 1e200])
    def test_scale(self, scale):
        """Products of many factors neither over- nor underflow."""
        one, other = (norm(s * dense(60), 2, n_matvec=30, rng=0) for s in (1.0, scale))
        expected = scale * np.array(one.confidence_interval())
        np.testing.assert_allclose(other.confidence_interval(), expected, rtol=1e-9)

    def test_longer_sweeps_know_more(self):
        """The lower end rises; the interval shrinks."""
        A = synthetic.operator("uniform", 300, rng=0)
        found = [norm(A, 2, n_matvec=m, rng=0) for m in (2, 5, 10, 20, 40)]
        assert (np.diff([e.estimate for e in found]) > 0).all()
        widths = [high - low for low, high in (e.confidence_interval() for e in found)]
        assert (np.diff(widths) < 0).all()

    def test_negative_end(self):
        """The largest in magnitude, of either sign."""
        e = norm(np.diag([-5.0, 1.0, 2.0]), 2, rng=0)
        assert e.estimate == pytest.approx(5.0, rel=1e-14)
        assert np.isnan(e.standard_error)
        np.testing.assert_array_equal(e.samples, e.estimate)

    def test_one_product_a_step(self):
        """At most n."""
        A, widths = recorded(dense())
        assert norm(A, 2, n_matvec=9, rng=0).n_matvec == 9
        assert widths == [1] * 9


class TestBoth:
    @pytest.mark.parametrize("ord", ["fro", 2])
    def test_reproducible(self, ord):
        """By the seed, of any type; the global states stay."""
        before = global_states()
        one, two, other = (norm(dense(60), ord, n_matvec=8, rng=s) for s in (5, np.int64(5), 6))
        assert one.estimate == two.estimate != other.estimate
        assert global_states() == before

    @pytest.mark.parametrize("ord", ["fro", 2, 2.0, np.int64(2)])
    def test_types_of_input(self, ord):
        """NumPy, torch, products; float32 and float64; always a number."""
        M = dense()
        A = hessop.aslinearoperator(M)
        found = [norm(X, ord, rng=0).estimate for X in (M, torch.from_numpy(M), A, A.product)]
        np.testing.assert_allclose(found, found[0], rtol=1e-13)
        single = norm(torch.from_numpy(M).float(), ord, rng=0)
        assert single.estimate == pytest.approx(found[0], rel=1e-5)

    def test_default(self):
        """The Frobenius norm, by fifty products."""
        e = norm(dense(60), rng=0)
        assert isinstance(e, NormEstimate)
        assert e.n_matvec == 50 == norm(dense(60), 2, rng=0).n_matvec
        assert isinstance(norm(dense(60), 2, rng=0), SpectralNormEstimate)

    @pytest.mark.parametrize(
        ("arguments", "kind", "match"),
        [
            ({"ord": 1}, ValueError, r"^`ord` must be 'fro' or 2; got 1\. Other .* slq\(A\)"),
            ({"ord": "nuc"}, ValueError, r"^`ord` must be 'fro' or 2; got 'nuc'\."),
            ({"ord": None}, ValueError, r"^`ord` must be 'fro' or 2; got None\."),
            ({"ord": [2]}, ValueError, r"^`ord` must be 'fro' or 2; got \[2\]\."),
            ({"n_matvec": 0}, ValueError, r"^`n_matvec` must be an integer >= 1; got 0\."),
            ({"n_matvec": 1.0}, TypeError, r"^`n_matvec` must be an integer >= 1; got 1\.0\."),
            ({"rng": "x"}, TypeError, r"^`rng` must be None, an int"),
            ({"A": np.ones((2, 3))}, ValueError, r"^`A` must be square"),
            ({"A": 1j * np.eye(2)}, TypeError, r"^`A` must be real symmetric"),
        ],
    )
    def test_bad_input(self, arguments, kind, match):
        """Named, with the rule and what came."""
        with pytest.raises(kind, match=match):
            norm(**{"A": dense(), **arguments})

    @pytest.mark.parametrize("ord", ["fro", 2])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_products_must_be_finite(self, ord, bad):
        """NaN is no norm."""
        with pytest.raises(FloatingPointError, match=r"^`A` must give finite products"):
            norm(np.full((4, 4), bad), ord, rng=0)

    def test_symmetry_is_seen(self):
        """In the sweep."""
        with pytest.raises(ValueError, match=r"^`A` must be symmetric"):
            norm(np.triu(np.ones((30, 30))), 2, rng=0)

    @pytest.mark.parametrize("ord", ["fro", 2])
    def test_method(self, ord):
        """One of two; where there is one sample, they are the same."""
        e = norm(dense(60), ord, n_matvec=8, rng=0)
        with pytest.raises(ValueError, match=r"`method` must be one of .*; got 'exact'\."):
            e.confidence_interval(method="exact")
        same = e.confidence_interval(method="bootstrap", rng=0) == e.confidence_interval()
        assert same == (ord == 2)

    @pytest.mark.parametrize("level", [-0.1, 1.1, np.nan])
    @pytest.mark.parametrize("ord", ["fro", 2])
    def test_level(self, ord, level):
        """A probability."""
        with pytest.raises(ValueError, match=r"`confidence_level` must be a number in \[0, 1\]"):
            norm(dense(), ord, rng=0).confidence_interval(level)
