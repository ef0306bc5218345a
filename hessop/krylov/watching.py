"""What is shown of a search while it goes on: to a callback, and as a bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _progress, _validation
from hessop.krylov.goal import Found
from hessop.krylov.restart import Search
from hessop.krylov.ritz import rayleigh_ritz


class LanczosState:
    """
    A Lanczos search after a step, as a callback sees it.

    Where ``A - sigma`` is inverted, `n_matvec` counts solutions, and `residuals` are those of the
    inverse.

    Attributes
    ----------
    n_matvec : int
        Products spent so far.
    n_restart : int
        How often the basis was restarted.
    auditing : bool
        Whether the set has converged, and is being checked for completeness.
    ritz_values : ndarray, float64
        The wanted Ritz values, ascending; fewer than k in the first steps.
    residuals : ndarray, float64
        ``||A v - w v||`` of each, by the Lanczos relation.
    converged : ndarray, bool
        Which of them have converged.

    Notes
    -----
    The last three are computed when they are looked at: a small eigenproblem, and no product.
    """

    def __init__(self, search: Search, watcher: Watcher) -> None:
        self._search = search
        self._back = watcher.back
        self.n_matvec = watcher.before + search.steps
        self.n_restart = search.sweep.rounding.restarts
        self.auditing = search.check.audit is not None

    @cached_property
    def _found(self) -> Found:
        found = self._search.judge(rayleigh_ritz(self._search.sweep))[0]
        order = np.argsort(self._back(found.ritz.theta[found.chosen]), kind="stable")
        return replace(found, chosen=found.chosen[order])

    @property
    def ritz_values(self) -> NDArray[np.float64]:
        """The wanted Ritz values, ascending; fewer than k in the first steps."""
        return self._back(self._found.ritz.theta[self._found.chosen])

    @property
    def residuals(self) -> NDArray[np.float64]:
        """``||A v - w v||`` of each, by the Lanczos relation."""
        return self._found.ritz.residuals[self._found.chosen]

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which of them have converged."""
        return self.residuals <= self._found.limit


class Watcher:
    """
    What a search calls after each step.

    Attributes
    ----------
    stopped : bool
        Whether the callback asked for an end.
    before : int
        Products of an earlier search that this one goes on from.
    back : callable
        From the eigenvalues of what is multiplied with to those that are looked for.
    """

    def __init__(self, callback: Callable[[LanczosState], Any] | None, progress: bool) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(_validation.message("callback", "be a function", repr(callback)))
        self._callback = callback
        self._bar = _progress.counter("products") if progress else None
        self.stopped = False
        self.before = 0
        self.back: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda theta: theta

    def __call__(self, search: Search) -> bool:
        """Show the search; whether it is to end."""
        if self._bar is not None:
            self._bar.update(search.steps - self._bar.n)
            self._bar.set_postfix(converged=f"{search.settled}/{search.goal.k}", refresh=False)
        self.stopped = self._callback is not None and bool(
            self._callback(LanczosState(search, self))
        )
        return self.stopped

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
