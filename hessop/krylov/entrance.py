"""What a search is handed: start vectors, vectors to stay orthogonal to, and its goal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hessop import _exchange, _validation
from hessop._results import EigenResult
from hessop._space import LocalSpace
from hessop.krylov import audit
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.goal import Goal
from hessop.krylov.storage import Storage
from hessop.krylov.wanted import Which


def start_vector(space: LocalSpace, v0: Any, lock: Basis, rng: np.random.Generator) -> torch.Tensor:
    """What of the user's start vector, or of a random one, is orthogonal to `lock`; norm one."""
    if v0 is None:
        start = None
        while start is None:
            start = orthonormal(space, space.draw(rng, "gaussian"), lock)
        return start
    v0 = _validation.nonzero_vector("v0", v0, space.n)
    v = _exchange.to_torch(v0, dtype=torch.float64, device=space.device)
    # scaled first: single precision may not hold the length it came with
    start = orthonormal(space, (v / v.abs().max()).to(space.dtype), lock)
    if start is None:
        raise ValueError(_validation.message("v0", "not lie in the span of lock", "a vector in it"))
    return start


def start_vectors(
    space: LocalSpace, v0: Any, lock: Basis, rng: np.random.Generator, block: int | None
) -> list[torch.Tensor]:
    """
    Where a search starts: `block` vectors, or as many as `v0` has columns.

    An earlier result gives sums of its eigenvectors: from there a changed operator is searched
    with fewer products than from the eigenvectors side by side, which cost one product each.
    """
    if isinstance(v0, EigenResult):
        columns = _validation.columns("v0", v0.eigenvectors, space.n)
        parts = [columns[:, i :: block or 1] for i in range(min(block or 1, columns.shape[1]))]
        given = [part.sum(1) for part in parts]
    elif v0 is None:
        given = [None]
    else:
        v0 = _exchange.array(v0)
        single = v0.ndim < 2 or v0.shape[1] == 1
        given = [v0] if single else list(_validation.columns("v0", v0, space.n).T)
        if not given:
            raise ValueError(
                _validation.message("v0", "have a column or more", f"shape {tuple(v0.shape)}")
            )
    count = len(given) if block is None else block
    if len(given) > count:
        raise ValueError(
            _validation.message(
                "v0", f"have at most block_size={count} columns", f"{len(given)} columns"
            )
        )
    starts = [start_vector(space, v, lock, rng) for v in given]
    return starts + [start_vector(space, None, lock, rng) for _ in range(count - len(given))]


def goal_of(
    k: int,
    which: Which,
    where: Storage,
    length: int,
    n: int,
    *,
    tol: float,
    ncv: Any,
    maxiter: Any,
    checked: bool,
    block: int = 1,
) -> Goal:
    """
    What is looked for, with room and products by default or as the user has it.

    `length` is that of a vector, `n` the number of dimensions beside those locked.
    """
    room = where.basis_size(length, k, n) if ncv is None else _validation.basis_size(ncv, k, n)
    most = max(10 * n, 100) if maxiter is None else _validation.integer("maxiter", maxiter, k)
    return Goal(
        k, which, tol, max(room, audit.room(k, n)) if checked else room, most, checked, block
    )


def locked_basis(space: LocalSpace, lock: Any) -> Basis:
    """An orthonormal basis of the span of the user's columns; empty for None."""
    basis = Basis(space)
    if lock is not None:
        columns = _validation.columns("lock", lock, space.n)
        for v in _exchange.to_torch(columns, dtype=space.dtype, device=space.device).T:
            w = orthonormal(space, v, basis)
            if w is not None:
                basis.append(w)
    return basis
