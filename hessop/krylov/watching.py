"""What is shown of a search while it goes on: to a callback, and as a bar."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _progress
from hessop.krylov.goal import Found
from hessop.krylov.restart import Search
from hessop.krylov.ritz import rayleigh_ritz


class LanczosState:
    """
    A Lanczos search after a step, as a callback sees it.

    Attributes
    ----------
    n_matvec : int
        Products spent so far.
    n_restart : int
        How often the basis was restarted.
    auditing : bool
        Whether the set has converged, and is being checked for completeness.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self.n_matvec = search.steps
        self.n_restart = search.sweep.restarts
        self.auditing = search.check.audit is not None

    @cached_property
    def _found(self) -> Found:
        return self._search.judge(rayleigh_ritz(self._search.sweep))[0]

    @property
    def ritz_values(self) -> NDArray[np.float64]:
        """
        The wanted Ritz values, ascending; fewer than k in the first steps.

        Looking costs a small eigenproblem, and no product.
        """
        return self._found.ritz.theta[np.sort(self._found.chosen)]

    @property
    def residuals(self) -> NDArray[np.float64]:
        """``||A v - w v||`` of each, by the Lanczos relation."""
        return self._found.ritz.residuals[np.sort(self._found.chosen)]

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
    """

    def __init__(self, callback: Callable[[LanczosState], Any] | None, progress: bool) -> None:
        self._callback = callback
        self._bar = _progress.counter("products") if progress else None
        self.stopped = False

    def __call__(self, search: Search) -> bool:
        """Show the search; whether it is to end."""
        if self._bar is not None:
            self._bar.update(search.steps - self._bar.n)
            self._bar.set_postfix(converged=f"{search.settled}/{search.goal.k}", refresh=False)
        self.stopped = self._callback is not None and bool(self._callback(LanczosState(search)))
        return self.stopped

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
