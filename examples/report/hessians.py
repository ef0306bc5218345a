"""Hessians of the report's network, what Lanczos gives of them, and how much of that is right."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

import hessop
from examples.report.counting import from_the_ends
from examples.report.study import Arrays, Study
from examples.report.trained import LOSS, Dataset, examples_of, network, training

STEPS = 100
CACHED = 4_000  # examples whose intermediate results fit into a cache, which makes products faster
_SOUGHT = 25, 70  # eigenvalues at either end, to begin with


def hessian(
    study: Study,
    dataset: Dataset,
    parameters: np.ndarray,
    rows: np.ndarray | None = None,
    dtype: torch.dtype = torch.float64,
    *,
    batch_size: int | None = None,
    block_size: int | str = "auto",
) -> hessop.HessianOperator:
    """Of the mean loss over the training set, or some of its rows; cut into batches, or not."""
    x, y = examples_of(study, dataset, "train")
    if rows is not None:
        x, y = x[rows], y[rows]
    size = batch_size or len(x)
    return hessop.HessianOperator(
        network(study, parameters, dtype),
        LOSS,
        list(zip(x.to(dtype).split(size), y.split(size), strict=True)),
        block_size=block_size,
        check=False,
    )


def state(study: Study, dataset: Dataset, epoch: int, seed: int = 0) -> np.ndarray:
    """The parameters after some epochs, of a training with a seed."""
    return training(study, dataset, seed)[f"epoch_{epoch}"]


def ritz_values(H: hessop.HessianOperator, seed: int = 0, steps: int = STEPS) -> np.ndarray:
    """What so many Lanczos steps with full reorthogonalisation give, ascending."""
    return np.sort(hessop.tridiagonalize(H, None, steps, reorth="full", rng=seed).eigh()[0])


def sweep(study: Study, dataset: Dataset, epoch: int) -> np.ndarray:
    """The Ritz values of the full Hessian after some epochs, (100,)."""

    def compute() -> Arrays:
        H = hessian(study, dataset, state(study, dataset, epoch))
        return {"values": ritz_values(H)}

    return study.once(f"ritz-{dataset.file}-{epoch}", compute)["values"]


def ends(study: Study, dataset: Dataset, epoch: int, seed: int) -> Arrays:
    """
    How many of 100 Ritz values have converged, for one training and one start vector.

    What they are compared with are the ends of the spectrum from a search that goes on until so
    many eigenvalues have converged, and is checked for those that it may have missed.
    """
    name = f"ends-{dataset.file}-{epoch}-{seed}"
    return study.once(name, partial(_ends, study, dataset, epoch, seed))


def _ends(study: Study, dataset: Dataset, epoch: int, seed: int) -> Arrays:
    parameters = state(study, dataset, epoch, seed)
    H = hessian(study, dataset, parameters, batch_size=CACHED)
    theta = ritz_values(H, seed)
    k, m = _SOUGHT
    while True:
        # Residuals of a tenth of what counts as close, or less; their error is about the square.
        found = hessop.lanczos(H, k + m, which=partial(_by_rank, k, m), tol=1e-7, rng=seed)
        low, high = found.eigenvalues[:k], found.eigenvalues[k:]
        counts = from_the_ends(theta, low, high[:0]), from_the_ends(theta, low[:0], high)
        if counts[0] < k and counts[1] < m:
            break
        k, m = 2 * k, 2 * m
    return {
        "ritz": theta,
        "ends": found.eigenvalues,
        "sure": np.array(bool(found.converged.all())),
        "converged": np.array(sum(counts)),
    }


def _by_rank(k: int, m: int, theta: np.ndarray) -> np.ndarray:
    """Scores, of which the highest belong to the k smallest and the m largest values."""
    rank = np.argsort(np.argsort(theta)) + 1
    return -np.minimum(rank / k, (len(theta) + 1 - rank) / m)
