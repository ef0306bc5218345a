"""Figures A.4 to A.6: the spectrum along the training."""

from __future__ import annotations

import matplotlib.pyplot as plt

import hessop.plot
from examples.report.hessians import sweep
from examples.report.study import Study
from examples.report.trained import DATASETS


def run(study: Study) -> None:
    """A picture for each data set, and the extremes of all."""
    rows = []
    for number, dataset in enumerate(DATASETS, 4):
        figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
        for ax, epoch in zip(axes, dataset.looks, strict=True):
            theta = sweep(study, dataset, epoch)
            hessop.plot.spectrum(theta, ax=ax)
            ax.set_title(f"{dataset.name}, {epoch} epochs")
            rows.append([dataset.name, epoch, f"{theta[-1]:.4f}", f"{theta[0]:.4f}"])
        study.picture(f"figure_a_{number}", figure)
    study.table("figure_a_4", ["data set", "epochs", "largest", "smallest"], rows)
