"""
SciPy's functions on the Hessians of many networks, where they do what is particular.

Views of a workspace, blocks, float64 to float32 operators, int8, parameters that move. Every
consumer with every kind of operator is in tests/pipelines.
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
    eigsh,
    expm_multiply,
    lobpcg,
    minres,
    onenormest,
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
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_lobpcg(self, name, dtype):
        """Blocks, float64 ones to a float32 operator."""
        H, (_, w) = hessian(name, dtype), dense(name)
        tolerance = (1e-6 if dtype == torch.float64 else 1e-4) * np.abs(w).max()
        values, _ = lobpcg(H, start(len(w), 3), largest=True, tol=tolerance, maxiter=400)
        # The residual bounds the error of a value by its square over the gap; be generous.
        np.testing.assert_allclose(np.sort(values), w[-3:], atol=10 * tolerance)

    @EVERY
    def test_svds_of_a_multiple(self, name):
        """Scaled operators have an adjoint too."""
        H, (_, w) = hessian(name), dense(name)
        s = svds(-2 * H, k=2, return_singular_vectors=False, v0=start(len(w)))
        np.testing.assert_allclose(np.sort(s), 2 * np.sort(np.abs(w))[-2:], rtol=1e-9)


class TestLinearSystems:
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
