"""The gradient of one batch with its graph, and what a Hessian-vector product does with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from hessop import _validation
from hessop.curvature.objective import Term


class GradientGraph:
    """
    ``scale * grad loss`` of one batch, ready to be differentiated again.

    A Hessian-vector product is one backward pass through this graph: reverse over reverse
    (Pearlmutter 1994). As long as the graph is kept, no forward pass is needed.

    Attributes
    ----------
    loss : torch.Tensor
        ``scale * loss``, without a graph.
    count : float
        How many examples the batch holds.
    """

    def __init__(self, term: Term, leaves: list[torch.Tensor]) -> None:
        if not term.loss.requires_grad:
            raise ValueError(
                _validation.message(
                    "loss_fn",
                    "depend on the chosen parameters through differentiable operations",
                    "a loss without a graph",
                    "Look for .detach(), .item() or torch.no_grad() on the way.",
                )
            )
        loss = term.loss.reshape(()) * term.scale
        with _explained():
            self._gradient = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
        self._leaves = leaves
        self.loss = loss.detach()
        self.count = term.count

    @property
    def gradient(self) -> list[torch.Tensor | None]:
        """The pieces of the gradient, without graphs; None where the loss does not depend."""
        return [None if g is None else g.detach() for g in self._gradient]

    def multiply(self, pieces: list[torch.Tensor]) -> list[torch.Tensor | None]:
        """The pieces of ``H v`` for the pieces of ``v``."""
        differentiable = [
            (g, v)
            for g, v in zip(self._gradient, pieces, strict=True)
            if g is not None and g.requires_grad
        ]
        if not differentiable:  # a loss that is linear in the parameters
            return [None] * len(pieces)
        outputs, directions = zip(*differentiable, strict=True)
        with _explained():
            return list(
                torch.autograd.grad(
                    outputs, self._leaves, directions, retain_graph=True, allow_unused=True
                )
            )

    def nbytes(self) -> int:
        """Memory that keeping this graph holds, tensors of the parameters aside."""
        own = {leaf.untyped_storage().data_ptr() for leaf in self._leaves}
        held: dict[int, int] = {}
        for node in self._nodes():
            for tensor in _saved_tensors(node):
                if tensor.untyped_storage().data_ptr() not in own:
                    # of a view, such as a slice of the data, what it shows
                    address = tensor.data_ptr()
                    held[address] = max(held.get(address, 0), tensor.nbytes)
        return sum(held.values())

    def ends_early(self) -> bool:
        """Whether a custom function on the way says that it has no second derivative."""
        return any(node.name() == "torch::autograd::Error" for node in self._nodes())

    def _nodes(self) -> Iterator[Any]:
        return _nodes([g for g in self._gradient if g is not None])


def leaves_of(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The leaves of a tensor's graph."""
    variables = (getattr(node, "variable", None) for node in _nodes([tensor]))
    return [v for v in variables if isinstance(v, torch.Tensor)]


def _nodes(roots: list[torch.Tensor]) -> Iterator[Any]:
    """Every node of the graphs of some tensors, once."""
    todo = [t.grad_fn for t in roots if t.grad_fn is not None]
    seen = set(todo)
    while todo:
        node = todo.pop()
        yield node
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                todo.append(parent)


@cache
def _saved_names(kind: type) -> list[str]:
    """The attributes under which a kind of node shows what it saved."""
    return [name for name in dir(kind) if name.startswith("_saved_")]


def _saved_tensors(node: Any) -> Iterator[torch.Tensor]:
    """What a node of the graph saved for its backward pass."""
    for name in _saved_names(node.__class__):
        try:
            value = getattr(node, name)
        except RuntimeError:  # an optional tensor that was never saved
            continue
        values = value if isinstance(value, (tuple, list)) else (value,)
        yield from (v for v in values if isinstance(v, torch.Tensor))


# How torch, and its authors, say that there is no second derivative.
_NOT_TWICE = ("not implemented", "double backward", "differentiate twice", "double-backward")


@contextmanager
def _explained() -> Iterator[None]:
    """Say what can be done where torch cannot differentiate twice."""
    try:
        yield
    except RuntimeError as error:
        if not any(phrase in str(error) for phrase in _NOT_TWICE):
            raise
        raise NotImplementedError(
            _validation.message(
                "model",
                "be twice differentiable",
                f"a layer that torch cannot differentiate twice ({error})",
                "Replace that layer, or leave the parameters before it out with params=.",
            )
        ) from error
