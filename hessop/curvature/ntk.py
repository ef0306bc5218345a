"""The product with the empirical neural tangent kernel."""

from __future__ import annotations

from itertools import pairwise

import torch

from hessop import _validation
from hessop.curvature.batched import BatchedProduct
from hessop.curvature.checks import check_jacobian
from hessop.curvature.data import Batches
from hessop.curvature.gauss_newton import JacobianLocal
from hessop.curvature.kept import KeptMap
from hessop.curvature.layout import Layout, Subset
from hessop.curvature.objective import Objective
from hessop.curvature.single import way_of
from hessop.curvature.store import Held, Store
from hessop.curvature.ways import DIFFERENCE, Settings

_BACK, _FORTH = "transposed", "jacobian"


class NTKProduct(BatchedProduct):
    """
    ``U -> U J J^T`` for the Jacobian J of all outputs for all inputs.

    Two visits to the batches: ``J^T u`` is a sum over them, ``J w`` has a part for each.

    Parameters
    ----------
    objective : Objective
        Model and parameters; its loss is not used.
    data : Batches
        The inputs.
    settings : Settings
        How to compute.
    checked : bool
        Whether the data and the model are looked at first.
    """

    def __init__(
        self, objective: Objective, data: Batches, settings: Settings, checked: bool
    ) -> None:
        self._layouts = [_layout(objective, batch) for batch in data]
        if checked:
            check_jacobian(objective, data, _make, twice=settings.mode != DIFFERENCE)
        ends = torch.tensor([0, *(layout.n for layout in self._layouts)]).cumsum(0).tolist()
        self._parts = [slice(a, b) for a, b in pairwise(ends)]
        # A batch cut into pieces would have several parts of the vector.
        store = Store(objective, data, _make, settings, checked, divisible=False)
        super().__init__(objective, ends[-1], store)

    def _multiply(self, V: torch.Tensor, subset: Subset) -> torch.Tensor:
        """``V J_s J_s^T``, with the Jacobian by a subset of the parameters."""
        width = self._planner.width
        middle = torch.zeros(len(V), subset.n, dtype=V.dtype, device=self.device)
        out = torch.zeros_like(V, memory_format=torch.contiguous_format)

        def back(held: Held) -> None:
            back, _ = self._maps(held)
            back.add(V[:, self._parts[held.number]], middle, back.inputs, subset, width)

        def forth(held: Held) -> None:
            _, forth = self._maps(held)
            forth.add(middle, out[:, self._parts[held.number]], subset, forth.outputs, width)

        self._store.visit(back)
        self._store.visit(forth)
        return out

    def _maps(self, held: Held) -> tuple[KeptMap, KeptMap]:
        local, notes = held.local, self._planner.notes
        assert isinstance(local, JacobianLocal)
        local.count = 1.0  # for the store: there is something in the batch
        if not held.maps:
            outputs, back = self._layouts[held.number], local.transposed
            forth = way_of(local, self._planner)
            held.maps[_BACK] = KeptMap(back, back, outputs, self._parameters, notes)
            held.maps[_FORTH] = KeptMap(forth, local.forward, self._parameters, outputs, notes)
        return held.maps[_BACK], held.maps[_FORTH]


def _make(
    objective: Objective, batch: object, leaves: list[torch.Tensor], start: int
) -> JacobianLocal:
    return JacobianLocal(objective, batch, leaves)


def _layout(objective: Objective, batch: object) -> Layout:
    """The shapes of the outputs of a batch; one forward pass."""
    with torch.no_grad():
        outputs = JacobianLocal(objective, batch, objective.leaves()).outputs
    space = objective.space
    for z in outputs:
        if z.dtype != space.dtype:
            raise TypeError(
                _validation.message(
                    "model",
                    f"give outputs of its parameters' dtype, {space.dtype}",
                    f"{z.dtype}",
                    "Leave autocast out, or convert the model.",
                )
            )
    return Layout(
        map(str, range(len(outputs))), (z.shape for z in outputs), space.dtype, space.device
    )
