"""What multiplies with a curvature matrix: hessop in its modes, and its peers where installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import hessop
from examples.benchmarks.networks import LOSS, Case

Multiply = Callable[[torch.Tensor], torch.Tensor]
"""Rows ``(k, n)`` to rows."""

OPERATORS = {
    "Hessian": hessop.HessianOperator,
    "GGN": hessop.GGNOperator,
    "Fisher, mc": lambda *a, **k: hessop.FisherOperator(*a, kind="mc", rng=0, **k),
    "Fisher, empirical": lambda *a, **k: hessop.FisherOperator(*a, kind="empirical", **k),
}

MODES: dict[str, dict[str, Any]] = {
    "kept graph": {"mode": "kept"},
    "recorded": {"mode": "recorded"},
    "linearized": {"mode": "linearized"},
    "linearized, compiled": {"mode": "linearized", "compile": True},
    "reverse over reverse, nothing kept": {"mode": "reverse-over-reverse"},
    "forward over reverse, nothing kept": {"mode": "forward-over-reverse"},
    "finite difference": {"mode": "finite-difference"},
}


def ours(operator: str, mode: str, case: Case, width: int = 1) -> Multiply:
    """A hessop product."""
    model, x, y = case
    options = dict(MODES[mode])
    A = OPERATORS[operator](model, LOSS, (x, y), check=False, block_size=width, **options)
    for _ in range(2):  # the first builds what is kept, the second compiles
        A.product.matmat(torch.ones(width, A.shape[0]))
    return A.product.matmat


@contextmanager
def _quiet() -> Iterator[None]:
    """Peers' warnings off, and attention that can be differentiated twice."""
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")
        yield


def _quietly(multiply: Multiply) -> Multiply:
    def run(V: torch.Tensor) -> torch.Tensor:
        with _quiet():
            return multiply(V)

    return run


def curvlinops(operator: str, case: Case) -> Multiply:
    """
    curvlinops 3.0.1.

    Its Hessian is wrong for layer norm with this torch, through a vmap rule for `jacrev`; with
    `torch.func.grad` in its place it is right, and no slower. It is measured so.
    """
    import curvlinops as cl
    import curvlinops.hessian

    curvlinops.hessian.jacrev = torch.func.grad
    model, x, y = case
    kinds = {
        "Hessian": cl.HessianLinearOperator,
        "GGN": cl.GGNLinearOperator,
        "Fisher, mc": cl.FisherMCLinearOperator,
        "Fisher, empirical": cl.EFLinearOperator,
    }
    with _quiet():
        A = kinds[operator](
            model, LOSS, list(model.parameters()), [(x, y)], check_deterministic=False,
            num_data=len(x),
        )  # fmt: skip
    return _quietly(lambda V: (A @ V.T).T if len(V) > 1 else (A @ V[0])[None])


def eigenthings(operator: str, case: Case) -> Multiply:
    """hessian-eigenthings 1.0.0a5; it has no products with blocks."""
    import hessian_eigenthings as he

    model, x, y = case
    if operator == "Hessian":
        A = he.HessianOperator(model, [(x, y)], he.supervised_loss(LOSS))
    else:
        of_output = he.supervised_loss_of_output(LOSS)
        A = he.GGNOperator(model, [(x, y)], he.supervised_forward, of_output)
    return _quietly(lambda V: torch.stack([A @ v for v in V]))


def pyhessian(operator: str, case: Case) -> Multiply:
    """PyHessian 0.1, which keeps the graph of the gradient; it has no products with blocks."""
    import pyhessian as ph
    from pyhessian.utils import hessian_vector_product

    model, x, y = case
    with _quiet():
        model.zero_grad()
        h = ph.hessian(model, LOSS, data=(x, y), cuda=False)
    sizes = [p.numel() for p in h.params]

    def one(v: torch.Tensor) -> torch.Tensor:
        pieces = [a.view_as(p) for a, p in zip(v.split(sizes), h.params, strict=True)]
        found = hessian_vector_product(h.gradsH, h.params, pieces)
        return torch.cat([piece.reshape(-1) for piece in found])

    return _quietly(lambda V: torch.stack([one(v) for v in V]))


_PEERS = {
    "curvlinops 3.0.1": ("curvlinops", curvlinops, tuple(OPERATORS)),
    "hessian-eigenthings 1.0.0a5": ("hessian_eigenthings", eigenthings, ("Hessian", "GGN")),
    "PyHessian 0.1": ("pyhessian", pyhessian, ("Hessian",)),
}


def peers(operator: str) -> dict[str, Callable[[str, Case], Multiply]]:
    """The peers that are installed and have this operator."""
    return {
        name: build
        for name, (module, build, operators) in _PEERS.items()
        if operator in operators and importlib.util.find_spec(module) is not None
    }
