"""A check in progress that nothing was missed, and what it proves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hessop.krylov.sweep import Sweep
from hessop.krylov.wanted import Which, keys, ranking

SHARE, STEPS = 0.2, 15
"""
A check spends this share of the products, or this many where that is more; up to twice as much
where it is about to show something.
"""

SURE = 1e-3
"""After a start that says little, a check goes on until a miss is as improbable as this."""


def room(k: int, n: int) -> int:
    """The rows that it takes to hold k pairs and follow a fresh direction."""
    return min(k + STEPS, n)


@dataclass
class Audit:
    """
    A check in progress.

    Attributes
    ----------
    keys, values : ndarray, shape (k,)
        What the set under audit ranks by, and the set.
    largest : float
        The largest Ritz value in magnitude.
    begun, end, latest : int
        The number of products when it began, at which it is over, and at which it must be.
    set_aside : int
        Rows that waited when it began, and still do.
    first : int
        The row of the fresh direction; those of its Krylov space come after it. Beyond all rows
        once a restart has mixed them with the others.
    settled : int
        How many Ritz values outside the set had settled when it began, and are still kept.
    """

    keys: NDArray[np.float64]
    values: NDArray[np.float64]
    largest: float
    begun: int
    end: int
    latest: int
    set_aside: int
    first: int
    settled: int

    def agrees(self, theta: NDArray[np.float64], which: Which, slack: float) -> bool:
        """Whether the most wanted of some ascending values are still those under audit."""
        best = theta[ranking(theta, which)[: len(self.keys)]]
        return bool((np.abs(keys(best, which) - self.keys) <= slack).all())


def may_enter(
    theta: NDArray[np.float64],
    residuals: NDArray[np.float64],
    border: tuple[float | None, float | None],
    slack: float,
) -> NDArray[np.bool_]:
    """
    Which values may, within their residuals, cross a border; what lies at one is a tie.

    An eigenvalue that was missed shows itself in a residual that grows, some steps before its
    value passes the border.
    """
    low, high = border
    enters = np.zeros(len(theta), dtype=bool)
    if high is not None:
        enters |= (theta < high - slack) & (theta + residuals > high + slack)
    if low is not None:
        enters |= (theta > low + slack) & (theta - residuals < low - slack)
    return enters


def miss_probability(sweep: Sweep, first: int, border: tuple[float | None, float | None]) -> float:
    """
    A bound on the probability that the rows from `first` on do not show what was missed.

    They are a Lanczos process with a random start for the operator on the complement of the rows
    before. If it had an eigenvalue beyond a border, its largest Ritz value after m steps would
    lie so far below only with a probability of at most ``1.648 sqrt(n) exp(-(2m - 1) sqrt(e))``,
    where e is the distance from the border relative to the spread (Kuczynski and Wozniakowski,
    SIAM J. Matrix Anal. Appl. 13, 1992, Theorem 4.2).

    Parameters
    ----------
    sweep : Sweep
        Where those rows are.
    first : int
        The row of the random start.
    border : tuple of float or None
        Below the first, and above the second, an eigenvalue would belong to the set.
    """
    T, _ = sweep.projection()
    mine = [i for i, row in enumerate(sweep.multiplied) if row >= first]
    if not mine or border == (None, None):
        return 1.0
    theta = np.linalg.eigvalsh(T[np.ix_(mine, mine)])
    low, high = border
    total = 0.0
    for edge, near, far in (
        (high, theta[-1], theta[0]),
        (None if low is None else -low, -theta[0], -theta[-1]),
    ):
        if edge is None:
            continue
        gap = (edge - near) / (edge - far) if edge > near else 0.0
        rate = (2 * len(theta) - 1) * math.sqrt(gap)
        total += 1.648 * math.sqrt(sweep.size) * math.exp(-rate)
    return min(1.0, total)
