"""A search from its start vectors to a result: the kernel behind every Lanczos door."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hessop._product import Product
from hessop._results import ConvergenceWarning, EigenResult, PrecisionWarning
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis
from hessop.krylov.bounds import error_bounds
from hessop.krylov.checkpoint import Checkpoint
from hessop.krylov.goal import Found, Goal
from hessop.krylov.restart import Search, Watch
from hessop.krylov.storage import Storage
from hessop.krylov.sweep import Sweep


@dataclass(frozen=True)
class Means:
    """
    What a search has at its disposal.

    Attributes
    ----------
    starts : sequence of torch.Tensor
        One or more start vectors of norm one, orthogonal to `lock`.
    lock : Basis
        Vectors to stay orthogonal to.
    rng : numpy.random.Generator
        For fresh directions.
    reorth : str
        One of `reorthogonalization.METHODS`.
    storage : Storage or None
        Where the basis lies.
    watch : callable
        As `Search` takes it.
    random : bool
        Whether the starts are random.
    checkpoint : Checkpoint or None
        Where the state is kept, and found.
    preconditioner : LinearOperator or None
        For systems with a shifted operator, where those are solved.
    """

    starts: Sequence[torch.Tensor]
    lock: Basis
    rng: np.random.Generator
    reorth: str = "double"
    storage: Storage | None = None
    watch: Watch = lambda search: False
    random: bool = False
    checkpoint: Checkpoint | None = None
    preconditioner: Any = None


def solve(
    product: Product, space: LocalSpace, goal: Goal, means: Means, floor: float = 0.0
) -> tuple[EigenResult, torch.Tensor]:
    """
    The pairs in ascending order, without vectors, and those as rows.

    `floor` is the relative noise of what is done with products beyond that which is known of them.
    """
    # what well separated pairs take
    product.expect(min(goal.maxiter, goal.ncv, 10 * goal.k + 40))
    first, *more = means.starts
    sweep = Sweep(
        space,
        first,
        reorth=means.reorth,
        lock=means.lock,
        floor=max(floor, product.floor()),
        storage=means.storage,
    )
    for start in more:
        sweep.join(start)
    search = Search(product, sweep, goal, means.rng, means.watch, means.random)
    if means.checkpoint is None:
        return collected(search.run(), sweep, goal)
    with means.checkpoint.of(search):
        found = search.run()
    return collected(found, sweep, goal)


def collected(found: Found, sweep: Sweep, goal: Goal) -> tuple[EigenResult, torch.Tensor]:
    """The chosen pairs in ascending order, and their vectors as rows."""
    rounding = sweep.rounding
    found = replace(found, chosen=np.sort(found.chosen))
    residuals = found.ritz.residuals[found.chosen]
    scale = max(rounding.scale, found.ritz.largest)  # both are lower bounds of the norm
    result = EigenResult(
        eigenvalues=found.ritz.theta[found.chosen],
        eigenvectors=None,
        residuals=residuals,
        error_bounds=error_bounds(found, rounding.noise * scale, goal.which),
        converged=residuals <= found.limit,
        complete=found.complete,
        miss_probability=found.miss_probability,
        n_matvec=found.n_matvec,
        n_restart=found.n_restart,
        noise=rounding.noise,
        scale=found.ritz.largest,
    )
    return result, sweep.basis.combine(sweep.spread(found.ritz.S[found.chosen]))


def projected(
    result: EigenResult,
    rows: torch.Tensor,
    product: Product,
    space: LocalSpace,
    tol: float,
) -> tuple[EigenResult, torch.Tensor]:
    """
    The result and the rows after a Rayleigh-Ritz step with A; one product a pair.

    Convergence is relative to the largest value, or to the scale known so far if that is larger.
    """
    rows = torch.linalg.qr(rows.T)[0].T.contiguous()
    images = torch.stack([product.matmat(row[None])[0] for row in rows])
    T = torch.stack([space.project(images, row) for row in rows]).cpu().numpy()
    values, Y = np.linalg.eigh((T + T.T) / 2)
    rotation = torch.from_numpy(Y.T.copy())
    rows, images = space.combine(rotation, rows), space.combine(rotation, images)
    pairs = zip(values.tolist(), rows, images, strict=True)
    residuals = np.array([float(space.norm(image - w * row)) for w, row, image in pairs])
    largest = max(result.scale, float(np.abs(values).max(initial=0.0)))
    noise = result.noise * largest
    found = replace(
        result,
        eigenvalues=values,
        residuals=residuals,
        error_bounds=residuals + noise,
        converged=residuals <= max(tol * largest, noise),
        n_matvec=result.n_matvec + len(rows),
        scale=largest,
    )
    return found, rows


def measured(
    result: EigenResult, rows: torch.Tensor, product: Product, space: LocalSpace, tol: float
) -> EigenResult:
    """The result with its residuals measured, one product a pair."""
    residuals = np.array(
        [
            float(space.norm(product.matmat(v[None])[0] - theta * v))
            for theta, v in zip(result.eigenvalues.tolist(), rows, strict=True)
        ]
    )
    noise = result.noise * result.scale
    limit = max(tol, result.noise) * result.scale
    return replace(
        result,
        residuals=residuals,
        error_bounds=np.where(
            residuals <= result.residuals + noise, result.error_bounds, residuals + noise
        ),
        converged=residuals <= limit + noise,
        n_matvec=result.n_matvec + len(residuals),
    )


def warn(result: EigenResult, goal: Goal) -> None:
    """Say what was not reached."""
    missing = goal.k - int(result.converged.sum())
    if missing:
        warnings.warn(
            f"{missing} of {goal.k} eigenvalues did not converge in {result.n_matvec} products; "
            "see `converged` and `residuals`. Raise `maxiter`, `ncv` or `tol`.",
            ConvergenceWarning,
            stacklevel=3,
        )
    elif goal.audit and not result.complete:
        warnings.warn(
            f"The check that no eigenvalue is missing did not end in {result.n_matvec} products; "
            "the set may be incomplete. Raise `maxiter` or `ncv`, or pass verify=False.",
            ConvergenceWarning,
            stacklevel=3,
        )
    if 0 < goal.tol < result.noise:
        warnings.warn(
            f"`tol` must not lie below the noise of the products; got {goal.tol:.1e}, and "
            f'{result.noise:.1e} was used. Use tol=0, a float64 operator, or reorth="double".',
            PrecisionWarning,
            stacklevel=3,
        )
