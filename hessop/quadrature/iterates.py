"""The iterates f(T) e_1 of a growing tridiagonal matrix, and how much is missing of their limit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from hessop.quadrature.functions import Function, values

# Iterates that lie a delay apart and are compared.
COMPARED = 4
# Steps in a delay, at first; twice as many whenever ten of them are less than half of the steps.
_DELAY, _DELAYS = 4, 10
# The slowest convergence that is believed: by so much from delay to delay.
_SLOWEST = 0.95
# The rounding of the small problem, in float64.
_SMALL = 1e-15


class Iterate(NamedTuple):
    """Coefficients on the Lanczos vectors, and the norm of what rounding has done to them."""

    c: NDArray[np.float64]
    rounding: float


def iterate(
    f: Function, alpha: NDArray[np.float64], beta: NDArray[np.float64], noise: float, scale: float
) -> Iterate | ValueError:
    """That of a matrix with these coefficients, (m,) each, or what is wrong with f there."""
    theta, Y = eigh_tridiagonal(alpha, beta[: len(alpha) - 1])
    try:
        with np.errstate(all="ignore"):
            image = values(f, theta)
    except ValueError as error:
        return error
    return Iterate(Y @ (image * Y[0]), _sensitivity(theta, image, Y[0], noise + _SMALL, scale))


def delay(m: int) -> int:
    """Steps between iterates that are compared after m steps: a tenth to a twentieth of them."""
    return _DELAY << max(0, (m // (_DELAY * _DELAYS)).bit_length() - 1)


def missing(compared: Sequence[NDArray[np.float64]]) -> float:
    """
    How much is missing of the limit, from iterates a delay apart, the last one first.

    The larger of what two looks find: an iterate may pause.
    """
    moves = [
        float(np.linalg.norm(now - np.pad(before, (0, len(now) - len(before)))))
        for now, before in pairwise(compared)
    ]
    return max(_remainder(*pair) for pair in pairwise(moves))


def _remainder(last: float, before: float) -> float:
    """
    What is missing after two moves of an iterate.

    The last move, which is what was missing a delay ago; more where it is not much less than the
    one before it, by the sum of the geometric series.
    """
    ratio = min(last / before, _SLOWEST) if before else _SLOWEST
    return last * max(1.0, ratio / (1.0 - ratio))


def _sensitivity(
    theta: NDArray[np.float64],
    image: NDArray[np.float64],
    parts: NDArray[np.float64],
    noise: float,
    scale: float,
) -> float:
    """
    What noise of products, relative to the scale, does to an iterate, to first order.

    A perturbation goes through the chords of f between Ritz values: each part of the start vector
    is given the steepest one from its own.
    """
    gaps = np.maximum(np.abs(theta[:, None] - theta), noise * scale)
    chords = np.abs(image[:, None] - image) / np.where(gaps > 0, gaps, 1.0)
    moved = np.hypot(scale * chords.max(axis=1), image)
    return float(noise * np.linalg.norm(parts * moved))
