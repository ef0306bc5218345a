"""Figure 4.1: all eigenvalues of the full Hessian, at initialisation and after training."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

import hessop.plot
from examples.report import exact
from examples.report.hessians import CACHED, hessian, state
from examples.report.study import Study
from examples.report.trained import DATASETS, Dataset

STAGES = ("at initialisation", "after training")


def epochs(dataset: Dataset) -> tuple[int, int]:
    """The two that are looked at."""
    return 0, dataset.epochs


def spectrum(study: Study, dataset: Dataset, epoch: int) -> np.ndarray:
    """All eigenvalues after some epochs, ascending."""
    # Batches and blocks of these sizes: less than half the time of all examples at once.
    parameters = state(study, dataset, epoch)
    H = hessian(study, dataset, parameters, batch_size=CACHED, block_size=16)
    return exact.spectrum(study, f"{dataset.file}-{epoch}", H)


def outliers(w: np.ndarray) -> tuple[int, float]:
    """
    How many lie above the widest gap, more than four and at most twenty; and its ratio.

    Without these limits it is after 2 or 39 in half of the spectra, see docs/report.md.
    """
    top = w[::-1][4:21]
    ratios = top[:-1] / top[1:]
    widest = int(np.argmax(ratios))
    return widest + 5, float(ratios[widest])


def run(study: Study) -> None:
    """Compute six spectra, draw them, and say how large their parts are."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    rows = []
    for column, dataset in enumerate(DATASETS):
        for row, (epoch, stage) in enumerate(zip(epochs(dataset), STAGES, strict=True)):
            w = spectrum(study, dataset, epoch)
            ax = hessop.plot.spectrum(w, ax=axes[row, column])
            ax.set_title(f"{dataset.name}, {stage}")
            zeros = float((np.abs(w) < 1e-3 * np.abs(w).max()).mean())
            count, gap = outliers(w)
            row_of = [dataset.name, stage, f"{w[-1]:.4f}", f"{w[0]:.4f}", f"{count} ({gap:.2f})"]
            row_of += [int((w < -1e-8).sum()), f"{100 * zeros:.1f} %", f"{w.sum():.3f}"]
            rows.append(row_of)
    study.picture("figure_4_1", figure)
    header = ["data set", "stage", "largest", "smallest", "outliers (gap)", "negative"]
    study.table("figure_4_1", [*header, "below a thousandth of the largest", "trace"], rows)
