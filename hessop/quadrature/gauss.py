"""Gauss quadrature from a tridiagonal matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

Array = NDArray[np.float64]

Rule = tuple[Array, Array]
"""Nodes, ascending, and weights."""


class Swept(NamedTuple):
    """
    What one Lanczos sweep gives, or a table of many of them.

    ``nodes`` and ``weights`` are its Gauss rule; an eigenvalue lies within ``residuals`` of each
    node. ``alpha`` and ``beta`` are the recurrence that it comes from, where the last of ``beta``
    is what was left over.
    """

    nodes: Array
    weights: Array
    residuals: Array
    alpha: Array
    beta: Array

    @property
    def exact(self) -> bool:
        """Whether nothing was left over: the rule is the measure itself."""
        return bool(self.beta[-1] == 0.0)


def rule(alpha: Array, beta: Array) -> Rule:
    """
    Nodes and weights of the rule that a Lanczos sweep from a unit vector z defines.

    ``sum_k w_k f(theta_k)`` is ``z^T f(A) z``, exactly for polynomials of degree ``2 m - 1``.
    The weights are the squared first components of the eigenvectors, once (Golub and Welsch
    1969); they sum to 1.
    """
    nodes, weights, _ = ritz(alpha, beta)
    return nodes, weights


def ritz(alpha: Array, beta: Array) -> tuple[Array, Array, Array]:
    """Ritz values, the weight of each, and the last components of the eigenvectors, squared."""
    theta, Y = eigh_tridiagonal(alpha, beta[: len(alpha) - 1])
    return theta, Y[0] ** 2, Y[-1] ** 2


def swept(alpha: Array, beta: Array, ghosts: float = 0.0) -> Swept:
    """
    The rule and its recurrence; nodes within `ghosts` of their neighbours become one.

    Without reorthogonalisation a converged eigenvalue comes back as further nodes that agree
    with it to rounding and share its weight (Greenbaum 1989): the sum is what it has.
    """
    nodes, weights, last = ritz(alpha, beta)
    residuals = beta[-1] * np.sqrt(last)
    starts = np.append(0, np.flatnonzero(np.diff(nodes) > ghosts) + 1) if ghosts else ()
    if 0 < len(starts) < len(nodes):
        # the first of each group, and the mean distance from it; none where all weights are zero
        firsts, sizes = nodes[starts], np.diff(np.append(starts, len(nodes)))
        moments = np.add.reduceat(weights * (nodes - np.repeat(firsts, sizes)), starts)
        weights = np.add.reduceat(weights, starts)
        nodes = firsts + np.divide(moments, weights, out=np.zeros_like(moments), where=weights > 0)
        residuals = np.minimum.reduceat(residuals, starts)
    return Swept(nodes, weights, residuals, alpha, beta)


def padded(sweeps: list[Swept]) -> Swept:
    """
    Sweeps of unequal length as arrays (probes, m).

    A shorter rule repeats its last node with weight 0, where any f can be evaluated. A shorter
    recurrence ends in NaN.
    """
    m = max(len(one.nodes) for one in sweeps)
    steps = max(len(one.alpha) for one in sweeps)

    def column(name: str, size: int, **pad: Any) -> Array:
        arrays = [getattr(one, name) for one in sweeps]
        return np.array([np.pad(a, (0, size - len(a)), **pad) for a in arrays])

    return Swept(
        column("nodes", m, mode="edge"),
        column("weights", m),
        column("residuals", m, mode="edge"),
        column("alpha", steps, constant_values=np.nan),
        column("beta", steps, constant_values=np.nan),
    )


def rows(table: Swept) -> list[Swept]:
    """What `padded` was made of, less nodes of no weight at the end."""
    found = []
    for nodes, weights, residuals, alpha, beta in zip(*table, strict=True):
        m = int(np.flatnonzero(weights).max()) + 1
        steps = int(np.count_nonzero(~np.isnan(alpha)))
        found.append(Swept(nodes[:m], weights[:m], residuals[:m], alpha[:steps], beta[:steps]))
    return found
