"""How far eigenvalues and eigenvectors depend on which data there happened to be."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

import hessop
from examples.models import mlp
from examples.pictures.common import side_by_side
from examples.training import train
from hessop import perturbation

_SHOWN = 6
_RESAMPLES = 40


def trust_data() -> Figure:
    """Leading eigenvalues over resamples, and how far the spaces of their eigenvectors turn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    noise = 0.5 * torch.randn(500, generator=generator, dtype=torch.float64)
    y = (x[:, 0] * x[:, 1] + noise > 0).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, loss_fn = mlp((3, 8, 2), torch.nn.Tanh).double(), torch.nn.CrossEntropyLoss()
        train(model, loss_fn, x, y, epochs=100, lr=0.02)

    def on(rows: np.ndarray) -> hessop.HessianOperator:
        return hessop.HessianOperator(model, loss_fn, (x[rows], y[rows]), check=False)

    leading = range(1, _SHOWN + 1)
    found = [
        perturbation.bootstrap(on, 500, k=k, which="LA", n_resamples=_RESAMPLES, rng=0)
        for k in leading
    ]
    figure, left, right = side_by_side()
    for w in found[-1].eigenvalues:
        left.plot(leading, w[::-1], "_", color="C0", alpha=0.5)
    left.plot(leading, found[-1].full.eigenvalues[::-1], "k.", label="all data")
    left.plot([], [], "_", color="C0", label="resamples")
    left.set(xlabel="rank", ylabel="eigenvalue", yscale="log")
    left.legend()
    right.boxplot([np.degrees(f.angles) for f in found], positions=list(leading), widths=0.5)
    right.set(xlabel="how many leading eigenvectors", ylabel="angle of their space, degrees")
    return figure
