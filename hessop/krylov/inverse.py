"""Shift-invert: the eigenvalues nearest to a number are the largest of an inverse."""

from __future__ import annotations

from dataclasses import replace

import torch

from hessop._product import Product
from hessop._results import EigenResult
from hessop._space import LocalSpace
from hessop.krylov.goal import Goal
from hessop.krylov.pencil import inverse_of
from hessop.krylov.solver import Means, projected, solve
from hessop.krylov.wanted import Nearest
from hessop.operators import ProductOperator, enter


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
    # Residuals are to be small with respect to A, not to its inverse.
    tol = max(1e-2 * goal.tol, 10 * space.eps)
    rtol = max(1e-2 * tol, 10 * space.eps)
    inverse = inverse_of(ProductOperator(product), None, sigma, rtol, means.preconditioner)
    outer = replace(goal, which="LM", tol=tol)
    result, rows = solve(enter(inverse)[0], space, outer, means, floor=rtol)
    z = space.draw(means.rng, "gaussian")
    size = float(space.norm(product.matmat(z[None])[0]) / space.norm(z))
    noise = max(100 * space.eps, product.floor())
    result, rows = projected(replace(result, noise=noise), rows, product, space, goal.tol, size)
    return replace(
        result,
        n_matvec=product.n_matvec - before,
        method=f"shift-invert about {sigma:g}, by MINRES",
    ), rows
