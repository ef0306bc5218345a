"""Figures 3.1, A.1, A.2 and A.3: exact eigenvalues and those of n Lanczos steps, n = 100."""

from __future__ import annotations

import numpy as np

import hessop.plot
from examples.report import counting
from examples.report.study import Study
from examples.report.sweeps import SPECTRA, VARIANTS, Problem

PICTURES = {
    "hessian_like": "figure_3_1",
    "gaussian": "figure_a_1",
    "uniform": "figure_a_2",
    "banded": "figure_a_3",
}
SIZE = 100
NOTE = (
    f"n = {SIZE}, {SIZE} steps. Ends: the larger error of the smallest and the largest eigenvalue. "
    "Found: eigenvalues with a Ritz value of their own within 1e-5."
)


def run(study: Study) -> None:
    """One picture for each spectrum, one table of all distances."""
    rows = []
    for spectrum, picture in PICTURES.items():
        problem = Problem(spectrum, SIZE)
        w = problem.eigenvalues
        series = {"exact": w}
        for reorth, label in VARIANTS.items():
            t, loss = problem.swept(study, reorth)
            theta = t.eigh()[0]
            series[label] = theta
            gap = np.abs(theta - w)
            sizes = (gap.sum(), np.linalg.norm(gap), gap[[0, -1]].max(), loss)
            count = counting.found(w, theta)
            rows.append([SPECTRA[spectrum], label, *(f"{x:.1e}" for x in sizes), count])
        ax = hessop.plot.spectrum(series)
        ax.set_title(f"{SPECTRA[spectrum]} spectrum, n = {SIZE}")
        study.picture(picture, ax.figure)
    header = ("spectrum", "reorthogonalisation", "L1", "L2", "ends", "‖VᵀV - I‖", "found")
    study.table("figure_3_1", header, rows, NOTE)
