"""Table 4.1: training, and what it ends at."""

from __future__ import annotations

from examples.report.study import Study
from examples.report.trained import DATASETS, training


def run(study: Study) -> None:
    """Train on each data set, and put the losses beside the report's."""
    rows = []
    for dataset in DATASETS:
        ours, theirs = training(study, dataset)["quality"], dataset.reported
        cells = [f"{a:.4f} ({b:.4f})" for a, b in zip(ours[:2], theirs[:2], strict=True)]
        cells.append(f"{100 * ours[2]:.2f} % ({100 * theirs[2]:.2f} %)")
        rows.append([dataset.name, 64, dataset.epochs, *cells])
    header = ["data set", "batch size", "epochs", "training loss (report)", "test loss (report)"]
    study.table("table_4_1", [*header, "test accuracy (report)"], rows)
