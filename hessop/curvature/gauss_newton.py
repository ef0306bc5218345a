"""Gauss-Newton matrices of one batch: the Jacobian, a small map on outputs, and back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.func import jvp
from torch.utils._pytree import tree_flatten, tree_unflatten

from hessop import _validation
from hessop.curvature import graph
from hessop.curvature.forms import Supervised
from hessop.curvature.guards import prepare_forward_mode
from hessop.curvature.layout import Pieces
from hessop.curvature.local import Found, Local, chosen
from hessop.curvature.objective import check_finite

Middle = Callable[[Pieces], Found]
"""A symmetric linear map on the outputs of a batch, of the scale of the batch's sum of losses."""


class JacobianLocal(Local):
    """``J``: the derivative of a batch's outputs by the parameters, and its transpose."""

    @cached_property
    def _made(self) -> tuple[Any, Any]:
        return self.objective.output(self.batch, self.leaves)

    @property
    def target(self) -> Any:
        """What the loss compares the output with."""
        return self._made[1]

    @cached_property
    def outputs(self) -> list[torch.Tensor]:
        """The floating tensors that the model returns, with their graph."""
        return _floating(self._made[0])

    @property
    def value(self) -> torch.Tensor:
        """All outputs, one after the other."""
        return self.reach

    @property
    def reach(self) -> torch.Tensor:
        """The outputs: what the loss holds beyond them plays no part."""
        return torch.cat([z.flatten() for z in self.outputs])

    def rebuilt(self, outputs: Sequence[torch.Tensor]) -> Any:
        """The model's output with other tensors in the places of `outputs`."""
        leaves, form = tree_flatten(self._made[0])
        new = iter(outputs)
        return tree_unflatten([next(new) if _is_floating(z) else z for z in leaves], form)

    def transposed(self, directions: Pieces, wanted: Sequence[int] | None = None) -> Found:
        """``J^T u``, or the pieces of it `wanted`: one backward pass."""
        return self.derived(self.outputs, chosen(self.leaves, wanted), directions)

    @cached_property
    def _probe(self) -> tuple[list[torch.Tensor], Found]:
        """``J^T u`` as a function of u, whose derivative by u is J."""
        u = [torch.zeros_like(z, requires_grad=True) for z in self.outputs]
        return u, self.derived(self.outputs, self.leaves, u, create_graph=True)

    def reverse(self, pieces: Pieces, wanted: Sequence[int] | None = None) -> Found:
        """``J v`` by reverse mode alone: the derivative of ``v . J^T u`` by u."""
        u, image = self._probe
        return self.derived(image, chosen(u, wanted), pieces)

    def forward(self, pieces: Sequence[torch.Tensor]) -> Found:
        """``J v`` by forward mode."""
        prepare_forward_mode()

        def outputs(*leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(_floating(self.objective.output(self.batch, leaves)[0]))

        return list(jvp(outputs, tuple(p.detach() for p in self.leaves), tuple(pieces))[1])

    def difference(self, pieces: Sequence[torch.Tensor], step: float) -> Found:
        """``(z(p + step v) - z(p - step v)) / (2 step)`` for the outputs z."""
        with torch.no_grad():
            ahead, behind = (
                _floating(self.objective.output(self.batch, self.displaced(pieces, s))[0])
                for s in (step, -step)
            )
        return [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]

    def roots(self) -> list[torch.Tensor | None]:
        """The outputs and the transposed product."""
        return [*self.outputs, *self._probe[1]]


class GaussNewtonLocal(JacobianLocal):
    """``v -> J^T M J v`` for a map M on the outputs."""

    @property
    @abstractmethod
    def middle(self) -> Middle:
        """The map on the outputs."""

    def prepare(self) -> None:
        """The middle, too."""
        super().prepare()
        assert self.middle is not None

    @property
    def value(self) -> torch.Tensor:
        """The sum of losses, by way of the outputs."""
        form = self.objective.form
        assert isinstance(form, Supervised)
        term = form.term_of_output(*self._made, self.batch)
        return term.total if term.count else 0 * self.reach.sum()

    def reverse(self, pieces: Pieces, wanted: Sequence[int] | None = None) -> Found:
        """By reverse mode alone."""
        return self.transposed(self.middle(super().reverse(pieces)), wanted)

    def forward(self, pieces: Sequence[torch.Tensor]) -> Found:
        """Forward to the outputs, and back."""
        return self.transposed(self.middle(super().forward(pieces)))

    def difference(self, pieces: Sequence[torch.Tensor], step: float) -> Found:
        """Differences of the outputs, and back."""
        return self.transposed(self.middle(super().difference(pieces, step)))


class GGNLocal(GaussNewtonLocal):
    """The middle is the Hessian of the loss by the outputs."""

    @cached_property
    def middle(self) -> Middle:
        """One backward pass through the graph of the loss alone."""
        loss = loss_of_outputs(self)
        z, one = loss.outputs, torch.ones_like(loss.total)
        slope = graph.gradients([loss.total], z, [one], create_graph=True)
        return lambda directions: graph.gradients(slope, z, directions)


@dataclass(frozen=True)
class OutputLoss:
    """``total = scale * loss`` of a batch, as a function of stand-ins for its outputs."""

    outputs: list[torch.Tensor]
    total: torch.Tensor
    scale: float


def loss_of_outputs(local: JacobianLocal) -> OutputLoss:
    """The loss beyond the outputs, which knows nothing of the model; counts the batch."""
    form = local.objective.form
    assert isinstance(form, Supervised)
    z = [output.detach().requires_grad_() for output in local.outputs]
    term = form.term_of_output(local.rebuilt(z), local.target, local.batch)
    local.count, local.total = term.count, term.total.detach()
    if not term.count:  # a mean over nothing is NaN, and counts nothing
        return OutputLoss(z, torch.stack([(0 * output).sum() for output in z]).sum(), term.scale)
    check_finite(term.loss)
    return OutputLoss(z, term.total, term.scale)


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _floating(output: Any) -> list[torch.Tensor]:
    """The floating tensors among what a model returns."""
    found = [value for value in tree_flatten(output)[0] if _is_floating(value)]
    if not found:
        raise TypeError(
            _validation.message(
                "forward",
                "give an output that holds floating tensors",
                f"a {type(output).__name__}",
                "Pass forward=lambda model, batch: (output, target).",
            )
        )
    return found
