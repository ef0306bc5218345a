"""The kinds of problems that `eigsh` solves, each by a search."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hessop import _exchange, _validation
from hessop._results import ConvergenceWarning, EigenResult
from hessop.krylov import audit, hermitian
from hessop.krylov.entrance import locked_basis, start_vectors
from hessop.krylov.goal import Goal
from hessop.krylov.lanczos import lanczos
from hessop.krylov.pencil import Pencil
from hessop.krylov.solver import Means, solve
from hessop.krylov.storage import storage
from hessop.krylov.wanted import wanted


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
    where = storage(space, "auto", None)
    room = where.basis_size(n, k, n)
    if asked.ncv is not None:
        room = _validation.basis_size(asked.ncv, k, n)
    most = max(10 * n, 100) if asked.products is None else asked.products
    goal = Goal(k, wanted(asked.which), asked.tol, max(room, audit.room(k, n)), most, True)
    starts = start_vectors(space, asked.v0, lock, generator, None)
    means = Means(starts, lock, generator, random=asked.v0 is None)
    result, rows = solve(problem.product, space, goal, means)
    w = problem.back(result.eigenvalues)
    order = np.argsort(w, kind="stable")
    return replace(
        result,
        eigenvalues=w[order],
        eigenvectors=_exchange.to_numpy(rows).T[:, order],
        converged=result.converged[order],
    )


def solve_hermitian(A: Any, asked: Asked) -> EigenResult:
    """A complex Hermitian problem by its real form, in which everything is there twice."""
    v0 = asked.v0
    if v0 is not None:
        v0 = np.concatenate([np.real(v0).ravel(), np.imag(v0).ravel()])
    ncv = None if asked.ncv is None else 2 * asked.ncv
    twice = replace(asked, k=2 * asked.k, n=2 * asked.n, v0=v0, ncv=ncv)
    result = solve_standard(hermitian.real_form(A), twice)
    w, v = hermitian.complex_pairs(A, result.eigenvectors, asked.k)
    good = bool(result.converged.all())
    return replace(
        result,
        eigenvalues=w,
        eigenvectors=v,
        converged=np.full(asked.k, good),
    )
