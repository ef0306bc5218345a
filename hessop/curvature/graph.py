"""What autograd's graphs hold, and derivatives through them whose failures are explained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from hessop import _validation


def gradients(
    outputs: Sequence[torch.Tensor | None],
    inputs: Sequence[torch.Tensor],
    directions: Sequence[torch.Tensor | None],
    *,
    create_graph: bool = False,
    free: bool = False,
) -> list[torch.Tensor | None]:
    """
    ``sum_i directions_i . d outputs_i / d inputs``, on graphs that are kept.

    An output that is None or has no graph, and a direction that is None, count as zeros; so does,
    in what is returned, None. With `free`, the graphs are gone afterwards, each node once it has
    been passed, so that the pass needs less memory.
    """
    used = [
        (z, u)
        for z, u in zip(outputs, directions, strict=True)
        if z is not None and u is not None and z.requires_grad
    ]
    if not used or not inputs:
        return [None] * len(inputs)
    roots, along = zip(*used, strict=True)
    with _explained():
        found = torch.autograd.grad(
            roots,
            inputs,
            along,
            retain_graph=not free,
            create_graph=create_graph,
            allow_unused=True,
        )
    return list(found)


def held_bytes(roots: Iterable[torch.Tensor | None], own: Sequence[torch.Tensor]) -> int:
    """Memory that keeping the graphs of `roots` holds, tensors of the parameters `own` aside."""
    addresses = {t.untyped_storage().data_ptr() for t in own}
    held: dict[int, int] = {}
    for node in nodes(roots):
        for tensor in _saved_tensors(node):
            if tensor.untyped_storage().data_ptr() not in addresses:
                # of a view, such as a slice of the data, what it shows
                address = tensor.data_ptr()
                held[address] = max(held.get(address, 0), tensor.nbytes)
    return sum(held.values())


def ends_early(roots: Iterable[torch.Tensor | None]) -> bool:
    """Whether a custom function on the way says that it has no second derivative."""
    return any(node.name() == "torch::autograd::Error" for node in nodes(roots))


def coarsest(roots: Iterable[torch.Tensor | None]) -> float:
    """The largest unit of rounding among the tensors that graphs saved: autocast leaves its own."""
    saved = (t for node in nodes(roots) for t in _saved_tensors(node))
    return max(
        (float(torch.finfo(t.dtype).eps) for t in saved if t.is_floating_point()), default=0.0
    )


def leaves_of(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The leaves of a tensor's graph."""
    variables = (getattr(node, "variable", None) for node in nodes([tensor]))
    return [v for v in variables if isinstance(v, torch.Tensor)]


def nodes(roots: Iterable[torch.Tensor | None]) -> Iterator[Any]:
    """Every node of the graphs of some tensors, once."""
    todo = [t.grad_fn for t in roots if t is not None and t.grad_fn is not None]
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
_REENTRANT = ("Checkpointing is not compatible with .grad()", "incompatible with .grad()")


@contextmanager
def _explained() -> Iterator[None]:
    """Say what can be done where torch cannot differentiate twice."""
    try:
        yield
    except RuntimeError as error:
        if any(phrase in str(error) for phrase in _REENTRANT):
            got = "activation checkpointing with use_reentrant=True"
            remedy = "Use torch.utils.checkpoint with use_reentrant=False."
        elif any(phrase in str(error) for phrase in _NOT_TWICE):
            got = f"a layer that torch cannot differentiate twice ({error})"
            remedy = (
                "Replace that layer, leave the parameters before it out with params=, or use "
                'mode="finite-difference".'
            )
        else:
            raise
        raise NotImplementedError(
            _validation.message("model", "be twice differentiable", got, remedy)
        ) from error
