"""Generalised, transformed and complex problems, as SciPy's `eigsh` has them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch

import hessop
from tests import oracles
from tests.models import mlp

SCIPY = scipy.sparse.linalg.eigsh
N = 40


def matrices(seed=0, dtype=np.float64):
    """A symmetric indefinite matrix, and a positive definite one."""
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, N, N))
    return (A + A.T).astype(dtype), (B @ B.T / N + np.eye(N)).astype(dtype)


FORMS = {
    "dense": lambda X: X,
    "sparse": scipy.sparse.csc_array,
    "operator": scipy.sparse.linalg.aslinearoperator,
}
EVERY_FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def check(A, M, w, v, dtype=np.float64):
    """Eigenpairs of the pencil, orthonormal in the product of M."""
    M = np.eye(N) if M is None else M
    tol = 1e-8 if dtype == np.float64 else 5e-2
    scale = np.abs(A).max() * N
    np.testing.assert_allclose(A @ v, (M @ v) * w, atol=tol * scale)
    np.testing.assert_allclose(v.T @ M @ v, np.eye(len(w)), atol=tol)


@EVERY_FORM
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("which", ["LM", "SM", "LA", "SA", "BE"])
def test_mass_matrix(form, dtype, which):
    """``A x = w M x``."""
    A, M = matrices(dtype=dtype)
    tol = 1e-5 if dtype == np.float32 else 0
    w, v = hessop.eigsh(form(A), 4, form(M), which=which, rng=0, tol=tol)
    exact = scipy.linalg.eigh(A.astype(float), M.astype(float), eigvals_only=True)
    want = {
        "LM": lambda e: e[np.argsort(-np.abs(e))[:4]],
        "SM": lambda e: e[np.argsort(np.abs(e))[:4]],
        "LA": lambda e: e[-4:],
        "SA": lambda e: e[:4],
        "BE": lambda e: np.concatenate([e[:2], e[-2:]]),
    }[which](exact)
    np.testing.assert_allclose(w, np.sort(want), rtol=1e-9 if dtype == np.float64 else 1e-3)
    check(A, M, w, v, dtype)
    assert w.dtype == v.dtype == dtype


@EVERY_FORM
@pytest.mark.parametrize("with_mass", [False, True])
@pytest.mark.parametrize("mode", ["normal", "cayley"])
@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
def test_shifts(form, with_mass, mode, which):
    """The transformed values rank, as in SciPy."""
    A, M = matrices(1)
    if not with_mass:
        M = None
    mass = None if M is None else form(M)
    how = {"sigma": 0.73, "which": which, "mode": mode}
    w, v = hessop.eigsh(form(A), 3, mass, rng=0, **how)
    expected = SCIPY(A, 3, M, **how)[0]
    np.testing.assert_allclose(w, np.sort(expected), rtol=1e-8)
    check(A, M, w, v)


def test_buckling():
    """``A x = w M x`` with A positive definite, orthonormal in the product of A."""
    M, A = matrices(2)
    w, v = hessop.eigsh(A, 3, M, sigma=0.4, mode="buckling", rng=0)
    expected = SCIPY(A, 3, M, sigma=0.4, mode="buckling")[0]
    np.testing.assert_allclose(w, np.sort(expected), rtol=1e-8)
    np.testing.assert_allclose(A @ v, (M @ v) * w, atol=1e-8)
    np.testing.assert_allclose(v.T @ A @ v, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE", "SM"])
@pytest.mark.parametrize("return_eigenvectors", [True, False])
@pytest.mark.parametrize("sigma", [None, 0.3])
def test_order_is_scipys(which, return_eigenvectors, sigma):
    """Value by value."""
    A, M = matrices(3)
    how = {"which": which, "sigma": sigma, "return_eigenvectors": return_eigenvectors}
    ours, theirs = hessop.eigsh(A, 4, M, rng=0, **how), SCIPY(A, 4, M, rng=0, **how)
    if return_eigenvectors:
        ours, theirs = ours[0], theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_inverses_of_ones_own():
    """They are used, and nothing is factored."""
    A, M = matrices(4)
    calls = []

    def counted(X):
        return scipy.sparse.linalg.LinearOperator(
            X.shape, lambda x: calls.append(1) or X @ x, dtype=X.dtype
        )

    a, m = (scipy.sparse.linalg.aslinearoperator(X) for X in (A, M))
    w, _ = hessop.eigsh(a, 3, m, Minv=counted(np.linalg.inv(M)), rng=0)
    np.testing.assert_allclose(w, SCIPY(A, 3, M)[0], rtol=1e-9)
    assert calls
    calls.clear()
    w, _ = hessop.eigsh(a, 3, m, sigma=0.1, OPinv=counted(np.linalg.inv(A - 0.1 * M)), rng=0)
    np.testing.assert_allclose(w, SCIPY(A, 3, M, sigma=0.1)[0], rtol=1e-9)
    assert calls


def test_singular_mass_matrix():
    """With a shift: the finite eigenvalues, and vectors outside the null space."""
    A, M = matrices(5)
    M[30:] = M[:, 30:] = 0.0
    A = A @ A.T / N + np.eye(N)
    w, v = hessop.eigsh(A, 4, M, sigma=0.0, rng=0)
    # A x = w M x has 30 finite eigenvalues, those of the Schur complement
    S = A[:30, :30] - A[:30, 30:] @ np.linalg.solve(A[30:, 30:], A[30:, :30])
    exact = scipy.linalg.eigh(S, M[:30, :30], eigvals_only=True)
    np.testing.assert_allclose(w, exact[:4], rtol=1e-9)
    np.testing.assert_allclose(A @ v, (M @ v) * w, atol=1e-8)


def test_copies_and_clusters():
    """Found in the product of M as anywhere."""
    rng = np.random.default_rng(0)
    exact = np.concatenate([np.linspace(-1, 1, N - 4), [3.0, 3.0, 3.0, 3.0 + 1e-7]])
    _, M = matrices(6)
    L = np.linalg.cholesky(M)
    Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    A = L @ (Q * exact) @ Q.T @ L.T
    w, v = hessop.eigsh((A + A.T) / 2, 4, M, which="LA", rng=0)
    np.testing.assert_allclose(w, exact[-4:], rtol=1e-11)
    check(A, M, w, v)


def test_a_network():
    """Its Hessian in the metric of its Gauss-Newton matrix, damped."""
    model, loss_fn, data = mlp()
    H = hessop.HessianOperator(model, loss_fn, data)
    G = hessop.GGNOperator(model, loss_fn, data)
    damped = G + scipy.sparse.linalg.aslinearoperator(0.1 * np.eye(G.shape[0]))
    w, _ = hessop.eigsh(H, 2, damped, which="LA", tol=1e-8, rng=0)
    h = oracles.dense_hessian(model, loss_fn, data)
    g = oracles.dense_ggn(model, loss_fn, data) + 0.1 * np.eye(len(h))
    np.testing.assert_allclose(w, scipy.linalg.eigh(h, g, eigvals_only=True)[-2:], rtol=1e-6)


class TestComplex:
    def hermitian(self, dtype=np.complex128):
        """With an eigenvalue that comes twice."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((N, N)) + 1j * rng.standard_normal((N, N))
        Q = np.linalg.qr(X)[0]
        exact = np.concatenate([np.linspace(-1, 1, N - 3), [2.0, 2.0, 2.5]])
        return ((Q * exact) @ Q.conj().T).astype(dtype), exact

    @pytest.mark.parametrize("which", ["LM", "LA", "SA"])
    @pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
    @EVERY_FORM
    def test_against_dense(self, form, dtype, which):
        """The right set with multiplicities, complex vectors, real values."""
        A, exact = self.hermitian(dtype)
        tol = 1e-10 if dtype == np.complex128 else 1e-4
        w, v = hessop.eigsh(form(A), 3, which=which, rng=0)
        want = np.sort(exact)[:3] if which == "SA" else np.sort(exact)[-3:]
        np.testing.assert_allclose(w, want, atol=tol)
        np.testing.assert_allclose(A @ v, v * w, atol=10 * tol)
        np.testing.assert_allclose(v.conj().T @ v, np.eye(3), atol=10 * tol)
        assert v.dtype == dtype
        assert w.dtype == A.real.dtype

    def test_without_vectors_and_with_a_start(self):
        """As for real problems."""
        A, _ = self.hermitian()
        v0 = np.ones(N) + 1j
        w = hessop.eigsh(torch.from_numpy(A), 2, v0=v0, return_eigenvectors=False, rng=0)
        np.testing.assert_allclose(w, [2.0, 2.5], rtol=1e-10)

    def test_what_it_does_not_do(self):
        """By name, with the way out."""
        A, _ = self.hermitian()
        for how in ({"M": np.eye(N)}, {"sigma": 0.1}):
            with pytest.raises(
                TypeError, match=r"`A` must be real with M or sigma; got .* Use sci"
            ):
                hessop.eigsh(A, 2, **how)


def test_no_convergence_carries_what_there_is():
    """Also where problems are transformed."""
    A, M = matrices(7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(hessop.NoConvergence) as caught:
            hessop.eigsh(A, 6, M, ncv=21, maxiter=1, tol=1e-14, rng=0)
    assert caught.value.eigenvectors.shape == (N, len(caught.value.eigenvalues))
