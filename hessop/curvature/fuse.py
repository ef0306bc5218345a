"""Running a tape with fewer passes over memory: sums into products, results into dead operands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from hessop.curvature.rewrite import RESHAPES, Form, form_of, row_major

_aten = torch.ops.aten

_WITH_SUM = {
    _aten.mm.default: _aten.addmm.default,
    _aten.bmm.default: _aten.baddbmm.default,
}
# Each operation that may write its result over its first operand; those that commute, over either.
_IN_PLACE = {
    _aten.add.Tensor: _aten.add_.Tensor,
    _aten.sub.Tensor: _aten.sub_.Tensor,
    _aten.mul.Tensor: _aten.mul_.Tensor,
    _aten.div.Tensor: _aten.div_.Tensor,
    _aten.mul.Scalar: _aten.mul_.Scalar,
    _aten.div.Scalar: _aten.div_.Scalar,
    _aten.neg.default: _aten.neg_.default,
    _aten.addmm.default: _aten.addmm_.default,
    _aten.baddbmm.default: _aten.baddbmm_.default,
}
_COMMUTING = {_aten.add.Tensor, _aten.mul.Tensor}


def fuse(module: GraphModule) -> None:
    """Do both; the graph is changed and has to be compiled again."""
    for node in list(module.graph.nodes):
        if node.target is _aten.add.Tensor and not node.kwargs:
            _sum_into_product(node)
    module.graph.eliminate_dead_code()
    _Reuse(module.graph).apply()


def _sum_into_product(node: Node) -> None:
    """``p + a b`` in one operation, also where ``a b`` is reshaped before it is added."""
    for p, q in ((node.args[0], node.args[1]), (node.args[1], node.args[0])):
        if not isinstance(p, Node) or not isinstance(q, Node) or p is q:
            continue
        views: list[Node] = []
        product = q
        while product.target in RESHAPES and len(product.users) == 1:
            views.append(product)
            product = product.all_input_nodes[0]
        target: Any = _WITH_SUM.get(product.target)  # type: ignore[call-overload]
        if target is None or len(product.users) != 1:
            continue
        total, part, inner = form_of(node), form_of(p), form_of(product)
        if total is None or part is None or inner is None:
            continue
        if (part.shape, part.dtype) != (total.shape, total.dtype) or not total.contiguous:
            continue
        if inner.dtype != total.dtype or (views and not part.contiguous):
            continue
        if math.prod(inner.shape) != math.prod(total.shape):
            continue  # the product is broadcast
        if not views and inner.shape != total.shape:
            continue
        _replace(node, p, product, views, target, inner)
        return


def _replace(
    node: Node, p: Node, product: Node, views: list[Node], target: Any, inner: Form
) -> None:
    graph = node.graph
    form = Form(inner.shape, inner.dtype, row_major(inner.shape), True, inner.device)
    with graph.inserting_before(node):
        start = p
        if views:
            start = graph.call_function(_aten.reshape.default, (p, list(inner.shape)))
            start.meta.update(form=form, shares=p)
        result = graph.call_function(target, (start, *product.args))
        result.meta.update(form=form, shares=None)
        if views:
            total = form_of(node)
            assert total is not None
            result = graph.call_function(_aten.reshape.default, (result, list(total.shape)))
            result.meta.update(form=total, shares=result.args[0])
    for other in graph.nodes:
        if other.meta.get("shares") is node:
            other.meta["shares"] = result
    node.replace_all_uses_with(result)
    for old in (node, *views, product):
        graph.erase_node(old)


class _Reuse:
    """
    Write a result over an operand that nobody reads any more.

    Values that share memory form a group; a group may be written when its last reader is the
    operation itself and it holds no input and no constant.
    """

    def __init__(self, graph: Graph) -> None:
        self._nodes = list(graph.nodes)
        self._order = {node: i for i, node in enumerate(self._nodes)}
        self._group: dict[Node, Node] = {}
        self._members: dict[Node, list[Node]] = {}
        for node in self._nodes:
            shares = node.meta.get("shares")
            root = self._group.get(shares, shares) if shares is not None else node
            self._group[node] = root
            self._members.setdefault(root, []).append(node)

    def apply(self) -> None:
        """Change every operation that allows it."""
        for node in self._nodes:
            for operand, arguments in self._candidates(node):
                if self._free(operand, node):
                    node.target = _IN_PLACE[node.target]
                    node.args = arguments
                    self._merge(node, operand)
                    break

    @staticmethod
    def _candidates(node: Node) -> Iterator[tuple[Node, tuple[Any, ...]]]:
        if node.target not in _IN_PLACE:
            return
        first, *rest = node.args
        if isinstance(first, Node):
            yield first, node.args
        if node.target in _COMMUTING and not node.kwargs and isinstance(rest[0], Node):
            yield rest[0], (rest[0], first)

    def _free(self, operand: Node, node: Node) -> bool:
        form, root = form_of(operand), self._group[operand]
        if form is None or form != form_of(node) or not form.dense or root.op != "call_function":
            return False
        if node.target in _WITH_SUM.values() and operand in node.args[1:]:
            return False  # a product still reads what it would write over
        others = [a for a in node.all_input_nodes if a is not operand]
        if any(self._group[a] is root for a in others):
            return False
        readers = (user for member in self._members[root] for user in member.users)
        return all(self._order[user] <= self._order[node] for user in readers)

    def _merge(self, node: Node, operand: Node) -> None:
        root = self._group[operand]
        for member in self._members.pop(node, [node]):
            self._group[member] = root
            self._members[root].append(member)
