"""The curvature of one batch as a linear map, computed in any of several ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import torch
from torch.func import grad, jvp

from hessop import _validation
from hessop.curvature import graph
from hessop.curvature.forms import Term
from hessop.curvature.guards import prepare_forward_mode
from hessop.curvature.layout import Pieces
from hessop.curvature.objective import Objective, check_finite

Found = list[torch.Tensor | None]
T = TypeVar("T")


class Local(ABC):
    """
    A linear map of one batch, from tensors to tensors.

    Nothing is computed before it is needed, and graphs are kept once computed. `reverse` is
    defined for whatever torch can differentiate twice; the other ways have to agree with it.

    Attributes
    ----------
    count : float
        How many examples the batch holds; known after the first evaluation.
    total : torch.Tensor or None
        ``scale * loss``, without a graph; known after a product by reverse mode.
    single_use : bool
        Whether it is made for one product alone, whose passes then free the graphs as they go.
    """

    count = 0.0
    single_use = False
    total: torch.Tensor | None = None

    def __init__(self, objective: Objective, batch: Any, leaves: Sequence[torch.Tensor]) -> None:
        self.objective = objective
        self.batch = batch
        self.leaves = leaves

    @property
    @abstractmethod
    def value(self) -> torch.Tensor:
        """What is differentiated, with its graph: the batch's sum of losses, or its outputs."""

    @property
    def reach(self) -> torch.Tensor:
        """What has the parameters behind it."""
        return self.value

    @abstractmethod
    def reverse(self, pieces: Pieces, wanted: Sequence[int] | None = None) -> Found:
        """The product by reverse mode through kept graphs, all of it or the pieces `wanted`."""

    @abstractmethod
    def forward(self, pieces: Sequence[torch.Tensor]) -> Found:
        """The product by way of forward mode."""

    @abstractmethod
    def difference(self, pieces: Sequence[torch.Tensor], step: float) -> Found:
        """The product by central differences with a step along `pieces`."""

    @abstractmethod
    def roots(self) -> list[torch.Tensor | None]:
        """The tensors whose graphs `reverse` keeps."""

    @property
    def drawn(self) -> int:
        """How many random numbers the batch takes of a stream that all batches share."""
        return 0

    def prepare(self) -> None:
        """Build what every product needs, where graphs are recorded."""
        self.roots()

    def nbytes(self) -> int:
        """Memory that those graphs hold, the parameters aside."""
        roots = self.roots()
        return self.within(lambda: graph.held_bytes(roots, self.leaves))

    def within(self, work: Callable[[], T]) -> T:
        """Do `work` while the stand-ins are in the model's place."""
        return self.objective.within(self.leaves, work)

    def derived(
        self,
        outputs: Sequence[torch.Tensor | None],
        inputs: Sequence[torch.Tensor],
        directions: Pieces,
        *,
        create_graph: bool = False,
    ) -> Found:
        """`graph.gradients`, with the stand-ins in place."""
        free = self.single_use and not create_graph
        return self.within(
            lambda: graph.gradients(
                outputs, inputs, directions, create_graph=create_graph, free=free
            )
        )

    def release(self) -> None:
        """Let the graphs go; they are built again when needed."""
        for kind in type(self).__mro__:
            for name, value in vars(kind).items():
                if isinstance(value, cached_property):
                    self.__dict__.pop(name, None)

    def displaced(self, pieces: Sequence[torch.Tensor], step: float) -> list[torch.Tensor]:
        """Stand-ins for the parameters, moved by `step` along `pieces`."""
        moved = zip(self.leaves, pieces, strict=True)
        return [(p.detach() + step * v).requires_grad_() for p, v in moved]

    def evaluate(self, leaves: Sequence[torch.Tensor]) -> Term:
        """The term of the batch, whose count is kept."""
        term = self.objective.term(self.batch, leaves)
        self.count = term.count
        return term


class HessianLocal(Local):
    """``v -> scale * (Hessian of the loss) v`` of one batch."""

    @cached_property
    def _term(self) -> Term:
        term = self._checked(self.leaves)
        self.total = term.total.detach()
        if not term.loss.requires_grad:
            raise ValueError(
                _validation.message(
                    "loss_fn",
                    "depend on the chosen parameters through differentiable operations",
                    "a loss without a graph",
                    "Look for .detach(), .item() or torch.no_grad() on the way.",
                )
            )
        return term

    @property
    def value(self) -> torch.Tensor:
        """The sum of losses."""
        return self._term.total

    @cached_property
    def gradient(self) -> Found:
        """The pieces of ``scale * gradient``, with their graph."""
        one = torch.ones((), dtype=self._term.loss.dtype, device=self._term.loss.device)
        return self.derived([self._term.total], self.leaves, [one], create_graph=True)

    def reverse(self, pieces: Pieces, wanted: Sequence[int] | None = None) -> Found:
        """Reverse over reverse (Pearlmutter 1994): one pass through the gradient's graph."""
        return self.derived(self.gradient, chosen(self.leaves, wanted), pieces)

    def forward(self, pieces: Sequence[torch.Tensor]) -> Found:
        """Forward over reverse: the tangent of the gradient along `pieces`."""
        prepare_forward_mode()

        def total(*leaves: torch.Tensor) -> torch.Tensor:
            return self.evaluate(leaves).total

        gradient = grad(total, argnums=tuple(range(len(self.leaves))))
        here = tuple(p.detach() for p in self.leaves)
        return list(jvp(gradient, here, tuple(pieces))[1])

    def difference(self, pieces: Sequence[torch.Tensor], step: float) -> Found:
        """``(g(p + step v) - g(p - step v)) / (2 step)`` for the gradient g."""
        ahead, behind = (
            self.objective.within(leaves, partial(first_order, self._checked(leaves), leaves))
            for leaves in (self.displaced(pieces, step), self.displaced(pieces, -step))
        )
        return [
            None if a is None or b is None else (a - b) / (2 * step)
            for a, b in zip(ahead, behind, strict=True)
        ]

    def _checked(self, leaves: Sequence[torch.Tensor]) -> Term:
        term = self.evaluate(leaves)
        check_finite(term.loss)
        return term

    def roots(self) -> list[torch.Tensor | None]:
        """The gradient."""
        return [*self.gradient]

    @property
    def has_graph(self) -> bool:
        """Whether the gradient is at hand."""
        return "gradient" in self.__dict__


def chosen(items: Sequence[Any], wanted: Sequence[int] | None) -> Sequence[Any]:
    """Those of `items` that are wanted; None wants all."""
    return items if wanted is None else [items[i] for i in wanted]


def first_order(term: Term, leaves: Sequence[torch.Tensor]) -> Found:
    """The pieces of ``scale * gradient``, by one backward pass."""
    return graph.gradients([term.total], leaves, [torch.ones_like(term.total)])
