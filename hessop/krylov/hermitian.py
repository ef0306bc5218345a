"""A complex Hermitian operator as a real symmetric one of twice the size."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator


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
    A: Any, v: NDArray[Any], k: int
) -> tuple[NDArray[np.float64], NDArray[np.complexfloating[Any, Any]]]:
    """The k eigenpairs of A in the span of 2 k vectors of its real form; k products."""
    n = A.shape[0]
    Z = v[:n] + 1j * v[n:]
    Q = scipy.linalg.qr(Z, mode="economic", pivoting=True)[0][:, :k]
    images = np.column_stack([np.ravel(A.matvec(q)) for q in Q.T])
    H = Q.conj().T @ images
    w, Y = scipy.linalg.eigh((H + H.conj().T) / 2)
    return w, (Q @ Y).astype(A.dtype)
