"""Figures 4.4, A.7 and A.8: the spectrum that a batch shows, beside that of all examples."""

from __future__ import annotations

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from examples.report.figure_4_3 import sizes
from examples.report.hessians import hessian, ritz_values, state, sweep
from examples.report.study import Arrays, Study
from examples.report.trained import DATASETS, Dataset, examples_of

_NAMES = ("figure_4_4", "figure_a_7", "figure_a_8")
_BATCHES = 3


def batch(study: Study, dataset: Dataset, size: int, number: int) -> Arrays:
    """Ritz values and gradient norm of one random batch, after training."""
    whole = len(examples_of(study, dataset, "train")[0])
    rows = np.random.default_rng([number, size]).permutation(whole)[:size]
    H = hessian(study, dataset, state(study, dataset, dataset.epochs), rows)
    return {
        "values": ritz_values(H, seed=number),
        "gradient": np.array(np.linalg.norm(H.gradient())),
    }


def panel(ax: Axes, size: int, found: Arrays, whole: np.ndarray) -> list[float]:
    """Draw one batch over all examples; L1 and L2 distance, gradient norm, smallest value."""
    theta, gradient = found["values"], float(found["gradient"])
    l1, l2 = np.abs(theta - whole).sum(), np.linalg.norm(theta - whole)
    ax.plot(whole, ".", color="0.8", ms=4)
    ax.plot(theta, ".", ms=3)
    ax.set_title(f"{size:,}: L1 {l1:.3g}, L2 {l2:.3g}, gradient {gradient:.2g}", fontsize=8)
    return [l1, l2, gradient, theta[0]]


def run(study: Study) -> None:
    """For each data set three batches of every size, and their distances to the whole."""
    rows = []
    for name, dataset in zip(_NAMES, DATASETS, strict=True):
        counts = sizes(study, dataset)
        shape = (len(counts), _BATCHES)
        figure, axes = plt.subplots(*shape, figsize=(10, 2.4 * len(counts)), layout="constrained")
        whole = sweep(study, dataset, dataset.epochs)
        for i, size in enumerate(counts):
            seen = []
            for j in range(_BATCHES):
                compute = partial(batch, study, dataset, size, j)
                found = study.once(f"batch-{dataset.file}-{size}-{j}", compute)
                seen.append(panel(axes[i, j], size, found, whole))
            spans = zip(np.min(seen, 0), np.max(seen, 0), strict=True)
            cells = [f"{low:.3g} to {high:.3g}" for low, high in spans]
            rows.append([dataset.name, f"{size:,}", *cells])
        study.picture(name, figure)
    header = ["data set", "batch size", "L1 distance", "L2 distance", "gradient norm"]
    study.table("figure_4_4", [*header, "smallest Ritz value"], rows)
