"""What a spectral density says when it is asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid
from scipy.special import ndtr

import hessop
from hessop import SpectralDensity, synthetic


@pytest.fixture(scope="module")
def density():
    """Of a spectrum like a Hessian's, in a random basis."""
    return hessop.slq(synthetic.operator("hessian_like", 200, rng=0), n_probes=6, ncv=30, rng=0)


@pytest.fixture(scope="module")
def grid(density):
    """Points that hold all of it, ten to a kernel width."""
    low, high = density.nodes.min(), density.nodes.max()
    return np.arange(low - 8 * density.sigma, high + 8 * density.sigma, density.sigma / 10)


def handmade():
    """Two probes: nodes -1, 2 and 0 (twice, once with weight 0)."""
    nodes = np.array([[-1.0, 2.0], [0.0, 0.0]])
    weights = np.array([[0.25, 0.75], [1.0, 0.0]])
    return SpectralDensity(nodes, weights, n=8, ncv=6, n_matvec=4)


class TestPdf:
    def test_formula(self):
        """The mean over probes of weighted bells."""
        x = np.array([-1.5, 0.0, 0.3, 4.0])

        def bell(centre):
            return np.exp(-0.5 * ((x - centre) / 0.5) ** 2) / (0.5 * np.sqrt(2 * np.pi))

        expected = (0.25 * bell(-1) + 0.75 * bell(2) + bell(0)) / 2
        np.testing.assert_allclose(handmade().pdf(x, 0.5), expected, rtol=1e-14)
        np.testing.assert_allclose(handmade().pdf(x, 0.5, count=True), 8 * expected, rtol=1e-14)

    @pytest.mark.parametrize("sigma", [None, 0.2, 3.0])
    def test_it_integrates_to_one_and_to_n(self, density, sigma):
        """As a share, and as a count of eigenvalues."""
        width = density.sigma if sigma is None else sigma
        low, high = density.nodes.min() - 10 * width, density.nodes.max() + 10 * width
        x = np.arange(low, high, width / 10)
        assert np.trapezoid(density.pdf(x, sigma), x) == pytest.approx(1.0, abs=1e-10)
        assert np.trapezoid(density.pdf(x, sigma, count=True), x) == pytest.approx(200, abs=1e-8)

    def test_it_is_not_negative(self, density, grid):
        """Nowhere, not even far away."""
        assert (density.pdf(grid) >= 0).all()
        assert density.pdf(1e6) == 0.0

    def test_first_two_moments(self, density, grid):
        """The mean is that of the nodes, the variance theirs and the kernel's."""
        p = density.pdf(grid)
        mean = np.trapezoid(p * grid, grid)
        nodes, weights = density.nodes.ravel(), density.weights.ravel() / 6
        assert mean == pytest.approx(weights @ nodes, abs=1e-8)
        variance = np.trapezoid(p * (grid - mean) ** 2, grid)
        expected = weights @ (nodes - mean) ** 2 + density.sigma**2
        assert variance == pytest.approx(expected, rel=1e-8)

    @pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (600,), (3, 512), (0,)])
    def test_shape_of_x_is_kept(self, density, shape):
        """And each point is evaluated alike, in whatever batch."""
        x = np.random.default_rng(0).uniform(-60, 60, shape)
        for f in (density.pdf, density.cdf):
            out = f(x)
            assert out.shape == shape
            one_by_one = np.array([f(point) for point in np.ravel(x)]).reshape(shape)
            np.testing.assert_allclose(out, one_by_one, rtol=1e-12, atol=1e-300)

    def test_lists_and_scalars(self, density):
        """Anything that becomes an array."""
        np.testing.assert_array_equal(density.pdf([1, 2]), density.pdf(np.array([1.0, 2.0])))
        assert float(density.pdf(1)) == density.pdf([1.0])[0]


class TestCdf:
    def test_formula(self):
        """The mean over probes of weighted normal distributions."""
        x = np.array([-1.5, 0.0, 0.3, 4.0])
        expected = (0.25 * ndtr((x + 1) / 0.5) + 0.75 * ndtr((x - 2) / 0.5) + ndtr(x / 0.5)) / 2
        np.testing.assert_allclose(handmade().cdf(x, 0.5), expected, rtol=1e-14)
        np.testing.assert_allclose(handmade().cdf(x, 0.5, count=True), 8 * expected, rtol=1e-14)

    def test_from_zero_to_one_and_to_n(self, density, grid):
        """Monotone between."""
        share = density.cdf(grid)
        assert (np.diff(share) >= -1e-15).all()
        assert share[0] == pytest.approx(0.0, abs=1e-14)
        assert share[-1] == pytest.approx(1.0, abs=1e-14)
        np.testing.assert_allclose(density.cdf(grid, count=True), 200 * share, rtol=1e-13)

    @pytest.mark.parametrize("count", [False, True])
    def test_it_is_the_integral_of_the_pdf(self, density, grid, count):
        """To the error of the trapezoidal rule at ten points to a width."""
        integral = cumulative_trapezoid(density.pdf(grid, count=count), grid, initial=0.0)
        total = 200 if count else 1
        # h^2 max|p'| / 12 with h = sigma / 10 and max|p'| = 0.24 / sigma^2
        np.testing.assert_allclose(
            density.cdf(grid, count=count), integral, rtol=0, atol=2.1e-4 * total
        )


class TestSigma:
    def test_default_is_the_range_over_ncv(self, density):
        """Of all probes together, and of the steps that were asked for."""
        assert density.sigma == np.ptp(density.nodes) / 30
        assert handmade().sigma == 3.0 / 6
        x = np.array([0.3])
        np.testing.assert_array_equal(density.pdf(x), density.pdf(x, density.sigma))
        np.testing.assert_array_equal(density.cdf(x), density.cdf(x, density.sigma))

    @pytest.mark.parametrize(
        ("nodes", "expected"), [([[3.0]], 0.3), ([[-3.0], [-3.0]], 0.3), ([[0.0]], 0.1)]
    )
    def test_without_a_range(self, nodes, expected):
        """The magnitude, or 1, takes its place."""
        nodes = np.array(nodes)
        one = SpectralDensity(nodes, np.ones_like(nodes), n=4, ncv=10, n_matvec=1)
        assert one.sigma == pytest.approx(expected, rel=1e-15)

    @pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf])
    @pytest.mark.parametrize("method", ["pdf", "cdf"])
    def test_out_of_range(self, density, method, sigma):
        """Positive and finite, or refused."""
        with pytest.raises(ValueError, match="`sigma` must be a finite number > 0; got"):
            getattr(density, method)(0.0, sigma)

    @pytest.mark.parametrize("method", ["pdf", "cdf"])
    def test_wrong_kind(self, density, method):
        """A number, or the one word."""
        with pytest.raises(ValueError, match='`sigma` must be a number > 0 or "adaptive"; got'):
            getattr(density, method)(0.0, "wide")


class TestExpectation:
    def test_samples(self):
        """One per probe: weights times values."""
        e = handmade().expectation(lambda x: x**2)
        np.testing.assert_allclose(e.samples, [0.25 + 0.75 * 4, 0.0], rtol=1e-15)
        assert e.estimate == pytest.approx(3.25 / 2)
        assert e.n_matvec == 4

    def test_evaluated_at_every_node_zero_included(self):
        """Where f(0) = 1, zero eigenvalues count: a rank-one matrix has n - 1 of them."""
        A = synthetic.operator("rank_one", 50, reflections=0, rng=0)
        density = hessop.slq(A, n_probes=2, ncv=5, rng=0)
        e = density.expectation(lambda x: np.exp(-x))
        assert e.estimate == pytest.approx((49 + np.exp(-3.0)) / 50, abs=1e-13)
        seen = []
        density.expectation(lambda x: seen.append(x.copy()) or x)
        assert (np.abs(seen[0]) < 1e-12).any()

    def test_logarithm_of_zero(self):
        """Is an error that names the node, not a silent minus infinity."""

        def log(x):
            with np.errstate(divide="ignore"):
                return np.log(x)

        density = SpectralDensity(np.array([[0.0, 2.0]]), np.array([[0.5, 0.5]]), 4, 2, 2)
        for method in (density.expectation, density.trace):
            with pytest.raises(
                ValueError, match="`f` must be finite at every node; got 0 mapped to NaN or Inf"
            ):
                method(log)

    def test_square_root_of_a_negative_value(self):
        """NaN is an error too, with the node that it comes from."""

        def root(x):
            with np.errstate(invalid="ignore"):
                return np.sqrt(x)

        with pytest.raises(ValueError, match="got -1 mapped to NaN or Inf"):
            handmade().expectation(root)

    @pytest.mark.parametrize("f", [lambda x: 1.0, lambda x: x[0], lambda x: x.sum(axis=1)])
    def test_shape(self, density, f):
        """f works element by element, or is refused."""
        with pytest.raises(ValueError, match=r"`f` must keep the shape \(6, 30\); got \("):
            density.expectation(f)

    def test_complex_values(self, density):
        """The imaginary part is not dropped."""
        with pytest.raises(TypeError, match="`f` must be real"):
            density.expectation(lambda x: x * 1j)


class TestTrace:
    @pytest.mark.parametrize(
        "f", [None, np.exp, np.square, lambda x: 1 / (1 + x**2)], ids=["x", "exp", "sq", "cauchy"]
    )
    def test_within_its_error(self, f):
        """Of the exact trace: four standard errors hold all but one in ten thousand."""
        w = synthetic.spectrum("gaussian", 150, rng=0)
        A = synthetic.operator(w, rng=1)
        estimate = hessop.slq(A, n_probes=30, ncv=40, rng=0).trace(f)
        exact = np.sum(w if f is None else f(w))
        assert abs(float(estimate) - exact) <= 4 * estimate.standard_error
        assert 0 < estimate.standard_error < 0.2 * np.sum(np.abs(w if f is None else f(w)))
        low, high = estimate.confidence_interval(0.9999)
        assert low <= exact <= high

    def test_it_is_n_times_the_expectation(self, density):
        """Probe by probe."""
        one, two = density.trace(np.cos), density.expectation(np.cos)
        np.testing.assert_allclose(one.samples, 200 * two.samples, rtol=1e-15)

    def test_of_the_identity_function_is_hutchinsons(self):
        """The same probes give the same samples, for one step already."""
        A = synthetic.operator("gaussian", 60, rng=0)
        slq = hessop.slq(A, n_probes=5, ncv=1, rng=7).trace()
        hutchinson = hessop.trace(A, n_matvec=5, rng=7)
        np.testing.assert_allclose(slq.samples, hutchinson.samples, rtol=0, atol=1e-12)

    def test_exact_for_a_diagonal_operator(self):
        """Rademacher probes see every coordinate alike: a log-determinant without error."""
        w = np.linspace(0.5, 4.0, 30)
        density = hessop.slq(np.diag(w), n_probes=3, ncv=30, rng=0)
        estimate = density.trace(np.log)
        assert float(estimate) == pytest.approx(np.sum(np.log(w)), rel=1e-12)
        assert estimate.standard_error <= 1e-12


def test_it_cannot_be_changed(density):
    """A result is a record."""
    with pytest.raises(AttributeError, match="cannot assign"):
        density.n = 3
