"""Which layer of a model has no second derivative: asked only after a product has failed."""

from __future__ import annotations

from typing import Any

import torch
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_map

from hessop.curvature.graph import ends_early
from hessop.curvature.guards import twice_differentiable
from hessop.curvature.local import Local


def failing_layer(local: Local) -> str | None:
    """Name and class of the innermost module that cannot be differentiated twice by itself."""
    calls: list[tuple[str, torch.nn.Module, Any, Any]] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda m, args, kwargs, name=name: calls.append((name, m, args, kwargs)),
            with_kwargs=True,
        )
        for name, module in local.objective.model.named_modules()
        if name
    ]
    try:
        local.release()
        assert local.reach is not None  # a forward pass, which the hooks see
    finally:
        for hook in hooks:
            hook.remove()
    for name, module, args, kwargs in sorted(calls, key=lambda call: -call[0].count(".")):
        with twice_differentiable(module, local.objective.space.device):
            if not _twice(module, args, kwargs):
                return f"{name} ({type(module).__name__})"
    return None


def _twice(module: torch.nn.Module, args: Any, kwargs: Any) -> bool:
    """Whether the module's outputs have second derivatives by its inputs and parameters."""
    inputs: list[torch.Tensor] = []

    def leaf(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        value = value.detach().clone()
        if value.is_floating_point():
            inputs.append(value.requires_grad_())
        return value

    state = {name: leaf(p) for name, p in module.named_parameters()}
    state |= {name: b.detach().clone() for name, b in module.named_buffers()}
    moved, keywords = tree_map(leaf, args), tree_map(leaf, kwargs)
    try:
        found = tree_flatten(functional_call(module, state, moved, keywords))[0]
        value = sum((z**2).sum() for z in found if _has_graph(z))
        if not isinstance(value, torch.Tensor):
            return True
        slope = torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)
        if ends_early(slope):
            return False
        again = sum((g**2).sum() for g in slope if _has_graph(g))
        if isinstance(again, torch.Tensor):
            torch.autograd.grad(again, inputs, allow_unused=True)
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _has_graph(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad
