"""Densities with locked eigenpairs, and how densities grow, are kept and compared."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

import hessop
from hessop import SpectralDensity, synthetic
from hessop._estimates import METHODS
from hessop.quadrature.probes import DISTRIBUTIONS
from tests.spectra import recorded


@pytest.fixture(scope="module")
def A():
    """Outliers over a bulk."""
    bulk = np.random.default_rng(0).normal(0, 0.1, 290)
    return synthetic.operator(np.r_[bulk, np.linspace(3, 12, 10)], rng=0)


@pytest.fixture(scope="module")
def top(A):
    """The outliers."""
    return hessop.lanczos(A, 10, which="LA", rng=0)


class TestLock:
    @pytest.mark.parametrize("reorth", ["double", "none", "selective"])
    def test_outliers_are_exact_and_the_rest_is_seen_alone(self, A, top, reorth):
        """Points of weight 1 / n, nodes in the bulk's range, no step spent on what is known."""
        density = hessop.slq(A, n_probes=4, ncv=12, lock=top, reorth=reorth, rng=0)
        np.testing.assert_allclose(density.points, A.eigenvalues[-10:], rtol=1e-12)
        assert density.nodes.max() <= A.eigenvalues[-11] + 1e-6
        np.testing.assert_allclose(density.weights.sum(1), 1.0, rtol=1e-12)
        assert density.cdf(1e3) == pytest.approx(1.0)
        x = np.linspace(-30, 60, 200_001)
        assert np.trapezoid(density.pdf(x, 0.05, count=True), x) == pytest.approx(300, rel=1e-6)

    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    def test_the_trace_has_the_bulks_variance_alone(self, A, top, distribution):
        """And is unbiased."""
        options = {"n_probes": 30, "ncv": 5, "distribution": distribution, "rng": 1}
        plain, locked = (hessop.slq(A, lock=lock, **options).trace() for lock in (None, top))
        exact = A.eigenvalues.sum()
        assert abs(locked.estimate - exact) <= 4 * locked.standard_error
        assert locked.standard_error < plain.standard_error / 5

    def test_nearer_to_the_spectrum_for_the_same_products(self, A, top):
        """Those of finding the outliers included."""
        products = top.n_matvec + 5 * 20
        locked = hessop.slq(A, n_probes=5, ncv=20, lock=top, rng=0)
        plain = hessop.slq(A, n_probes=products // 20, ncv=20, rng=0)
        assert locked.wasserstein(A.eigenvalues) < 0.7 * plain.wasserstein(A.eigenvalues)

    def test_a_pair_of_arrays(self, A, top):
        """As good as a result; the order of pairs does not matter."""
        w, v = top
        one = hessop.slq(A, n_probes=2, ncv=5, lock=top, rng=0)
        two = hessop.slq(A, n_probes=2, ncv=5, lock=(w[::-1], v[:, ::-1]), rng=0)
        np.testing.assert_array_equal(one.points, two.points)
        np.testing.assert_allclose(one.nodes, two.nodes, rtol=1e-10)

    def test_bad_input(self, A, top):
        w, v = top
        with pytest.raises(TypeError, match=r"`lock` must be \(w, v\)"):
            hessop.slq(A, lock=v)
        with pytest.raises(ValueError, match=r"`lock` must hold .* got \(9,\) values and 10"):
            hessop.slq(A, lock=(w[1:], v))
        with pytest.raises(ValueError, match="`lock` must leave something"):
            hessop.slq(np.eye(2), lock=(np.ones(2), np.eye(2)))


class TestGrowing:
    @pytest.mark.parametrize("locked", [False, True])
    @pytest.mark.parametrize("rng", [3, [7, 2**40], None])
    def test_in_steps_or_at_once(self, A, top, locked, rng):
        """The same probes, whatever the seed was made of; block products round by their width."""
        lock = top if locked else None
        generator = np.random.default_rng(rng)
        options = {"ncv": 6, "lock": lock}
        first = hessop.slq(A, n_probes=2, rng=generator, **options)
        grown = first.extend(A, 1, lock=lock).extend(A, 2, lock=lock)
        again = np.random.default_rng(generator.bit_generator.seed_seq.entropy)
        whole = hessop.slq(A, n_probes=5, rng=again, **options)
        np.testing.assert_allclose(grown.nodes, whole.nodes, rtol=0, atol=1e-12)
        np.testing.assert_allclose(grown.weights, whole.weights, rtol=0, atol=1e-12)
        assert whole.n_matvec == 30
        assert grown.n_matvec == 32  # two looks at whether it is the same operator
        assert len(first.nodes) == 2

    def test_saved_and_loaded(self, A, top, tmp_path):
        """The same to the last bit, and able to grow."""
        density = hessop.slq(A, n_probes=2, ncv=6, lock=top, rng=[1, 2])
        density.save(tmp_path / "density.npz")
        loaded = SpectralDensity.load(tmp_path / "density.npz")
        for name in ("nodes", "weights", "points"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(density, name))
        assert (loaded.n, loaded.ncv, loaded.n_matvec) == (300, 6, 12)
        one, two = (d.extend(A, 2, lock=top) for d in (density, loaded))
        np.testing.assert_array_equal(one.nodes, two.nodes)

    def test_sum(self, A):
        """Of two seeds: all probes; of one seed, or another operator, refused."""
        one, two = (hessop.slq(A, n_probes=3, ncv=6, rng=seed) for seed in (0, 1))
        both = one + two
        assert both.nodes.shape == (6, 6)
        assert both.n_matvec == 36
        mean = (one.trace().estimate + two.trace().estimate) / 2
        assert both.trace().estimate == pytest.approx(mean, rel=1e-12)
        with pytest.raises(
            ValueError, match=r"`other` must have other probes; got some of these. Use extend"
        ):
            one + hessop.slq(A, n_probes=1, ncv=6, rng=0)
        with pytest.raises(ValueError, match="`other` must have the ncv of this one, 6; got 7"):
            one + hessop.slq(A, n_probes=3, ncv=7, rng=2)
        with pytest.raises(TypeError):
            one + 1

    def test_probes_of_one_generator_are_not_shared(self, A):
        """A generator goes on: two runs with it have different probes, and may be merged."""
        rng = np.random.default_rng(0)
        one, two = (hessop.slq(A, n_probes=2, ncv=4, rng=rng) for _ in range(2))
        assert np.abs(one.nodes - two.nodes).min() > 0
        assert len((one + two).nodes) == 4

    def test_extend_refuses_what_it_did_not_come_from(self, A, top):
        density = hessop.slq(A, n_probes=2, ncv=4, rng=0)
        with pytest.raises(ValueError, match=r"`A, lock` must have n=300 and 0 locked"):
            density.extend(np.eye(3), 1)
        with pytest.raises(ValueError, match=r"`A, lock` must have n=300 and 0 locked"):
            density.extend(A, 1, lock=top)
        bare = SpectralDensity(density.nodes, density.weights, 300, 4, 8)
        with pytest.raises(ValueError, match="`density` must know its probes"):
            bare.extend(A, 1)


class TestRtol:
    def test_reached(self, A):
        """With no more probes than it takes; the same probes as without."""
        density = hessop.slq(A, n_probes=500, ncv=15, rtol=0.05, rng=0)
        x = np.linspace(density.nodes.min(), density.nodes.max(), 50)
        low, high = density.interval(x, of="smooth")
        assert np.max(high - low) / 2 <= 0.0501
        assert 5 <= len(density.nodes) < 500
        whole = hessop.slq(A, n_probes=len(density.nodes), ncv=15, rng=0)
        np.testing.assert_allclose(density.nodes, whole.nodes, rtol=0, atol=1e-12)

    def test_not_reached(self, A):
        with pytest.warns(
            hessop.ConvergenceWarning, match="`rtol` of 1e-06 was not reached with 6"
        ):
            density = hessop.slq(A, n_probes=6, ncv=5, rtol=1e-6, rng=0)
        assert density.nodes.shape == (6, 5)

    def test_products_are_counted(self, A):
        spied, widths = recorded(A)
        density = hessop.slq(spied, n_probes=40, ncv=8, rtol=0.2, rng=0)
        assert sum(widths) == density.n_matvec


class TestQuestions:
    def test_quantile_inverts_cdf(self, A, top):
        for lock in (None, top):
            density = hessop.slq(A, n_probes=3, ncv=20, lock=lock, rng=0)
            q = np.array([[0.001, 0.1], [0.5, 0.99]])
            np.testing.assert_allclose(density.cdf(density.quantile(q)), q, atol=1e-9)
        with pytest.raises(ValueError, match="`q` must lie between 0 and 1"):
            density.quantile(1.0)

    @pytest.mark.parametrize("locked", [False, True])
    def test_count_by_its_bounds(self, A, top, locked):
        """The interval holds the truth; that of each probe is looked at in `test_found`."""
        density = hessop.slq(A, n_probes=20, ncv=15, lock=top if locked else None, rng=0)
        for a, b in ((-np.inf, 0.0), (-0.1, 0.1), (0.05, np.inf), (2.5, 12.5), (-np.inf, np.inf)):
            exact = np.sum((a <= A.eigenvalues) & (A.eigenvalues <= b))
            found = density.count(a, b)
            low, high = found.confidence_interval(0.999)
            assert low - 1e-6 <= exact <= high + 1e-6
        assert density.count(-np.inf, np.inf).estimate == pytest.approx(300)
        with pytest.raises(ValueError, match="`a, b` must satisfy a <= b"):
            density.count(1.0, 0.0)

    def test_interval_is_students(self, A):
        """Of the probes' own curves; percentiles of resampled means are near it."""
        density = hessop.slq(A, n_probes=12, ncv=15, rng=0)
        x = np.linspace(-0.3, 0.3, 5)
        each = [
            SpectralDensity(density.nodes[[i]], density.weights[[i]], 300, 15, 0).pdf(
                x, density.sigma
            )
            for i in range(12)
        ]
        expected = scipy.stats.t.interval(
            0.9, 11, loc=np.mean(each, 0), scale=scipy.stats.sem(each, axis=0)
        )
        found = density.interval(x, of="pdf", confidence_level=0.9)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        resampled = density.interval(x, of="pdf", method="bootstrap", confidence_level=0.9, rng=0)
        np.testing.assert_allclose(resampled, expected, rtol=0.2)
        low, high = density.interval(x)
        assert ((low <= density.cdf(x, 1e-9)) & (density.cdf(x, 1e-9) <= high)).all()
        one, two = (np.array(density.interval(x, method=m, rng=0)) for m in METHODS)
        np.testing.assert_allclose(two, one, atol=0.02)
        assert (one != two).any()
        with pytest.raises(ValueError, match="`method` must be one of 'student', 'bootstrap'"):
            density.interval(x, method="guess")

    def test_wasserstein(self, A, top):
        """To itself nothing; to a shifted one the shift; symmetric."""
        density = hessop.slq(A, n_probes=3, ncv=20, lock=top, rng=0)
        other = hessop.slq(A, n_probes=3, ncv=20, rng=1)
        assert density.wasserstein(density) == pytest.approx(0.0, abs=1e-12)
        assert density.wasserstein(other) == pytest.approx(other.wasserstein(density))
        exact = hessop.slq(np.diag(np.arange(9.0)), n_probes=1, ncv=9, rng=0)
        assert exact.wasserstein(np.arange(9.0) + 2) == pytest.approx(2.0)

    def test_sphere_is_gaussian_normalised(self, A):
        """The probes' lengths do not count."""
        one, two = (
            hessop.slq(A, n_probes=2, ncv=5, distribution=d, rng=0) for d in ("sphere", "gaussian")
        )
        np.testing.assert_allclose(one.nodes, two.nodes, rtol=1e-9)

    def test_single_precision(self, top):
        """Points and nodes stay float64."""
        B = synthetic.operator("hessian_like", 100, dtype=torch.float32, rng=0)
        known = hessop.lanczos(B, 3, rng=0)
        density = hessop.slq(B, n_probes=2, ncv=5, lock=known, rng=0)
        assert density.points.dtype == density.nodes.dtype == np.float64
