"""What CuPy's solvers are given, on a GPU and over NumPy."""

from __future__ import annotations

import numpy as np

N = 60


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
