"""
The pictures of the pages on concepts, from small networks and synthetic operators.

``python -m examples.pictures`` draws all of them into ``docs/pictures``, in under a minute on a
CPU. ``--only NAME`` draws one, ``--out FOLDER`` puts them elsewhere. A file for each page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from examples.pictures.curvature import curvature_split, curvature_training
from examples.pictures.density import density_budget, density_share
from examples.pictures.eigenvalues import eigenvalues_copies, eigenvalues_methods
from examples.pictures.stability import stability_orthogonality, stability_precision
from examples.pictures.trust import trust_data

_STYLE = {
    "figure.dpi": 80,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}

PICTURES: dict[str, Callable[[], Figure]] = {
    "curvature-split": curvature_split,
    "curvature-training": curvature_training,
    "eigenvalues-methods": eigenvalues_methods,
    "eigenvalues-copies": eigenvalues_copies,
    "density-budget": density_budget,
    "density-share": density_share,
    "stability-orthogonality": stability_orthogonality,
    "stability-precision": stability_precision,
    "trust-data": trust_data,
}


def draw(name: str, folder: Path) -> Path:
    """One picture, into a folder."""
    path = folder / f"{name}.png"
    with plt.rc_context(_STYLE):
        figure = PICTURES[name]()
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)
    return path
