"""Shift-invert: the eigenvalues nearest to a number are the largest of an inverse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hessop import _cupy
from hessop._product import Product
from hessop._results import EigenResult
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis
from hessop.krylov.goal import Goal
from hessop.krylov.pencil import inverse_of
from hessop.krylov.solver import Means, projected, solve
from hessop.krylov.wanted import Nearest
from hessop.krylov.watching import Watcher
from hessop.operators import ProductOperator, aslinearoperator, enter


def solve_inverted(
    product: Product, space: LocalSpace, goal: Goal, means: Means
) -> tuple[EigenResult, torch.Tensor]:
    """
    The eigenvalues nearest to a number, and their vectors, by way of the inverse.

    Each product with it is a solution by MINRES, on the host. Values and residuals are measured
    with A, one product a pair, and one more gives its size.
    """
    assert isinstance(goal.which, Nearest)
    sigma, before = goal.which.sigma, product.n_matvec
    z = space.draw(means.rng, "gaussian")
    size = float(space.norm(product.matmat(z[None])[0]) / space.norm(z))
    # Residuals are to be small with respect to A, not to its inverse.
    tol = max(1e-2 * goal.tol, 10 * space.eps)
    rtol = max(1e-2 * tol, 10 * space.eps)
    inside = Compressed(product, means.lock) if len(means.lock) else product
    near = means.preconditioner
    if _cupy.owns(near):
        near = aslinearoperator(near)
    inverse = inverse_of(ProductOperator(inside), None, sigma, rtol, near)
    outer = replace(goal, which="LM", tol=tol)
    if isinstance(means.watch, Watcher):
        means.watch.back = lambda nu: sigma + 1.0 / np.where(nu == 0.0, np.inf, nu)
    result, rows = solve(enter(inverse)[0], space, outer, means, floor=rtol)
    # (A - sigma) r / nu is what a residual r of the inverse, with value nu, is worth to A
    sizes = np.abs(result.eigenvalues)
    spread = float(sizes.max() / sizes.min())
    noise = max(100 * space.eps, 3 * result.noise * spread, product.floor())
    found = replace(result, noise=noise, scale=size)
    result, rows = projected(found, rows, inside, space, goal.tol)
    return replace(
        result,
        complete=result.complete and bool(result.converged.all()),
        n_matvec=product.n_matvec - before,
        method=f"shift-invert about {sigma:g}, by MINRES",
    ), rows


class Compressed(Product):
    """An operator on the complement of some rows: a vector in it comes back into it."""

    def __init__(self, whole: Product, lock: Basis) -> None:
        super().__init__(whole.n, whole.dtype, whole.device)
        self._whole = whole
        self._lock = lock

    def floor(self) -> float:
        """That of the whole."""
        return self._whole.floor()

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        images = self._whole.matmat(V)
        for row in images:
            self._lock.subtract(row, self._lock.project(row))
        return images
