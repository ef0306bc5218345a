"""Stochastic Lanczos quadrature against measures that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import _memory, synthetic
from hessop.krylov.basis import Basis
from hessop.krylov.reorthogonalization import METHODS
from hessop.krylov.window import Window
from hessop.quadrature.probes import DISTRIBUTIONS
from tests.spectra import distances, global_states, recorded
from tests.strategies import problems, seeds

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def slq_and_probes(A, **kwargs):
    """The density, and the unit vectors it started from, as rows: what was multiplied first."""
    product, blocks = hessop.aslinearoperator(A).product, []

    def matmat(X):
        blocks.append(X.T.clone().double().numpy())
        return product.matmat(X.T.contiguous()).T

    spy = hessop.TorchOperator(matmat, product.n, dtype=product.dtype)
    return hessop.slq(spy, **kwargs), blocks[0]


@settings(max_examples=60)
@given(st.data())
def test_hostile_spectra(data):
    """A distribution on the spectrum's range, for any spectrum, dtype and method; nothing NaN."""
    problem = data.draw(problems())
    reorth = data.draw(st.sampled_from(METHODS), label="reorth")
    A, eps, scale = problem.operator(), problem.eps, problem.scale
    density = hessop.slq(
        A,
        n_probes=data.draw(st.integers(1, 4), label="n_probes"),
        ncv=data.draw(st.integers(1, 70), label="ncv"),
        distribution=data.draw(st.sampled_from(DISTRIBUTIONS), label="distribution"),
        reorth=reorth,
        rng=data.draw(seeds, label="rng"),
    )
    assert np.isfinite(density.nodes).all()
    assert (density.weights >= 0).all()
    np.testing.assert_allclose(density.weights.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    # T is a projection of A, to the rounding of products, or to semi-orthogonality.
    slack = scale * (np.sqrt(eps) if reorth in ("none", "selective") else 60 * eps)
    assert density.nodes.min() >= problem.exact[0] - slack
    assert density.nodes.max() <= problem.exact[-1] + slack
    assert (np.diff(density.nodes, axis=1) >= 0).all()
    x = np.linspace(problem.exact[0], problem.exact[-1], 11)
    assert np.isfinite(density.pdf(x)).all()
    assert np.isfinite(density.cdf(x)).all()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("ncv", [1, 2, 5, 8])
def test_exact_for_polynomials(ncv, distribution):
    """Up to degree 2 m - 1, against powers of the operator; the next is missed."""
    A = synthetic.operator(synthetic.spectrum("uniform", 60, rng=0) / 50, rng=1)
    density, Z = slq_and_probes(A, n_probes=3, ncv=ncv, distribution=distribution, rng=0)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1.0, rtol=1e-14)
    powers = Z.copy()
    for degree in range(2 * ncv + 1):
        exact = np.sum(Z * powers, axis=1)  # z^T A^j z
        rule = np.sum(density.weights * density.nodes**degree, axis=1)
        if degree < 2 * ncv:
            np.testing.assert_allclose(rule, exact, rtol=0, atol=1e-13)
        else:
            assert np.abs(rule - exact).min() > 1e-8
        powers = np.asarray(A @ powers.T).T


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("reorth", METHODS)
def test_as_many_steps_as_distinct_eigenvalues(reorth, distribution):
    """Nodes are the eigenvalues, weights the probe's shares in their eigenspaces."""
    w = np.repeat([-2.0, 0.0, 1.0, 5.0], [10, 20, 25, 5])
    A = synthetic.operator(w, rng=0)
    density, Z = slq_and_probes(
        A, n_probes=4, ncv=30, reorth=reorth, distribution=distribution, rng=0
    )
    vectors = A.eigenvectors(range(60))
    for nodes, weights, z in zip(density.nodes, density.weights, Z, strict=True):
        for value in np.unique(w):
            share = np.sum((vectors[:, w == value].T @ z) ** 2)
            here = np.abs(nodes - value) < 1e-12
            assert here.any()
            assert weights[here].sum() == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("name", ["two_valued", "multiple", "hessian_like", "gaussian"])
def test_exact_density_of_a_diagonal_operator(name):
    """Rademacher probes have the same share in every coordinate: one of them is enough."""
    A = synthetic.operator(name, 60, reflections=0, rng=0)
    density = hessop.slq(A, n_probes=1, ncv=60, rng=0)
    # distinct values of these spectra are at least 1e-5 apart, save the exact copies
    for value in np.unique(A.eigenvalues):
        here = np.abs(density.nodes[0] - value) < 1e-9
        share = np.mean(A.eigenvalues == value)
        assert density.weights[0, here].sum() == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b"), [(2.0, 0.0), (1.0, -3.0), (-0.5, 10.0), (1e-6, 1.0), (0.0, 4.0)]
)
def test_affine_equivariance(a, b):
    """``a A + b I``: nodes map, weights stay."""
    w = synthetic.spectrum("banded", 80, rng=0)
    A = synthetic.operator(w, rng=1)
    shifted = hessop.TorchOperator(
        lambda X: a * A.product.matmat(X.T.contiguous()).T + b * X, 80, dtype=torch.float64
    )
    one, two = (hessop.slq(B, n_probes=3, ncv=12, rng=5) for B in (A, shifted))
    if a == 0.0:
        np.testing.assert_allclose(two.nodes, b, rtol=1e-14)
        return
    nodes, weights = a * one.nodes + b, one.weights
    if a < 0:
        nodes, weights = nodes[:, ::-1], weights[:, ::-1]
    # The shift by b costs digits where a * range is small against it.
    digits = 1e-11 * max(1.0, abs(b) / (abs(a) * np.ptp(w)))
    scale = abs(a) * np.abs(w).max()
    np.testing.assert_allclose(two.nodes, nodes, rtol=0, atol=digits * scale)
    np.testing.assert_allclose(two.weights, weights, rtol=0, atol=100 * digits)


class TestProducts:
    @pytest.mark.parametrize("reorth", METHODS)
    def test_one_block_product_per_step(self, reorth):
        """All probes advance together."""
        A, widths = recorded(synthetic.operator("gaussian", 100, rng=0))
        density = hessop.slq(A, n_probes=7, ncv=9, reorth=reorth, rng=0)
        assert widths == [7] * 9
        assert density.n_matvec == 63
        assert density.nodes.shape == density.weights.shape == (7, 9)

    def test_steps_beyond_n_are_not_taken(self):
        """More than n is taken for n."""
        A, widths = recorded(synthetic.operator("gaussian", 6, rng=0))
        density = hessop.slq(A, n_probes=3, ncv=80, rng=0)
        assert widths == [3] * 6
        assert density.nodes.shape == (3, 6)
        assert density.ncv == 80

    @pytest.mark.parametrize("reorth", METHODS)
    @pytest.mark.parametrize(("name", "distinct"), [("identity", 1), ("zero", 1), ("rank_one", 2)])
    def test_an_exhausted_space_costs_nothing_more(self, name, distinct, reorth):
        """As many products as the probe sees distinct eigenvalues."""
        A, widths = recorded(synthetic.operator(name, 50, rng=0))
        density = hessop.slq(A, n_probes=4, ncv=10, reorth=reorth, rng=0)
        if name == "rank_one" and reorth in ("none", "selective"):
            assert sum(widths) >= 8  # without a pass, what is left over is not quite nothing
        else:
            assert widths == [4] * distinct
        assert density.n_matvec == sum(widths)

    def test_exhausted_probes_drop_out_one_by_one(self):
        """The block shrinks; the others go on as if alone."""
        # A coordinate probe would be exhausted at once; signs decide for a block matrix.
        M = np.kron(np.eye(2), np.array([[2.0, 1.0], [1.0, 2.0]]))
        A, widths = recorded(M)
        density = hessop.slq(A, n_probes=12, ncv=4, rng=0)
        assert widths == sorted(widths, reverse=True)
        assert widths[0] == 12 > widths[-1] > 0
        assert density.n_matvec == sum(widths)
        np.testing.assert_allclose(density.weights.sum(axis=1), 1.0, rtol=1e-14)
        single = density.weights[:, 1] == 0.0
        assert single.any()
        assert (density.nodes[single, 0] == density.nodes[single, 1]).all()

    def test_without_passes_no_basis_is_kept(self, monkeypatch):
        """Two vectors per probe."""
        kept = []
        append = Basis.append
        monkeypatch.setattr(Basis, "append", lambda self, v: kept.append(1) or append(self, v))
        A = synthetic.operator("gaussian", 100, rng=0)
        hessop.slq(A, n_probes=3, ncv=20, reorth="none", rng=0)
        assert not kept
        assert issubclass(Window, Basis)
        hessop.slq(A, n_probes=3, ncv=20, reorth="double", rng=0)
        assert len(kept) == 3 * 21


class TestProbes:
    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    @pytest.mark.parametrize("width", [1, 2, 3, 5])
    def test_same_for_any_grouping(self, width, distribution, monkeypatch):
        """Memory decides how many go together, not which."""
        # A diagonal operator multiplies each row alike, to the bit, in any block.
        A = synthetic.operator("gaussian", 40, reflections=0, rng=0)
        arguments = {"n_probes": 5, "ncv": 8, "distribution": distribution, "rng": 11}
        together = hessop.slq(A, **arguments)
        # half of what is free, over rows_each = ncv + 4 rows of 40 float64 for each probe
        free = 2 * width * (8 + 4) * 40 * 8
        monkeypatch.setattr(_memory, "available_bytes", lambda device: free)
        spy, widths = recorded(A)
        grouped = hessop.slq(spy, **arguments)
        expected = [min(width, 5 - a) for a in range(0, 5, width) for _ in range(8)]
        assert widths == expected
        np.testing.assert_array_equal(grouped.nodes, together.nodes)
        np.testing.assert_array_equal(grouped.weights, together.weights)
        assert grouped.n_matvec == together.n_matvec == 40

    def test_no_memory_at_all(self, monkeypatch):
        """One probe goes at a time."""
        monkeypatch.setattr(_memory, "available_bytes", lambda device: 0)
        A, widths = recorded(synthetic.operator("gaussian", 40, rng=0))
        hessop.slq(A, n_probes=3, ncv=4, rng=0)
        assert widths == [1] * 12

    def test_more_probes_begin_with_the_same(self):
        """Probe i of a seed is probe i, however many there are."""
        A = synthetic.operator("gaussian", 40, reflections=0, rng=0)
        few, many = (hessop.slq(A, n_probes=p, ncv=8, rng=3) for p in (2, 6))
        np.testing.assert_array_equal(few.nodes, many.nodes[:2])

    def test_seeds(self):
        """The same int the same density; another, and another probe, another one."""
        A = synthetic.operator("gaussian", 40, rng=0)
        one, two, other = (hessop.slq(A, n_probes=2, ncv=8, rng=s) for s in (3, 3, 4))
        np.testing.assert_array_equal(one.nodes, two.nodes)
        assert (one.nodes != other.nodes).all()
        assert (one.nodes[0] != one.nodes[1]).all()
        assert (hessop.slq(A, ncv=8).nodes != hessop.slq(A, ncv=8).nodes).any()

    def test_dtype_does_not_change_the_probe(self):
        """float32 and float64 see the same vectors."""
        A = synthetic.operator("gaussian", 40, rng=0)
        probes = [
            slq_and_probes(synthetic.operator(A.eigenvalues, dtype=d, rng=1), ncv=2, rng=3)[1]
            for d in (torch.float64, torch.float32)
        ]
        np.testing.assert_allclose(*probes, rtol=1e-6)

    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    def test_distributions(self, distribution):
        """Signs, or a direction uniform on the sphere; either way of length one."""
        A = synthetic.operator("gaussian", 2000, reflections=0, rng=0)
        _, Z = slq_and_probes(A, n_probes=5, ncv=1, distribution=distribution, rng=0)
        np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1.0, rtol=1e-14)
        kurtosis = np.mean(Z**4, axis=1) / np.mean(Z**2, axis=1) ** 2
        if distribution == "rademacher":
            np.testing.assert_allclose(kurtosis, 1.0, rtol=1e-12)
        else:  # 3, with a standard error of sqrt(24 / 2000)
            np.testing.assert_allclose(kurtosis, 3.0, atol=0.55)
        gram = np.abs(Z @ Z.T - np.eye(5))
        assert gram.max() <= 5 / np.sqrt(2000)

    def test_nothing_global(self):
        """Torch's and NumPy's random states are left alone."""
        A, before = synthetic.operator("gaussian", 40, rng=0), global_states()
        hessop.slq(A, ncv=4, rng=0)
        hessop.slq(A, ncv=4)
        assert global_states() == before


class TestAgainstTheExactDensity:
    """Smoothed with the same kernel; an L1 distance between densities, 2 at most."""

    @staticmethod
    def exact(w, x, sigma):
        """The spectrum itself under the kernel."""
        z = (x[:, None] - w) / sigma
        return np.exp(-0.5 * z**2).sum(axis=1) / (len(w) * sigma * np.sqrt(2 * np.pi))

    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    @pytest.mark.parametrize("name", synthetic.REPORT)
    def test_right_density_and_not_the_slip(self, name, distribution):
        """Close to the truth; with the weights squared once more it would be far off."""
        A = synthetic.operator(name, 800, rng=0)
        density = hessop.slq(A, n_probes=20, ncv=60, distribution=distribution, rng=0)
        sigma = density.sigma
        x = np.linspace(A.eigenvalues[0] - 6 * sigma, A.eigenvalues[-1] + 6 * sigma, 4001)

        def distance(pdf):
            return np.trapezoid(np.abs(pdf - self.exact(A.eigenvalues, x, sigma)), x)

        right = distance(density.pdf(x))
        slip = density.weights**2
        slip = slip / slip.sum(axis=1, keepdims=True)
        wrong = distance(
            hessop.SpectralDensity(density.nodes, slip, 800, density.ncv, 0).pdf(x, sigma)
        )
        # Noise of the probes: about sqrt(2 / (20 * 800)) in each of some sixty cells
        assert right <= 0.08
        assert wrong >= 2 * right

    @pytest.mark.parametrize("name", synthetic.REPORT)
    @pytest.mark.parametrize(
        ("reorth", "limit"), [("full", 1e-9), ("selective", 1e-6), ("none", 2e-2)]
    )
    def test_methods_agree(self, name, reorth, limit):
        """Ghosts share the weight of the eigenvalue they copy: the density does not see them."""
        A = synthetic.operator(name, 400, rng=0)
        two, other = (
            hessop.slq(A, n_probes=3, ncv=100, reorth=r, rng=0) for r in ("double", reorth)
        )
        sigma = two.sigma
        x = np.linspace(A.eigenvalues[0] - 6 * sigma, A.eigenvalues[-1] + 6 * sigma, 4001)
        distance = np.trapezoid(np.abs(two.pdf(x, sigma) - other.pdf(x, sigma)), x)
        assert distance <= limit
        if reorth == "none" and name in ("gaussian", "hessian_like"):
            assert len(np.unique(np.round(other.nodes[0], 6))) < 100  # there are ghosts

    def test_single_precision_agrees(self):
        """To what its products resolve."""
        w = synthetic.spectrum("hessian_like", 400, rng=0)
        one, two = (
            hessop.slq(synthetic.operator(w, dtype=d, rng=1), n_probes=3, ncv=30, rng=0)
            for d in (torch.float64, torch.float32)
        )
        x = np.linspace(w[0] - 10, w[-1] + 10, 2001)
        distance = np.trapezoid(np.abs(one.pdf(x, 1.0) - two.pdf(x, 1.0)), x)
        assert distance <= 1e-3

    def test_more_probes_come_closer(self):
        """The error falls with their root."""
        A = synthetic.operator("gaussian", 300, rng=0)
        x = np.linspace(-5, 5, 2001)
        truth = self.exact(A.eigenvalues, x, 0.2)
        errors = [
            np.mean(
                [
                    np.trapezoid(
                        np.abs(hessop.slq(A, n_probes=p, ncv=40, rng=s).pdf(x, 0.2) - truth), x
                    )
                    for s in range(6)
                ]
            )
            for p in (2, 32)
        ]
        # sixteen times the probes: a fourth of the error, give or take what six runs leave
        assert errors[1] <= 0.4 * errors[0]


class TestDegenerate:
    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize(("name", "value"), [("identity", 1.0), ("zero", 0.0)])
    def test_one_value(self, name, value, dtype, distribution):
        """One node, weight one; the kernel's width goes by the magnitude, as there is no range."""
        A = synthetic.operator(name, 50, dtype=dtype, rng=0)
        density = hessop.slq(A, n_probes=4, ncv=20, distribution=distribution, rng=0)
        assert density.n_matvec == 4
        np.testing.assert_allclose(density.nodes, value, rtol=0, atol=20 * EPS[dtype])
        np.testing.assert_array_equal(density.weights, 1.0)
        assert density.sigma == pytest.approx(1.0 / 20, rel=1e-5)
        assert float(density.trace()) == pytest.approx(50 * value, rel=20 * EPS[dtype])
        x = np.linspace(value - 1, value + 1, 4001)
        assert np.trapezoid(density.pdf(x), x) == pytest.approx(1.0, abs=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    def test_a_multiple_of_the_identity(self, dtype, distribution):
        """No range beyond rounding, in either dtype."""
        A = hessop.TorchOperator(lambda X: 3 * X, 50, dtype=dtype)
        density = hessop.slq(A, n_probes=10, ncv=20, distribution=distribution, rng=0)
        assert density.sigma == pytest.approx(3.0 / 20, rel=1e-5)

    @pytest.mark.parametrize("value", [0.0, -2.0, 1e-200, 1e200])
    def test_one_by_one(self, value):
        """The smallest matrix."""
        density = hessop.slq(np.array([[value]]), n_probes=3, ncv=5, rng=0)
        np.testing.assert_allclose(density.nodes, value, rtol=1e-15)
        assert density.nodes.shape == (3, 1)
        assert density.n_matvec == 3

    @pytest.mark.parametrize("scale", [1e-20, 1e20])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_scale(self, scale, dtype):
        """The same density on any scale."""
        w = synthetic.spectrum("hessian_like", 60, rng=0)
        one, two = (
            hessop.slq(synthetic.operator(s * w, dtype=dtype, rng=1), n_probes=2, ncv=6, rng=0)
            for s in (1.0, scale)
        )
        atol = 1e4 * EPS[dtype]  # six steps amplify rounding, which differs with the scale
        np.testing.assert_allclose(two.nodes / scale, one.nodes, rtol=0, atol=atol * 60)
        np.testing.assert_allclose(two.weights, one.weights, rtol=0, atol=atol)


@pytest.mark.parametrize("reorth", METHODS)
def test_asymmetry_is_refused(reorth):
    """With every method, ghosts or not."""
    M = np.triu(np.ones((30, 30)))
    with pytest.raises(ValueError, match="`A` must be symmetric; got"):
        hessop.slq(M, n_probes=2, ncv=10, reorth=reorth, rng=0)


def test_array_types():
    """Results are NumPy and float64 for whatever came."""
    A = synthetic.operator("gaussian", 20, dtype=torch.float32, rng=0)
    for operator in (A, A.product, A @ np.eye(20, dtype=np.float32)):
        density = hessop.slq(operator, n_probes=2, ncv=5, rng=0)
        assert isinstance(density, hessop.SpectralDensity)
        assert density.nodes.dtype == density.weights.dtype == np.float64
        assert density.n == 20
        assert (distances(density.nodes[:, -1], A.eigenvalues) < 2).all()
