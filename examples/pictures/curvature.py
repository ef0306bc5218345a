"""The Hessian and its two parts."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

import hessop
from examples.pictures.common import corners, dense, side_by_side, small_network


def curvature_split() -> Figure:
    """The Hessian of a small network as the sum of two matrices."""
    x, y = corners()
    model, loss_fn = small_network(), torch.nn.CrossEntropyLoss()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        loss_fn(model(x), y).backward()
        optimiser.step()
    H = dense(hessop.HessianOperator(model, loss_fn, (x, y)))
    G = dense(hessop.GGNOperator(model, loss_fn, (x, y)))
    figure, panels = plt.subplots(1, 3, figsize=(9.0, 3.1), layout="constrained")
    top = np.abs(H).max()
    colours = mpl.colormaps["RdBu_r"].resampled(15)
    norm = SymLogNorm(linthresh=top / 100, vmin=-top, vmax=top)
    borders = np.cumsum([p.numel() for p in model.parameters()])[1:-1:2]
    titles = ("Hessian", "= Gauss-Newton", "+ the curvature of the model")
    for axes, matrix, title in zip(panels, (H, G, H - G), titles, strict=True):
        image = axes.imshow(matrix, cmap=colours, norm=norm, interpolation="nearest")
        w = np.linalg.eigvalsh(matrix)
        axes.set_title(f"{title}\neigenvalues {w[0]:.2f} to {w[-1]:.2f}")
        axes.set_xticks(borders - 0.5, [])
        axes.set_yticks(borders - 0.5, [])
        axes.grid(color="0.4", linewidth=0.4)
    figure.colorbar(image, ax=panels, shrink=0.8)
    return figure


def curvature_training() -> Figure:
    """Eigenvalues and the size of both parts while a network is trained."""
    x, y = corners()
    model, loss_fn = small_network(), torch.nn.CrossEntropyLoss()
    H = hessop.HessianOperator(model, loss_fn, (x, y))
    G = hessop.GGNOperator(model, loss_fn, (x, y))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    steps, ends, parts, losses = [], [], [], []
    for step in range(401):
        if step % 10 == 0:
            h, g = dense(H), dense(G)
            w = np.linalg.eigvalsh(h)
            steps.append(step)
            ends.append((w[0], w[-1], np.linalg.eigvalsh(g)[-1]))
            parts.append((np.linalg.norm(g), np.linalg.norm(h - g)))
            losses.append(H.loss())
        optimiser.zero_grad()
        loss_fn(model(x), y).backward()
        optimiser.step()
    least, greatest, gauss_newton = np.array(ends).T
    figure, left, right = side_by_side()
    left.plot(steps, greatest, label="largest of the Hessian")
    left.plot(steps, gauss_newton, "--", label="largest of Gauss-Newton")
    left.plot(steps, least, label="smallest of the Hessian")
    left.axhline(0.0, color="0.7", linewidth=0.6)
    left.set(xlabel="training step", ylabel="eigenvalue")
    left.legend()
    size_g, size_r = np.array(parts).T
    right.semilogy(steps, size_g, label="Frobenius norm of Gauss-Newton")
    right.semilogy(steps, size_r, label="of the rest")
    right.semilogy(steps, losses, color="0.6", label="loss")
    right.set(xlabel="training step")
    right.legend()
    return figure
