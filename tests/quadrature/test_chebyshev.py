"""The kernel polynomial method against dense polynomials, known spectra, and `hessop.slq`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev

import hessop
from hessop import _memory, synthetic
from hessop.quadrature import jackson
from hessop.quadrature.probes import DISTRIBUTIONS
from tests.spectra import global_states, recorded
from tests.strategies import problems, seeds

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def spied(A):
    """The same operator, and a list that grows by the blocks it multiplies, as rows."""
    product, blocks = hessop.aslinearoperator(A).product, []

    def matmat(X):
        blocks.append(X.T.clone().double().numpy())
        return product.matmat(X.T.contiguous()).T

    return hessop.TorchOperator(matmat, product.n, dtype=product.dtype), blocks


def fine(density, count=4000):
    """Points across the interval, dense at its ends, where there may be poles, and lengths."""
    low, high = density.bounds
    angles = np.pi * (np.arange(count) + 0.5) / count
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    return x, (high - low) / 2 * np.sin(angles) * np.pi / count


@pytest.fixture(scope="module")
def density():
    """Of a spectrum like a Hessian's."""
    A = synthetic.operator("hessian_like", 300, rng=0)
    return hessop.kpm(A, n_probes=6, degree=100, rng=0)


@pytest.fixture(scope="module")
def A():
    """Outliers over a bulk."""
    bulk = np.random.default_rng(0).normal(0, 0.1, 290)
    return synthetic.operator(np.r_[bulk, np.linspace(3, 12, 10)], rng=0)


@pytest.fixture(scope="module")
def top(A):
    """The outliers."""
    return hessop.lanczos(A, 10, which="LA", rng=0)


@settings(max_examples=60)
@given(st.data())
def test_hostile_spectra(data):
    """A distribution on its interval, with the probes' mean, for any spectrum and dtype."""
    problem = data.draw(problems())
    A = problem.operator()
    density, other = (
        method(
            A,
            n_probes=data.draw(st.shared(st.integers(1, 4), key="probes")),
            distribution=data.draw(st.shared(st.sampled_from(DISTRIBUTIONS), key="distribution")),
            rng=data.draw(st.shared(seeds, key="rng")),
            **options,
        )
        for method, options in (
            (hessop.kpm, {"degree": data.draw(st.integers(1, 90), label="degree")}),
            (hessop.slq, {"ncv": 1}),
        )
    )
    low, high = density.bounds
    assert low <= problem.exact[0]
    assert problem.exact[-1] <= high
    x, lengths = fine(density, 500)
    p, share = density.pdf(x), density.cdf(x)
    assert (p >= 0).all()
    assert p @ lengths == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(density.cdf(density.bounds), [0, 1], rtol=0, atol=1e-9)
    assert (np.diff(share) >= -1e-9).all()
    size = max(abs(low), abs(high)) * problem.n
    np.testing.assert_allclose(
        density.trace().samples, other.trace().samples, rtol=0, atol=60 * problem.eps * size
    )


class TestMoments:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    @pytest.mark.parametrize("degree", [1, 2, 3, 4, 9, 40])
    def test_polynomials_of_the_operator(self, degree, distribution, dtype):
        """By its eigenvectors, and for half as many products as moments."""
        A = synthetic.operator(np.linspace(-2, 5, 50), dtype=dtype, rng=0)
        B, blocks = spied(A)
        density = hessop.kpm(
            B, n_probes=3, degree=degree, bounds=(-3, 6), distribution=distribution, rng=0
        )
        shares = (blocks[0] @ A.eigenvectors(range(50)).astype(float)) ** 2
        exact = shares @ chebyshev.chebvander((A.eigenvalues - 1.5) / 4.5, degree)
        np.testing.assert_allclose(density.moments, exact, rtol=0, atol=8 * degree * EPS[dtype])
        np.testing.assert_array_equal(density.moments[:, 0], 1.0)
        assert [len(block) for block in blocks] == [3] * ((degree + 1) // 2)
        assert density.n_matvec == 3 * ((degree + 1) // 2)

    def test_probes_are_those_of_slq(self):
        """The same seed, the same probes."""
        A = synthetic.operator("gaussian", 40, rng=0)
        for distribution in DISTRIBUTIONS:
            options = {"n_probes": 4, "distribution": distribution, "rng": [3, 5]}
            B, mine = spied(A)
            hessop.kpm(B, bounds=(-9, 9), degree=2, **options)
            B, theirs = spied(A)
            hessop.slq(B, ncv=2, **options)
            np.testing.assert_array_equal(mine[0], theirs[0])

    def test_the_bounds_cost_a_sweep(self):
        """Of thirty steps, counted; exhausted early, as many as it took."""
        B, widths = recorded(synthetic.operator("gaussian", 100, rng=0))
        density = hessop.kpm(B, n_probes=4, degree=20, rng=0)
        assert widths == [1] * 30 + [4] * 10
        assert density.n_matvec == 70
        B, widths = recorded(synthetic.operator("two_valued", 100, rng=0))
        assert hessop.kpm(B, n_probes=4, degree=20, rng=0).n_matvec == sum(widths) == 42

    @pytest.mark.parametrize("width", [1, 3, 5])
    def test_memory_decides_how_many_go_together_not_which(self, width, monkeypatch):
        """Three vectors for each, and what comes of a product."""
        A = synthetic.operator("gaussian", 40, reflections=0, rng=0)
        together = hessop.kpm(A, n_probes=5, degree=11, rng=2)
        monkeypatch.setattr(_memory, "available_bytes", lambda device: 2 * width * 4 * 40 * 8)
        B, widths = recorded(A)
        grouped = hessop.kpm(B, n_probes=5, degree=11, rng=2)
        assert max(widths) == width
        np.testing.assert_array_equal(grouped.moments, together.moments)

    def test_seeds(self):
        A = synthetic.operator("gaussian", 40, rng=0)
        before = global_states()
        one, two, other, free = (
            hessop.kpm(A, n_probes=2, degree=6, bounds=(-9, 9), rng=s).moments
            for s in (1, 1, 2, None)
        )
        np.testing.assert_array_equal(one, two)
        assert (one[:, 1] != other[:, 1]).all()
        assert (one[:, 1] != free[:, 1]).all()
        assert global_states() == before


class TestCurves:
    def test_pdf(self, density):
        """Not negative, nothing outside, and n in all."""
        x, lengths = fine(density)
        assert (density.pdf(x) >= 0).all()
        assert density.pdf(x) @ lengths == pytest.approx(1.0, abs=1e-9)
        assert density.pdf(x, count=True) @ lengths == pytest.approx(300, abs=1e-9)
        low, high = density.bounds
        outside = np.array([-np.inf, low - 1, low, high, high + 1e-9, np.inf])
        np.testing.assert_array_equal(density.pdf(outside), 0.0)

    def test_noise_is_not_drawn_below_zero(self):
        """Of the moments, which products have."""
        density = hessop.kpm(np.eye(3), n_probes=1, degree=60, rng=0)
        noise = np.random.default_rng(0).normal(0, 1e-3, density.moments.shape)
        noisy = replace(density, moments=density.moments + noise)
        x, _ = fine(density)
        assert (noisy.pdf(x) >= 0).all()
        assert (noisy.pdf(x) == 0).any()

    def test_cdf_is_its_integral(self, density):
        low, high = density.bounds
        x, lengths = fine(density)
        area = np.cumsum(density.pdf(x) * lengths)
        np.testing.assert_allclose(density.cdf((x[1:] + x[:-1]) / 2), area[:-1], rtol=0, atol=1e-5)
        np.testing.assert_allclose(density.cdf(x, count=True), 300 * density.cdf(x))
        np.testing.assert_allclose(
            density.cdf([-np.inf, low, high, np.inf]), [0, 0, 1, 1], rtol=0, atol=1e-12
        )

    @pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)])
    def test_shape_of_x_is_kept(self, density, shape):
        x = np.random.default_rng(0).uniform(-50, 50, shape)
        for f in (density.pdf, density.cdf):
            out = f(x)
            assert out.shape == shape
            np.testing.assert_allclose(out.ravel(), [f(point) for point in x.ravel()], rtol=1e-9)

    @pytest.mark.parametrize("degree", [1, 2, 3, 10, 200])
    def test_jacksons_kernel(self, degree):
        """Not negative anywhere, with the largest first factor that this allows (Fejer)."""
        g = jackson.factors(degree)
        assert (g[0], g[1]) == (pytest.approx(1.0), pytest.approx(np.cos(np.pi / (degree + 2))))
        for centre in (-1.0, -0.3, 0.0, 0.9):
            moments = chebyshev.chebvander(centre, degree).ravel()
            curve = jackson.series(jackson.coefficients(moments), np.linspace(0, np.pi, 999)).real
            assert curve.min() >= -1e-12

    @pytest.mark.parametrize("degree", [50, 160])
    def test_resolution(self, degree):
        """The standard deviation of what a single value in the middle becomes."""
        density = hessop.kpm(2 * np.eye(5), n_probes=1, degree=degree, bounds=(-1, 5), rng=0)
        assert density.resolution == pytest.approx(3 * np.pi / degree)
        x, lengths = fine(density)
        spread = np.sqrt((density.pdf(x) * (x - 2) ** 2) @ lengths)
        assert spread == pytest.approx(density.resolution, rel=2.5 / degree)
        peak = 1 / (density.resolution * np.sqrt(2 * np.pi))
        assert density.pdf(2.0) == pytest.approx(peak, rel=0.08)

    @pytest.mark.parametrize("name", synthetic.REPORT)
    def test_as_near_to_slq_as_the_resolution(self, name):
        """With the same probes; the distance is that of mass times the way it was moved."""
        A = synthetic.operator(name, 300, rng=0)
        density = hessop.kpm(A, n_probes=5, degree=120, rng=7)
        other = hessop.slq(A, n_probes=5, ncv=80, rng=7)
        x, lengths = fine(density)
        nodes, weights = other.atoms()
        exact = np.concatenate([[0.0], np.cumsum(weights)])[np.searchsorted(nodes, x, "right")]
        assert np.abs(density.cdf(x) - exact) @ lengths <= density.resolution
        shifted = density.cdf(x + 2 * density.resolution)
        assert np.abs(shifted - exact) @ lengths > density.resolution


class TestFunctions:
    @pytest.mark.parametrize("degree", [1, 4, 7])
    def test_exact_for_polynomials(self, degree):
        """Up to that degree, probe by probe; the next is missed."""
        A = synthetic.operator(np.linspace(-1, 1, 40), rng=1)
        B, blocks = spied(A)
        density = hessop.kpm(B, n_probes=3, degree=degree, bounds=(-1.1, 1.3), rng=0)
        shares = (blocks[0] @ A.eigenvectors(range(40))) ** 2
        for power in range(degree + 2):
            exact = shares @ A.eigenvalues**power
            found = density.expectation(lambda x, power=power: x**power)
            if power <= degree:
                np.testing.assert_allclose(found.samples, exact, rtol=0, atol=1e-13)
                trace = density.trace(lambda x, power=power: x**power)
                np.testing.assert_allclose(trace.samples, 40 * exact, rtol=0, atol=1e-11)
            else:
                assert np.abs(found.samples - exact).min() > 1e-6
        assert found.n_matvec == density.n_matvec
        np.testing.assert_array_equal(density.trace().samples, density.trace(lambda x: x).samples)

    def test_smooth_functions_as_slq(self):
        """To rounding, where both have converged."""
        A = synthetic.operator(np.linspace(0.5, 3, 200), rng=0)
        density, other = (
            hessop.kpm(A, n_probes=3, rng=0),
            hessop.slq(A, n_probes=3, ncv=60, rng=0),
        )
        for f in (np.exp, np.log, lambda x: 1 / (x + 1)):
            np.testing.assert_allclose(density.trace(f).samples, other.trace(f).samples, rtol=1e-11)

    def test_bad_functions(self):
        """The interval is wider than the spectrum."""
        density = hessop.kpm(np.diag([0.001, 1.0]), n_probes=1, degree=30, rng=0)
        with (
            np.errstate(invalid="ignore"),
            pytest.raises(ValueError, match=r"`f` must be finite at every node; got -0\.0"),
        ):
            density.trace(np.log)
        inside = hessop.kpm(np.diag([0.5, 1.0]), n_probes=1, degree=60, bounds=(0.4, 1.1), rng=0)
        assert float(inside.trace(np.log)) == pytest.approx(np.log(0.5), rel=1e-12)
        with pytest.raises(ValueError, match="`f` must keep the shape"):
            density.trace(lambda x: x[:-1])
        with pytest.raises(TypeError, match="`f` must be real"):
            density.trace(lambda x: x + 1j)


class TestLock:
    @pytest.mark.parametrize("bounds", [None, (-0.5, 0.5)])
    def test_outliers_are_exact_and_the_rest_is_seen_alone(self, A, top, bounds):
        """Points outside the interval, which is the bulk's."""
        density = hessop.kpm(A, n_probes=4, lock=top, bounds=bounds, rng=0)
        np.testing.assert_allclose(density.points, A.eigenvalues[-10:], rtol=1e-12)
        assert density.bounds[1] < 1
        x, lengths = fine(density)
        assert density.pdf(x, count=True) @ lengths == pytest.approx(290, rel=1e-9)
        x = np.linspace(1, 14, 5001)
        assert np.trapezoid(density.pdf(x, count=True), x) == pytest.approx(10, rel=1e-9)
        np.testing.assert_allclose(density.cdf([1.0, 5.5, 99.0], count=True), [290, 293, 300])

    def test_the_trace_has_the_bulks_variance_alone(self, A, top):
        """And the samples of slq."""
        plain, locked = (
            hessop.kpm(A, n_probes=20, lock=lock, rng=1).trace() for lock in (None, top)
        )
        assert locked.standard_error < plain.standard_error / 5
        assert abs(locked.estimate - A.eigenvalues.sum()) <= 4 * locked.standard_error
        other = hessop.slq(A, n_probes=20, ncv=3, lock=top, rng=1).trace()
        np.testing.assert_allclose(locked.samples, other.samples, rtol=1e-9)

    def test_what_is_locked_does_not_come_back(self, A):
        """By rounding, which outside the interval would grow with every step."""
        w, v = A.eigenvalues[-10:], A.eigenvectors(range(290, 300))
        density = hessop.kpm(A, n_probes=2, degree=1000, lock=(w, v), bounds=(-0.5, 0.5), rng=0)
        assert np.abs(density.moments).max() <= 1 + 1e-9

    def test_nothing_is_left(self):
        v = np.ones((2, 1)) / np.sqrt(2)
        with pytest.raises(ValueError, match="`lock` must leave something of a probe"):
            hessop.kpm(np.eye(2), n_probes=1, lock=([1.0], v), degree=3, rng=1)
        # probes of signs: half of them lie in its span, and are left out
        density = hessop.kpm(np.eye(2), n_probes=9, lock=([1.0], v), degree=3, rng=0)
        assert 0 < len(density.moments) < 9
        np.testing.assert_allclose(density.trace().samples, 2.0)


class TestBounds:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("bounds", [(-1, 1), (0, 1), (-2, 1.9), (5, 6), (0, 1e-42), (-1e-3, 2)])
    def test_too_narrow(self, bounds, dtype):
        A = synthetic.operator(np.linspace(-2, 2, 50), dtype=dtype, rng=0)
        with pytest.raises(ValueError, match=r"`bounds` must hold all eigenvalues .* wider ones"):
            hessop.kpm(A, bounds=bounds, rng=0)

    def test_a_little_too_narrow(self):
        """One of a thousand: no moment is large, but the curve is negative."""
        A = synthetic.operator(np.r_[np.linspace(-0.9, 0.9, 999), 1.001], rng=0)
        with pytest.raises(ValueError, match="`bounds` must hold all eigenvalues"):
            hessop.kpm(A, bounds=(-1, 1), rng=0)

    def test_what_the_sweep_does_not_see(self, monkeypatch):
        """The moments do; then it takes more steps."""
        monkeypatch.setattr(hessop.quadrature.chebyshev, "_STEPS", 2)
        B, widths = recorded(np.diag(np.r_[np.linspace(-1, 1, 2000), 1.6]))
        density = hessop.kpm(B, n_probes=2, degree=100, rng=0)
        assert widths.count(1) == 2 + 4 + 8
        assert density.bounds[1] > 1.6
        assert density.n_matvec == sum(widths) > 14 + 100

    def test_no_bounds_are_enough(self, monkeypatch):
        """Where they cannot be estimated, they are asked for."""
        monkeypatch.setattr(hessop.quadrature.doubling, "interval", lambda *a: (-1.0, 1.0))
        with pytest.raises(ValueError, match=r"`bounds` must hold .* Pass some that do"):
            hessop.kpm(np.diag([1.0, 4.0]), n_probes=1, rng=0)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
    def test_scale(self, scale, dtype):
        """The same density on any scale."""
        w = synthetic.spectrum("hessian_like", 60, rng=0)
        one, two = (
            hessop.kpm(synthetic.operator(s * w, dtype=dtype, rng=1), n_probes=2, degree=40, rng=0)
            for s in (1.0, scale)
        )
        np.testing.assert_allclose(np.array(two.bounds) / scale, one.bounds, rtol=1e3 * EPS[dtype])
        np.testing.assert_allclose(two.moments, one.moments, rtol=0, atol=1e4 * EPS[dtype])

    @pytest.mark.parametrize("value", [0.0, -2.0, 1e-200, 1e200])
    def test_one_value(self, value):
        """Magnitude takes the place of the range, 1 for zero; as for the kernels of slq."""
        for n in (1, 30):
            density = hessop.kpm(value * np.eye(n), n_probes=2, degree=30, rng=0)
            half = abs(value) or 1.0
            np.testing.assert_allclose(density.bounds, (value - half, value + half), rtol=1e-14)
            assert density.n_matvec == 1 + 2 * 15
            assert float(density.trace()) == pytest.approx(n * value, rel=1e-13, abs=1e-13)

    @pytest.mark.parametrize(("dtype", "width"), [(torch.float64, 1e-7), (torch.float32, 1e-4)])
    def test_a_range_that_is_none(self, dtype, width):
        """It would multiply rounding."""
        A = synthetic.operator(np.linspace(1, 1 + width, 50), dtype=dtype, rng=0)
        density = hessop.kpm(A, n_probes=3, rng=0)
        np.testing.assert_allclose(density.bounds, (0, 2), rtol=0, atol=2 * width)
        wider = synthetic.operator(np.linspace(1, 1 + 30 * width, 50), dtype=dtype, rng=0)
        assert hessop.kpm(wider, n_probes=3, rng=0).bounds[0] > 0.99

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_one_value_with_rounding(self, dtype):
        """Which is no range, and no asymmetry."""
        A = synthetic.operator("identity", 50, dtype=dtype, rng=0)
        density = hessop.kpm(A, n_probes=2, degree=30, rng=0)
        np.testing.assert_allclose(density.bounds, (0, 2), rtol=0, atol=30 * EPS[dtype])
        around = hessop.kpm(A, n_probes=20, degree=30, bounds=(-1, 3), rng=0)
        np.testing.assert_allclose(around.moments[:, 1], 0.0, rtol=0, atol=30 * EPS[dtype])

    @pytest.mark.parametrize(
        ("bounds", "error", "match"),
        [
            (3, TypeError, r"`bounds` must be None or \(a, b\) with a < b; got 3"),
            ((1, 2, 3), TypeError, "`bounds` must be None or"),
            ("ab", TypeError, "`bounds` must be None or"),
            (("a", "b"), TypeError, "`bounds` must be a finite number"),
            ((2, 2), ValueError, r"`bounds` must be None .* got \(2.0, 2.0\)"),
            ((0, np.inf), ValueError, "`bounds` must be a finite number; got inf"),
        ],
    )
    def test_bad_ones(self, bounds, error, match):
        with pytest.raises(error, match=match):
            hessop.kpm(np.eye(3), bounds=bounds)

    def test_arrays_and_lists(self):
        for bounds in ([-1, 2], np.array([-1.0, 2.0])):
            assert hessop.kpm(np.eye(3), bounds=bounds, degree=2).bounds == (-1.0, 2.0)


class TestBadInput:
    @pytest.mark.parametrize("bounds", [None, (-60, 60)])
    def test_asymmetry(self, bounds):
        M = np.triu(np.ones((30, 30)))
        with pytest.raises(ValueError, match="`A` must be symmetric; got"):
            hessop.kpm(M, n_probes=2, bounds=bounds, rng=0)

    @pytest.mark.parametrize("bounds", [None, (-2, 2)])
    @pytest.mark.parametrize("after", [0, 3])
    def test_nan(self, after, bounds):
        """From the first product on, or later."""
        left = [after]

        def matmat(X):
            left[0] -= 1
            return X * (1.0 if left[0] >= 0 else float("nan"))

        spread = torch.linspace(-1, 1, 20)[:, None]
        A = hessop.TorchOperator(lambda X: spread * matmat(X), 20)
        with pytest.raises(FloatingPointError, match="must give finite products"):
            hessop.kpm(A, n_probes=2, bounds=bounds, rng=0)

    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"n_probes": 0}, ValueError, "`n_probes` must be an integer >= 1"),
            ({"degree": 0}, ValueError, "`degree` must be an integer >= 1"),
            ({"degree": 1.5}, TypeError, "`degree` must be an integer >= 1"),
            ({"distribution": "even"}, ValueError, "`distribution` must be one of"),
            ({"lock": np.eye(3)}, TypeError, r"`lock` must be \(w, v\)"),
            ({"rng": "a"}, TypeError, "`rng` must be"),
        ],
    )
    def test_messages(self, options, error, match):
        with pytest.raises(error, match=match):
            hessop.kpm(np.eye(3), **options)


def test_single_precision_agrees():
    """To what its products resolve."""
    w = synthetic.spectrum("hessian_like", 300, rng=0)
    one, two = (
        hessop.kpm(synthetic.operator(w, dtype=d, rng=1), n_probes=3, bounds=(-65, 65), rng=0)
        for d in (torch.float64, torch.float32)
    )
    np.testing.assert_allclose(two.moments, one.moments, rtol=0, atol=1e-4)
    assert two.moments.dtype == np.float64


def test_array_types():
    """A product, a tensor, an operator and an array; results are NumPy."""
    A = synthetic.operator("gaussian", 20, rng=0)
    dense = A @ np.eye(20)
    for operator in (A, A.product, dense, torch.from_numpy(dense)):
        density = hessop.kpm(operator, n_probes=2, degree=8, rng=0)
        assert isinstance(density, hessop.ChebyshevDensity)
        assert isinstance(density.moments, np.ndarray)
        assert (density.n, density.degree, density.bulk) == (20, 8, 20)
