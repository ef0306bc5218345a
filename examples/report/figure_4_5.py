"""Figures 4.5 and 4.6: the Hessian's spectrum of nanoGPT along its training."""

from __future__ import annotations

from functools import partial

import matplotlib.pyplot as plt
import torch

import hessop
import hessop.plot
from examples.report.characters import LOOKS, LOSS, blocks, model, training
from examples.report.hessians import STEPS, ritz_values
from examples.report.study import Arrays, Study

_REPORTED = {
    0: "80, -80",
    250: "20, -1",
    500: "50",
    1000: "over 80",
    1500: "above 140",
    2000: "200",
}


def spectrum(study: Study, look: int) -> Arrays:
    """100 Ritz values after some steps."""
    made = model()
    flat = torch.from_numpy(training(study)[f"step_{look}"])
    torch.nn.utils.vector_to_parameters(flat, made.parameters())
    H = hessop.HessianOperator(made, LOSS, blocks(study), progress=True)
    return {"values": ritz_values(H, steps=study.sized(STEPS, 30))}


def run(study: Study) -> None:
    """Six spectra side by side, and over one another."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    together, ax_all = plt.subplots(figsize=(7, 4.5), layout="constrained")
    rows = []
    for ax, look in zip(axes.flat, LOOKS, strict=True):
        theta = study.once(f"nanogpt-ritz-{look}", partial(spectrum, study, look))["values"]
        hessop.plot.spectrum(theta, ax=ax)
        ax.set_title(f"{look} iterations" if look else "initialisation")
        ax_all.plot([look] * len(theta), theta, "_", ms=14)
        loss = float(training(study)[f"loss_{look}"])
        cells = [f"{theta[-1]:.1f}", f"{theta[-2]:.1f}", f"{theta[0]:.2f}"]
        rows.append([look, f"{loss:.3f}", *cells, _REPORTED[look]])
    ax_all.set(xlabel="iterations", ylabel="Ritz values", yscale="symlog")
    study.picture("figure_4_5", figure)
    study.picture("figure_4_6", together)
    header = ["iterations", "loss", "largest", "second", "smallest", "report"]
    study.table("figure_4_5", header, rows)
