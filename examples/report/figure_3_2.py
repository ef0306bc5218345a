"""Figure 3.2: how long Lanczos and the eigendecomposition of its T take, by the matrix's size."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from examples.benchmarks import clock
from examples.benchmarks.report import machine
from examples.report.study import Arrays, Study
from examples.report.sweeps import VARIANTS, Problem

SPECTRUM = "gaussian"
SOLVERS = {"tridiagonal": "Tridiagonal.eigh", "dense": "numpy.linalg.eigh"}
"""Eigendecompositions of T: of its two diagonals, and of the dense matrix."""


def run(study: Study) -> None:
    """Sweeps on the left, eigendecompositions on the right, and a table of both."""
    import matplotlib.pyplot as plt

    sizes = study.sized((10, 50, 100, 500, 1000), (10, 50, 100))
    rounds = {"sweeps": study.sized(10, 3), "solvers": study.sized(30, 5)}
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    found = [study.once(f"runtimes-{n}", partial(_measured, n, rounds)) for n in sizes]
    rows = []
    for ax, names in zip(axes, (VARIANTS, SOLVERS), strict=True):
        for name, label in names.items():
            mean, spread = ([f(lap[name]) for lap in found] for f in (np.mean, np.std))
            ax.errorbar(sizes, mean, spread, marker="o", markersize=4, capsize=3, label=label)
            rows.append([label, *(_cell(lap[name]) for lap in found)])
        ax.set_xlabel("n")
        ax.legend()
    axes[0].set_ylabel("seconds")
    axes[0].set_title("n Lanczos steps, by reorthogonalisation")
    axes[1].set_title("eigendecomposition of T")
    study.picture("figure_3_2", figure)
    note = (
        f"Milliseconds, mean ± standard deviation, and in parentheses the fastest, of "
        f"{rounds['sweeps']} sweeps and {rounds['solvers']} decompositions. Dense matrices in "
        f"float64. {machine()}, {os.cpu_count()} cores."
    )
    study.table("figure_3_2", ("", *(f"n = {n}" for n in sizes)), rows, note)


def _measured(n: int, rounds: Mapping[str, int]) -> Arrays:
    """Seconds of each round."""
    problem = Problem(SPECTRUM, n)
    t = problem.tridiagonalize("full")
    if np.abs(t.eigh()[0] - problem.eigenvalues).max() > 1e-9:
        raise SystemExit("a wrong result is not timed")
    dense = np.diag(t.alpha) + np.diag(t.beta[:-1], 1) + np.diag(t.beta[:-1], -1)
    sweeps = {name: partial(problem.tridiagonalize, name) for name in VARIANTS}
    solvers = {"tridiagonal": t.eigh, "dense": partial(np.linalg.eigh, dense)}
    return laps(sweeps, rounds["sweeps"]) | laps(solvers, rounds["solvers"])


def laps(works: Mapping[str, Callable[[], Any]], rounds: int) -> Arrays:
    """Seconds of each round, in which all take turns, after one that warms up."""
    cpu = torch.device("cpu")
    clock.turns(works, cpu, 1, np.inf)
    return {name: np.array(s) for name, s in clock.turns(works, cpu, rounds, np.inf).items()}


def _cell(seconds: np.ndarray) -> str:
    mean, spread, least = (_short(1e3 * f(seconds)) for f in (np.mean, np.std, np.min))
    return f"{mean} ± {spread} ({least})"


def _short(x: float) -> str:
    return f"{x:.2g}" if x < 10 else f"{x:.0f}"
