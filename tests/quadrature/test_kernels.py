"""Kernels of their own width, logarithmic scales, and pictures."""

from __future__ import annotations

import numpy as np
import pytest

import hessop
from hessop import SpectralDensity, synthetic
from hessop.quadrature import widths

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")


@pytest.fixture(scope="module")
def w():
    """A bulk that is narrow beside the outliers."""
    bulk = np.random.default_rng(0).normal(0, 0.02, 990)
    return np.sort(np.r_[bulk, np.linspace(3, 50, 10)])


@pytest.fixture(scope="module")
def density(w):
    """Some hundred steps' worth of it."""
    return hessop.slq(synthetic.operator(w, rng=0), n_probes=10, ncv=60, rng=0)


class TestAdaptive:
    def test_it_integrates_to_one(self, density):
        x = np.sort(np.r_[np.linspace(-1, 60, 400_001), np.linspace(-0.2, 0.2, 100_001)])
        assert np.trapezoid(density.pdf(x, "adaptive"), x) == pytest.approx(1.0, abs=1e-4)
        assert density.cdf(1e3, "adaptive") == pytest.approx(1.0)

    def test_a_narrow_bulk_keeps_its_shape(self, density, w):
        """The common width is forty times the bulk's; each node's own shows it."""
        x = np.linspace(-0.1, 0.1, 2001)
        truth = np.exp(-0.5 * (x / 0.02) ** 2) / (0.02 * np.sqrt(2 * np.pi)) * 0.99

        def distance(curve):
            return np.trapezoid(np.abs(curve - truth), x)

        assert distance(density.pdf(x)) > 0.8
        assert distance(density.pdf(x, "adaptive")) < 0.15

    def test_widths(self):
        """Residual where it is less than the spacing, a tenth of that at least."""
        nodes = np.array([[0.0, 1.0, 3.0, 7.0]])
        residuals = np.array([[5.0, 0.7, 1e-9, 0.0]])
        weights = np.full((1, 4), 0.25)
        for given, expected in ((residuals, [1.0, 0.7, 0.3, 0.4]), (None, [1.0, 1.5, 3.0, 4.0])):
            found = widths.adaptive(nodes, weights, given, 0.1, 10)
            np.testing.assert_allclose(found, expected, rtol=1e-14)
        alone = widths.adaptive(np.array([[2.0], [3.0]]), np.ones((2, 1)), None, 0.1, 10)
        np.testing.assert_allclose(alone, 0.1)
        weights[0, 1] = 1e-5  # a neighbour to nobody
        found = widths.adaptive(nodes, weights, None, 0.1, 10)
        np.testing.assert_allclose(found, [3.0, 0.1, 3.5, 4.0], rtol=1e-14)

    def test_repeated_nodes(self):
        """Padding and one value give no kernel of width zero."""
        for A in (np.eye(5), np.diag([1.0, 1.0, 2.0])):
            density = hessop.slq(A, n_probes=3, ncv=3, rng=0)
            assert np.isfinite(density.pdf(np.linspace(0, 3, 50), "adaptive")).all()
        bare = SpectralDensity(np.array([[0.0, 0.0, 1.0]]), np.array([[0.5, 0.0, 0.5]]), 3, 3, 3)
        assert np.isfinite(bare.pdf(np.linspace(-1, 2, 50), "adaptive")).all()

    def test_quantile_and_bands(self, density):
        q = np.array([0.1, 0.5, 0.995])
        np.testing.assert_allclose(
            density.cdf(density.quantile(q, "adaptive"), "adaptive"), q, atol=1e-9
        )
        x = np.linspace(-0.1, 0.1, 7)
        low, high = density.interval(x, of="pdf", sigma="adaptive")
        middle = density.pdf(x, "adaptive")
        assert ((low <= middle) & (middle <= high)).all()


class TestMagnitudes:
    def test_power_law(self):
        """Eigenvalues even in the logarithm are flat over its decades."""
        w = np.logspace(-3, 0, 3000)[None]
        density = SpectralDensity(w, np.full_like(w, 1 / 3000), 3000, 3000, 3000)
        x = np.linspace(-2.5, -0.5, 21)
        np.testing.assert_allclose(density.magnitude_pdf(x), 1 / 3, rtol=1e-3)
        np.testing.assert_allclose(density.magnitude_pdf(x, count=True), 1000, rtol=1e-3)

    def test_signs_and_zeros(self):
        """-1 and 1 are one magnitude; zero is none."""
        density = hessop.slq(np.diag([-1.0, 1.0, 0.0, 0.0]), n_probes=2, ncv=4, rng=0)
        x = np.linspace(-3, 3, 6001)
        curve = density.magnitude_pdf(x, count=True)
        assert np.trapezoid(curve, x) == pytest.approx(2.0, abs=1e-6)
        assert x[np.argmax(curve)] == pytest.approx(0.0, abs=1e-3)
        with pytest.raises(ValueError, match="`sigma` must be a finite number > 0"):
            density.magnitude_pdf(0.0, 0.0)


class TestPlot:
    def test_method(self, density):
        """The curve it draws is the pdf, and nothing of it is cut off by chance."""
        ax = density.plot(label="mine", band=0.9)
        x, y = ax.lines[0].get_data()
        np.testing.assert_allclose(y, density.pdf(x, count=True))
        assert np.isin(density.nodes, x).all()
        assert len(ax.collections) == 1  # the band
        low, high = ax.collections[0].get_datalim(ax.transData).intervaly
        assert high >= y.max()
        assert low >= 0

    def test_points_are_seen(self, w):
        """Locked eigenvalues lie within the axis, at their height."""
        A = synthetic.operator(w, rng=0)
        top = hessop.lanczos(A, 10, which="LA", rng=0)
        density = hessop.slq(A, n_probes=3, ncv=20, lock=top, rng=0)
        ax = density.plot()
        x, _ = ax.lines[0].get_data()
        assert np.isin(density.points, x).all()
        peak = 1 / (density.sigma * np.sqrt(2 * np.pi))
        assert density.pdf(density.points, count=True).min() >= 0.99 * peak
        assert ax.get_ylim()[0] < peak

    def test_magnitudes(self, density):
        ax = density.plot(magnitude=True)
        assert ax.get_xlabel() == "log10 |eigenvalue|"
        x, y = ax.lines[0].get_data()
        np.testing.assert_allclose(y, density.magnitude_pdf(x, count=True))
        with pytest.raises(ValueError, match="eigenvalues that are not zero"):
            hessop.slq(np.zeros((3, 3)), n_probes=1, rng=0).plot(magnitude=True)
