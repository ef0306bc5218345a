"""
The algorithms of hessian-eigenthings 1.0.0a5 written out, for machines that do not have it.

A product is a forward pass, a gradient with its graph and a second backward pass for each batch;
Lanczos has one pass of modified Gram-Schmidt in each step, vector by vector, as in its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from examples.benchmarks.networks import LOSS, Batches

Multiply = Callable[[torch.Tensor], torch.Tensor]
"""A vector to a vector."""


def product(model: nn.Module, batches: Batches) -> Multiply:
    """The mean of the batches' Hessians times a vector."""
    parameters = list(model.parameters())
    sizes = [p.numel() for p in parameters]

    def multiply(v: torch.Tensor) -> torch.Tensor:
        pieces = [a.view_as(p) for a, p in zip(v.split(sizes), parameters, strict=True)]
        total = torch.zeros_like(v)
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            for x, y in batches:
                gradient = torch.autograd.grad(LOSS(model(x), y), parameters, create_graph=True)
                found = torch.autograd.grad(gradient, parameters, pieces)
                total = 1.0 * torch.cat([piece.reshape(-1) for piece in found]) + total
        return 1.0 / len(batches) * total

    return multiply


def package(model: nn.Module, batches: Batches) -> Multiply:
    """The same by the package itself."""
    import hessian_eigenthings as he

    A = he.HessianOperator(model, batches, he.supervised_loss(LOSS))

    def multiply(v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return A.matvec(v)

    return multiply


@contextmanager
def _tf32() -> Iterator[None]:
    """TensorFloat-32 in matrix products and convolutions, as torch's switches have it."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        full_precision()


def full_precision() -> None:
    """No TensorFloat-32; torch has it on in convolutions by default."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def in_tf32(multiply: Multiply) -> Multiply:
    """A product in TensorFloat-32."""

    def run(v: torch.Tensor) -> torch.Tensor:
        with _tf32():
            return multiply(v)

    return run


def lanczos(
    multiply: Multiply, v0: torch.Tensor, k: int, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest Ritz values in magnitude after `steps` products, and vectors as rows."""
    basis = [1.0 / torch.linalg.vector_norm(v0).item() * v0]
    alphas: list[float] = []
    betas: list[float] = []
    for j in range(steps):
        w = multiply(basis[j])
        if j > 0:
            w = -betas[-1] * basis[j - 1] + w
        alphas.append(torch.dot(basis[j], w).item())
        w = -alphas[-1] * basis[j] + w
        for v in basis:
            w = -torch.dot(v, w).item() * v + w
        if j < steps - 1:
            betas.append(torch.linalg.vector_norm(w).item())
            basis.append(1.0 / betas[-1] * w)
    T = torch.diag(torch.tensor(alphas, dtype=v0.dtype, device=v0.device))
    off = torch.tensor(betas, dtype=v0.dtype, device=v0.device)
    T += torch.diag(off, 1) + torch.diag(off, -1)
    theta, S = torch.linalg.eigh(T)
    chosen = theta.abs().argsort(descending=True)[:k]
    rows = torch.zeros(k, len(v0), dtype=v0.dtype, device=v0.device)
    for j, v in enumerate(basis):
        rows.addr_(S[j, chosen], v)
    return theta[chosen], rows
