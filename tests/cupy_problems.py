"""What CuPy's solvers are given and have to find, on a GPU and over NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

N = 60
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def symmetric():
    """A dense symmetric matrix, indefinite, with entries of about one."""
    A = np.random.default_rng(0).standard_normal((N, N))
    return (A + A.T) / 2


def definite():
    """A positive definite one."""
    A = symmetric()
    return A @ A / N + np.eye(N)


def vectors(k=None, dtype="f8"):
    """One vector, or a block of k."""
    size = N if k is None else (N, k)
    return np.random.default_rng(5).standard_normal(size).astype(dtype)


class Solvers:
    """
    CuPy's solvers on our operator, beside dense NumPy.

    A module derives from this and has three fixtures: `solvers`, CuPy's module; `operator`, which
    makes a matrix an operator; `put`, which makes an array of NumPy one of CuPy's.
    """

    @pytest.mark.parametrize("name", ["cg", "minres", "gmres"])
    @PRECISIONS
    def test_systems(self, solvers, operator, put, name, dtype):
        """gmres hands the address of what it gets to cuBLAS; minres writes into it."""
        A = operator(definite(), dtype)
        b = vectors(dtype=A.dtype)
        tol = 1e-12 if dtype == torch.float64 else 1e-5
        options = {"tol" if name == "minres" else "rtol": tol}
        x, info = getattr(solvers, name)(A, put(b), **options)
        assert info == 0
        expected = np.linalg.solve(definite(), b)
        error = np.linalg.norm(x.get() - expected) / np.linalg.norm(expected)
        assert error < (1e-10 if dtype == torch.float64 else 1e-3)

    @pytest.mark.parametrize("which", ["LM", "LA", "SA"])
    @PRECISIONS
    def test_eigsh(self, solvers, operator, put, which, dtype):
        """The solver's own Lanczos, in either precision."""
        w = np.linalg.eigvalsh(symmetric())
        expected = {"LA": w[-3:], "SA": w[:3], "LM": np.sort(w[np.argsort(np.abs(w))[-3:]])}[which]
        eps = float(torch.finfo(dtype).eps)
        A = operator(symmetric(), dtype)
        v0 = put(vectors(dtype=A.dtype))
        values, found = solvers.eigsh(A, k=3, which=which, v0=v0, tol=100 * eps, maxiter=2000)
        np.testing.assert_allclose(values.get(), expected, atol=2000 * eps)
        image = symmetric() @ found.get()
        np.testing.assert_allclose(image, found.get() * values.get(), atol=5000 * eps)

    @PRECISIONS
    def test_svds_of_a_multiple(self, solvers, operator, dtype):
        """By products with the adjoint, of which CuPy's own multiples have none."""
        A = -2 * operator(symmetric(), dtype)
        eps = float(torch.finfo(dtype).eps)
        u, s, vt = solvers.svds(A, k=3, tol=100 * eps, maxiter=2000)
        expected = 2 * np.sort(np.abs(np.linalg.eigvalsh(symmetric())))[-3:]
        np.testing.assert_allclose(np.sort(s.get()), expected, rtol=5000 * eps)
        image = -2 * symmetric() @ vt.get().T
        np.testing.assert_allclose(image, u.get() * s.get(), atol=1e4 * eps)

    @pytest.mark.parametrize("k", [1, 3, 20])
    @PRECISIONS
    def test_lobpcg(self, solvers, operator, put, k, dtype):
        """Blocks, single columns, and the identity where the block is wide."""
        A = operator(definite(), dtype)
        tol = 1e-8 if dtype == torch.float64 else 1e-3
        values, _ = solvers.lobpcg(A, put(vectors(k, A.dtype)), tol=tol, maxiter=400)
        expected = np.linalg.eigvalsh(definite())[::-1][:k]
        np.testing.assert_allclose(np.sort(values.get())[::-1], expected, atol=10 * tol)
