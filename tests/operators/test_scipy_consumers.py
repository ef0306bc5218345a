"""
SciPy's solvers take a HessianOperator and find what they find for the dense matrix.

They differ in what they send: views of a workspace, blocks, float64 to float32 operators, int8.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.optimize import minimize
from scipy.sparse.linalg import (
    LinearOperator,
    aslinearoperator,
    bicg,
    bicgstab,
    cg,
    cgs,
    eigsh,
    expm_multiply,
    gmres,
    lobpcg,
    lsmr,
    lsqr,
    minres,
    onenormest,
    qmr,
    svds,
)

import hessop
from hessop.operators import ProductOperator
from tests import oracles
from tests.models import PROBLEMS, Ridge, cut

EVERY = pytest.mark.parametrize("name", PROBLEMS)
SINGLE = np.finfo(np.float32).eps


@functools.cache
def dense(name):
    """The Hessian in float64, and its eigenvalues."""
    D = oracles.dense_hessian(*PROBLEMS[name]())
    return D, np.linalg.eigvalsh(D)


def hessian(name, dtype=torch.float64):
    """The operator, of two batches."""
    model, loss_fn, data = PROBLEMS[name](dtype)
    return hessop.HessianOperator(model, loss_fn, cut(data, 3))


def start(n, k=None, dtype=np.float64):
    """A start vector or block."""
    return np.random.default_rng(5).standard_normal(n if k is None else (n, k)).astype(dtype)


def definite(name, dtype=torch.float64):
    """H + c I, positive definite with a condition number of about ten; c."""
    w = dense(name)[1]
    c = -w[0] + 0.1 * (w[-1] - w[0])
    H = hessian(name, dtype)
    return H + aslinearoperator(c * np.eye(H.shape[0], dtype=H.dtype)), c


class TestEigenvalues:
    @EVERY
    @pytest.mark.parametrize("which", ["LA", "SA", "LM", "BE"])
    def test_eigsh(self, name, which):
        """ARPACK, by views of its workspace."""
        H, (D, w) = hessian(name), dense(name)
        values, vectors = eigsh(H, k=4, which=which, v0=start(len(D)))
        by_size = np.argsort(np.abs(w))
        index = {
            "LA": [-4, -3, -2, -1],
            "SA": [0, 1, 2, 3],
            "BE": [0, 1, -2, -1],
            "LM": np.sort(by_size[-4:]),
        }[which]
        np.testing.assert_allclose(values, w[index], atol=1e-11 * np.abs(w).max())
        np.testing.assert_allclose(D @ vectors, vectors * values, atol=1e-10 * np.abs(w).max())

    @EVERY
    def test_eigsh_in_single_precision(self, name):
        """float32 all the way."""
        H, (_, w) = hessian(name, torch.float32), dense(name)
        values, vectors = eigsh(H, k=3, which="LA", v0=start(len(w)))
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(values, w[-3:], atol=100 * SINGLE * np.abs(w).max())

    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_lobpcg(self, name, dtype):
        """Blocks, float64 ones to a float32 operator."""
        H, (_, w) = hessian(name, dtype), dense(name)
        tolerance = (1e-6 if dtype == torch.float64 else 1e-4) * np.abs(w).max()
        values, _ = lobpcg(H, start(len(w), 3), largest=True, tol=tolerance, maxiter=400)
        # The residual bounds the error of a value by its square over the gap; be generous.
        np.testing.assert_allclose(np.sort(values), w[-3:], atol=10 * tolerance)

    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_svds(self, name, dtype):
        """By products with H and H.H in turn."""
        H, (_, w) = hessian(name, dtype), dense(name)
        u, s, vt = svds(H, k=3, v0=start(len(w)))
        expected = np.sort(np.abs(w))[-3:]
        eps = 1e-10 if dtype == torch.float64 else 1e-4
        np.testing.assert_allclose(np.sort(s), expected, atol=eps * expected[-1])
        np.testing.assert_allclose(H @ vt.T, u * s, atol=10 * eps * expected[-1])

    @EVERY
    def test_svds_of_a_multiple(self, name):
        """Scaled operators have an adjoint too."""
        H, (_, w) = hessian(name), dense(name)
        s = svds(-2 * H, k=2, return_singular_vectors=False, v0=start(len(w)))
        np.testing.assert_allclose(np.sort(s), 2 * np.sort(np.abs(w))[-2:], rtol=1e-9)


class TestLinearSystems:
    @EVERY
    @pytest.mark.parametrize("solver", [cg, minres, gmres, bicg, bicgstab, cgs, qmr])
    def test_solvers(self, name, solver):
        """(H + c I) x = b."""
        A, c = definite(name)
        b = start(A.shape[0])
        options = {"rtol": 1e-11, "maxiter": 2000}
        if solver is gmres:
            options["restart"] = A.shape[0]
        x, info = solver(A, b, **options)
        assert info == 0
        expected = np.linalg.solve(dense(name)[0] + c * np.eye(len(b)), b)
        np.testing.assert_allclose(x, expected, atol=1e-7 * np.abs(expected).max())

    @EVERY
    @pytest.mark.parametrize("solver", [cg, minres, gmres])
    def test_solvers_in_single_precision(self, name, solver):
        """A float32 operator and a float32 right side."""
        A, c = definite(name, torch.float32)
        b = start(A.shape[0], dtype=np.float32)
        x, info = solver(A, b, rtol=1e-5)
        assert info == 0
        expected = np.linalg.solve(dense(name)[0] + c * np.eye(len(b)), b)
        assert np.linalg.norm(x - expected) < 1e-3 * np.linalg.norm(expected)

    @EVERY
    def test_minres_on_the_indefinite_hessian(self, name):
        """Without a shift where no eigenvalue is near zero, by a small one else."""
        D, w = dense(name)
        # Halfway between the two eigenvalues around zero that are farthest apart.
        inner = np.sort(np.r_[w[np.abs(w) < 0.5 * np.abs(w).max()], 0.0])
        gap = np.argmax(np.diff(inner))
        sigma = inner[gap : gap + 2].mean()
        A = hessian(name) - sigma * aslinearoperator(np.eye(len(w)))
        b = start(len(w))
        x, info = minres(A, b, rtol=1e-12, maxiter=5000)
        assert info == 0
        residual = np.linalg.norm(D @ x - sigma * x - b)
        assert residual < 1e-6 * np.linalg.norm(b)

    @EVERY
    @pytest.mark.parametrize("solver", [lsqr, lsmr])
    def test_least_squares(self, name, solver):
        """By products with both H and its adjoint."""
        A, c = definite(name)
        b = start(A.shape[0])
        tolerances = {"atol": 1e-13, "btol": 1e-13}
        x = solver(
            A, b, **tolerances, **({"iter_lim": 5000} if solver is lsqr else {"maxiter": 5000})
        )[0]
        expected = np.linalg.solve(dense(name)[0] + c * np.eye(len(b)), b)
        np.testing.assert_allclose(x, expected, atol=1e-7 * np.abs(expected).max())


class TestFunctions:
    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_expm_multiply(self, name, dtype):
        """exp(H) b, for a vector and a block; its trace is passed, so none is estimated."""
        H, (D, w) = hessian(name, dtype), dense(name)
        expected = scipy.linalg.expm(D)
        for B in (start(len(w)), start(len(w), 2)):
            result = expm_multiply(H, B, traceA=np.trace(D))
            tolerance = 1e-10 if dtype == torch.float64 else 1e-4
            np.testing.assert_allclose(
                result, expected @ B, atol=tolerance * np.abs(expected @ B).max()
            )

    @EVERY
    def test_gradient_flow(self, name):
        """exp(-t H) b, of a scaled operator."""
        H, (D, w) = hessian(name), dense(name)
        b = start(len(w))
        result = expm_multiply(-0.5 * H, b, traceA=-0.5 * np.trace(D))
        np.testing.assert_allclose(result, scipy.linalg.expm(-0.5 * D) @ b, rtol=1e-9, atol=1e-9)

    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_onenormest(self, name, dtype):
        """A lower bound of the 1-norm, nearly always the norm itself."""
        H, (D, _) = hessian(name, dtype), dense(name)
        norm = np.abs(D).sum(axis=0).max()
        estimate, v, w = onenormest(H, t=4, compute_v=True, compute_w=True)
        assert norm / 3 <= estimate <= norm * (1 + 100 * SINGLE)
        np.testing.assert_allclose(H @ v, w, atol=1e-5 * norm)

    @EVERY
    def test_composed_by_scipy(self, name):
        """H in a polynomial of SciPy's operators."""
        H, (D, w) = hessian(name), dense(name)
        identity = aslinearoperator(np.eye(len(w)))
        A = (H @ H - 0.5 * H) @ H.T + 2 * identity - H**2
        b = start(len(w))
        expected = D @ D @ D - 1.5 * D @ D + 2 * np.eye(len(w))
        np.testing.assert_allclose(A @ b, expected @ b, atol=1e-11 * np.abs(expected).max())
        np.testing.assert_allclose(A.H @ b, expected @ b, atol=1e-11 * np.abs(expected).max())
        assert not isinstance(A, ProductOperator)
        assert isinstance(A, LinearOperator)


class TestMinimize:
    @EVERY
    @pytest.mark.parametrize("method", ["trust-krylov", "trust-ncg", "Newton-CG"])
    def test_a_quadratic_model(self, name, method):
        """The second-order model of the loss, made convex by a shift: g . x + x . A x / 2."""
        A, c = definite(name)
        g = hessian(name).gradient()
        result = minimize(
            lambda x: g @ x + 0.5 * x @ (A @ x),
            np.zeros_like(g),
            jac=lambda x: g + A @ x,
            hessp=lambda x, p: A @ p,
            method=method,
        )
        expected = np.linalg.solve(dense(name)[0] + c * np.eye(len(g)), -g)
        np.testing.assert_allclose(result.x, expected, atol=1e-4 * np.abs(expected).max() + 1e-5)

    @pytest.mark.parametrize("name", ["mlp", "tied", "regression"])
    @pytest.mark.parametrize(
        ("method", "form"),
        [("trust-krylov", "hessp"), ("Newton-CG", "hessp"), ("Newton-CG", "hess")],
    )
    def test_training_a_network(self, name, method, form):
        """The loss itself: the operator follows the parameters that the optimizer sets."""
        model, loss_fn, data = PROBLEMS[name]()
        penalised = Ridge(model, loss_fn, 0.1)
        H = hessop.HessianOperator(model, penalised, cut(data, 3))
        parameters = dict(model.named_parameters())

        def at(theta):
            with torch.no_grad():
                for n, value in H.unflatten(theta).items():
                    parameters[n].copy_(torch.from_numpy(value))
            return H

        second = {
            "hessp": {"hessp": lambda theta, p: at(theta) @ p},
            "hess": {"hess": at},
        }[form]
        theta = H.flatten({n: p.detach().numpy() for n, p in parameters.items()})
        before = at(theta).loss()
        result = minimize(
            lambda theta: at(theta).loss(),
            theta,
            jac=lambda theta: at(theta).gradient(),
            method=method,
            options={"maxiter": 200},
            **second,
        )
        assert result.fun < before - 1e-3
        assert np.linalg.norm(at(result.x).gradient()) < 1e-3
        w = np.linalg.eigvalsh(oracles.matrix(at(result.x)))
        assert w[0] > -1e-3
