"""A network on a device with products known to be right, for bench_gpu."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import hessop
from examples.benchmarks import clock, eigenthings
from examples.benchmarks.networks import LOSS, ON_GPU, Batches, gpu_case


@dataclass(frozen=True)
class Problem:
    """
    A network, its data, and what its Hessian is known to do.

    Attributes
    ----------
    title : str
        What it is.
    model, batches, device : Module, list of pairs, device
        In float32, where products are computed.
    plain : callable
        hessian-eigenthings' product, written out.
    V, exact : torch.Tensor, shape (2, n)
        Vectors, and their products in float64.
    """

    title: str
    model: nn.Module
    batches: Batches
    device: torch.device
    plain: eigenthings.Multiply
    V: torch.Tensor
    exact: torch.Tensor

    @classmethod
    def of(
        cls, name: str, folder: str | None, sequences: int, small: bool, device: torch.device
    ) -> Problem:
        """With exact products of its own, so that it takes a while."""
        model, batches = gpu_case(name, folder, sequences, small)
        model, batches = model.to(device), [(x.to(device), y.to(device)) for x, y in batches]
        n = sum(p.numel() for p in model.parameters())
        V = torch.randn(2, n, generator=torch.Generator().manual_seed(1)).to(device)
        double = [(x.double() if x.is_floating_point() else x, y) for x, y in batches]
        multiply = eigenthings.product(copy.deepcopy(model).double(), double)
        exact = torch.stack([multiply(v.double()) for v in V])
        del multiply
        clock.free_memory(device)
        shape = f"{len(batches)} x {' x '.join(map(str, batches[0][0].shape))}"
        title = f"{ON_GPU[name]}, n = {n:,}, {shape}"
        return cls(title, model, batches, device, eigenthings.product(model, batches), V, exact)

    def error(self, multiply: eigenthings.Multiply) -> float:
        """The largest relative error of a product."""
        pairs = zip(self.V, self.exact, strict=True)
        return max(float((multiply(v) - w).norm() / w.norm()) for v, w in pairs)

    def hessian(self, **how: Any) -> hessop.HessianOperator:
        """hessop's, with these arguments."""
        return hessop.HessianOperator(self.model, LOSS, self.batches, **how)
