"""Layers that drop something at random."""

from __future__ import annotations

import torch

from hessop import _validation

_WITH_DROPOUT = (torch.nn.MultiheadAttention, torch.nn.RNNBase)


def refuse_dropout(model: torch.nn.Module) -> None:
    """Raise where a layer would compute something else at every call."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            active = module.training and module.p > 0
        else:
            active = isinstance(module, _WITH_DROPOUT) and module.training and module.dropout > 0
        if active:
            raise ValueError(
                _validation.message(
                    "model",
                    "compute the same function at every call",
                    f"{name or 'a model'} ({type(module).__name__}) with dropout in train mode",
                    "Call model.eval() first. check=False skips this check.",
                )
            )
