"""A search in a basis of low precision, and one in full precision from what it found."""

from __future__ import annotations

from dataclasses import replace

import torch

from hessop._product import Product
from hessop._results import EigenResult
from hessop._space import LocalSpace
from hessop.krylov import audit
from hessop.krylov.entrance import start_vectors
from hessop.krylov.goal import Goal
from hessop.krylov.solver import Means, projected, solve
from hessop.krylov.watching import Watcher


def solve_refined(
    product: Product, space: LocalSpace, goal: Goal, means: Means
) -> tuple[EigenResult, torch.Tensor]:
    """
    The wanted pairs, by way of a basis whose dtype is coarser than the operator's.

    The coarse search finds which eigenvalues there are, to the precision of its basis. Its
    residuals are measured, and where they are not good enough, a second search starts from its
    vectors, whose basis on the device has room for little more than what it looks for.
    """
    assert means.storage is not None
    coarse = float(torch.finfo(means.storage.dtype).eps)
    rough = replace(goal, tol=max(goal.tol, coarse))
    if means.checkpoint is not None:
        means.checkpoint.last = False
    first, rows = solve(product, space, rough, means, floor=coarse)
    noise = max(10 * space.eps, product.floor())  # of what comes now, not of the coarse basis
    first, rows = projected(replace(first, noise=noise), rows, product, space, goal.tol)
    name = str(means.storage.dtype).removeprefix("torch.")
    stopped = isinstance(means.watch, Watcher) and means.watch.stopped
    if first.converged.all() or stopped:
        _done(means)
        return replace(first, method=f"lanczos, basis in {name}"), rows
    n = space.n - len(means.lock)
    fine = replace(
        goal,
        ncv=min(n, max(2 * goal.k + 20, audit.room(goal.k, n))),
        maxiter=max(goal.k, goal.maxiter - first.n_matvec),
    )
    warm = replace(first, eigenvectors=rows.T)
    starts = start_vectors(space, warm, means.lock, means.rng, goal.block)
    if isinstance(means.watch, Watcher):
        means.watch.before = first.n_matvec
    again = replace(means, starts=starts, random=False, storage=None, checkpoint=None)
    second, rows = solve(product, space, fine, again)
    if second.converged.all():
        _done(means)
    return replace(
        second,
        n_matvec=first.n_matvec + second.n_matvec,
        n_restart=first.n_restart + second.n_restart,
        method=f"lanczos, basis in {name}, refined",
    ), rows


def _done(means: Means) -> None:
    """What the coarse search left for a call that goes on from it is needed no more."""
    if means.checkpoint is not None:
        means.checkpoint.path.unlink(missing_ok=True)
