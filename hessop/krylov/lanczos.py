"""Eigenpairs by Lanczos: the gate in front of the search."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

from hessop import _validation
from hessop._results import EigenResult
from hessop.krylov import reorthogonalization
from hessop.krylov.checkpoint import Checkpoint, call_key
from hessop.krylov.entrance import goal_of, locked_basis, start_vectors
from hessop.krylov.solver import Means, measured, warn
from hessop.krylov.storage import storage
from hessop.krylov.wanted import Which, wanted
from hessop.krylov.watching import LanczosState, Watcher
from hessop.krylov.way import UNMEASURED, refuse_for_inverse, refuse_without_basis, way_for
from hessop.operators import enter


def lanczos(
    A: Any,
    k: int = 6,
    *,
    which: Which = "LM",
    sigma: float | None = None,
    v0: Any = None,
    ncv: int | None = None,
    maxiter: int | None = None,
    tol: float = 0,
    lock: Any = None,
    reorth: str = "double",
    verify: bool | str = "auto",
    block_size: int | str = "auto",
    basis: Any = "auto",
    basis_dtype: Any = None,
    callback: Callable[[LanczosState], Any] | None = None,
    progress: bool = False,
    checkpoint: Any = None,
    preconditioner: Any = None,
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
    which : {"LM", "LA", "SA", "BE", "SM"} or callable, optional
        Largest in magnitude (default), largest or smallest algebraic, half from each end (one
        more from the high end for odd `k`), or smallest in magnitude, which is ``sigma=0``. A
        function is given an array of Ritz values and returns a score for each; the highest are
        wanted.
    sigma : float, optional
        Wanted are the eigenvalues nearest to it; `which` is then left alone.
    v0 : array_like, shape (n,) or (n, b), or EigenResult, optional
        Start vector, not zero, or a block of them. An earlier result, of an operator that has
        changed a little since, is a warm start. Default: random. Not written.
    ncv : int, optional
        Most Lanczos vectors before a restart, ``k < ncv <= n``. Default: as many as fit into
        half of the free memory that `basis` names (of the host's, where that is a disk), for a
        larger basis needs fewer products. The check of `verify` takes ``k + 15`` where `ncv` is
        less.
    maxiter : int, optional
        Most products of the search, at least `k`. Default ``10 * n``, at least 100. Not counted
        are the second sweep of ``reorth="none"``, the refinement of a coarse basis, and measured
        residuals; where ``A - sigma`` is inverted, it counts solutions.
    tol : float, optional
        A pair counts as converged when ``||A v - w v|| <= tol * scale``, where the scale is the
        largest Ritz value in magnitude, in the set or beside it. What lies below the noise seen
        in the products is raised to it; 0 (default) asks for that noise.
    lock : array_like, shape (n, l), optional
        Vectors to stay orthogonal to, such as eigenvectors known already: their eigenvalues do
        not appear again.
    reorth : {"full", "double", "selective", "none"}, optional
        How the basis is kept orthogonal. "full" and "double" (default): one or two passes of
        Gram-Schmidt in each step, ``max |V^T V - I|`` of a few ``eps``, without a restart (one
        pass: growing with the number of steps). "selective": passes only where the estimated loss
        reaches ``sqrt(eps)``, which is what it stays near, and with it the orthogonality of the
        eigenvectors and their residuals (it counts as noise); double from the first restart, or
        fresh direction, on. "none": no basis at
        all; three vectors are held, copies that rounding makes ("ghosts") are recognised [3]_, and
        a second sweep of as many products gives the eigenvectors. Multiplicities and members of
        clusters cannot be told from ghosts then: nothing is checked, and each eigenvalue comes
        once.
    verify : {"auto", True, False}, optional
        "auto" (default) checks that the set is complete: a fifth of the products more, at least
        15, look in a fresh direction for copies and members of clusters that one start vector
        cannot see. True also measures the residuals with `A`, `k` products more. False does
        neither.
    block_size : int or "auto", optional
        How many vectors are multiplied together. A block sees as many copies of an eigenvalue at
        once, and costs more products. "auto" (default): the columns of `v0`; else one, for the
        check of `verify` adds directions where copies call for them.
    basis : {"auto", "device", "host"} or path_like, optional
        Where the Lanczos vectors lie: in the memory of the device that multiplies, of the host
        (pinned), or in files in a folder, which are gone afterwards whatever ends the process.
        "auto" (default): the device, unless it has room for fewer than 100 and the host for more.
    basis_dtype : {"float64", "float32", "bfloat16", "float16"}, optional
        In which precision. Where it is less than the operator's, the search is carried as far as
        it reaches, and a second one on the device starts from what it found. Default: the
        operator's.
    callback : callable, optional
        ``callback(state)`` is called after each step with a `LanczosState`; when it returns true,
        the search ends, and what there is is returned.
    progress : bool, optional
        Whether to show a bar.
    checkpoint : path_like, optional
        A file to which the state is written every few products, so that at most a tenth of the
        time goes into it. The same call goes on from there after a kill, with the same results to
        the last bit where products are the same. Removed when all has converged.
    preconditioner : LinearOperator, optional
        Where `sigma` or "SM" is searched for by inverting: a positive definite approximation of
        the inverse of ``A - sigma`` for MINRES.
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

    Eigenvalues inside the spectrum (`sigma`, "SM") are searched for in the same Krylov space: of
    all methods that multiply with `A` alone, a basis that is never restarted needs the fewest
    products; it ends after n. Where `ncv` or memory allow for fewer than n vectors, ``A - sigma``
    is inverted instead, by MINRES in each step. ``method`` of the result says what was done.

    References
    ----------
    .. [1] K. Wu and H. Simon, "Thick-restart Lanczos method for large symmetric eigenvalue
       problems", SIAM J. Matrix Anal. Appl. 22(2), 2000.
    .. [2] J. Kuczynski and H. Wozniakowski, "Estimating the largest eigenvalue by the power and
       Lanczos algorithms with a random start", SIAM J. Matrix Anal. Appl. 13(4), 1992.
    .. [3] J. Cullum and R. Willoughby, "Lanczos Algorithms for Large Symmetric Eigenvalue
       Computations", 1985, Section 4.5.

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
    space = product.space()
    generator = _validation.rng(rng)
    locked = locked_basis(space, lock)
    n = product.n - len(locked)
    k = _validation.eigenvalue_count(k, n)
    _validation.choice("reorth", reorth, reorthogonalization.METHODS)
    _validation.choice("verify", verify, ("auto", True, False))
    if reorth == "none":
        refuse_without_basis(
            callback=(callback, None),
            checkpoint=(checkpoint, None),
            progress=(progress, False),
            ncv=(ncv, None),
            block_size=(block_size, "auto"),
            basis=(basis, "auto"),
            basis_dtype=(basis_dtype, None),
        )
    where = storage(space, basis, basis_dtype)
    block = None if block_size == "auto" else _validation.integer("block_size", block_size, 1, n)
    starts = start_vectors(space, v0, locked, generator, block)
    goal = goal_of(
        k,
        wanted(which, sigma),
        where,
        space.n,
        n,
        tol=_validation.number("tol", tol, 0.0),
        ncv=ncv,
        maxiter=maxiter,
        checked=verify is not False and reorth != "none",
        block=len(starts),
    )
    watcher = Watcher(callback, progress)
    means = Means(
        starts,
        locked,
        generator,
        reorth,
        where,
        watcher,
        random=v0 is None,
        preconditioner=preconditioner,
    )
    way = way_for(goal, n, space, means)
    if checkpoint is not None:
        refuse_for_inverse(way, n, checkpoint)
        key = call_key(goal, reorth, where.dtype, ncv, locked)
        means = replace(means, checkpoint=Checkpoint(checkpoint, product, key))
    with closing(watcher):
        result, rows = way(product, space, goal, means)
    if verify is True and way in UNMEASURED:  # the others measure anyway
        result = measured(result, rows, product, space, goal.tol)
    if not watcher.stopped:
        warn(result, goal)
    return replace(result, eigenvectors=give(rows).T)
