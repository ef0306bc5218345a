"""What rounding does."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

import hessop
from examples.pictures.common import projected, side_by_side
from hessop import synthetic


def stability_orthogonality() -> Figure:
    """How orthogonality is lost, and the ghosts that come with it."""
    rng = np.random.default_rng(0)
    w = np.concatenate([rng.uniform(-1.0, 1.0, 490), np.linspace(2.0, 6.0, 10)])
    A = synthetic.operator(w, rng=0)
    m = 90
    figure, left, right = side_by_side()
    for reorth in ("none", "selective", "full", "double"):
        t = hessop.tridiagonalize(A, None, m, reorth=reorth, rng=1)
        loss = np.abs(t.basis.T @ t.basis - np.eye(m))
        worst = np.maximum.accumulate([loss[: j + 1, : j + 1].max() for j in range(m)])
        left.semilogy(range(1, m + 1), worst, label=reorth)
        if reorth == "none":
            for j in range(4, m + 1):
                top = np.linalg.eigvalsh(projected(t, j))
                top = top[top > 1.5]
                right.plot(np.full(len(top), j), top, ".", color="C0", markersize=2)
    left.set(xlabel="step", ylabel=r"largest entry of $|V^T V - I|$")
    left.legend()
    for value in w[-10:]:
        right.axhline(value, color="C3", linewidth=0.5, zorder=0)
    right.set(xlabel="step", ylabel='Ritz values, "none"; eigenvalues in red')
    return figure


def stability_precision() -> Figure:
    """Residuals in two precisions: where they stop falling."""
    rng = np.random.default_rng(0)
    w = np.concatenate([rng.uniform(-1.0, 1.0, 990), np.linspace(2.0, 6.0, 10)])
    figure, left, right = side_by_side()
    for axes, dtype in ((left, torch.float32), (right, torch.float64)):
        A = synthetic.operator(w, dtype=dtype, rng=0)
        t = hessop.tridiagonalize(A, None, 50, rng=1)
        V = t.basis.astype(np.float64)
        estimate, error = [], []
        for m in range(3, 51):
            theta, Y = np.linalg.eigh(projected(t, m))
            y = V[:, :m] @ Y[:, -1]
            estimate.append(t.beta[m - 1] * abs(Y[-1, -1]))
            error.append(np.linalg.norm(np.float64(A @ y.astype(A.dtype)) - theta[-1] * y))
        axes.semilogy(range(3, 51), np.maximum(estimate, 1e-20), label="by the Lanczos relation")
        axes.semilogy(range(3, 51), error, label="measured")
        noise = 10 * torch.finfo(dtype).eps * w.max()
        axes.axhline(noise, color="0.6", linestyle="--", label="10 units of rounding")
        axes.set(title=str(dtype).removeprefix("torch."), xlabel="step", ylim=(1e-20, 10))
    left.set(ylabel="residual of the largest pair")
    left.legend()
    return figure
