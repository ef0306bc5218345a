"""Figures 3.5 and 3.6: how many eigenvalues are right after how many steps, n = 1000."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from examples.report import counting
from examples.report.study import Arrays, Study
from examples.report.sweeps import SPECTRA, VARIANTS, Problem

COUNTS: dict[str, Callable[[np.ndarray, np.ndarray], int]] = {
    "eigenvalues with a Ritz value of their own": counting.found,
    "eigenvalues with any Ritz value": counting.seen,
    "Ritz values with any eigenvalue": counting.right,
    "Ritz values at the 20 outermost eigenvalues": counting.copies,
}
_FOUND = next(iter(COUNTS))  # what the pictures show
_STYLES = {"full": "-o", "double": "--s", "none": ":^"}


def run(study: Study) -> None:
    """Two pictures of the same counts, their table, and one of the other ways to count."""
    n = study.sized(1000, 200)
    steps = study.sized((10, 25, 50, 100, 250, 500, 1000), (10, 25, 50, 100, 200))
    runs = study.sized(10, 3)
    counts = {
        (spectrum, reorth): counted(study, spectrum, reorth, n, steps, runs)
        for spectrum in SPECTRA
        for reorth in VARIANTS
    }
    _by_variant(study, counts, steps)
    _by_spectrum(study, counts, steps)
    header = ("spectrum", "reorthogonalisation")
    note = f"Mean ± standard deviation over {runs} runs, n = {n}."
    found, ways = [], []
    for (spectrum, reorth), c in counts.items():
        label = (SPECTRA[spectrum], VARIANTS[reorth])
        found.append([*label, *map(_cell, c[_FOUND].T)])
        ways.append([*label, *(_cell(c[way][:, -1]) for way in COUNTS), f"{c['loss'].max():.1e}"])
    study.table("figure_3_5", (*header, *(f"m = {m}" for m in steps)), found, note)
    note += f" After {n} steps, within 1e-5; of ‖VᵀV - I‖ the largest."
    study.table("figure_3_5_ways", (*header, *COUNTS, "‖VᵀV - I‖"), ways, note)


def counted(
    study: Study, spectrum: str, reorth: str, n: int, steps: tuple[int, ...], runs: int
) -> Arrays:
    """Arrays (runs, steps) by way to count, and losses (runs,); one sweep gives all lengths."""
    each = []
    for run in range(runs):
        problem = Problem(spectrum, n, run)
        name = f"found-{spectrum}-{n}-{run}-{reorth}"
        each.append(study.once(name, partial(_counted, study, problem, reorth, steps)))
    return {way: np.array([found[way] for found in each]) for way in (*COUNTS, "loss")}


def _counted(study: Study, problem: Problem, reorth: str, steps: tuple[int, ...]) -> Arrays:
    t, loss = problem.swept(study, reorth)
    ritz = [t.eigh(m)[0] for m in steps]
    w = problem.eigenvalues
    counts = {way: np.array([count(w, theta) for theta in ritz]) for way, count in COUNTS.items()}
    return counts | {"loss": np.array(loss)}


def _by_variant(
    study: Study, counts: dict[tuple[str, str], Arrays], steps: tuple[int, ...]
) -> None:
    """Figure 3.5: all spectra in one panel, a panel for a variant."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), sharey=True, layout="constrained")
    for ax, reorth in zip(axes, ("full", "none"), strict=True):
        for spectrum, label in SPECTRA.items():
            _draw(ax, counts[spectrum, reorth][_FOUND], steps, label, "-o")
        _finish(ax, f"reorthogonalisation: {VARIANTS[reorth]}", steps)
    study.picture("figure_3_5", figure)


def _by_spectrum(
    study: Study, counts: dict[tuple[str, str], Arrays], steps: tuple[int, ...]
) -> None:
    """Figure 3.6: all variants in one panel, a panel for a spectrum."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, 2, figsize=(10, 8), sharex=True, sharey=True, layout="constrained"
    )
    for ax, spectrum in zip(
        axes.flat, ("gaussian", "uniform", "banded", "hessian_like"), strict=True
    ):
        for reorth, label in VARIANTS.items():
            _draw(ax, counts[spectrum, reorth][_FOUND], steps, label, _STYLES[reorth])
        _finish(ax, SPECTRA[spectrum], steps)
    study.picture("figure_3_6", figure)


def _draw(ax: Any, found: np.ndarray, steps: tuple[int, ...], label: str, style: str) -> None:
    mean, spread = found.mean(axis=0), found.std(axis=0)
    ax.errorbar(steps, mean, spread, fmt=style, markersize=4, capsize=3, label=label)


def _finish(ax: Any, title: str, steps: tuple[int, ...]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(0.1, 2 * steps[-1])  # a mean of no eigenvalue at all lies below the picture
    ax.set_xlabel("steps")
    ax.set_ylabel("eigenvalues found")
    ax.set_title(title)
    ax.legend()


def _cell(found: np.ndarray) -> str:
    mean, spread = np.mean(found), np.std(found)
    return f"{mean:.1f} ± {spread:.1f}" if spread else f"{mean:g}"
