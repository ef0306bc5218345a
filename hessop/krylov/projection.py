"""The coefficients of a sweep: what is known of ``V A V^T``."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Row:
    """
    What is known of one row of the projection ``V A V^T``.

    Attributes
    ----------
    alpha : float or None
        Its diagonal coefficient; None while the row waits to be multiplied.
    start, coupling : int, ndarray
        Its coefficients on the rows ``start, start + 1, ...`` that were multiplied before it.
    """

    alpha: float | None = None
    start: int = 0
    coupling: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def couple(self, row: int, value: float) -> None:
        """Note the coefficient on one more row."""
        end = self.start + len(self.coupling)
        first, last = (
            (min(row, self.start), max(row + 1, end)) if end > self.start else (row, row + 1)
        )
        wider = np.zeros(last - first)
        wider[self.start - first : end - first] = self.coupling
        wider[row - first] = value
        self.start, self.coupling = first, wider


def matrices(
    rows: list[Row], waiting: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T, (E, E), and C, (P, E), where P are the rows that wait and E the others."""
    full = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        full[i, row.start : row.start + len(row.coupling)] = row.coupling
    full += full.T  # each coefficient is held by one of its two rows
    done = [i for i, row in enumerate(rows) if row.alpha is not None]
    T = full[np.ix_(done, done)]
    T[np.diag_indices_from(T)] = [rows[i].alpha for i in done]
    return T, full[np.ix_(waiting, done)]


def tridiagonal(
    rows: list[Row], leftover: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Alpha and beta, each (m,), of rows that were multiplied one after the other.

    ``beta[j]`` couples row j to row j + 1, 0 where that is a fresh direction; the last one is the
    norm of what is left over.
    """
    alpha = np.array([row.alpha for row in rows if row.alpha is not None], dtype=np.float64)
    beta = [float(row.coupling[-1]) if len(row.coupling) else 0.0 for row in rows[1:]]
    return alpha, np.array([*beta[: len(alpha) - 1], leftover])
