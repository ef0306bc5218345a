"""The product with the Hessian of the objective over all data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hessop import _exchange, _memory, _validation
from hessop._product import Product
from hessop.curvature.data import Batches, tensors
from hessop.curvature.graph import GradientGraph
from hessop.curvature.guards import recording
from hessop.curvature.objective import Objective
from hessop.curvature.state import Snapshot


class HessianProduct(Product):
    """
    ``V |-> V H`` for the Hessian of a mean (or sum) over all examples.

    The graph of each batch's gradient is kept between products as long as the graphs fit into
    `budget` bytes; the other batches are recomputed in each product, once for a whole block.
    When the model has changed since, everything is built anew.

    Attributes
    ----------
    n_forward : int
        Forward passes over single batches so far.
    """

    def __init__(self, objective: Objective, data: Batches, mean: bool, budget: int | None) -> None:
        space = objective.space
        super().__init__(space.n, _exchange.face_dtype(space.dtype), space.device)
        self.objective = objective
        self.data = data
        self.mean = mean
        self.budget = budget
        self.n_forward = 0
        self._kept: dict[int, GradientGraph] = {}
        self._watched: list[torch.Tensor] = []  # tensors of the kept batches
        self._leaves: list[torch.Tensor] = []
        self._built_from: Snapshot | None = None
        self._complete = False
        self._count = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what was built from the model: graphs neither pickle nor copy."""
        state = self.__dict__.copy()
        del state["_kept"], state["_watched"], state["_leaves"], state["_built_from"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start without graphs."""
        self.__dict__.update(state)
        self._forget()

    @recording()
    def loss(self) -> torch.Tensor:
        """The objective, a float64 0-d tensor."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)

        def add(graph: GradientGraph) -> None:
            total.add_(graph.loss)

        self._visit(add)
        return total / self._divisor()

    @recording()
    def gradient(self) -> torch.Tensor:
        """The gradient of the objective, shape (n,)."""
        space = self.objective.space
        total = torch.zeros(self.n, dtype=self.dtype, device=self.device)
        piece = torch.empty_like(total)

        def add(graph: GradientGraph) -> None:
            total.add_(space.join(graph.gradient, piece))

        self._visit(add)
        return total / self._divisor()

    @recording()
    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        """``V H``: each batch's graph in turn, row after row."""
        space = self.objective.space
        rows = [space.split(v) for v in V.to(space.dtype)]
        out = torch.zeros_like(V, memory_format=torch.contiguous_format)
        piece = torch.empty(self.n, dtype=self.dtype, device=self.device)

        def add(graph: GradientGraph) -> None:
            for row, total in zip(rows, out, strict=True):
                total.add_(space.join(graph.multiply(row), piece))

        self._visit(add)
        return out.div_(self._divisor())

    def _divisor(self) -> float:
        """How many examples there are, known after one pass; 1 for a sum."""
        return self._count if self.mean else 1.0

    def _visit(self, work: Callable[[GradientGraph], None]) -> None:
        """
        Do `work` on the graph of every batch: those kept, then those made for the occasion.

        The graphs are handed to a function, not yielded, so that no loop variable holds on to
        one while the next is built.
        """
        if self._built_from is None or not self._built_from.holds():
            self._forget()
        count = 0.0
        for graph in self._kept.values():
            work(graph)
            count += graph.count
        if not self._complete:
            count += self._visit_missing(work)
        if count == 0:
            raise ValueError(_validation.message("data", "hold at least one example", "none"))
        self._count = count

    def _visit_missing(self, work: Callable[[GradientGraph], None]) -> float:
        """One pass over the batches that are not kept; the first pass decides which are."""
        first = self._built_from is None
        if first:
            self._leaves = self.objective.leaves()
        room = self._room() if first else 0
        count, everything = 0.0, True
        for number, batch in self.data.missing(self._kept):
            self.n_forward += 1
            graph = GradientGraph(self.objective.term(batch, self._leaves), self._leaves)
            work(graph)
            count += graph.count
            if room > 0 and (size := graph.nbytes()) <= room:
                room -= size
                self._kept[number] = graph
                self._watched += tensors(batch)
            else:
                everything = False
            del graph
        self._complete = everything
        if first:
            self._built_from = Snapshot(self.objective, self._watched)
        return count

    def _room(self) -> int:
        """Bytes that graphs may hold between products."""
        return _memory.available_bytes(self.device) // 2 if self.budget is None else self.budget

    def _forget(self) -> None:
        """Drop everything that was built from the model."""
        self._kept, self._watched, self._leaves = {}, [], []
        self._built_from, self._complete = None, False
