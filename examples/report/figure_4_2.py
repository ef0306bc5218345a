"""Figure 4.2 and Table 4.2: 100 Lanczos steps beside all eigenvalues, and how many converge."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from examples.report.counting import found, from_the_ends, right
from examples.report.figure_4_1 import STAGES, epochs, spectrum
from examples.report.hessians import STEPS, ends, sweep
from examples.report.study import Study
from examples.report.trained import DATASETS

SEEDS = 5


def run(study: Study) -> None:
    """Draw the Ritz values over the ends of the spectrum, and count those that have converged."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    rows = []
    for column, dataset in enumerate(DATASETS):
        for row, (epoch, stage) in enumerate(zip(epochs(dataset), STAGES, strict=True)):
            w, theta = spectrum(study, dataset, epoch), sweep(study, dataset, epoch)
            half = STEPS // 2
            ax = axes[row, column]
            ax.plot(np.r_[w[:half], w[-half:]], "o", ms=5, mfc="none", label="exact, 50 a side")
            ax.plot(theta, "x", ms=4, label="100 Lanczos steps")
            ax.set(title=f"{dataset.name}, {stage}", xlabel="index", ylabel="eigenvalue")
            ax.legend()
            others = range(1, study.sized(SEEDS, 2))
            counts = [from_the_ends(theta, w, w)]
            counts += [int(ends(study, dataset, epoch, seed)["converged"]) for seed in others]
            cells = [dataset.name, stage, dataset.converged[row], ", ".join(map(str, counts))]
            rows.append([*cells, found(w, theta), right(w, theta)])
    study.picture("figure_4_2", figure)
    header = ["data set", "stage", "report", f"{len(counts)} trainings"]
    study.table("table_4_2", [*header, "first, one by one", "first, near to any"], rows)
