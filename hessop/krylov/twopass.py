"""Lanczos with three vectors: no basis, ghosts recognised, eigenvectors by a second sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal

from hessop._product import Product
from hessop._results import EigenResult
from hessop._space import LocalSpace
from hessop.krylov.goal import Goal
from hessop.krylov.solver import Means
from hessop.krylov.sweep import Sweep
from hessop.krylov.wanted import ranking

# Values of the projection closer than this multiple of eps * scale * m are copies of one.
_COPIES = 10.0
_LOOKS = 25
_TINY = float(np.finfo(np.float64).tiny)


def solve_two_pass(
    product: Product, space: LocalSpace, goal: Goal, means: Means
) -> tuple[EigenResult, torch.Tensor]:
    """
    The wanted eigenpairs, each eigenvalue once, in twice the products.

    Without orthogonalisation a converged eigenvalue comes back as a ghost, a further copy, and
    some values of the projection belong to nothing. Cullum and Willoughby (1985, Section 4.5):
    a value that comes several times is an eigenvalue; one that comes once, and is also a value of
    the projection without its first row and column, belongs to nothing.
    """
    product.expect(2 * min(goal.maxiter, 10 * goal.k + 40))
    sweep = _Recurrence(product, space, means)
    next_look = goal.k
    while sweep.sweep.waiting and sweep.steps < goal.maxiter:
        sweep.step()
        if sweep.steps >= next_look:
            if _look(sweep.sweep, goal).settled:
                break
            next_look = sweep.steps + max(1, sweep.steps // _LOOKS)
    found = _look(sweep.sweep, goal)
    again = _Recurrence(product, space, means)
    rows = torch.zeros(len(found.theta), space.n, dtype=space.dtype, device=space.device)
    for coefficients in torch.from_numpy(found.Y).to(rows):
        rows.addr_(coefficients, again.sweep.vector())
        if again.steps < sweep.steps - 1:
            again.step()
    norms = np.array([float(space.norm(row)) for row in rows])
    rows /= torch.from_numpy(norms).to(rows)[:, None]
    rounding = sweep.sweep.rounding
    residuals = found.residuals
    return EigenResult(
        eigenvalues=found.theta,
        eigenvectors=None,
        residuals=residuals,
        error_bounds=residuals + rounding.noise * max(rounding.scale, found.largest),
        converged=residuals <= found.limit,
        complete=False,
        n_matvec=sweep.steps + again.steps,
        n_restart=0,
        noise=rounding.noise,
        scale=found.largest,
        method="lanczos, two passes",
    ), rows


class _Recurrence:
    """The three-term recurrence from one start; the same vectors, bit for bit, each time."""

    def __init__(self, product: Product, space: LocalSpace, means: Means) -> None:
        self._product = product
        self.steps = 0
        self.sweep = Sweep(
            space,
            means.starts[0],
            reorth="none",
            lock=means.lock,
            keep=False,
            floor=product.floor(),
        )

    def step(self) -> None:
        """One product."""
        self.sweep.absorb(self._product.matmat(self.sweep.vector()[None])[0])
        self.steps += 1


@dataclass(frozen=True)
class _Look:
    """The wanted values of a projection: coefficients Y (steps, k), residuals, their limit."""

    theta: NDArray[np.float64]
    Y: NDArray[np.float64]
    residuals: NDArray[np.float64]
    limit: float
    largest: float
    settled: bool


def _look(sweep: Sweep, goal: Goal) -> _Look:
    alpha, beta = sweep.tridiagonal()
    theta, Y = eigh_tridiagonal(alpha, beta[:-1])
    groups = _without_ghosts(alpha, beta[:-1], theta, sweep.space.eps * sweep.rounding.scale)
    # V y is shorter than one where several copies share the start vector's part y[0] (Paige 1980,
    # Section 3). The best of them is the one with the smallest residual for its length.
    best = [g[np.argmin(np.abs(Y[-1, g]) / np.maximum(np.abs(Y[0, g]), _TINY))] for g in groups]
    lengths = [abs(Y[0, i]) / np.linalg.norm(Y[0, g]) for i, g in zip(best, groups, strict=True)]
    real = np.array(best)
    wanted = np.sort(ranking(theta[real], goal.which)[: goal.k])
    chosen = real[wanted]
    largest = float(np.abs(theta).max())
    limit = max(goal.tol, sweep.rounding.noise) * largest
    residuals = beta[-1] * np.abs(Y[-1, chosen]) / np.maximum(np.array(lengths)[wanted], _TINY)
    settled = len(chosen) == goal.k and bool((residuals <= limit).all())
    return _Look(theta[chosen], Y[:, chosen], residuals, limit, largest, settled)


def _without_ghosts(
    alpha: NDArray[np.float64],
    beta: NDArray[np.float64],
    theta: NDArray[np.float64],
    rounding: float,
) -> list[NDArray[np.intp]]:
    """The indices of the copies of each value that stands for an eigenvalue, ascending."""
    near = _COPIES * rounding * len(theta) ** 0.5
    without_first = eigvalsh_tridiagonal(alpha[1:], beta[1:]) if len(alpha) > 1 else np.zeros(0)
    copies = np.split(np.arange(len(theta)), np.flatnonzero(np.diff(theta) > near) + 1)
    kept = []
    for group in copies:
        at = np.searchsorted(without_first, theta[group[0]])
        beside = without_first[max(at - 1, 0) : at + 1]
        spurious = len(group) == 1 and bool((np.abs(beside - theta[group[0]]) <= near).any())
        if not spurious:
            kept.append(group)
    return kept
