"""Eigensolvers on one Hessian, each handed the same products, which are counted and timed."""

from __future__ import annotations

import importlib.util
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, eigsh, lobpcg

import hessop


class GaveUpError(Exception):
    """A solver had its share of products."""


class Counted:
    """A Hessian whose products are counted and timed, and refused after `most` of them."""

    def __init__(self, H: hessop.HessianOperator, most: float = math.inf) -> None:
        self.inner = H
        self.most = most
        self.count = 0
        self.seconds = 0.0
        self.operator = hessop.TorchOperator(self.multiply, H.shape[0], dtype=H.product.dtype)

    def multiply(self, X: torch.Tensor) -> torch.Tensor:
        """Columns to columns."""
        if self.count >= self.most:
            raise GaveUpError
        started = time.perf_counter()
        out = self.inner.product.matmat(X.T.contiguous()).T
        self.seconds += time.perf_counter() - started
        self.count += X.shape[1]
        return out


Solver = Callable[[Counted, int, float], Any]
"""Eigenvalues of largest magnitude to a residual of ``tol * max|w|``; None where it gave up."""


def ours(A: Counted, k: int, tol: float) -> Any:
    """hessop, as it is by default."""
    return hessop.lanczos(A.operator, k, tol=tol, rng=0).eigenvalues


def ours_unchecked(A: Counted, k: int, tol: float) -> Any:
    """hessop without the check for completeness."""
    return hessop.lanczos(A.operator, k, tol=tol, rng=0, verify=False).eigenvalues


def scipys(wide: bool) -> Solver:
    """SciPy's eigsh; `wide` with twice the basis."""

    def solve(A: Counted, k: int, tol: float) -> Any:
        n = A.operator.shape[0]
        ncv = min(n, 2 * max(2 * k + 1, 20)) if wide else None
        v0 = np.random.default_rng(0).standard_normal(n).astype(A.operator.dtype)
        try:
            return eigsh(A.operator, k, tol=tol, ncv=ncv, v0=v0, return_eigenvectors=True)[0]
        except ArpackNoConvergence:
            return None

    return solve


def scipys_lobpcg(A: Counted, k: int, tol: float) -> Any:
    """SciPy's lobpcg, which takes an absolute residual and the largest algebraic end."""
    n = A.operator.shape[0]
    X = np.random.default_rng(0).standard_normal((n, k)).astype(A.operator.dtype)
    scale = float(np.abs(eigsh(A.inner, 1, tol=1e-2, return_eigenvectors=False)).max())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge is seen from the values
        return lobpcg(A.operator, X, tol=tol * scale, maxiter=10_000)[0]


def primmes(A: Counted, k: int, tol: float) -> Any:
    """PRIMME's eigsh, whose tolerance is relative to the norm of A."""
    import primme

    return primme.eigsh(A.operator, k, tol=tol, which="LM")[0]


def eigenthings(A: Counted, k: int, tol: float) -> Any:
    """hessian-eigenthings, which does not restart: twice the steps until it has converged."""
    import hessian_eigenthings as he
    from hessian_eigenthings.operators.base import LambdaOperator

    n, product = A.operator.shape[0], A.operator.product
    operator = LambdaOperator(lambda v: product.matmat(v[None])[0], n, dtype=product.dtype)
    steps = max(20, 2 * k)
    while steps <= min(n, 1280):
        found = he.lanczos(operator, k=k, max_iter=steps, tol=tol, reorthogonalize=True, seed=0)
        if bool((found.residuals <= tol * found.eigenvalues.abs().max()).all()):
            return found.eigenvalues.numpy()
        steps *= 2
    return None


def power(A: Counted, k: int, tol: float) -> Any:
    """Deflated power iteration, PyHessian's algorithm, to the same residual."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hessop.ConvergenceWarning)
        found = hessop.deflated_power_iteration(A.operator, k, tol=tol, maxiter=10_000, rng=0)
    return found.eigenvalues if found.converged.all() else None


def solvers() -> dict[str, Solver]:
    """What is installed."""
    found: dict[str, Solver] = {
        "hessop.lanczos": ours,
        "hessop.lanczos, verify=False": ours_unchecked,
        "scipy eigsh": scipys(wide=False),
        "scipy eigsh, ncv x 2": scipys(wide=True),
        "scipy lobpcg": scipys_lobpcg,
        "power iteration (as PyHessian)": power,
    }
    if importlib.util.find_spec("primme"):
        found["PRIMME"] = primmes
    if importlib.util.find_spec("hessian_eigenthings"):
        found["hessian-eigenthings 1.0.0a5"] = eigenthings
    return found
