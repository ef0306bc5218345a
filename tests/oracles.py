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


def output(model: nn.Module, x: Any) -> torch.Tensor:
    """The float64 output for all examples at once."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        return double(model)(double(x))


def dense_jacobian(model: nn.Module, x: Any, names: Any = None) -> np.ndarray:
    """The Jacobian of the flattened output for all examples at once, one row at a time."""
    twin, values = double(model), chosen(model, names)
    shapes = [p.shape for p in values.values()]
    sizes = [p.numel() for p in values.values()]

    def outputs(theta: torch.Tensor) -> torch.Tensor:
        pieces = [v.reshape(s) for v, s in zip(theta.split(sizes), shapes, strict=True)]
        with sdpa_kernel(SDPBackend.MATH):
            parameters = dict(zip(values, pieces, strict=True))
            return functional_call(twin, parameters, (double(x),)).flatten()

    theta = torch.cat([p.flatten() for p in values.values()])
    return torch.func.jacrev(outputs, chunk_size=1)(theta).detach().numpy()


def dense_ggn(model: nn.Module, loss_fn: Any, data: Any, names: Any = None) -> np.ndarray:
    """``J^T H J`` with the Hessian H of the loss by all outputs."""
    x, y = data
    z, loss_fn = output(model, x), double(loss_fn)

    def loss_of(flat: torch.Tensor) -> torch.Tensor:
        return loss_fn(flat.view(z.shape), double(y))

    H = torch.func.jacrev(torch.func.grad(loss_of), chunk_size=1)(z.flatten()).numpy()
    J = dense_jacobian(model, x, names)
    return J.T @ H @ J


def dense_fisher(
    model: nn.Module, loss_fn: Any, data: Any, kind: str, names: Any = None
) -> np.ndarray:
    """The Fisher matrix, "type2" or "empirical", as a sum over data and targets of each."""
    x, y = data
    z, loss_fn = output(model, x), double(loss_fn)
    J = dense_jacobian(model, x, names)
    F = np.zeros((J.shape[1], J.shape[1]))
    for places, target, weight in _data(loss_fn, z, double(y)):
        own = z.flatten()[places]
        targets = [(1.0, target)] if kind == "empirical" else _possible(loss_fn, own)
        for probability, t in targets:
            score = torch.func.grad(lambda r, t=t: loss_fn(r, t))(own).numpy()
            g = score @ J[places.numpy()]  # by a tensor of one entry NumPy would take a row
            F += weight * probability * np.outer(g, g)
    return F


def _data(loss_fn: Any, z: torch.Tensor, y: torch.Tensor) -> list[tuple[Any, torch.Tensor, float]]:
    """What has a distribution of its own: its places in the flat output, target and weight."""
    places = torch.arange(z.numel()).view(z.shape)
    if isinstance(loss_fn, nn.CrossEntropyLoss):
        rows = places.movedim(1, -1).reshape(-1, z.shape[1])
        counted = [i for i, t in enumerate(y.flatten()) if t != loss_fn.ignore_index]
        classes = torch.ones(z.shape[1]) if loss_fn.weight is None else loss_fn.weight
        found = [(rows[i], y.flatten()[i], float(classes[y.flatten()[i]])) for i in counted]
    elif isinstance(loss_fn, nn.BCEWithLogitsLoss):
        found = [
            (i[None], t[None], 1.0) for i, t in zip(places.flatten(), y.flatten(), strict=True)
        ]
    else:
        found = [(row.flatten(), t.flatten(), 1.0) for row, t in zip(places, y, strict=True)]
    total = sum(weight for _, _, weight in found)
    return [(row, t, weight / total) for row, t, weight in found]


def _possible(loss_fn: Any, z: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
    """Targets of one datum and their probabilities; for a Gaussian, some of the same variance."""
    if isinstance(loss_fn, nn.CrossEntropyLoss):
        return [(float(p), torch.tensor(k)) for k, p in enumerate(z.softmax(0))]
    if isinstance(loss_fn, nn.BCEWithLogitsLoss):
        p = float(z.sigmoid())
        return [(1 - p, torch.zeros_like(z)), (p, torch.ones_like(z))]
    # Scores are linear in the target: one step of sqrt(D) deviations along each of D axes.
    steps = len(z) / 2**0.5 * torch.eye(len(z), dtype=z.dtype)
    return [(0.5 / len(z), z + sign * step) for step in steps for sign in (1, -1)]
