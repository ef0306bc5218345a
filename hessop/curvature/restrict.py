"""A part of a tape: what remains when some inputs are zero and some outputs unwanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx import GraphModule, Node

from hessop.curvature.rewrite import form_of, is_constant, new_constant, tidy

_aten = torch.ops.aten


def restrict(module: GraphModule, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """Keep some inputs and outputs; other inputs are zero, and so is what follows from them."""
    graph = module.graph
    places = [node for node in graph.nodes if node.op == "placeholder"]
    zero = {node for i, node in enumerate(places) if i not in inputs}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        variables = [a for a in node.all_input_nodes if not is_constant(a)]
        gone = [a for a in variables if a in zero]
        # Each operation is linear in its variables together.
        if variables and len(gone) == len(variables):
            zero.add(node)
        elif gone:
            _without(module, node, gone)
    (output,) = (node for node in graph.nodes if node.op == "output")
    kept = [output.args[0][i] for i in outputs]
    output.args = (tuple(None if node in zero else node for node in kept),)
    for node in reversed([n for n in graph.nodes if n in zero]):
        if not node.users:
            graph.erase_node(node)
    tidy(module)


def _without(module: GraphModule, node: Node, gone: list[Node]) -> None:
    """An operation of which some operands are zero."""
    if node.target is _aten.add.Tensor and len(gone) == 1 and not node.kwargs:
        (other,) = (a for a in node.args if a is not gone[0])
        if form_of(other) == form_of(node):
            assert isinstance(other, Node)
            node.replace_all_uses_with(other)
            for user in node.graph.nodes:
                if user.meta.get("shares") is node:
                    user.meta["shares"] = other
            node.graph.erase_node(node)
            return
    for operand in gone:
        form = form_of(operand)
        assert form is not None
        zeros = torch.zeros((), dtype=form.dtype, device=form.device).expand(form.shape)
        with node.graph.inserting_before(node):
            node.replace_input_with(operand, new_constant(module, zeros))
