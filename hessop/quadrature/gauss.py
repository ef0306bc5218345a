"""Gauss quadrature from a tridiagonal matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal


def rule(
    alpha: NDArray[np.float64], beta: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Nodes and weights of the rule that a Lanczos sweep from a unit vector z defines.

    ``sum_k w_k f(theta_k)`` is ``z^T f(A) z``, exactly for polynomials of degree ``2 m - 1``.
    The weights are the squared first components of the eigenvectors, once (Golub and Welsch
    1969); they sum to 1.
    """
    theta, Y = eigh_tridiagonal(alpha, beta[: len(alpha) - 1])
    return theta, Y[0] ** 2


def padded(
    rules: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Rules of unequal length as two arrays (probes, m).

    A shorter rule repeats its last node with weight 0, where any f can be evaluated.
    """
    m = max(len(theta) for theta, _ in rules)
    nodes = np.array([np.pad(theta, (0, m - len(theta)), mode="edge") for theta, _ in rules])
    weights = np.array([np.pad(w, (0, m - len(w))) for _, w in rules])
    return nodes, weights
