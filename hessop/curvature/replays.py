"""Recorded products captured in CUDA graphs, and when that is worth it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from hessop import _graphs
from hessop._memory import out_of_memory
from hessop.curvature.layout import Subset
from hessop.curvature.store import Store
from hessop.curvature.ways import Planner

T = TypeVar("T")
Multiply = Callable[..., torch.Tensor]
"""``multiply(V, subset)``: rows over a subset of the parameters."""

# A graph keeps the memory of one product for itself; so many are kept.
_MOST = 16


class Replays:
    """
    Multiplies rows by what was captured, or is captured the second time it is asked for.

    Parameters
    ----------
    store : Store
        The batches, of which all have to be recorded.
    planner : Planner
        How products are computed.
    """

    def __init__(self, store: Store, planner: Planner) -> None:
        self._store = store
        self._planner = planner
        self.forget()

    def __getstate__(self) -> dict[str, object]:
        """Everything but what was captured."""
        return {**self.__dict__, "_captured": {}, "_seen": set(), "_of": None}

    def forget(self) -> None:
        """Drop what was captured."""
        self._captured: dict[object, _graphs.Replay[torch.Tensor]] = {}
        self._seen: set[object] = set()
        self._of = self._store.built_from

    def __call__(self, V: torch.Tensor, subset: Subset, multiply: Multiply) -> torch.Tensor:
        """
        What `multiply` gives for rows over a subset of the parameters.

        It is handed to each call, and not kept: it belongs to the product that owns this.
        """
        if self._of is not self._store.built_from:
            self.forget()
        if not self._wanted():
            return multiply(V, subset)
        width, done, out = self._planner.width, 0, torch.empty_like(V)
        while done < len(V):
            rows = width if width <= len(V) - done else 1
            out[done : done + rows] = self._few(V[done : done + rows], subset, multiply)
            done += rows
        return out

    def _wanted(self) -> bool:
        """Whether launches take long enough to be worth it, and can be captured."""
        here = _graphs.possible(self._store.objective.space.device)
        return here and self._planner.launch_bound and self._store.recorded

    def _few(self, V: torch.Tensor, subset: Subset, multiply: Multiply) -> torch.Tensor:
        """One row or one block; its second time it is captured, when all that it needs is there."""
        key = (self._planner.stage, self._planner.width, len(V), subset.indices)
        run = self._captured.get(key)
        if run is not None:
            return run(V)
        if key in self._seen and len(self._captured) < _MOST and self._planner.launch_bound:
            one = partial(multiply, subset=subset)
            run = tried(self._planner, lambda: _graphs.Replay(one, [V]))
            if run is not None:
                self._captured[key] = run
                return run(V)
        self._seen.add(key)
        return multiply(V, subset)


def tried(planner: Planner, make: Callable[[], T]) -> T | None:
    """What was captured; None, and no attempt from then on, where something cannot be."""
    try:
        return make()
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        planner.refuse_graphs(f"{type(error).__name__}: {str(error)[:200]}")
        return None
