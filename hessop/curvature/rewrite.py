"""Rewriting the graph of a tape: values in, the same values out, with less work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

_aten = torch.ops.aten


@dataclass(frozen=True)
class Form:
    """How a tensor lies in memory."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    stride: tuple[int, ...]
    dense: bool  # no two entries share a place, and nothing lies between them
    device: torch.device

    @classmethod
    def of(cls, t: torch.Tensor) -> Form:
        """The form of a tensor."""
        dense = bool(torch.ops.aten.is_non_overlapping_and_dense(t))
        return cls(tuple(t.shape), t.dtype, tuple(t.stride()), dense, t.device)

    @property
    def contiguous(self) -> bool:
        """Whether it lies row by row."""
        return self.stride == row_major(self.shape)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a contiguous tensor."""
    strides, size = [], 1
    for extent in reversed(shape):
        strides.append(size)
        size *= max(extent, 1)
    return tuple(reversed(strides))


def form_of(node: Any) -> Form | None:
    """The form of a node's value, where it is one tensor."""
    return node.meta.get("form") if isinstance(node, Node) else None


def is_constant(node: Any) -> bool:
    """Whether a node is a constant of the tape."""
    return isinstance(node, Node) and node.op == "get_attr"


def add_constant(graph: Graph, owner: torch.nn.Module, t: torch.Tensor) -> Node:
    """A new constant, at the point where the graph is being written."""
    name = f"c{len(owner._buffers)}"
    owner.register_buffer(name, t)
    node = graph.get_attr(name)
    node.meta["form"] = Form.of(t)
    node.meta["shares"] = None
    return node


def value_of(module: GraphModule, node: Node) -> torch.Tensor:
    """The tensor of a constant."""
    value: torch.Tensor = module.get_buffer(str(node.target))
    return value


# Linear in the first argument, entry by entry.
_ENTRYWISE = {
    _aten.gelu_backward.default,
    _aten.sigmoid_backward.default,
    _aten.tanh_backward.default,
    _aten.threshold_backward.default,
    _aten.silu_backward.default,
    _aten.elu_backward.default,
    _aten.leaky_relu_backward.default,
    _aten.hardtanh_backward.default,
    _aten.softplus_backward.default,
    _aten.hardsigmoid_backward.default,
    _aten.hardswish_backward.default,
    _aten.mish_backward.default,
}

RESHAPES = {_aten.view.default, _aten._unsafe_view.default, _aten.reshape.default}

# These change nothing when what comes out has the form of what went in.
_PASSING = {
    _aten._to_copy.default,
    _aten.detach.default,
    _aten.alias.default,
    _aten.reshape.default,
    _aten.expand.default,
    _aten.clone.default,
    _aten.copy.default,  # of the second argument
}


def simplify(module: GraphModule) -> None:
    """Turn slopes into factors, join factors, drop what does nothing."""
    made: dict[object, str] = {}  # what was computed already, by what it was computed from
    with torch.no_grad():
        for node in list(module.graph.nodes):
            _drop_if_passing(node)
        for node in list(module.graph.nodes):
            _drop_if_neutral(module, node)
        for node in list(module.graph.nodes):
            _entrywise_to_factor(module, node, made)
        for node in list(module.graph.nodes):
            _join_factors(module, node, made)
    tidy(module)


def tidy(module: GraphModule) -> None:
    """Remove operations nobody uses, and the constants of those."""
    module.graph.eliminate_dead_code()
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name in [name for name in module._buffers if name not in used]:
        del module._buffers[name]
    module.recompile()


def _drop_if_passing(node: Node) -> None:
    source = node.args[1 if node.target is _aten.copy.default else 0] if node.args else None
    if node.target in _PASSING:
        _replace(node, source)


def _drop_if_neutral(module: GraphModule, node: Node) -> None:
    """``x + 0``, ``x - 0``, and a choice that always falls on ``x``."""
    if node.target is _aten.add.Tensor and is_constant(node.args[0]):
        neutral, source = node.args
    elif node.target in (_aten.add.Tensor, _aten.sub.Tensor):
        source, neutral = node.args
    elif node.target is _aten.where.self:
        neutral, _, source = node.args
    else:
        return
    scaled = source is node.args[1] and node.kwargs.get("alpha", 1) != 1
    if not isinstance(neutral, Node) or not is_constant(neutral) or scaled:
        return
    if not value_of(module, neutral).any():
        _replace(node, source)


def _replace(node: Node, source: Any) -> None:
    """Put `source` in the place of a node of equal value, if it lies in memory alike."""
    if not isinstance(source, Node) or is_constant(source) or form_of(node) != form_of(source):
        return
    for other in node.graph.nodes:  # whoever shares memory with it shares it with the source
        if other.meta.get("shares") is node:
            other.meta["shares"] = source
    node.replace_all_uses_with(source)
    node.graph.erase_node(node)


def _entrywise_to_factor(module: GraphModule, node: Node, made: dict[object, str]) -> None:
    """``slope(g, x) = g * slope(1, x)``."""
    if node.target not in _ENTRYWISE:
        return
    g, *rest = node.args
    others = [a for a in node.all_input_nodes if a is not g]
    if not isinstance(g, Node) or is_constant(g) or not all(map(is_constant, others)):
        return
    arguments = [value_of(module, a) if isinstance(a, Node) else a for a in rest]
    shape = next(a for a in arguments if isinstance(a, torch.Tensor))
    target: Any = node.target

    def factor() -> torch.Tensor:
        found: torch.Tensor = target(torch.ones_like(shape), *arguments, **node.kwargs)
        return found

    known = (target, str(rest), str(node.kwargs))
    with node.graph.inserting_before(node):
        node.args = (g, _computed(module, factor, known, made))
        node.kwargs = {}
        node.target = _aten.mul.Tensor


def _factor(node: Any) -> tuple[Node, Node] | None:
    """The variable and the constant of a product of both."""
    if isinstance(node, Node) and node.target is _aten.mul.Tensor:
        a, b = node.args
        if is_constant(a):
            a, b = b, a
        if is_constant(b) and isinstance(a, Node) and not is_constant(a):
            assert isinstance(b, Node)
            return a, b
    return None


def _join_factors(module: GraphModule, node: Node, made: dict[object, str]) -> None:
    """``(x c) d = x (c d)``, where that does not leave three constants for two."""
    outer = _factor(node)
    inner = _factor(outer[0]) if outer else None
    if not outer or not inner or len(outer[0].users) != 1 or form_of(node) != form_of(outer[0]):
        return
    factors = inner[1], outer[1]
    if all(len(c.users) > 1 for c in factors):
        return
    form = form_of(node)
    if form is None or any(value_of(module, c).dtype != form.dtype for c in factors):
        return  # their product alone would be rounded, or wrap around, in a smaller dtype
    known = ("product", *sorted(str(c.target) for c in factors))
    with node.graph.inserting_before(node):
        a, b = (value_of(module, c) for c in factors)
        node.args = (inner[0], _computed(module, lambda: a * b, known, made))
    node.graph.erase_node(outer[0])


def _computed(
    module: GraphModule, compute: Callable[[], torch.Tensor], known: object, made: dict[object, str]
) -> Node:
    """A constant that is computed on first demand."""
    if known not in made:
        node = new_constant(module, compute())
        made[known] = str(node.target)
        return node
    return _constant_node(module, made[known])


def new_constant(module: GraphModule, t: torch.Tensor) -> Node:
    """A constant that rewriting makes."""
    name = f"k{sum(1 for n in module._buffers if n[0] == 'k')}"
    while name in module._buffers:
        name += "_"
    module.register_buffer(name, t)
    return _constant_node(module, name)


def _constant_node(module: GraphModule, name: str) -> Node:
    node = module.graph.get_attr(name)
    node.meta["form"] = Form.of(module.get_buffer(name))
    node.meta["shares"] = None
    return node
