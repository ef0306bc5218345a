"""Figure 4.3: what 100 Lanczos steps cost, by the size of the Hessian's batch."""

from __future__ import annotations

import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch

from examples.report.figure_4_1 import STAGES, epochs
from examples.report.hessians import hessian, ritz_values, state
from examples.report.study import Arrays, Study
from examples.report.trained import DATASETS, Dataset, examples_of

_RUNS = 10


def sizes(study: Study, dataset: Dataset) -> list[int]:
    """Powers of ten, and all examples."""
    whole = len(examples_of(study, dataset, "train")[0])
    return [10**i for i in range(5) if 10**i < whole] + [whole]


def seconds(study: Study, dataset: Dataset, epoch: int, size: int) -> Arrays:
    """Of each run, set-up included; in float32, as torch computes by default."""
    parameters, runs = state(study, dataset, epoch), study.sized(_RUNS, 2)
    times = []
    for seed in range(runs):
        rows = np.random.default_rng([seed, size]).permutation(size)
        started = time.perf_counter()
        ritz_values(hessian(study, dataset, parameters, rows, torch.float32), seed)
        times.append(time.perf_counter() - started)
    return {"seconds": np.array(times)}


def growth(counts: list[int], means: np.ndarray) -> tuple[float, float, float]:
    """
    The straight line ``a + b size``, and the exponent p of ``size**p`` between the largest two.

    The line is fitted to relative errors, for the times span a factor of twenty.
    """
    b, a = np.polyfit(counts, means, 1, w=1 / means)
    p = np.log(means[-1] / means[-2]) / np.log(counts[-1] / counts[-2])
    return float(a), float(b), float(p)


def run(study: Study) -> None:
    """Time every size, draw, and say how the time grows."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    rows = []
    for ax, dataset in zip(axes, DATASETS, strict=True):
        counts = sizes(study, dataset)
        for epoch, stage in zip(epochs(dataset), STAGES, strict=True):
            found = [
                study.once(
                    f"seconds-{dataset.file}-{epoch}-{size}",
                    partial(seconds, study, dataset, epoch, size),
                )["seconds"]
                for size in counts
            ]
            means, spreads = (np.array([f(s) for s in found]) for f in (np.mean, np.std))
            ax.errorbar(counts, means, spreads, marker="o", capsize=3, label=stage)
            a, b, p = growth(counts, means)
            line = np.geomspace(counts[0], counts[-1])
            ax.plot(line, a + b * line, ":", color="0.5", zorder=0)
            laps = [f"{m:.2f} +- {s:.2f}" for m, s in zip(means, spreads, strict=True)]
            rows.append([dataset.name, stage, *laps, f"{a:.2f} + {1000 * b:.3f} N", f"{p:.2f}"])
        ax.set(title=dataset.name, xlabel="Hessian batch size", ylabel="seconds")
        ax.set(xscale="log", yscale="log")
        ax.legend()
    study.picture("figure_4_3", figure)
    header = ["data set", "stage", *(f"{c:,}" for c in counts[:-1]), "all"]
    study.table("figure_4_3", [*header, "line, N in thousands", "exponent at the end"], rows)
