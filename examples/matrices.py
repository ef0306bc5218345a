"""Dense matrices whose eigenvalues are known."""

from __future__ import annotations

import numpy as np


def dense(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """
    A symmetric matrix with these eigenvalues and a uniformly random eigenbasis.

    `synthetic.operator` keeps most of its matrix on the diagonal, which random signs see exactly:
    an estimate of a trace would look better than it is.
    """
    Q, R = np.linalg.qr(rng.standard_normal((len(w), len(w))))
    Q *= np.sign(np.diag(R))
    A = (Q * w) @ Q.T
    return (A + A.T) / 2
