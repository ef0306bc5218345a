"""Which eigenvalues are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _validation

WHICH = ("LM", "LA", "SA", "BE")

Which = str | Callable[[NDArray[np.float64]], Any]
"""One of `WHICH`, or a function that gives each of some values a score: high is wanted."""


@dataclass(frozen=True)
class Nearest:
    """Scores values by how near they are to `sigma`."""

    sigma: float

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Minus the distance."""
        return -np.abs(theta - self.sigma)


def wanted(which: Any, sigma: float | None = None) -> Which:
    """The gate of `which` and `sigma`."""
    if sigma is not None:
        return Nearest(_validation.number("sigma", sigma, -np.inf))
    if isinstance(which, str) and which == "SM":
        return Nearest(0.0)
    if callable(which):
        scores = np.asarray(which(np.array([-1.0, 0.0, 1.0])))
        if scores.shape != (3,) or scores.dtype.kind not in "fiub":
            raise ValueError(
                _validation.message(
                    "which",
                    "give a real score for each of an array of values, where it is callable",
                    f"{scores.dtype} of shape {scores.shape} for 3 values",
                )
            )
        return which  # type: ignore[no-any-return]
    chosen: str = _validation.choice("which", which, (*WHICH, "SM"))
    return chosen


def ranking(theta: NDArray[np.float64], which: Which) -> NDArray[np.intp]:
    """Indices of ascending values, the most wanted first."""
    m = len(theta)
    if callable(which):
        return np.argsort(-np.asarray(which(theta), dtype=np.float64), kind="stable")
    if which == "LA":
        return np.arange(m)[::-1]
    if which == "SA":
        return np.arange(m)
    if which == "LM":
        return np.argsort(-np.abs(theta), kind="stable")
    # BE: from both ends in turn, the high end first: eigsh takes one more from it for odd k
    ends = np.empty(m, dtype=np.intp)
    ends[::2] = np.arange(m)[::-1][: (m + 1) // 2]
    ends[1::2] = np.arange(m)[: m // 2]
    return ends


def keys(theta: NDArray[np.float64], which: Which) -> NDArray[np.float64]:
    """What the ranking goes by, ascending: under LM, a pair of opposite sign is a tie."""
    if isinstance(which, Nearest):
        return np.sort(-which(theta))
    return np.sort(np.abs(theta) if which == "LM" else theta)


def borders(chosen: NDArray[np.float64], which: Which) -> tuple[float | None, float | None]:
    """
    Below the first, and above the second, a value would be wanted more than one of `chosen`.

    None where no value would, and for both where what is wanted has no such border.
    """
    ordered = np.sort(chosen)
    if which == "LA":
        return None, float(ordered[0])
    if which == "SA":
        return float(ordered[-1]), None
    if which == "LM":
        smallest = float(np.abs(ordered).min())
        return -smallest, smallest
    if which == "BE":
        low = len(ordered) // 2
        return (float(ordered[low - 1]) if low else None), float(ordered[low])
    return None, None
