"""A complex Hermitian operator as a real symmetric one of twice the size."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from hessop.krylov.wanted import Which, ranking

# What is left of ix beside x is the error of either.
_SAME = 1e-3


def real_form(A: Any) -> LinearOperator:
    """
    ``[[Re A, -Im A], [Im A, Re A]]`` on ``[Re x; Im x]``.

    Each eigenvalue of A is there twice, with the vectors x and ix.
    """
    n = A.shape[0]

    def multiply(x: Any) -> NDArray[Any]:
        x = np.ravel(x)
        y = np.ravel(A.matvec(x[:n] + 1j * x[n:]))
        return np.concatenate([y.real, y.imag])

    return LinearOperator((2 * n, 2 * n), multiply, dtype=np.zeros(0, A.dtype).real.dtype)


def complex_pairs(
    A: Any, v: NDArray[Any], k: int, which: Which
) -> tuple[NDArray[np.float64], NDArray[np.complexfloating[Any, Any]], NDArray[np.float64]]:
    """
    The k most wanted eigenpairs of A in the span of vectors of its real form, and residuals.

    Of each pair x and ix one is left; there may be more than k, where the real set cuts through a
    tie. A product each.
    """
    n = A.shape[0]
    Q, R, _ = scipy.linalg.qr(v[:n] + 1j * v[n:], mode="economic", pivoting=True)
    sizes = np.abs(np.diag(R))
    Q = Q[:, sizes > _SAME * sizes.max(initial=0.0)]
    images = np.column_stack([np.ravel(A.matvec(q)) for q in Q.T])
    H = Q.conj().T @ images
    w, Y = scipy.linalg.eigh((H + H.conj().T) / 2)
    chosen = np.sort(ranking(w, which)[:k])
    w, x = w[chosen], Q @ Y[:, chosen]
    residuals = np.linalg.norm(images @ Y[:, chosen] - w * x, axis=0)
    return w, x.astype(A.dtype), residuals
