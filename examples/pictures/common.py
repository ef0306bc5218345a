"""What several pictures are made of."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hessop
from examples.models import mlp


def side_by_side(width: float = 9.0, height: float = 3.1) -> tuple[Figure, Axes, Axes]:
    """A figure of two panels."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(width, height), layout="constrained")
    return figure, left, right


def corners(n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the plane, in the class that the sign of their product says."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] * x[:, 1] > 0).long()


def small_network() -> torch.nn.Module:
    """2-6-6-2 with tanh, 74 parameters, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return mlp((2, 6, 6, 2), torch.nn.Tanh).double()


def dense(A: hessop.operators.ProductOperator) -> np.ndarray:
    """The matrix, one product for each column."""
    columns = A @ np.eye(A.shape[0])
    return (columns + columns.T) / 2


def projected(t: hessop.Tridiagonal, m: int) -> np.ndarray:
    """What a sweep had for T after m of its steps."""
    off = t.beta[: m - 1]
    return np.diag(t.alpha[:m]) + np.diag(off, 1) + np.diag(off, -1)
