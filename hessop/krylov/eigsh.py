"""SciPy's `eigsh`, signature and contract, over `lanczos`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from hessop import _exchange, _validation
from hessop._results import ConvergenceWarning, NoConvergence
from hessop.krylov.lanczos import lanczos
from hessop.krylov.ritz import WHICH
from hessop.operators import enter


def eigsh(
    A: Any,
    k: int = 6,
    M: Any = None,
    sigma: float | None = None,
    which: str = "LM",
    v0: Any = None,
    ncv: int | None = None,
    maxiter: int | None = None,
    tol: float = 0,
    return_eigenvectors: bool = True,
    Minv: Any = None,
    OPinv: Any = None,
    mode: str = "normal",
    rng: Any = None,
) -> Any:
    """
    Drop-in for `scipy.sparse.linalg.eigsh`, for the standard real symmetric problem.

    Solves ``A v = w v`` for `k` eigenvalues. Unlike SciPy's, it looks for copies of an eigenvalue
    and members of a cluster that one start vector does not see, before it returns.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes; real symmetric.
    k : int, optional
        How many, ``0 < k <= n``. Default 6.
    M, sigma, Minv, OPinv, mode : optional
        Generalised problems and shift-invert: not available yet.
    which : {"LM", "LA", "SA", "BE"}, optional
        Largest in magnitude (default), largest or smallest algebraic, half from each end.
    v0 : array_like, shape (n,), optional
        Start vector. Default: random. Not written.
    ncv : int, optional
        Most Lanczos vectors before a restart, ``k < ncv <= n``; ``k + 15`` are taken where it is
        less. Default: as many as memory allows.
    maxiter : int, optional
        Most restarts, as SciPy counts them: ``ncv + maxiter * (ncv - k)`` products, with SciPy's
        ``ncv`` where none is given. Default ``10 * n``.
    tol : float, optional
        Relative accuracy: residuals are at most ``tol * max|w|``. 0 (default) is machine
        precision.
    return_eigenvectors : bool, optional
        Whether to return the eigenvectors too. Default True.
    rng : None, int or numpy.random.Generator, optional
        For the start vector and fresh directions.

    Returns
    -------
    w : ndarray, shape (k,)
        Eigenvalues in the dtype of `A`, in SciPy's order: ascending; but without eigenvectors
        ascending by magnitude for "LM", and descending for "SA".
    v : ndarray, shape (n, k)
        Orthonormal eigenvectors, in columns; only if `return_eigenvectors`.

    Raises
    ------
    NoConvergence
        If `maxiter` is reached. A subclass of `scipy.sparse.linalg.ArpackNoConvergence`; what
        has converged is in its ``eigenvalues`` and ``eigenvectors``.
    NotImplementedError
        If `M`, `sigma`, `Minv`, `OPinv`, another `mode` or ``which="SM"`` is asked for.
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

    See Also
    --------
    hessop.lanczos : The same with residuals, error bounds and locking.
    scipy.sparse.linalg.eigsh : Takes every hessop operator too.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag(np.arange(1.0, 51.0))
    >>> w, v = hessop.eigsh(A, k=3, rng=0)
    >>> np.round(w, 10)
    array([48., 49., 50.])
    """
    _refuse(M=M, sigma=sigma, Minv=Minv, OPinv=OPinv)
    if which == "SM" or mode != "normal":
        asked = 'which="SM"' if which == "SM" else f"mode={mode!r}"
        raise NotImplementedError(_ELSEWHERE.format(asked))
    _validation.choice("which", which, WHICH)
    n = enter(A)[0].n
    k = _validation.eigenvalue_count(k, n)
    products = None
    if maxiter is not None:
        rounds = _validation.integer("maxiter", maxiter, 1)
        width = min(n, max(2 * k + 1, 20))
        if ncv is not None:
            width = _validation.basis_size(ncv, k, n)
        products = width + rounds * max(width - k, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an exception here
        result = lanczos(A, k, which=which, v0=v0, ncv=ncv, maxiter=products, tol=tol, rng=rng)
    dtype = _exchange.numpy_dtype(enter(A)[0].dtype)
    w, v = result.eigenvalues.astype(dtype), result.eigenvectors
    good = result.converged
    if good.sum() < k or not result.complete:
        unchecked = ", without a check for completeness," if good.all() else ""
        raise NoConvergence(
            f"`maxiter` must allow for convergence; {good.sum()} of {k} eigenvalues converged"
            f"{unchecked} in {result.n_matvec} products. Raise maxiter, ncv or tol, or use "
            "hessop.lanczos, which returns what there is.",
            w[good],
            v[:, good],
        )
    if return_eigenvectors:
        return w, v
    if which == "LM":
        return w[np.argsort(np.abs(w), kind="stable")]
    return w[::-1].copy() if which == "SA" else w


_ELSEWHERE = (
    "`eigsh` must be asked for a standard problem without a shift; got {}. "
    "Use scipy.sparse.linalg.eigsh on the same operator."
)


def _refuse(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise NotImplementedError(_ELSEWHERE.format(f"`{name}`"))
