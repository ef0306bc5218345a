"""What a row of the compatibility matrix is: something that uses an operator, or refuses one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse import eye_array

import hessop

Use = Callable[[Any, np.ndarray], Any]
"""Of an operator and a vector of its dtype."""

Expected = Callable[[np.ndarray, np.ndarray], Any]
"""The same of the dense float64 matrix."""


@dataclass(frozen=True)
class Consumer:
    """
    A call that takes an operator, and what it must give, up to a part of the largest entry.

    `damped` consumers get ``A + c I``, positive definite with a condition number of about ten.
    `single` is None where float32 is not what is to be tested, as the page says; `since` is a
    version of what it `needs`.
    """

    name: str
    use: Use
    expected: Expected
    damped: bool = False
    double: float = 1e-8
    single: float | None = 1e-3
    needs: str = "scipy"
    since: str | None = None


@dataclass(frozen=True)
class Refusal:
    """A call that takes no operator, the error that says so, and what to do instead."""

    name: str
    use: Use
    error: type[Exception]
    match: str
    instead: str
    needs: str = "scipy"


def identity(A: Any) -> Any:
    """The identity beside `A`, as the page makes it."""
    return hessop.aslinearoperator(eye_array(A.shape[0], dtype=A.dtype))


def truncated(which: str, k: int) -> Expected:
    """The part of `k` eigenpairs, ``sum of w v v^T``: values and vectors in one, without signs."""

    def part(D: np.ndarray, b: np.ndarray) -> np.ndarray:
        w, v = np.linalg.eigh(D)
        order = {"LA": np.argsort(w), "LM": np.argsort(np.abs(w)), "SA": np.argsort(-w)}[which]
        kept = order[-k:]
        return (v[:, kept] * w[kept]) @ v[:, kept].T

    return part


def again(w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The same of found pairs."""
    return (v * w) @ v.conj().T


def solution(D: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``D x = b``."""
    return np.linalg.solve(D, b)


def minimiser(D: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of ``b . x + x . D x / 2``."""
    return np.linalg.solve(D, -b)


def exponential(D: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``exp(D) b``."""
    return scipy.linalg.expm(D) @ b
