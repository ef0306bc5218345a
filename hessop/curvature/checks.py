"""Is the objective one function of the parameters? Asked once, of the first batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hessop import _validation
from hessop.curvature.data import Batches, tensors
from hessop.curvature.graph import GradientGraph
from hessop.curvature.guards import recording
from hessop.curvature.objective import Objective

_WITH_DROPOUT = (torch.nn.MultiheadAttention, torch.nn.RNNBase)


@recording()
def check_objective(objective: Objective, data: Batches) -> None:
    """
    Refuse what would make an operator that is not one matrix.

    Dropout in train mode, data that differ from pass to pass, other randomness in the model,
    parameters that reach the loss other than through the model. Costs two looks at the first
    batch of the data and two forward passes over it.
    """
    device = objective.space.device
    _check_dropout(objective.model)
    first = next(iter(data))
    with _other_random_numbers(device):
        second = next(iter(data))
    _check_batches(first, second)

    leaves = objective.leaves()
    term = objective.term(first, leaves)
    with _other_random_numbers(device):
        again = objective.term(second, objective.leaves()).loss
    if not torch.isclose(term.loss, again, rtol=1e-5, atol=0.0):
        raise ValueError(
            _validation.message(
                "model",
                "give the same loss at every evaluation of one batch",
                f"{term.loss.item():.9g} and {again.item():.9g}",
                "Look for functional dropout or noise; model.eval() turns most of it off. "
                "check=False skips this check.",
            )
        )
    _check_strangers(GradientGraph(term, leaves), objective)


@contextmanager
def _other_random_numbers(device: torch.device) -> Iterator[None]:
    """torch's random numbers moved on, and put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.rand(1)
        torch.rand(1, device=device)
        yield


def _check_dropout(model: torch.nn.Module) -> None:
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


def _check_batches(first: Any, second: Any) -> None:
    pairs = list(zip(tensors(first), tensors(second), strict=True))
    if not all(a is b or torch.equal(a, b) for a, b in pairs):
        raise ValueError(
            _validation.message(
                "data",
                "visit the same batches in the same order at every pass",
                "a first batch that differs between two passes",
                "Turn shuffling and augmentation off, or pass list(data) to freeze one pass.",
            )
        )


def _check_strangers(graph: GradientGraph, objective: Objective) -> None:
    names = {p.data_ptr(): name for name, p in objective.model.named_parameters()}
    for stranger in graph.strangers():
        name = names.get(stranger.data_ptr())
        if name in objective.space.names:
            raise ValueError(
                _validation.message(
                    "loss_fn",
                    "reach the parameters through the model",
                    f"a direct reference to {name}",
                    "Look it up in the model each time, as in dict(model.named_parameters()).",
                )
            )
