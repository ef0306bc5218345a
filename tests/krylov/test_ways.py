"""Blocks, three vectors, the inside of the spectrum, warm starts, certificates, trajectories."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hessop
from hessop import synthetic
from tests.spectra import (
    assert_wanted,
    distances,
    measured,
    orthonormality,
    recorded,
)
from tests.strategies import problems, seeds

LIKE = synthetic.operator("hessian_like", 300, rng=1)


class TestBlocks:
    @settings(max_examples=60)
    @given(problems(), st.integers(2, 5), st.data())
    def test_the_set_is_complete(self, problem, block, data):
        """On hostile spectra, whatever the block."""
        k = data.draw(st.integers(1, problem.n))
        A, block = problem.operator(), min(block, problem.n)
        result = hessop.lanczos(A, k, block_size=block, rng=data.draw(seeds))
        assert result.converged.all()
        atol = 200 * problem.eps * problem.scale
        assert_wanted(result.eigenvalues, problem.exact, "LM", k, atol)
        assert (measured(A, *result) <= atol).all()

    @pytest.mark.parametrize("ncv", [None, 30])
    def test_products_go_in_blocks(self, ncv):
        """As wide as asked for, one by one in the check."""
        A, widths = recorded(LIKE)
        result = hessop.lanczos(A, 5, block_size=4, ncv=ncv, rng=0)
        assert result.converged.all()
        assert max(widths) == 4
        assert widths[:5] == [4] * 5
        assert sum(widths) == result.n_matvec
        assert widths[-15:] == [1] * 15

    def test_a_block_sees_copies_at_once(self):
        """As many as it is wide: the check has nothing to find."""
        w = np.concatenate([np.linspace(-1, 1, 300), [3.0, 3.0]])
        A = synthetic.operator(w, rng=0)
        how = {"rng": 0, "tol": 1e-2, "verify": False}
        single = hessop.lanczos(A, 2, **how)
        block = hessop.lanczos(A, 2, block_size=2, **how)
        assert single.eigenvalues[0] < 1.1
        np.testing.assert_allclose(block.eigenvalues, 3.0, rtol=1e-2)

    def test_start_blocks(self):
        """Columns of v0; a block of exact eigenvectors ends at once."""
        exact = LIKE.eigenvectors([298, 299])
        result = hessop.lanczos(LIKE, 2, which="LA", v0=exact, verify=False, rng=0)
        assert result.n_matvec == 2
        np.testing.assert_allclose(result.eigenvalues, LIKE.eigenvalues[-2:], rtol=1e-12)
        one = hessop.lanczos(LIKE, 2, v0=exact[:, 0], rng=0)
        two = hessop.lanczos(LIKE, 2, v0=exact[:, :1], rng=0)
        np.testing.assert_array_equal(one.eigenvalues, two.eigenvalues)


class TestThreeVectors:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("which", ["LA", "SA", "LM"])
    @pytest.mark.parametrize("name", ["hessian_like", "gaussian", "graded", "uniform"])
    def test_the_wanted_set(self, name, which, dtype):
        """Each eigenvalue once, ghosts removed, vectors by a second sweep."""
        A = synthetic.operator(name, 120, dtype=dtype, rng=2)
        tol = 1e-8 if dtype == torch.float64 else 1e-4
        result = hessop.lanczos(A, 4, which=which, tol=tol, reorth="none", rng=0)
        scale = np.abs(A.eigenvalues).max()
        assert result.converged.all()
        assert_wanted(result.eigenvalues, A.eigenvalues, which, 4, tol * scale)
        assert (measured(A, *result) <= 3 * tol * scale).all()
        assert orthonormality(result.eigenvectors) < 100 * tol
        assert not result.complete
        assert result.method == "lanczos, two passes"

    def test_ghosts(self):
        """Long after convergence: copies of outliers are one, in-between values are none."""
        w = np.concatenate([np.linspace(0, 1, 400), [50.0, 100.0]])
        A = synthetic.operator(w, rng=0)
        T = hessop.tridiagonalize(A, None, 200, reorth="none", rng=0)
        assert (np.abs(T.eigh()[0] - 100.0) < 1e-8).sum() > 3  # there are ghosts to remove
        result = hessop.lanczos(A, 12, which="LA", tol=1e-6, reorth="none", rng=0)
        assert_wanted(result.eigenvalues, w, "LA", 12, 1e-4)

    def test_products_are_twice_the_steps(self):
        """And nothing of the size of a basis is held."""
        A, widths = recorded(LIKE)
        result = hessop.lanczos(A, 4, tol=1e-6, reorth="none", rng=0)
        assert result.n_matvec == len(widths)
        full = hessop.lanczos(LIKE, 4, tol=1e-6, verify=False, rng=0)
        assert result.n_matvec <= 2.2 * full.n_matvec

    def test_fewer_eigenvalues_than_asked_for(self):
        """Two distinct ones: the rest did not converge, and that is said."""
        A = np.diag([1.0] * 5 + [2.0] * 5)
        with pytest.warns(hessop.ConvergenceWarning, match="2 of 4 eigenvalues did not converge"):
            result = hessop.lanczos(A, 4, reorth="none", rng=0)
        np.testing.assert_allclose(result.eigenvalues, [1.0, 2.0])

    def test_locked(self):
        """They do not appear."""
        lock = LIKE.eigenvectors([299])
        result = hessop.lanczos(LIKE, 2, which="LA", tol=1e-8, reorth="none", lock=lock, rng=0)
        np.testing.assert_allclose(result.eigenvalues, LIKE.eigenvalues[-3:-1], rtol=1e-6)


@pytest.mark.parametrize(
    ("reorth", "level"), [("full", 1e-10), ("double", 1e-14), ("selective", 3e-8)]
)
def test_what_reorthogonalisation_promises(reorth, level):
    """``max |V^T V - I|`` of the Lanczos vectors, and of the eigenvectors."""
    A = synthetic.operator("hessian_like", 400, rng=3)
    V = hessop.tridiagonalize(A, None, 150, reorth=reorth, rng=0).basis
    assert orthonormality(V) < level
    result = hessop.lanczos(A, 8, reorth=reorth, rng=0)
    assert result.converged.all()
    assert result.complete
    assert orthonormality(result.eigenvectors) < level
    assert_wanted(result.eigenvalues, A.eigenvalues, "LM", 8, 1e-11)
    if reorth == "selective":
        V = hessop.tridiagonalize(A, None, 150, reorth="none", rng=0).basis
        assert orthonormality(V) > 1e-3


class TestInside:
    @pytest.mark.parametrize("sigma", [0.0, 0.31, -5.0])
    def test_nearest(self, sigma):
        """By a basis that is never restarted: at most n products, and the check."""
        A = synthetic.operator("gaussian", 100, rng=0)
        result = hessop.lanczos(A, 3, sigma=sigma, rng=0)
        w = A.eigenvalues
        want = np.sort(w[np.argsort(np.abs(w - sigma))[:3]])
        np.testing.assert_allclose(result.eigenvalues, want, atol=1e-12)
        assert result.n_matvec <= 115
        assert result.method == "lanczos"

    def test_smallest_magnitude(self):
        """The same about zero."""
        A = synthetic.operator("gaussian", 60, rng=0)
        by_name = hessop.lanczos(A, 3, which="SM", rng=0)
        by_shift = hessop.lanczos(A, 3, sigma=0, rng=0)
        np.testing.assert_array_equal(by_name.eigenvalues, by_shift.eigenvalues)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_where_the_basis_has_no_room(self, dtype):
        """By inverting; values and residuals are those of A, and products all are counted."""
        w = np.concatenate([np.linspace(-2, -1, 100), [0.1, 0.2, 0.35], np.linspace(1, 2, 100)])
        A, widths = recorded(synthetic.operator(w, dtype=dtype, rng=0))
        tol = 1e-6 if dtype == torch.float64 else 1e-3
        result = hessop.lanczos(A, 3, sigma=0.15, ncv=30, tol=tol, rng=0)
        np.testing.assert_allclose(result.eigenvalues, [0.1, 0.2, 0.35], atol=2 * tol)
        assert result.converged.all()
        assert result.method == "shift-invert about 0.15, by MINRES"
        assert result.n_matvec == sum(widths)
        assert (measured(A, *result) <= 2 * tol * 2).all()

    def test_a_preconditioner_saves_products(self):
        """A good one."""
        w = np.concatenate([[0.1, 0.2], np.linspace(1, 1000, 200)])
        A = np.diag(w)
        how = {"sigma": 0.0, "ncv": 25, "tol": 1e-6, "rng": 0}
        plain = hessop.lanczos(A, 2, **how)
        helped = hessop.lanczos(A, 2, preconditioner=np.diag(1 / (w + 0.01)), **how)
        np.testing.assert_allclose(helped.eigenvalues, [0.1, 0.2], rtol=1e-5)
        assert helped.n_matvec < 0.5 * plain.n_matvec

    def test_a_function_of_the_values(self):
        """Whatever it likes best."""
        A = synthetic.operator("gaussian", 80, rng=0)
        result = hessop.lanczos(A, 4, which=lambda t: -((t - 0.2) ** 2), rng=0)
        same = hessop.lanczos(A, 4, sigma=0.2, rng=0)
        np.testing.assert_allclose(result.eigenvalues, same.eigenvalues, atol=1e-12)
        top = hessop.lanczos(LIKE, 4, which=lambda t: t, rng=0)
        np.testing.assert_allclose(top.eigenvalues, LIKE.eigenvalues[-4:], rtol=1e-12)


class TestWarmStart:
    def test_an_earlier_result(self):
        """The same operator: no more than a product for each pair and the check."""
        first = hessop.lanczos(LIKE, 5, tol=1e-6, rng=0)
        again = hessop.lanczos(LIKE, 5, tol=1e-6, v0=first, verify=False, rng=0)
        np.testing.assert_allclose(again.eigenvalues, first.eigenvalues, rtol=1e-6)
        cold = hessop.lanczos(LIKE, 5, tol=1e-6, verify=False, rng=0)
        assert again.n_matvec < 0.6 * cold.n_matvec
        assert again.n_matvec <= 10

    def test_one_exact_vector(self):
        """Recognised by the first product."""
        exact = LIKE.eigenvectors([299])[:, 0]
        result = hessop.lanczos(LIKE, 1, which="LA", v0=exact, verify=False, rng=0)
        assert result.n_matvec == 1

    def test_a_trajectory(self):
        """Values of each operator, products of each, fewer than without the way before."""
        rng = np.random.default_rng(0)
        E = rng.standard_normal((300, 300))
        D, E = np.diag(LIKE.eigenvalues), 1e-3 * (E + E.T) / 300**0.5
        path = hessop.track((D + t * E for t in range(6)), 4, which="LA", tol=1e-4, rng=0)
        for t in range(6):
            exact = np.linalg.eigvalsh(D + t * E)[-4:]
            np.testing.assert_allclose(path.eigenvalues[t], exact, atol=1e-3 * exact[-1])
        assert path.converged.all()
        assert (path.residuals <= 1e-4 * path.eigenvalues[:, -1:]).all()
        assert path.n_matvec[1:].mean() < 0.8 * path.n_matvec[0]
        assert path.last.eigenvectors.shape == (300, 4)
        on = hessop.track([D + 6 * E], 4, which="LA", tol=1e-4, rng=0, v0=path.last)
        assert on.n_matvec[0] < path.n_matvec[0]

    def test_no_operators(self):
        """Refused by name."""
        with pytest.raises(ValueError, match="`operators` must hold at least one operator"):
            hessop.track([], 2)


class TestCertificates:
    @settings(max_examples=100)
    @given(problems(), st.data())
    def test_bounds_hold(self, problem, data):
        """Also the quadratic ones: each value is that near to an eigenvalue."""
        k = data.draw(st.integers(1, problem.n))
        tol = data.draw(st.sampled_from([0.0, 1e-6, 1e-2]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = hessop.lanczos(problem.operator(), k, tol=tol, rng=data.draw(seeds))
        slack = 100 * problem.eps * problem.scale
        assert (distances(result.eigenvalues, problem.exact) <= result.error_bounds + slack).all()

    def test_the_quadratic_bound_is_used(self):
        """Far below the residual, and true."""
        result = hessop.lanczos(LIKE, 3, which="LA", tol=1e-3, rng=0)
        errors = distances(result.eigenvalues, LIKE.eigenvalues)
        assert (errors <= result.error_bounds).all()
        assert (result.error_bounds < 0.3 * result.residuals)[result.residuals > 1e-6].any()
        unchecked = hessop.lanczos(LIKE, 3, which="LA", tol=1e-3, verify=False, rng=0)
        assert (unchecked.error_bounds >= unchecked.residuals).all()

    def test_miss_probability(self):
        """Known after a check, less the longer it was and the wider the gap, none without."""
        wide = synthetic.operator(np.concatenate([np.linspace(0, 1, 300), [5, 6]]), rng=0)
        narrow = synthetic.operator(np.linspace(0, 1, 302), rng=0)
        a, b = (hessop.lanczos(A, 2, which="LA", rng=0) for A in (wide, narrow))
        assert a.complete
        assert b.complete
        assert 0 < a.miss_probability < 1e-6
        assert a.miss_probability < b.miss_probability <= 1
        assert hessop.lanczos(wide, 2, verify=False, rng=0).miss_probability == 1.0
        assert hessop.lanczos(np.diag([1.0, 2.0, 3.0]), 3, rng=0).miss_probability == 0.0

    def test_measured_residuals(self):
        """k products more; what the relation says is confirmed."""
        plain = hessop.lanczos(LIKE, 4, rng=0)
        checked = hessop.lanczos(LIKE, 4, verify=True, rng=0)
        assert checked.n_matvec == plain.n_matvec + 4
        np.testing.assert_allclose(checked.residuals, plain.residuals, atol=1e-12)
