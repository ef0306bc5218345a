"""How often a new Lanczos vector is orthogonalised against all earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Read on demand, for each reading is a transfer from the device: a step's alpha and beta before
# any pass, and its coupling to the row before (0 after a fresh start).
Coefficients = Callable[[], tuple[float, ...]]

METHODS = ("none", "full", "double", "selective")


class Constant:
    """
    The same number of passes at every step: none, full (one) or double (two).

    Attributes
    ----------
    count : int
        How many.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def passes(self, coefficients: Coefficients) -> int:
        """The number of passes, whatever the step."""
        return self.count

    def unconditional(self) -> Constant:
        """The same."""
        return self

    def state(self) -> dict[str, Any]:
        """What `restored` takes."""
        return {"passes": self.count}


class Selective:
    """
    Passes only where the estimated loss of orthogonality reaches ``sqrt(eps)``.

    Simon's recurrence (Linear Algebra Appl. 61, 1984) for the level ``omega[k]`` of
    ``v_k . v_{j+1}``. Semi-orthogonality, ``|v_i . v_j| <= sqrt(eps)``, is enough for a
    tridiagonal matrix that is the projection of the operator to rounding. Where the level is
    reached, this vector and the next are orthogonalised, twice.

    Parameters
    ----------
    eps : float
        Unit of the vectors' rounding.
    n : int
        Length of the vectors.
    """

    def __init__(self, eps: float, n: int) -> None:
        self._eps = eps
        self._local = eps * np.sqrt(n)  # what local orthogonalisation leaves
        self._alpha: list[float] = []
        self._beta: list[float] = []
        self._older: NDArray[np.float64] = np.zeros(0)  # omega_{j-1}
        self._newer: NDArray[np.float64] = np.ones(1)  # omega_j, with omega_jj = 1
        self._again = False

    def passes(self, coefficients: Coefficients) -> int:
        """Passes for the vector that a step leaves; reads the step's coefficients."""
        alpha, beta, coupling = coefficients()
        j = len(self._alpha)
        if coupling == 0.0 and j:  # a fresh direction, orthogonalised against everything
            self._older, self._newer = np.zeros(j), np.append(np.full(j, self._eps), 1.0)
        self._alpha.append(alpha)
        levels = self._advance(j, beta, coupling)
        due = bool(self._again or np.abs(levels[:-1]).max(initial=0.0) > np.sqrt(self._eps))
        if due:
            levels[:-1] = self._eps
        # Two in a row: the recurrence mixes the levels of two neighbours.
        self._again = due and not self._again
        self._beta.append(beta)
        self._older, self._newer = self._newer, levels
        return 2 if due else 0

    def unconditional(self) -> Constant:
        """Two passes at every step: the recurrence is for a tridiagonal matrix alone."""
        return Constant(2)

    def state(self) -> dict[str, Any]:
        """What `restored` takes."""
        return {
            "eps": self._eps,
            "alpha": self._alpha,
            "beta": self._beta,
            "older": self._older.tolist(),
            "newer": self._newer.tolist(),
            "again": self._again,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._alpha, self._beta = state["alpha"], state["beta"]
        self._older, self._newer = np.array(state["older"]), np.array(state["newer"])
        self._again = state["again"]

    def _advance(self, j: int, beta: float, coupling: float) -> NDArray[np.float64]:
        """Levels of the new vector against rows 0 to j, and 1 for itself."""
        levels = np.ones(j + 2)
        levels[j] = self._local
        if beta == 0.0:
            levels[: j + 1] = 1.0
            return levels
        alpha, off = np.array(self._alpha), np.array(self._beta[:j])
        rows = (alpha[:j] - alpha[j]) * self._newer[:j]
        rows += off * self._newer[1 : j + 1]
        rows[1:] += off[:-1] * self._newer[: j - 1]
        rows[: len(self._older)] -= coupling * self._older[:j]
        rounding = self._eps * (np.abs(off) + beta) * 2.0
        levels[:j] = (rows + np.copysign(rounding, rows)) / beta
        return levels


def restored(state: dict[str, Any], n: int) -> Constant | Selective:
    """The policy whose state that was."""
    if "passes" in state:
        return Constant(state["passes"])
    found = Selective(state["eps"], n)
    found.restore(state)
    return found


def policy(reorth: str, eps: float, n: int) -> Constant | Selective:
    """The policy for a name in `METHODS`."""
    if reorth == "selective":
        return Selective(eps, n)
    return Constant({"none": 0, "full": 1, "double": 2}[reorth])
