"""What cannot be told from nothing in a sweep, and where that comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hessop import _validation

# What is left after orthogonalisation counts as nothing below this multiple of eps * scale.
_BREAKDOWN = 10.0
# Each restart rounds all rows, to about this multiple of eps; it adds up at random.
_RESTART = 5.0
# Asymmetry beyond this, or this multiple of the known noise, is none of a symmetric operator.
_ASYMMETRY, _FLOORS = 1e-2, 30.0


@dataclass
class Rounding:
    """
    The size of an operator, and the noise of what is done with it.

    Attributes
    ----------
    eps : float
        The unit of rounding of the vectors.
    floor : float
        What is known of the products' noise, or that of the basis, relative to `scale`.
    scale : float
        The largest ``||A v||`` so far, a lower bound of ``||A||``.
    error : float
        The largest norm of coefficients that symmetry says are zero: asymmetry and noise, and
        what a semi-orthogonal basis has lost of its orthogonality.
    restarts : int
        How often all rows were recombined.
    """

    eps: float
    floor: float
    scale: float = 0.0
    error: float = 0.0
    restarts: int = 0

    @property
    def noise(self) -> float:
        """All of it, relative to `scale`."""
        seen = self.error / self.scale if self.scale else 0.0
        rounding = _BREAKDOWN + _RESTART * math.sqrt(self.restarts)
        return max(rounding * self.eps, self.floor, seen)

    @property
    def nothing(self) -> float:
        """What is left over below this is rounding."""
        return _BREAKDOWN * self.eps * self.scale

    def see(self, zeros: NDArray[np.float64]) -> None:
        """Learn from coefficients that symmetry says are zero."""
        error = math.hypot(*zeros)
        if error > max(_ASYMMETRY, _FLOORS * self.floor) * self.scale:
            raise _validation.not_symmetric("A", error / self.scale)
        self.error = max(self.error, error)
