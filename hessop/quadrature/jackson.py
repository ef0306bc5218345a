"""Measures on [-1, 1] from Chebyshev moments, as cosine series that Jackson's kernel damps."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

# How far below zero, relative to its peak, the curve of a measure may be drawn by rounding and
# noise: products of half precision get near it.
_NEGATIVE = 0.02


def factors(degree: int) -> NDArray[np.float64]:
    """Jackson's factors of the moments 0 to `degree`: with them no expansion turns negative."""
    count = degree + 2
    j, angle = np.arange(degree + 1), np.pi / count
    damped: NDArray[np.float64] = (count - j) * np.cos(j * angle) + np.sin(j * angle) / np.tan(
        angle
    )
    return damped / count


def coefficients(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    The damped measure in the angle, as coefficients of cosines, times pi.

    Parameters
    ----------
    moments : ndarray, shape (degree + 1,)
        Undamped.
    """
    a = moments * factors(len(moments) - 1)
    a[1:] *= 2
    return a


def series(a: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The sum of ``a_j exp(i j angle)``: cosines in the real part, sines in the other."""
    total: NDArray[np.complex128] = polynomial.polyval(np.exp(1j * angle), a)
    return total


def is_measure(moments: NDArray[np.float64]) -> bool:
    """
    Whether the curve of these moments is that of a measure on [-1, 1], as far as can be seen.

    What lies outside makes it negative somewhere, long before a moment exceeds 1.
    """
    angles = np.linspace(0.0, np.pi, 4 * len(moments))
    curve = series(coefficients(moments), angles).real
    return bool(curve.min() >= -_NEGATIVE * curve.max())
