"""The small problem on the host: Ritz values, residuals, and which of them are wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import bandwidth, eigh, eigh_tridiagonal

from hessop.krylov.sweep import Sweep


@dataclass(frozen=True)
class Ritz:
    """
    The Rayleigh-Ritz pairs of a sweep's projection.

    Attributes
    ----------
    theta : ndarray, shape (m,)
        Ritz values, ascending.
    S : ndarray, shape (m, m)
        Row i holds the coefficients of Ritz vector i on the multiplied rows.
    leaks : ndarray, shape (p, m)
        What ``A y - theta y`` is on each of the rows that wait.
    """

    theta: NDArray[np.float64]
    S: NDArray[np.float64]
    leaks: NDArray[np.float64]

    @property
    def residuals(self) -> NDArray[np.float64]:
        """``||A y - theta y||`` by the Lanczos relation, shape (m,)."""
        norms: NDArray[np.float64] = np.linalg.norm(self.leaks, axis=0)
        return norms

    @property
    def largest(self) -> float:
        """The largest Ritz value in magnitude."""
        return float(np.abs(self.theta).max())


def rayleigh_ritz(sweep: Sweep) -> Ritz:
    """Solve the projected problem, in float64."""
    T, C = sweep.projection()
    if len(T) > 2 and max(bandwidth(T)) <= 1:
        theta, Y = eigh_tridiagonal(np.diag(T).copy(), np.diag(T, 1).copy())
    else:
        theta, Y = eigh(T, driver="evd")
    return Ritz(theta, Y.T, C @ Y)


def turn_to_leak_of(sweep: Sweep, ritz: Ritz, pairs: NDArray[np.bool_]) -> None:
    """Of the rows that wait, go on with the one on which these pairs have most."""
    if pairs.any() and sweep.waiting:
        leaks = np.abs(ritz.leaks[:, pairs]).max(axis=1)
        sweep.vector(sweep.waiting[int(np.argmax(leaks))])
