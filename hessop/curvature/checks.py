"""Is the objective one function of the parameters? Asked once, of the first batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop.curvature.data import Batches, tensors
from hessop.curvature.diagnosis import failing_layer
from hessop.curvature.dropout import refuse_dropout
from hessop.curvature.gauss_newton import JacobianLocal
from hessop.curvature.graph import coarsest, ends_early, leaves_of
from hessop.curvature.guards import recording
from hessop.curvature.local import Local
from hessop.curvature.microbatch import on_what_fits
from hessop.curvature.objective import Objective, check_finite
from hessop.curvature.store import Make

Smaller = Callable[[Any], Any]
"""Gives a batch, or as much of it as is to be looked at."""


@recording()
def check_curvature(objective: Objective, data: Batches, make: Make, twice: bool) -> float | None:
    """
    Refuse what would make an operator that is not one matrix.

    What `check_determinism` refuses, parameters that reach the loss other than through the model,
    layers without a second derivative. Costs, for the first batch of the data, or as much of it as
    fits into memory: two looks at it, two forward passes, one gradient and two products. Where
    second derivatives are not to be taken, `twice` is False and the last two fall away.

    Returns the noise of a product, relative to its size; None where no product was made.
    """

    def check(smaller: Smaller) -> float | None:
        local = check_determinism(objective, data, make, smaller)
        _check_references(local.reach, objective)
        return _explained(_check_symmetry, local) if twice else None

    return on_what_fits(objective.model, check)


@recording()
def check_jacobian(objective: Objective, data: Batches, make: Make, twice: bool) -> None:
    """Refuse the same for a map between parameters and outputs."""
    local = check_determinism(objective, data, make, lambda batch: batch)
    _check_references(local.reach, objective)
    if twice:
        _explained(_check_adjoint, local)


def _explained(check: Callable[[Any], float], local: Local) -> float:
    """A check of one batch; where it fails, the layer is named."""
    try:
        return check(local)
    except NotImplementedError as error:
        layer = failing_layer(local)
        if layer is None:
            raise
        raise NotImplementedError(f"{error} It is {layer}.") from error


@recording()
def check_determinism(objective: Objective, data: Batches, make: Make, smaller: Smaller) -> Local:
    """
    Refuse dropout in train mode, data that differ from pass to pass, other randomness.

    Returns the map of the first batch, or of what `smaller` makes of it.
    """
    device = objective.space.device
    refuse_dropout(objective.model)
    first = next(iter(data))
    with _other_random_numbers(device):
        second = next(iter(data))
    _check_batches(first, second, data.name)
    first, second = smaller(first), smaller(second)
    leaves = objective.leaves()
    local = make(objective, first, leaves, 0)
    check_finite(local.value.sum())
    with _other_random_numbers(device):
        again = make(objective, second, leaves, 0).value.detach()
    seen = local.value.detach()
    if not torch.allclose(seen, again, rtol=1e-5, atol=1e-5 * float(seen.abs().max())):
        raise ValueError(
            _validation.message(
                "model",
                "give the same loss at every evaluation of one batch",
                f"{seen.flatten()[0].item():.9g} and {again.flatten()[0].item():.9g}",
                "Look for functional dropout or noise, which model.eval() turns off in most "
                "layers, or, where the two are close, kernels that are not deterministic "
                "(torch.use_deterministic_algorithms). check=False skips this check.",
            )
        )
    return local


@contextmanager
def _other_random_numbers(device: torch.device) -> Iterator[None]:
    """torch's random numbers moved on, and put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.rand(1)
        torch.rand(1, device=device)
        yield


def _check_batches(first: Any, second: Any, name: str) -> None:
    ours, theirs = tensors(first), tensors(second)
    if len(ours) != len(theirs) or not all(map(_equal, ours, theirs)):
        raise ValueError(
            _validation.message(
                name,
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


def _check_references(value: torch.Tensor, objective: Objective) -> None:
    names = {p.data_ptr(): n for n, p in objective.model.named_parameters() if p.requires_grad}
    originals = {id(p) for p in objective.model.parameters()}
    for leaf in leaves_of(value):
        name = names.get(leaf.data_ptr())
        if id(leaf) in originals and name in objective.space.names:
            raise ValueError(
                _validation.message(
                    "loss_fn or objective",
                    "reach the parameters through the model",
                    f"a direct reference to {name}",
                    "Look it up in the model each time, as in dict(model.named_parameters()).",
                )
            )


def _check_symmetry(local: Local) -> float:
    """A layer whose derivative leaves torch has no second one, and only asymmetry shows it."""
    space = local.objective.space

    def multiply(v: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(space.n, dtype=torch.float64, device=space.device)
        space.add(local.reverse(space.split(v.to(space.dtype))), out)
        return out

    return _judged(symmetry_defect(multiply, space.n, space.device), local)


def _check_adjoint(local: JacobianLocal) -> float:
    """``u . J v`` by reverse mode twice, against ``v . J^T u`` by reverse mode once."""
    space = local.objective.space
    rng = np.random.default_rng(0)
    u, v = (
        torch.from_numpy(rng.standard_normal(n)).to(space.device, space.dtype)
        for n in (local.reach.numel(), space.n)
    )
    parts = u.split([z.numel() for z in local.outputs])
    directions = [p.view_as(z) for p, z in zip(parts, local.outputs, strict=True)]
    Jv, JTu = torch.zeros_like(u), torch.zeros_like(v)
    for z, out in zip(
        local.reverse(space.split(v)), Jv.split([len(p) for p in parts]), strict=True
    ):
        if z is not None:
            out.copy_(z.detach().flatten())
    space.add(local.transposed(directions), JTu)
    defect = abs(float(u.double() @ Jv.double() - v.double() @ JTu.double()))
    scale = max(float(Jv.double().norm()), float(JTu.double().norm()))
    return _judged(defect / scale if scale else 0.0, local)


def _judged(noise: float, local: Local) -> float:
    """The defect of a product, if it is one of rounding."""
    roots = local.roots()
    early, eps = ends_early(roots), local.within(lambda: coarsest(roots))
    if early or noise > max(1e-3, 30 * eps, 30 * torch.finfo(local.leaves[0].dtype).eps):
        raise NotImplementedError(
            _validation.message(
                "model",
                "be twice differentiable",
                "a custom autograd.Function without a second derivative"
                if early
                else f"a curvature that is not symmetric (by {noise:.0e}, relative)",
                "Look for an autograd.Function with once_differentiable, or whose backward leaves "
                "torch; leave the parameters before it out with params=, or use "
                'mode="finite-difference".',
            )
        )
    return noise


def symmetry_defect(
    multiply: Callable[[torch.Tensor], torch.Tensor], n: int, device: torch.device
) -> float:
    """``|u . A v - v . A u|`` for random u, v of unit entries, relative to the size of A u."""
    rng = np.random.default_rng(0)
    u, v = torch.from_numpy(rng.standard_normal((2, n))).to(device)
    Au, Av = multiply(u).double(), multiply(v).double()
    # u . Av is of the size of ||Av||, for the entries of u have variance 1.
    scale = max(Au.norm().item(), Av.norm().item())
    defect = abs(u @ Av - v @ Au).item()
    return defect / scale if scale else 0.0
