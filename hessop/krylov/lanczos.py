"""Eigenpairs by Lanczos: the gate in front of the search."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hessop import _memory, _validation
from hessop._product import Product
from hessop._results import ConvergenceWarning, EigenResult, PrecisionWarning
from hessop._space import LocalSpace
from hessop.krylov.entrance import locked_basis, start_vector
from hessop.krylov.restart import Found, Goal, Search, audit_room
from hessop.krylov.ritz import WHICH
from hessop.krylov.sweep import Sweep
from hessop.operators import enter


def lanczos(
    A: Any,
    k: int = 6,
    *,
    which: str = "LM",
    v0: Any = None,
    ncv: int | None = None,
    maxiter: int | None = None,
    tol: float = 0,
    lock: Any = None,
    reorth: str = "double",
    verify: bool | str = "auto",
    rng: Any = None,
) -> EigenResult:
    r"""
    Some eigenpairs of a symmetric operator, by thick-restart Lanczos.

    Solves ``A v = w v`` for the `k` eigenvalues that `which` names, each as often as it occurs.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product (then the eigenvectors are
        torch tensors); real symmetric. Symmetry is checked on the way, at no cost.
    k : int, optional
        How many, ``0 < k <= n`` less the locked vectors. Default 6.
    which : {"LM", "LA", "SA", "BE"}, optional
        Largest in magnitude (default), largest or smallest algebraic, or half from each end
        (one more from the high end for odd `k`).
    v0 : array_like, shape (n,), optional
        Start vector, not zero. Default: random. Not written.
    ncv : int, optional
        Most Lanczos vectors before a restart, ``k < ncv <= n``. Default: as many as fit into
        half of the free memory, for a larger basis needs fewer products. The check of `verify`
        takes ``k + 15`` where `ncv` is less.
    maxiter : int, optional
        Most products, at least `k`. Default ``10 * n``, at least 100.
    tol : float, optional
        A pair counts as converged when ``||A v - w v|| <= tol * max|w|``. What lies below the
        noise seen in the products is raised to it; 0 (default) asks for that noise.
    lock : array_like, shape (n, l), optional
        Vectors to stay orthogonal to, such as eigenvectors known already: their eigenvalues do
        not appear again.
    reorth : {"full", "double"}, optional
        One or two (default) passes of Gram-Schmidt per step.
    verify : {"auto", True, False}, optional
        "auto" (default) checks that the set is complete: a fifth of the products more, at least
        15, look in a fresh direction for copies and members of clusters that one start vector
        cannot see. True also measures the residuals with `A`, `k` products more. False does
        neither.
    rng : None, int or numpy.random.Generator, optional
        For the start vector and fresh directions. Default: really random.

    Returns
    -------
    EigenResult
        Unpacks as ``w, v``. When `maxiter` was reached, the pairs that have not converged are
        there too, marked in ``converged``.

    Raises
    ------
    ValueError
        If an argument is out of range, or `A` turns out not to be symmetric.
    TypeError
        If something is complex or of the wrong kind.
    FloatingPointError
        If a product is NaN or Inf.

    Warns
    -----
    ConvergenceWarning
        If `maxiter` was reached before the set had converged, or before it was checked.
    PrecisionWarning
        If `tol` lies below the noise of the products.

    See Also
    --------
    hessop.eigsh : The same with SciPy's signature and contract.
    hessop.slq : The whole spectrum as a density.

    Notes
    -----
    The basis is kept orthogonal by blocks, twice per step; where the Krylov space is exhausted
    the sweep goes on in a fresh random direction, so that multiplicities are found. A full basis
    is restarted with the wanted Ritz vectors and some of their neighbours [1]_. The check for
    completeness rests on [2]_.

    References
    ----------
    .. [1] K. Wu and H. Simon, "Thick-restart Lanczos method for large symmetric eigenvalue
       problems", SIAM J. Matrix Anal. Appl. 22(2), 2000.
    .. [2] J. Kuczynski and H. Wozniakowski, "Estimating the largest eigenvalue by the power and
       Lanczos algorithms with a random start", SIAM J. Matrix Anal. Appl. 13(4), 1992.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag([3.0, 3.0, 2.0, 1.0, 0.0, -4.0])
    >>> w, v = hessop.lanczos(A, k=3, which="LA", rng=0)
    >>> np.round(w, 10)
    array([2., 3., 3.])
    """
    product, give = enter(A)
    space = LocalSpace(product.n, product.dtype, product.device)
    locked = locked_basis(space, lock)
    n = product.n - len(locked)
    k = _validation.eigenvalue_count(k, n)
    _validation.choice("reorth", reorth, ("full", "double"))
    _validation.choice("verify", verify, ("auto", True, False))
    audit = verify is not False
    room = _rows_that_fit(space, k, n) if ncv is None else _validation.basis_size(ncv, k, n)
    goal = Goal(
        k,
        _validation.choice("which", which, WHICH),
        _validation.number("tol", tol, 0.0),
        max(room, audit_room(k, n)) if audit else room,
        max(10 * n, 100) if maxiter is None else _validation.integer("maxiter", maxiter, k),
        audit,
    )
    generator = _validation.rng(rng)
    start = start_vector(space, v0, locked, generator)
    product.expect(min(goal.maxiter, goal.ncv, 10 * k + 40))  # what well separated pairs take
    sweep = Sweep(space, start, reorth=reorth, lock=locked, floor=product.floor())
    found, complete = Search(product, sweep, goal, generator).run()
    result, rows = _collect(found, sweep, complete)
    if verify is True:
        result = _measured(result, rows, found.limit, product, space)
    _warn(result, goal, sweep.noise)
    return replace(result, eigenvectors=give(rows).T)


def _rows_that_fit(space: LocalSpace, k: int, n: int) -> int:
    """As many rows as half the free memory holds, but enough to make progress."""
    row = space.n * space.dtype.itemsize
    return min(n, max(_memory.available_bytes(space.device) // 2 // row, 2 * k + 20))


def _collect(found: Found, sweep: Sweep, complete: bool) -> tuple[EigenResult, torch.Tensor]:
    """The chosen pairs in ascending order, and their vectors as rows."""
    chosen = np.sort(found.chosen)
    residuals = found.ritz.residuals[chosen]
    result = EigenResult(
        eigenvalues=found.ritz.theta[chosen],
        eigenvectors=None,
        residuals=residuals,
        error_bounds=residuals + sweep.noise * sweep.scale,
        converged=residuals <= found.limit,
        complete=complete,
        n_matvec=found.n_matvec,
        n_restart=found.n_restart,
    )
    return result, sweep.basis.combine(sweep.spread(found.ritz.S[chosen]))


def _measured(
    result: EigenResult, rows: torch.Tensor, limit: float, product: Product, space: LocalSpace
) -> EigenResult:
    """The result with its residuals measured, one product a pair."""
    residuals = np.array(
        [
            float(space.norm(product.matmat(v[None])[0] - theta * v))
            for theta, v in zip(result.eigenvalues.tolist(), rows, strict=True)
        ]
    )
    noise = result.error_bounds - result.residuals
    return replace(
        result,
        residuals=residuals,
        error_bounds=residuals + noise,
        converged=result.converged & (residuals <= limit + noise),
        n_matvec=result.n_matvec + len(residuals),
    )


def _warn(result: EigenResult, goal: Goal, noise: float) -> None:
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
    if 0 < goal.tol < noise:
        warnings.warn(
            f"`tol` must not lie below the noise of the products; got {goal.tol:.1e}, and "
            f"{noise:.1e} was used. Use tol=0, or a float64 operator.",
            PrecisionWarning,
            stacklevel=3,
        )
