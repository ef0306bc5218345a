"""The product with a curvature matrix summed over all data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from hessop import _validation
from hessop.curvature.batched import BatchedProduct
from hessop.curvature.checks import symmetry_defect
from hessop.curvature.data import Batches
from hessop.curvature.guards import recording
from hessop.curvature.kept import KeptMap
from hessop.curvature.layout import Subset
from hessop.curvature.local import Found, HessianLocal, first_order
from hessop.curvature.objective import Objective, check_finite
from hessop.curvature.single import way_of
from hessop.curvature.store import Held, Make, Store
from hessop.curvature.ways import REVERSE, Settings

_MAP = "curvature"


class CurvatureProduct(BatchedProduct):
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
        Whether solvers may have the noise measured, and dropout in train mode is refused.
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
        store = Store(objective, data, make, settings, checked)
        super().__init__(objective, objective.space.n, store)
        self.mean = mean
        self._noise = noise
        self._checked = checked

    @recording()
    def loss(self) -> torch.Tensor:
        """The objective, a float64 0-d tensor."""
        return self._until_it_fits(self._loss)

    @recording()
    def gradient(self) -> torch.Tensor:
        """The gradient of the objective, shape (n,)."""
        return self._until_it_fits(self._gradient)

    def _loss(self) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        count = 0.0
        for total_of_batch, batch_count, _ in self._terms():
            total += total_of_batch.detach()
            count += batch_count
        return total / self._divisor(count)

    def _gradient(self) -> torch.Tensor:
        slope = torch.zeros(self.n, dtype=self.dtype, device=self.device)
        count = 0.0
        for _, batch_count, pieces in self._terms():
            self._parameters.add(pieces(), slope)
            count += batch_count
        return slope / self._divisor(count)

    def _terms(self) -> Iterator[tuple[torch.Tensor, float, Callable[[], Found]]]:
        """Sum of losses, count and gradient of each batch, from graphs where they are kept."""
        store = self._store
        if not store.refresh()():
            store.forget()
        graphs = {number: held.local for number, held in store.held.items()}
        at_hand = {n: g for n, g in graphs.items() if isinstance(g, HessianLocal) and g.has_graph}
        for local in at_hand.values():
            yield local.value, local.count, partial(list, local.gradient)
        if len(at_hand) == store.batches > 0:
            return
        leaves = store.leaves()
        for number, batch in store.data.missing(at_hand):
            for piece in store.pieces(number, batch):
                term = self.objective.term(piece, leaves)
                check_finite(term.loss)
                slope = partial(self.objective.within, leaves, partial(first_order, term, leaves))
                yield term.total, term.count, slope

    def _divisor(self, count: float) -> float:
        if count == 0:
            raise ValueError(_validation.message("data", "hold at least one example", "none"))
        return count if self.mean else 1.0

    def _multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor:
        planner, out = self._planner, torch.zeros(V.shape, dtype=self.dtype, device=self.device)

        single_use = planner.stage == REVERSE and not self._store.settings.keeps and len(V) == 1

        def add(held: Held) -> None:
            held.local.single_use = single_use
            if _MAP not in held.maps:
                whole, reverse = self._parameters, way_of(held.local, planner)
                forward = held.local.forward
                held.maps[_MAP] = KeptMap(reverse, forward, whole, whole, planner.notes)
            held.maps[_MAP].add(V, out, subset, subset, planner.width)

        self._store.visit(add)
        return out.div_(self._divisor(self._store.count))

    @property
    def noise(self) -> float:
        """What rounding and chance do to a product, relative to its size; measured once."""
        if self._noise is None:
            defect = symmetry_defect(
                lambda v: self.matmat(v[None].to(self.dtype))[0], self.n, self.device
            )
            eps = float(torch.finfo(self.objective.space.dtype).eps)
            self._noise = max(defect, self._planner.error, eps)
        return self._noise

    def floor(self) -> float:
        """The noise, where it was asked to be checked or is known anyway."""
        return self.noise if self._checked else self._noise or 0.0
