"""Ways to count the eigenvalues that a Lanczos sweep has found."""

from __future__ import annotations

import numpy as np

CLOSE = 1e-5  # the report's criterion


def found(w: np.ndarray, theta: np.ndarray, close: float = CLOSE) -> int:
    """
    How many of the eigenvalues w have a Ritz value of their own nearby; both ascending.

    Of a multiple eigenvalue each copy has to be found, and a ghost counts for nobody.
    """
    count = i = j = 0
    while i < len(w) and j < len(theta):
        if abs(w[i] - theta[j]) <= close:
            count, i, j = count + 1, i + 1, j + 1
        elif theta[j] < w[i]:
            j += 1
        else:
            i += 1
    return count


def seen(w: np.ndarray, theta: np.ndarray, close: float = CLOSE) -> int:
    """How many have any Ritz value nearby: one is enough for all copies."""
    return int((_distance(w, theta) <= close).sum())


def right(w: np.ndarray, theta: np.ndarray, close: float = CLOSE) -> int:
    """How many Ritz values have an eigenvalue nearby: ghosts count as well."""
    return int((_distance(theta, w) <= close).sum())


def copies(w: np.ndarray, theta: np.ndarray, close: float = CLOSE) -> int:
    """How many Ritz values are at one of the twenty outermost eigenvalues."""
    return right(np.sort(w[np.argsort(np.abs(w))[-20:]]), theta, close)


def from_the_ends(
    theta: np.ndarray, low: np.ndarray, high: np.ndarray, close: float = CLOSE
) -> int:
    """
    How many Ritz values agree one by one with the lowest and the highest eigenvalues.

    Counted inwards from either end as far as rank for rank agrees: inside a bulk, where
    eigenvalues are closer than the criterion, any Ritz value is near to some.
    """
    return _agreeing(theta, low, close) + _agreeing(-theta[::-1], -high[::-1], close)


def _agreeing(theta: np.ndarray, w: np.ndarray, close: float) -> int:
    count = min(len(theta), len(w))
    apart = np.abs(theta[:count] - w[:count]) > close
    return int(apart.argmax()) if apart.any() else count


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """From each x to the nearest y, which ascend."""
    after = np.searchsorted(y, x).clip(0, len(y) - 1)
    before = (after - 1).clip(0)
    return np.minimum(np.abs(x - y[after]), np.abs(x - y[before]))
