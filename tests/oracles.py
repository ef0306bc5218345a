"""Second, naive ways to the same numbers: dense, in float64, over all examples at once."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel


def double(x: Any) -> Any:
    """A float64 copy of a tensor or module; integers stay."""
    if isinstance(x, nn.Module):
        return copy.deepcopy(x).double().requires_grad_(False)
    if isinstance(x, torch.Tensor) and x.is_floating_point():
        return x.double()
    return x


def chosen(model: nn.Module, names: Any = None) -> dict[str, torch.Tensor]:
    """The parameters by name in the model's order; default: those with requires_grad."""
    return {
        name: p.detach().double()
        for name, p in model.named_parameters()
        if (p.requires_grad if names is None else name in names)
    }


def flat_objective(model: nn.Module, loss_fn: Any, data: Any, names: Any = None) -> Any:
    """The float64 objective over all examples as a function of one flat vector, and its place."""
    twin, loss_fn = double(model), double(loss_fn)
    x, y = (double(t) for t in data)
    values = chosen(model, names)
    shapes = [p.shape for p in values.values()]
    sizes = [p.numel() for p in values.values()]

    def objective(theta: torch.Tensor) -> torch.Tensor:
        pieces = [v.reshape(s) for v, s in zip(theta.split(sizes), shapes, strict=True)]
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
            output = functional_call(twin, dict(zip(values, pieces, strict=True)), (x,))
            return loss_fn(output, y)

    return objective, torch.cat([p.flatten() for p in values.values()])


def dense_hessian(model: nn.Module, loss_fn: Any, data: Any, names: Any = None) -> np.ndarray:
    """
    The Hessian of ``loss_fn(model(x), y)`` over all data at once.

    One row at a time: under vmap, as in `torch.func.hessian`, torch 2.13 loses terms between the
    scale of layer_norm or batch_norm and its input.
    """
    objective, theta = flat_objective(model, loss_fn, data, names)
    return torch.func.jacrev(torch.func.grad(objective), chunk_size=1)(theta).detach().numpy()


def difference_hessian(model: nn.Module, loss_fn: Any, data: Any, step: float) -> np.ndarray:
    """The same by central differences of the gradient, to about ``step**2``."""
    objective, theta = flat_objective(model, loss_fn, data)
    slope = torch.func.grad(objective)
    rows = [
        (slope(theta + e) - slope(theta - e)) / (2 * step)
        for e in step * torch.eye(len(theta), dtype=torch.float64)
    ]
    return torch.stack(rows).detach().numpy()


def gradient(model: nn.Module, loss_fn: Any, data: Any, names: Any = None) -> np.ndarray:
    """The gradient of the same objective."""
    objective, theta = flat_objective(model, loss_fn, data, names)
    return torch.func.grad(objective)(theta).detach().numpy()


def loss(model: nn.Module, loss_fn: Any, data: Any) -> float:
    """The same objective."""
    objective, theta = flat_objective(model, loss_fn, data)
    return float(objective(theta))


class PerExample:
    """
    A loss that visits one example (or token) after the other and weighs each by hand.

    ``kind`` is "labels", with class `weight` and `ignore_index`, or "squares". The sum of weighted
    losses is divided by the sum of weights, or by `divisor` where one is given.
    """

    def __init__(
        self,
        kind: str,
        weight: torch.Tensor | None = None,
        ignore_index: int = -100,
        divisor: float | None = None,
    ) -> None:
        self.kind = kind
        self.weight = weight
        self.ignore_index = ignore_index
        self.divisor = divisor

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.kind == "squares":
            terms = [(((o - t) ** 2).mean(), 1.0) for o, t in zip(output, target, strict=True)]
        else:
            rows = output.movedim(1, -1).reshape(-1, output.shape[1])
            terms = [
                self._one(row, int(label))
                for row, label in zip(rows, target.flatten(), strict=True)
                if label != self.ignore_index
            ]
        total = sum(value * w for value, w in terms)
        return total / (sum(w for _, w in terms) if self.divisor is None else self.divisor)

    def _one(self, row: torch.Tensor, label: int) -> tuple[torch.Tensor, float]:
        return torch.logsumexp(row, 0) - row[label], (
            1.0 if self.weight is None else float(self.weight[label])
        )


def matrix(A: Any) -> np.ndarray:
    """All columns of an operator, as it gives them."""
    return A @ np.eye(A.shape[0])
