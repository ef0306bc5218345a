"""When further Lanczos steps change nothing that is seen at the resolution asked for."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from hessop.quadrature import gauss

_LOOKS = 200  # points where the curve is compared
_SHARE = 0.1  # of the tolerance is what steps may still change
_AGAIN = 2  # looks in succession that must agree


class Settled:
    """
    Asked now and then in the course of a block of sweeps.

    Compares the smoothed share of eigenvalues of one look with that of the look before. The
    kernel is as wide as that of the density with all its steps.

    Parameters
    ----------
    rtol : float
        What the error may be in all.
    ncv : int
        The most steps.
    """

    def __init__(self, rtol: float, ncv: int) -> None:
        self._limit = _SHARE * rtol
        self._ncv = ncv
        self._before: list[gauss.Swept] = []
        self._agreed = 0

    def __call__(self, sweeps: list[gauss.Swept]) -> bool:
        """Whether nothing new came, twice."""
        before, self._before = self._before, sweeps
        if not before:
            return False
        now = gauss.padded(sweeps)
        low, high = now.nodes.min(), now.nodes.max()
        x, width = np.linspace(low, high, _LOOKS), (high - low) / self._ncv
        if width == 0.0:
            return True
        change = _curve(now, x, width) - _curve(gauss.padded(before), x, width)
        self._agreed = self._agreed + 1 if np.abs(change).max() <= self._limit else 0
        return self._agreed >= _AGAIN


def _curve(table: gauss.Swept, x: gauss.Array, width: float) -> gauss.Array:
    """The smoothed share of eigenvalues up to x."""
    z = (x[:, None] - table.nodes.ravel()) / width
    share: gauss.Array = ndtr(z) @ table.weights.ravel() / len(table.nodes)
    return share
