"""Is the objective one function of the parameters? Asked once, of the first batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop.curvature.data import Batches, tensors
from hessop.curvature.graph import GradientGraph, leaves_of
from hessop.curvature.guards import recording
from hessop.curvature.objective import Objective

_WITH_DROPOUT = (torch.nn.MultiheadAttention, torch.nn.RNNBase)


@recording()
def check_objective(objective: Objective, data: Batches) -> None:
    """
    Refuse what would make an operator that is not one matrix.

    Dropout in train mode, data that differ from pass to pass, other randomness in the model,
    parameters that reach the loss other than through the model, layers without a second
    derivative. Costs, for the first batch of the data: two looks at it, two forward passes, one
    gradient and two products.
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
    _check_references(term.loss, objective)
    _check_symmetry(GradientGraph(term, leaves), objective)


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
    ours, theirs = tensors(first), tensors(second)
    if len(ours) != len(theirs) or not all(map(_equal, ours, theirs)):
        raise ValueError(
            _validation.message(
                "data",
                "visit the same batches in the same order at every pass",
                "a first batch that differs between two passes",
                "Turn shuffling and augmentation off, or pass list(data) to freeze one pass.",
            )
        )


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are the same, NaN and all."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a is b or torch.equal(a, b) or torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)


def _check_references(loss: torch.Tensor, objective: Objective) -> None:
    names = {p.data_ptr(): n for n, p in objective.model.named_parameters() if p.requires_grad}
    originals = {id(p) for p in objective.model.parameters()}
    for leaf in leaves_of(loss):
        name = names.get(leaf.data_ptr())
        if id(leaf) in originals and name in objective.space.names:
            raise ValueError(
                _validation.message(
                    "loss_fn",
                    "reach the parameters through the model",
                    f"a direct reference to {name}",
                    "Look it up in the model each time, as in dict(model.named_parameters()).",
                )
            )


def _check_symmetry(graph: GradientGraph, objective: Objective) -> None:
    """A layer whose derivative leaves torch has no second one, and only asymmetry shows it."""
    space = objective.space
    rng = np.random.default_rng(0)
    u, v = torch.from_numpy(rng.standard_normal((2, space.n))).to(space.device, space.dtype)
    Hu, Hv = (
        space.join(graph.multiply(space.split(x)), torch.empty_like(x)).double() for x in (u, v)
    )
    # u . Hv is of the size of ||Hv||, for the entries of u have variance 1.
    scale = max(Hu.norm().item(), Hv.norm().item())
    asymmetry = abs(u.double() @ Hv - v.double() @ Hu).item()
    if graph.ends_early() or asymmetry > max(1e-3, 30 * torch.finfo(space.dtype).eps) * scale:
        raise NotImplementedError(
            _validation.message(
                "model",
                "be twice differentiable",
                "a custom autograd.Function without a second derivative"
                if graph.ends_early()
                else f"a Hessian that is not symmetric (by {asymmetry / scale:.0e}, relative)",
                "Look for an autograd.Function with once_differentiable, or whose backward leaves "
                "torch; leave the parameters before it out with params=.",
            )
        )
