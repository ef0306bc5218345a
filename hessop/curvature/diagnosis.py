"""Which layer of a model has no second derivative: asked only after a product has failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_map

from hessop.curvature.graph import ends_early, gradients
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
        value = _squared(found)
        if value is None:
            return True
        slope = gradients([value], inputs, [torch.ones_like(value)], create_graph=True)
        if ends_early(slope):
            return False
        again = _squared(slope)
        if again is not None:
            gradients([again], inputs, [torch.ones_like(again)])
    except NotImplementedError:
        return False
    except RuntimeError:  # a module that runs only where it is, for instance under autocast
        return True
    return True


def _squared(values: Sequence[Any]) -> torch.Tensor | None:
    """The sum of squares of all that has a graph."""
    squares = [
        value.square().sum()
        for value in values
        if isinstance(value, torch.Tensor) and value.requires_grad
    ]
    return torch.stack(squares).sum() if squares else None
