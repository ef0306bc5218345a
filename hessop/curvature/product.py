"""The product with a curvature matrix summed over all data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch

from hessop import _exchange, _validation
from hessop._product import Product
from hessop.curvature.checks import symmetry_defect
from hessop.curvature.data import Batches
from hessop.curvature.guards import recording
from hessop.curvature.kept import KeptMap
from hessop.curvature.layout import Subset
from hessop.curvature.local import Found, HessianLocal, first_order
from hessop.curvature.objective import Objective, check_finite
from hessop.curvature.report import Report, report_of
from hessop.curvature.single import out_of_memory, way_of
from hessop.curvature.store import Held, Make, Store
from hessop.curvature.upgrade import Clock, upgrade, widen
from hessop.curvature.ways import Planner, Settings

_MAP = "curvature"


class CurvatureProduct(Product):
    """
    ``V |-> V C`` for the curvature C of a mean (or sum) over all examples.

    Parameters
    ----------
    objective : Objective
        Model, loss, parameters.
    data : Batches
        What the mean is over.
    make : callable
        Gives the linear map of one batch.
    mean : bool
        Whether the sum is divided by the number of examples.
    settings : Settings
        How to compute.
    noise : float, optional
        The noise of a product where it is known already.
    checked : bool, optional
        Whether solvers may have the noise measured.
    """

    def __init__(
        self,
        objective: Objective,
        data: Batches,
        make: Make,
        mean: bool,
        settings: Settings,
        noise: float | None = None,
        checked: bool = False,
    ) -> None:
        space = objective.space
        super().__init__(space.n, _exchange.face_dtype(space.dtype), space.device)
        self.objective = objective
        self.mean = mean
        self._store = Store(objective, data, make, settings)
        self._planner = Planner(settings)
        self._forward_before = objective.n_forward  # the checks' own
        self._everything = space.everything()
        self._noise = noise
        self._checked = checked

    def expect(self, vectors: int) -> None:
        """Announce products, so that a dearer way may be worth its set-up."""
        self._planner.expect(vectors)

    @property
    def n_forward(self) -> int:
        """Forward passes over single batches so far."""
        return self.objective.n_forward - self._forward_before

    @recording()
    def loss(self) -> torch.Tensor:
        """The objective, a float64 0-d tensor."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        count = 0.0
        for total_of_batch, batch_count, _ in self._terms():
            total += total_of_batch.detach()
            count += batch_count
        return total / self._divisor(count)

    @recording()
    def gradient(self) -> torch.Tensor:
        """The gradient of the objective, shape (n,)."""
        slope = torch.zeros(self.n, dtype=self.dtype, device=self.device)
        count = 0.0
        for _, batch_count, pieces in self._terms():
            self._everything.add(pieces(), slope)
            count += batch_count
        return slope / self._divisor(count)

    def _terms(self) -> Iterator[tuple[torch.Tensor, float, Callable[[], Found]]]:
        """Sum of losses, count and gradient of each batch, from graphs where they are kept."""
        store = self._store
        store.refresh()
        graphs = {number: held.local for number, held in store.held.items()}
        at_hand = {n: g for n, g in graphs.items() if isinstance(g, HessianLocal) and g.has_graph}
        for local in at_hand.values():
            yield local.value, local.count, partial(list, local.gradient)
        if len(at_hand) == store.batches > 0:
            return
        leaves = store.leaves()
        for _, batch in store.data.missing(at_hand):
            term = self.objective.term(batch, leaves)
            check_finite(term.loss)
            yield term.total, term.count, partial(first_order, term, leaves)

    def _divisor(self, count: float) -> float:
        if count == 0:
            raise ValueError(_validation.message("data", "hold at least one example", "none"))
        return count if self.mean else 1.0

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        return self.multiply(V, self._everything)

    @recording()
    def multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor:
        """``V C`` for rows over a subset of the parameters, and the same subset of the result."""
        while True:
            try:
                return self._multiply(V, subset)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or not self._store.step_down():
                    raise

    def _multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor:
        store, planner = self._store, self._planner
        store.refresh()
        if store.held:
            self._improve(V, subset)
        rows = V.to(subset.dtype)
        out = torch.zeros_like(V, memory_format=torch.contiguous_format)
        clock, fresh = Clock(self.device), not store.held
        if fresh:
            planner.restart()

        def add(held: Held) -> None:
            at_hand = _MAP in held.maps
            if not at_hand:
                local = held.local
                reverse, forward = way_of(local, planner), local.forward
                held.maps[_MAP] = KeptMap(reverse, forward, self._everything, self._everything)
            with clock if at_hand else nullcontext():
                held.maps[_MAP].add(rows, out, subset, subset, planner.width)

        store.visit(add)
        typical = not fresh and subset.whole and planner.width == 1
        planner.count(len(V), clock.seconds if typical else None)
        if fresh and planner.decided and store.held:
            self._improve(V, subset)
        return out.div_(self._divisor(store.count))

    def _improve(self, V: torch.Tensor, subset: Subset) -> None:
        """Change to another way, or to blocks, when that will be earned back."""
        store, planner = self._store, self._planner
        while (stage := planner.next_stage(store.nodes)) is not None:
            upgrade(store, planner, stage)
        if subset.whole:
            widen(store, planner, V.to(subset.dtype))

    @property
    def noise(self) -> float:
        """What rounding and chance do to a product, relative to its size; measured once."""
        if self._noise is None:
            defect = symmetry_defect(
                lambda v: self.matmat(v[None].to(self.dtype))[0], self.n, self.device
            )
            self._noise = max(defect, float(torch.finfo(self.objective.space.dtype).eps))
        return self._noise

    def floor(self) -> float:
        """The noise, where it was asked to be checked or is known anyway."""
        return self.noise if self._checked else self._noise or 0.0

    def report(self) -> Report:
        """How products are computed at present."""
        return report_of(self._store, self._planner)
