"""The kinds of problems that `eigsh` solves, each by a search."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hessop import _exchange, _validation
from hessop._results import ConvergenceWarning, EigenResult, PrecisionWarning
from hessop.krylov import hermitian
from hessop.krylov.entrance import goal_of, locked_basis, start_vectors
from hessop.krylov.lanczos import lanczos
from hessop.krylov.pencil import Pencil
from hessop.krylov.solver import Means, solve
from hessop.krylov.storage import storage
from hessop.krylov.wanted import Nearest, wanted


@dataclass(frozen=True)
class Asked:
    """The arguments that say what is looked for, and how long."""

    k: int
    n: int
    which: str
    v0: Any
    ncv: int | None
    maxiter: int | None
    tol: float
    rng: Any

    @property
    def products(self) -> int | None:
        """`maxiter`, which counts restarts as SciPy does, in products."""
        if self.maxiter is None:
            return None
        rounds = _validation.integer("maxiter", self.maxiter, 1)
        width = min(self.n, max(2 * self.k + 1, 20))
        if self.ncv is not None:
            width = _validation.basis_size(self.ncv, self.k, self.n)
        return width + rounds * max(width - self.k, 1)


def solve_standard(A: Any, asked: Asked) -> EigenResult:
    """``A v = w v``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an exception here
        warnings.simplefilter("ignore", PrecisionWarning)  # eigsh gives it
        return lanczos(
            A,
            asked.k,
            which=asked.which,
            v0=asked.v0,
            ncv=asked.ncv,
            maxiter=asked.products,
            tol=asked.tol,
            rng=asked.rng,
        )


def solve_pencil(problem: Pencil, asked: Asked) -> EigenResult:
    """A problem by way of an operator that is self-adjoint in another inner product."""
    space, k, n = problem.space, asked.k, asked.n
    generator = _validation.rng(asked.rng)
    lock = locked_basis(space, None)
    which, where = wanted(asked.which), storage(space, "auto", None)
    ncv, most = asked.ncv, asked.products
    goal = goal_of(k, which, where, n, n, tol=asked.tol, ncv=ncv, maxiter=most, checked=True)
    if isinstance(which, Nearest):
        goal = replace(goal, ncv=n)  # a restart forgets the inside of a spectrum
    starts = start_vectors(space, asked.v0, lock, generator, None)
    means = Means(starts, lock, generator, random=asked.v0 is None)
    result, rows = solve(problem.product, space, goal, means)
    w = problem.back(result.eigenvalues)
    # the search saw the transformed operator, with an inverse that may be worth little
    errors = problem.errors(w, _exchange.to_numpy(rows).T)
    eps = float(np.finfo(_exchange.numpy_dtype(space.dtype)).eps)
    result = replace(result, converged=result.converged & (errors <= max(10 * asked.tol, eps**0.5)))
    order = np.argsort(w, kind="stable")
    return replace(
        result,
        eigenvalues=w[order],
        eigenvectors=_exchange.to_numpy(rows).T[:, order],
        converged=result.converged[order],
    )


def solve_hermitian(A: Any, asked: Asked) -> EigenResult:
    """A complex Hermitian problem by its real form, in which everything is there twice."""
    v0, k, n = asked.v0, asked.k, asked.n
    if v0 is not None:
        v0 = _exchange.on_host(v0).ravel()
        if v0.shape != (n,):
            raise ValueError(_validation.message("v0", f"have shape ({n},)", f"shape {v0.shape}"))
        v0 = np.concatenate([v0.real, v0.imag])
    ncv = None if asked.ncv is None else 2 * _validation.basis_size(asked.ncv, k, n)
    # from both ends the same number of copies: an odd k takes one pair more
    pairs = min(n, k + (asked.which == "BE" and k % 2))
    twice = replace(asked, k=2 * pairs, n=2 * n, v0=v0, ncv=ncv)
    result = solve_standard(hermitian.real_form(A), twice)
    w, v, residuals = hermitian.complex_pairs(A, result.eigenvectors, k, wanted(asked.which))
    limit = max(asked.tol, 10 * result.noise) * result.scale
    return replace(
        result,
        eigenvalues=w,
        eigenvectors=v,
        residuals=residuals,
        converged=residuals <= limit,
    )
