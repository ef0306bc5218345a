"""SciPy's `eigsh`, signature and contract, over `lanczos`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import aslinearoperator

from hessop import _cupy, _exchange, _validation, operators
from hessop._results import EigenResult, NoConvergence, PrecisionWarning
from hessop.krylov.pencil import MODES, pencil
from hessop.krylov.problems import Asked, solve_hermitian, solve_pencil, solve_standard
from hessop.krylov.wanted import WHICH
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
    Drop-in for `scipy.sparse.linalg.eigsh`.

    Solves ``A v = w v``, or ``A v = w M v``, for `k` eigenvalues. Unlike SciPy's, it looks for
    copies of an eigenvalue and members of a cluster that one start vector does not see, before it
    returns.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes; real symmetric, or complex Hermitian (then
        as a real problem of twice the size, in twice the products).
    k : int, optional
        How many, ``0 < k``. From n on a warning is given, and all n are computed. Default 6.
    M : operator or matrix, shape (n, n), optional
        Symmetric, positive definite; semi-definite will do with `sigma`. In "buckling" mode any
        symmetric one, and `A` semi-definite.
    sigma : float, optional
        Wanted are eigenvalues by ``nu = 1 / (w - sigma)``: the nearest, for the default `which`.
    which : {"LM", "SM", "LA", "SA", "BE"}, optional
        Largest (default) or smallest in magnitude, largest or smallest algebraic, half from each
        end; of nu, where there is a `sigma`.
    v0 : array_like, shape (n,), optional
        Start vector. Default: random. Not written.
    ncv : int, optional
        Most Lanczos vectors before a restart, ``k < ncv <= n``; ``k + 15`` are taken where it is
        less. Default: as many as memory allows.
    maxiter : int, optional
        Most restarts, as SciPy counts them: ``ncv + maxiter * (ncv - k)`` products, with SciPy's
        ``ncv`` where none is given. Default ``10 * n``.
    tol : float, optional
        Accuracy relative to the operator: residuals are at most ``tol`` times its largest
        eigenvalue in magnitude, where ARPACK has it relative to each eigenvalue. 0 (default) is
        machine precision.
    return_eigenvectors : bool, optional
        Whether to return the eigenvectors too. Default True.
    Minv : operator or matrix, shape (n, n), optional
        The inverse of `M`, without `sigma`. Default: by factors of a matrix, or by MINRES.
    OPinv : operator or matrix, shape (n, n), optional
        The inverse of ``A - sigma M``. Default: likewise.
    mode : {"normal", "buckling", "cayley"}, optional
        With `sigma`: ``nu = 1 / (w - sigma)``, ``w / (w - sigma)`` or
        ``(w + sigma) / (w - sigma)``.
    rng : None, int or numpy.random.Generator, optional
        For the start vector and fresh directions.

    Returns
    -------
    w : ndarray, shape (k,)
        Eigenvalues in the dtype of `A`, in SciPy's order: ascending; but without eigenvectors and
        `sigma` ascending by magnitude for "LM", descending by magnitude for "SM", and descending
        for "SA". A CuPy array where `A` is CuPy's.
    v : ndarray, shape (n, k)
        Orthonormal eigenvectors, in columns; only if `return_eigenvectors`. Orthonormal in the
        inner product of `M`, if there is one, and of `A` in "buckling" mode.

    Raises
    ------
    NoConvergence
        If `maxiter` is reached. A subclass of `scipy.sparse.linalg.ArpackNoConvergence`; what
        has converged is in its ``eigenvalues`` and ``eigenvectors``.
    ValueError
        If arguments do not go together, or a matrix to be inverted is singular.
    TypeError, FloatingPointError
        As `hessop.lanczos`.

    Warns
    -----
    RuntimeWarning
        If ``k >= n``.
    PrecisionWarning
        If `tol` lies below the noise of the products.

    See Also
    --------
    hessop.lanczos : The same with residuals, error bounds and locking.
    scipy.sparse.linalg.eigsh : Takes every hessop operator too.

    Notes
    -----
    The transformed operators are those of ARPACK's modes [1]_. Without `sigma`, ``which="SM"``
    needs no inverse: see `hessop.lanczos`.

    References
    ----------
    .. [1] R. Lehoucq, D. Sorensen and C. Yang, "ARPACK Users' Guide", 1998, Section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag(np.arange(1.0, 51.0))
    >>> w, v = hessop.eigsh(A, k=3, rng=0)
    >>> np.round(w, 10)
    array([48., 49., 50.])
    """
    _validation.choice("which", which, (*WHICH, "SM"))
    _validation.choice("mode", mode, MODES)
    tol = _validation.number("tol", tol, 0.0)
    if sigma is not None:
        sigma = _validation.number("sigma", sigma, -np.inf)
    _check_together(M, sigma, Minv, OPinv, mode)
    is_complex = _exchange.is_complex(getattr(A, "dtype", None))
    if is_complex:
        A = _complex_operator(A, M, sigma)
    n = A.shape[0] if is_complex else enter(A)[0].n
    k = _count(k, n)
    if v0 is not None and not is_complex:
        _validation.nonzero_vector("v0", v0, n)
    asked = Asked(k, n, which, v0, ncv, maxiter, tol, rng)
    if is_complex:
        result = solve_hermitian(A, asked)
    elif M is None and sigma is None:
        result = solve_standard(A, asked)
    else:
        a, m, m_inverse, inverse = (_host(X) for X in (A, M, Minv, OPinv))
        transformed = pencil(a, m, sigma, m_inverse, inverse, mode, tol)
        result = solve_pencil(transformed, asked)
    if M is None and sigma is None and 0 < tol < result.noise:
        warnings.warn(
            f"`tol` must not lie below the noise of the products; got {tol:.1e}, and "
            f"{result.noise:.1e} was used. Use tol=0, or a float64 operator.",
            PrecisionWarning,
            stacklevel=2,
        )
    dtype = np.dtype(A.dtype) if is_complex else _exchange.numpy_dtype(enter(A)[0].dtype)
    w, v = result.eigenvalues.astype(np.zeros(0, dtype).real.dtype), result.eigenvectors
    _check_converged(result, k, w, v)
    if not return_eigenvectors:
        w = _ordered(w, which, sigma)
    if _cupy.owns(A):
        # numbers are NumPy's, and so are vectors of a problem that was solved on the host
        number = enter(A)[0].device.index
        w, v = _cupy.put(w, number), _cupy.put(v, number)
    return (w, v) if return_eigenvectors else w


def _ordered(w: Any, which: str, sigma: float | None) -> Any:
    """Ascending eigenvalues in SciPy's order of those that come alone."""
    if sigma is not None:
        return w
    if which in ("LM", "SM"):
        outwards = w[np.argsort(np.abs(w), kind="stable")]
        return outwards if which == "LM" else outwards[::-1].copy()
    return w[::-1].copy() if which == "SA" else w


def _check_together(M: Any, sigma: Any, Minv: Any, OPinv: Any, mode: str) -> None:
    """What SciPy refuses, too."""
    wrong = None
    if sigma is None and OPinv is not None:
        wrong = ("OPinv", "be None without sigma")
    elif Minv is not None and (M is None or sigma is not None):
        wrong = ("Minv", "be None without M, and with sigma")
    elif mode != "normal" and not sigma:
        wrong = ("mode", 'be "normal" without sigma, or with sigma=0')
    if wrong is not None:
        got = repr(mode) if wrong[0] == "mode" else "an operator"
        raise ValueError(_validation.message(*wrong, got))


def _count(k: Any, n: int) -> int:
    """`k`, at most n."""
    whole = isinstance(k, (int, np.integer)) and not isinstance(k, bool)
    asked = _validation.eigenvalue_count(k, max(n, int(k)) if whole else n)
    if asked >= n:
        warnings.warn(
            f"`k` must satisfy k < n where some eigenvalues are wanted; got k={asked}, n={n}. "
            "All n are computed.",
            RuntimeWarning,
            stacklevel=3,
        )
    return min(asked, n)


def _complex_operator(A: Any, M: Any, sigma: Any) -> Any:
    """A complex Hermitian operator, for a standard problem."""
    if M is not None or sigma is not None:
        raise TypeError(
            _validation.message(
                "A",
                "be real with M or sigma",
                f"dtype {A.dtype}",
                "Use scipy.sparse.linalg.eigsh.",
            )
        )
    return aslinearoperator(_host(A))


def _host(A: Any) -> Any:
    """A matrix of any library as NumPy's or SciPy's, an operator of CuPy's as SciPy's."""
    if _cupy.owns(A):
        if _exchange.is_complex(A):
            remedy = "Use cupyx.scipy.sparse.linalg.eigsh."
            raise TypeError(_validation.message("A", "be real on a GPU", f"{A.dtype}", remedy))
        return A.get() if _cupy.is_matrix(A) else operators.aslinearoperator(A)
    return A.numpy(force=True) if isinstance(A, torch.Tensor) else A


def _check_converged(result: EigenResult, k: int, w: Any, v: Any) -> None:
    """An exception, as SciPy has it, that carries what has converged."""
    good = result.converged
    if good.sum() == k and result.complete:
        return
    unchecked = ", without a check for completeness," if good.all() else ""
    raise NoConvergence(
        f"`maxiter` must allow for convergence; {good.sum()} of {k} eigenvalues converged"
        f"{unchecked} in {result.n_matvec} products. Raise maxiter, ncv or tol, or use "
        "hessop.lanczos, which returns what there is.",
        w[good],
        v[:, good],
    )
