"""Figures 3.3 and 3.4: the Ritz values after each step, with and without reorthogonalisation."""

from __future__ import annotations

import numpy as np

import hessop
import hessop.plot
from examples.report import counting
from examples.report.figure_3_1 import SIZE
from examples.report.study import Study
from examples.report.sweeps import Problem

SPECTRUM = "hessian_like"
SHORT = 20
DEPTHS = (1, 2, 3, 5, 8)
NOTE = (
    "The step from which on a Ritz value is within 1e-5 of the i-th eigenvalue from an end, and in "
    f"parentheses how many are after {SIZE} steps. Custom spectrum, n = {SIZE}."
)


def run(study: Study) -> None:
    """Two pictures, of two and of one panel, and a table of when the ends are right."""
    import matplotlib.pyplot as plt

    problem = Problem(SPECTRUM, SIZE)
    w = problem.eigenvalues
    sweeps = {name: problem.swept(study, name)[0] for name in ("full", "none")}
    first = hessop.Tridiagonal(sweeps["full"].alpha[:SHORT], sweeps["full"].beta[:SHORT], None)
    figure, axes = plt.subplots(2, 1, figsize=(9, 9), layout="constrained")
    for ax, t in zip(axes, (first, sweeps["full"]), strict=True):
        ax.locator_params(axis="x", integer=True)
        hessop.plot.convergence(t, exact=w, ax=ax)
        ax.set_title(f"full reorthogonalisation, {len(t.alpha)} steps")
    study.picture("figure_3_3", figure)
    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    hessop.plot.convergence(sweeps["none"], exact=w, ax=ax)
    ax.set_title(f"no reorthogonalisation, {SIZE} steps")
    study.picture("figure_3_4", figure)
    rows = []
    for name, t in sweeps.items():
        ritz = [t.eigh(m)[0] for m in range(1, SIZE + 1)]
        for end, values in (("largest", w[::-1]), ("smallest", w)):
            cells = (arrival(values[i - 1], ritz) for i in DEPTHS)
            rows.append([name, end, *(f"{step} ({copies})" for step, copies in cells)])
    header = ("reorthogonalisation", "end", *(f"i = {i}" for i in DEPTHS))
    study.table("figure_3_3", header, rows, NOTE)


def arrival(value: float, ritz: list[np.ndarray]) -> tuple[int, int]:
    """The step after the last one without a Ritz value nearby, and how many the last one has."""
    copies = [int((np.abs(theta - value) <= counting.CLOSE).sum()) for theta in ritz]
    without = [step for step, count in enumerate(copies, start=1) if not count]
    return max(without, default=0) + 1, copies[-1]
