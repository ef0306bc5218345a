"""Recorded products captured in CUDA graphs, and when that is worth it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from hessop import _graphs
from hessop.curvature.layout import Subset
from hessop.curvature.store import Store
from hessop.curvature.ways import Planner

Multiply = Callable[..., torch.Tensor]
"""``multiply(V, subset)``: rows over a subset of the parameters."""

# So many graphs are kept; each has arguments and values of its own, the rest is shared.
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
        return {**self.__dict__, "_captured": {}, "_seen": set(), "_of": ()}

    def forget(self) -> None:
        """Drop what was captured."""
        self._captured: dict[object, _graphs.Replay] = {}
        self._seen: set[object] = set()
        self._of = self._present

    @property
    def _present(self) -> tuple[object, ...]:
        """What graphs are captured from: the tapes in use."""
        return self._store.built_from, self._planner.stage, self._planner.width

    def __call__(self, V: torch.Tensor, subset: Subset, multiply: Multiply) -> torch.Tensor:
        """
        What `multiply` gives for rows over a subset of the parameters.

        It is handed to each call, and not kept: it belongs to the product that owns this.
        """
        if self._of != self._present:
            self.forget()
        if not self._wanted():
            return multiply(V, subset)
        width, done, found = self._planner.width, 0, []
        while done < len(V):
            rows = width if width <= len(V) - done else 1
            found.append(self._few(V[done : done + rows], subset, multiply))
            done += rows
        return found[0] if len(found) == 1 else torch.cat(found)

    def _wanted(self) -> bool:
        """Whether launches take long enough to be worth it, and can be captured."""
        here = _graphs.possible(self._store.objective.space.device)
        return here and self._planner.launch_bound and self._store.recorded

    def _few(self, V: torch.Tensor, subset: Subset, multiply: Multiply) -> torch.Tensor:
        """One row or one block; its second time it is captured, when all that it needs is there."""
        key = (len(V), subset.indices)
        run = self._captured.get(key)
        if run is None and key in self._seen and len(self._captured) < _MOST:
            run = self._capture(key, V, partial(multiply, subset=subset))
        self._seen.add(key)
        if run is None:
            return multiply(V, subset)
        (found,) = run(V)
        assert found is not None
        return found

    def _capture(self, key: object, V: torch.Tensor, multiply: Multiply) -> _graphs.Replay | None:
        """A graph of the product; None where there is none, from now on."""
        if not self._planner.launch_bound:  # it has been refused for the row before
            return None
        try:
            self._captured[key] = _graphs.Replay(lambda V: (multiply(V),), [V])
        except _graphs.NotCapturedError as error:
            self._planner.refuse_graphs(str(error))
            return None
        return self._captured[key]
