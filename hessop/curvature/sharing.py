"""Products of a whole batch with one constant, done once instead of once for each vector."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from hessop.curvature.rewrite import RESHAPES, form_of, is_constant, new_constant, tidy, value_of

_aten = torch.ops.aten


def share_constants(module: GraphModule) -> bool:
    """
    Let a constant that a batched product repeats be multiplied once with the whole batch.

    ``C B_i`` for all i is C times the B_i side by side, ``A_i C`` the A_i on top of each other
    times C. Says whether anything was changed; forms are then no longer known.
    """
    changed = False
    for node in list(module.graph.nodes):
        if node.target is not _aten.bmm.default:
            continue
        left, right = node.args
        for shared, other in ((left, right), (right, left)):
            form, batched = form_of(shared), form_of(other)
            if not is_constant(shared) or form is None or batched is None or form.stride[0]:
                continue
            if is_constant(other):
                continue
            _share(module, node, shared, other, batched.shape)
            changed = True
            break
    if changed:
        for node in module.graph.nodes:
            if node.target in RESHAPES:
                node.target = _aten.reshape.default  # what was contiguous may not be any more
        tidy(module)
    return changed


def _share(
    module: GraphModule, node: Node, shared: Node, other: Node, shape: tuple[int, ...]
) -> None:
    graph, (k, rows, columns) = node.graph, shape
    C = value_of(module, shared)[0]
    call = graph.call_function
    with graph.inserting_before(node):
        constant = new_constant(module, C)
        if node.args[0] is shared:
            side = call(_aten.permute.default, (other, [1, 0, 2]))
            side = call(_aten.reshape.default, (side, [rows, k * columns]))
            product = call(_aten.mm.default, (constant, side))
            product = call(_aten.reshape.default, (product, [C.shape[0], k, columns]))
            result = call(_aten.permute.default, (product, [1, 0, 2]))
        else:
            top = call(_aten.reshape.default, (other, [k * rows, columns]))
            product = call(_aten.mm.default, (top, constant))
            result = call(_aten.reshape.default, (product, [k, rows, C.shape[1]]))
    node.replace_all_uses_with(result)
    graph.erase_node(node)
