"""What every product over batches does: keep, improve, report, and take a step back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

import torch

from hessop import _exchange, _graphs
from hessop._memory import out_of_memory
from hessop._precision import float32_precision
from hessop._product import Product
from hessop.curvature.guards import recording
from hessop.curvature.layout import Subset
from hessop.curvature.objective import Objective
from hessop.curvature.replays import Replays
from hessop.curvature.report import Report, report_of
from hessop.curvature.store import Store
from hessop.curvature.upgrade import now, upgrade, widen
from hessop.curvature.ways import Planner

T = TypeVar("T")


class BatchedProduct(Product):
    """
    A product that is made of linear maps of batches.

    Parameters
    ----------
    objective : Objective
        Model and parameters.
    n : int
        Length of a vector.
    store : Store
        The batches.
    """

    def __init__(self, objective: Objective, n: int, store: Store) -> None:
        space = objective.space
        super().__init__(n, _exchange.face_dtype(space.dtype), space.device)
        self.objective = objective
        self.cuda_graphs = store.settings.cuda_graphs
        self._parameters = space.everything()
        self._store = store
        self._planner = Planner(store.settings, _graphs.possible(space.device))
        self._replays = Replays(store, self._planner)
        self._forward_before = objective.n_forward  # those of checks

    def expect(self, vectors: int) -> None:
        """Announce products, so that a dearer way may be worth its set-up."""
        self._planner.expect(vectors)

    @property
    def n_forward(self) -> int:
        """Forward passes over single batches so far."""
        return self.objective.n_forward - self._forward_before

    def report(self) -> Report:
        """How products are computed at present."""
        return report_of(self._store, self._planner)

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        return self.multiply(V, self._parameters)

    @recording()
    def multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor:
        """The product of rows, with a subset of the parameters alone."""
        if len(V) == 0:
            return torch.zeros_like(V)
        return self._until_it_fits(lambda: self._timed(V, subset))

    def _until_it_fits(self, work: Callable[[], T]) -> T:
        """Do `work`, with less and less at once while memory runs out."""
        while True:
            try:
                with float32_precision(self._store.settings.precision, self.objective.space.dtype):
                    return work()
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or not self._store.step_down():
                    raise

    def _timed(self, V: torch.Tensor, subset: Subset) -> torch.Tensor:
        """One product, before which, or after the first of which, the way may be changed."""
        store, planner = self._store, self._planner
        holds = store.refresh()
        fresh = not store.held
        if fresh:
            planner.restart()
        else:
            self._improve(len(V), subset)
        timed = not fresh and subset.whole and planner.wants_time
        started = now(self.device) if timed else 0.0
        out = self._replays(V.to(subset.dtype), subset, self._multiply).to(self.dtype)
        planner.count(len(V), now(self.device) - started if timed else None)
        if not holds():
            store.forget()
            return self._timed(V, subset)
        if fresh and planner.decided and store.held:
            self._improve(len(V), subset)
        return out

    def _improve(self, rows: int, subset: Subset) -> None:
        """Change to another way, or to blocks, when that will be earned back."""
        store, planner = self._store, self._planner
        while (stage := planner.next_stage(store.nodes, store.convolves)) is not None:
            upgrade(store, planner, stage)
        if subset.whole:
            widen(store, planner, rows)

    @abstractmethod
    def _multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor:
        """The product of rows of the parameters' dtype."""
