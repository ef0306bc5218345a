"""Functions of an operator times vectors: the gate in front of the sweeps."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hessop import _exchange, _progress, _validation
from hessop._results import ConvergenceWarning, PrecisionWarning
from hessop.krylov import reorthogonalization
from hessop.krylov.storage import storage
from hessop.operators import enter
from hessop.quadrature.action import Action, Means, advance
from hessop.quadrature.functions import Function, values
from hessop.quadrature.lock import Lock

_METHODS = tuple(method for method in reorthogonalization.METHODS if method != "none")


@dataclass(frozen=True)
class FunmResult:
    """
    A function of an operator times vectors, from `hessop.funm_multiply`.

    Attributes
    ----------
    value : ndarray, cupy.ndarray or torch.Tensor, shape (n,) or (n, k)
        ``f(A) b``, shaped as `b`, in the array type and dtype of the operator.
    error : float or ndarray of float64, shape (k,)
        The estimated norm of what is missing, for each column.
    converged : bool or ndarray of bool, shape (k,)
        Whether that is within the tolerance.
    n_matvec : int
        Products spent, of one vector each.
    """

    value: Any
    error: Any
    converged: Any
    n_matvec: int


def funm_multiply(
    f: Function,
    A: Any,
    b: Any,
    *,
    ncv: int = 100,
    rtol: float = 1e-6,
    atol: float = 0.0,
    lock: Any = None,
    basis: Any = "auto",
    reorth: str = "double",
    progress: bool = False,
) -> FunmResult:
    r"""
    A function of a symmetric operator times vectors, :math:`f(A)\, b`, by Lanczos.

    Arguments come in the order of `scipy.sparse.linalg.funm_multiply_krylov`, but `f` is a
    function of numbers, as for ``density.trace(f)``, and not of matrices: ``np.exp``, not
    ``scipy.linalg.expm``.

    Parameters
    ----------
    f : callable
        Takes an array of eigenvalues and returns one of the same shape; real. Evaluated at Ritz
        values, which lie between the smallest and the largest eigenvalue, and may do so anywhere.
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    b : array_like, shape (n,) or (n, k)
        What to multiply. Columns advance together, a block product per step, as many as half the
        free memory has room for; each drops out when it has converged. Not written.
    ncv : int, optional
        Most Lanczos steps, and vectors, for each column; more than n is taken for n. Default 100.
    rtol, atol : float, optional
        A column x has converged when its estimated error is at most ``max(atol, rtol * ||x||)``.
        Defaults 1e-6 and 0.
    lock : tuple (w, v) or EigenResult, optional
        Eigenvalues of shape (l,) and eigenvectors of shape (n, l), as of `hessop.lanczos`. What
        lies in their span is multiplied by f of the eigenvalue, and the sweep sees the rest of
        the spectrum alone. The error of the pairs is not part of the estimate.
    basis : {"auto", "device", "host"} or path_like, optional
        Where the Lanczos vectors lie, as in `hessop.lanczos`.
    reorth : {"full", "double", "selective"}, optional
        How they are kept orthogonal, as in `hessop.lanczos`; "double" by default.
    progress : bool, optional
        Whether to show a bar that counts products. Default False.

    Returns
    -------
    FunmResult
        With ``value``, ``error``, ``converged``, ``n_matvec``.

    Raises
    ------
    ValueError
        If an argument is out of range, `f` is not finite at Ritz values, or `A` turns out not to
        be symmetric.
    TypeError
        If something is complex or of the wrong kind.
    FloatingPointError
        If a product is NaN or Inf.

    Warns
    -----
    ConvergenceWarning
        If `ncv` steps did not reach the tolerance.
    PrecisionWarning
        If the tolerance lies below what rounding leaves.

    See Also
    --------
    hessop.slq : ``slq(A).trace(f)`` is the trace of the same function.
    hessop.lanczos : Eigenpairs, which can be locked.

    Notes
    -----
    With Lanczos vectors :math:`V_m` that start with b, and the tridiagonal matrix :math:`T_m`, the
    iterate is :math:`x_m = V_m c_m`, :math:`c_m = \|b\| f(T_m) e_1`, which is exact for
    polynomials up to degree m - 1 [1]_.

    The error is estimated without a product or a pass over vectors: :math:`\|x_{m+d} - x_m\| =
    \|c_{m+d} - c_m\|` is what was missing d steps before, if the later iterate is much better. So
    four iterates are compared, d steps apart, d being 4 and from 80 steps on a twentieth to a
    tenth of m. The last move is the estimate; where it is not much less than the one before it,
    what would follow at that pace; the estimate of one delay before, if that is larger; and what
    the rounding seen in the products does, to first order. Fewer than 12 steps are enough only
    where the Krylov space is exhausted, and then rounding is all there is.

    It can be too small where convergence pauses: a part of b that is small, but large in f(A) b,
    is not noticed as long as no Ritz value is near it. Measured in 6000 columns that converged, of
    exponentials, roots, signs, steps and inverses, on spectra and vectors chosen to be hard: 1.5
    percent of the estimates were below the true error, 0.5 percent of the errors above the
    tolerance, and one by more than a factor of ten. Nothing can be said where f jumps at an
    eigenvalue.

    References
    ----------
    .. [1] Y. Saad, "Analysis of some Krylov subspace approximations to the matrix exponential
       operator", SIAM J. Numer. Anal. 29(1), 1992.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag([1.0, 4.0, 9.0])
    >>> hessop.funm_multiply(np.sqrt, A, np.ones(3)).value.round(10)
    array([1., 2., 3.])
    """
    product, give = enter(A)
    space = product.space()
    columns, single = _columns(b, product.n)
    ncv = _validation.integer("ncv", ncv, 1)
    rtol = _validation.number("rtol", rtol, 0.0)
    atol = _validation.number("atol", atol, 0.0)
    if reorth == "none":
        raise ValueError(
            _validation.message(
                "reorth", "keep a basis, which the result is made of", '"none"', "See `basis`."
            )
        )
    _validation.choice("reorth", reorth, _METHODS)
    where = storage(space, basis, None)
    held = Lock.of(space, lock)
    image = values(f, held.values)
    steps = min(ncv, product.n - len(held.basis))
    means = Means(f, rtol, atol, steps, reorth, where, held.basis, image)
    product.expect(steps * len(columns))
    together = max(1, where.room(product.n) // (steps + 1))
    rows: list[torch.Tensor] = []
    done: list[Action] = []
    before, device = product.n_matvec, product.device
    with closing(_progress.counter("products", progress)) as bar:
        for a in range(0, len(columns), together):
            here = [
                Action(space, _exchange.to_torch(c, dtype=torch.float64, device=device), means)
                for c in columns[a : a + together]
            ]
            advance(product, here, bar.update)
            rows += [action.value() for action in here]
            done += here
    _warn(done, ncv)
    value = give(torch.stack(rows)).T
    error, converged = np.array([c.error for c in done]), np.array([c.converged for c in done])
    spent = product.n_matvec - before
    if single:
        return FunmResult(value[:, 0], float(error[0]), bool(converged[0]), spent)
    return FunmResult(value, error, converged, spent)


def _columns(b: Any, n: int) -> tuple[list[Any], bool]:
    """The gate of `b`: its columns, and whether it is a vector."""
    b = _exchange.array(b)
    if b.ndim not in (1, 2) or b.shape[0] != n or 0 in b.shape:
        raise ValueError(
            _validation.message("b", f"have shape ({n},) or ({n}, k)", f"shape {tuple(b.shape)}")
        )
    single = b.ndim == 1
    return [_validation.vector("b", c, n) for c in ([b] if single else b.T)], single


def _warn(done: list[Action], ncv: int) -> None:
    """Say what did not converge, and what would help."""
    missed = [action for action in done if not action.converged]
    rounded = [action for action in missed if action.error <= action.rounding]
    for some, what, remedy, category in (
        (rounded, "lie below what rounding leaves", "use a float64 operator", PrecisionWarning),
        (
            [action for action in missed if action not in rounded],
            f"were not reached in {ncv} steps",
            "raise `ncv`, or lock eigenpairs",
            ConvergenceWarning,
        ),
    ):
        if some:
            worst = max(a.error / a.limit if a.limit else np.inf for a in some)
            warnings.warn(
                f"`rtol` and `atol` {what} for {len(some)} of {len(done)} vectors; the error is "
                f"up to {worst:.1e} times what they allow. Raise them, {remedy}.",
                category,
                stacklevel=3,
            )
