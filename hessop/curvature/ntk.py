"""The product with the empirical neural tangent kernel."""

from __future__ import annotations

from itertools import pairwise

import torch

from hessop import _exchange, _validation
from hessop._product import Product
from hessop.curvature.checks import check_determinism
from hessop.curvature.data import Batches
from hessop.curvature.gauss_newton import JacobianLocal
from hessop.curvature.guards import recording
from hessop.curvature.kept import KeptMap
from hessop.curvature.layout import Layout, Subset
from hessop.curvature.objective import Objective
from hessop.curvature.report import Report, report_of
from hessop.curvature.single import way_of
from hessop.curvature.store import Held, Store
from hessop.curvature.upgrade import Clock, upgrade, widen
from hessop.curvature.ways import Planner, Settings

_BACK, _FORTH = "transposed", "jacobian"


class NTKProduct(Product):
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
        if checked:
            check_determinism(objective, data, _make)
        space = objective.space
        self.objective = objective
        self._parameters = space.everything()
        # A batch cut into pieces would have several parts of the vector.
        self._store = Store(objective, data, _make, settings, divisible=False)
        self._planner = Planner(settings)
        self._layouts = [_layout(objective, batch) for batch in data]
        self._forward_before = objective.n_forward  # those just done
        ends = torch.tensor([0, *(layout.n for layout in self._layouts)]).cumsum(0).tolist()
        self._parts = [slice(a, b) for a, b in pairwise(ends)]
        super().__init__(ends[-1], _exchange.face_dtype(space.dtype), space.device)

    def expect(self, vectors: int) -> None:
        """Announce products, so that a dearer way may be worth its set-up."""
        self._planner.expect(vectors)

    @property
    def n_forward(self) -> int:
        """Forward passes over single batches so far."""
        return self.objective.n_forward - self._forward_before

    def _apply(self, U: torch.Tensor) -> torch.Tensor:
        return self.multiply(U, self._parameters)

    @recording()
    def multiply(self, U: torch.Tensor, subset: Subset) -> torch.Tensor:
        """``U J_s J_s^T`` for rows, with the Jacobian by a subset of the parameters."""
        store, planner = self._store, self._planner
        store.refresh()
        fresh = not store.held
        if fresh:
            planner.restart()
        else:
            self._improve(U, subset)
        rows = U.to(subset.dtype)
        middle = torch.zeros(len(U), subset.n, dtype=subset.dtype, device=self.device)
        out = torch.zeros_like(rows)
        clock = Clock(self.device)

        def back(held: Held) -> None:
            back, _ = self._maps(held)
            part = rows[:, self._parts[held.number]]
            back.add(part, middle, back.inputs, subset, planner.width)

        def forth(held: Held) -> None:
            _, forth = self._maps(held)
            part = out[:, self._parts[held.number]]
            forth.add(middle, part, subset, forth.outputs, planner.width)

        with clock:
            store.visit(back)
            store.visit(forth)
        typical = not fresh and subset.whole and planner.width == 1
        planner.count(len(U), clock.seconds if typical else None)
        if fresh and planner.decided and store.held:
            self._improve(U, subset)
        return out.to(self.dtype)

    def _maps(self, held: Held) -> tuple[KeptMap, KeptMap]:
        local = held.local
        assert isinstance(local, JacobianLocal)
        # Of a batch that is kept nothing: `count` tells the store that there is something in it.
        local.count = 1.0
        if not held.maps:
            outputs = self._layouts[held.number]
            held.maps[_BACK] = KeptMap(
                local.transposed, local.transposed, outputs, self._parameters
            )
            held.maps[_FORTH] = KeptMap(
                way_of(local, self._planner), local.forward, self._parameters, outputs
            )
        return held.maps[_BACK], held.maps[_FORTH]

    def _improve(self, U: torch.Tensor, subset: Subset) -> None:
        """Change to another way, or to blocks, when that will be earned back."""
        store, planner = self._store, self._planner
        while (stage := planner.next_stage(store.nodes)) is not None:
            upgrade(store, planner, stage)
        if subset.whole:
            widen(store, planner, U)

    def report(self) -> Report:
        """How products are computed at present."""
        return report_of(self._store, self._planner)


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
