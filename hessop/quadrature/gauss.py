"""Gauss quadrature from a tridiagonal matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

Rule = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Nodes, ascending, and weights."""


def rule(alpha: NDArray[np.float64], beta: NDArray[np.float64]) -> Rule:
    """
    Nodes and weights of the rule that a Lanczos sweep from a unit vector z defines.

    ``sum_k w_k f(theta_k)`` is ``z^T f(A) z``, exactly for polynomials of degree ``2 m - 1``.
    The weights are the squared first components of the eigenvectors, once (Golub and Welsch
    1969); they sum to 1.
    """
    theta, Y = eigh_tridiagonal(alpha, beta[: len(alpha) - 1])
    return theta, Y[0] ** 2


def padded(
    rules: list[Rule],
) -> Rule:
    """
    Rules of unequal length as two arrays (probes, m).

    A shorter rule repeats its last node with weight 0, where any f can be evaluated.
    """
    m = max(len(theta) for theta, _ in rules)
    nodes = np.array([np.pad(theta, (0, m - len(theta)), mode="edge") for theta, _ in rules])
    weights = np.array([np.pad(w, (0, m - len(w))) for _, w in rules])
    return nodes, weights


def cumulative(
    nodes: NDArray[np.float64], weights: NDArray[np.float64], x: float, *, below: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """
    A lower bound, a value and an upper bound for the measure of ``(-inf, x]``, for each rule.

    The sum of the weights of k nodes lies between the measure up to the k-th and that up to the
    next, that one excluded (the separation theorem of Chebyshev, Markov and Stieltjes): with k
    nodes up to x, k - 1 weights bound it from below and k + 1 from above. With `below`, x itself
    does not belong to it.

    Parameters
    ----------
    nodes, weights : ndarray, shape (probes, m)
        Of each rule.
    x : float
        Where.
    below : bool, optional
        Whether to leave x out.
    """
    count = np.sum(nodes < x if below else nodes <= x, axis=1)
    sums = np.concatenate([np.zeros((len(nodes), 1)), np.cumsum(weights, axis=1)], axis=1)
    # the last sum is 1 but for rounding, and so is everything beyond the last node
    m = nodes.shape[1]
    low, middle, high = (
        sums[np.arange(len(nodes)), np.clip(count + shift, 0, m)] for shift in (-1, 0, 1)
    )
    return np.where(np.isposinf(x), middle, low), middle, np.where(np.isneginf(x), 0.0, high)
