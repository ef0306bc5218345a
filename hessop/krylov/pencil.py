"""Generalised and transformed problems as operators that are self-adjoint in some product."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, aslinearoperator, minres, splu

from hessop import _validation
from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov.metric import MetricSpace
from hessop.operators import aslinearoperator as face_of

MODES = ("normal", "buckling", "cayley")


@dataclass(frozen=True)
class Pencil:
    """
    An operator with the eigenvectors of ``A x = w M x``.

    Attributes
    ----------
    product : Product
        What is multiplied with.
    space : LocalSpace
        In whose inner product it is self-adjoint.
    back : callable
        From its eigenvalues to w.
    """

    product: Product
    space: LocalSpace
    back: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def pencil(
    A: Any, M: Any, sigma: float | None, Minv: Any, OPinv: Any, mode: str, tol: float
) -> Pencil:
    """
    ``A x = w M x`` as ARPACK's modes 2 to 5 have it (Lehoucq, Sorensen and Yang 1998, 3.2).

    Without a shift ``M^{-1} A``; with one, ``S = (A - sigma M)^{-1}``: ``S M`` in normal,
    ``S A`` in buckling, ``S (A + sigma M)`` in Cayley mode.
    """
    dtype = face_of(A).dtype
    a = aslinearoperator(A)
    m = None if M is None else aslinearoperator(M)
    rtol = max(1e-2 * tol, 10 * float(np.finfo(dtype).eps))  # of the solutions, by MINRES
    if sigma is None:
        inverse = inverse_of(M, None, 0.0, rtol) if Minv is None else aslinearoperator(Minv)
        return _pencil([a, inverse], m, dtype, lambda nu: nu)
    solve = inverse_of(A, M, sigma, rtol) if OPinv is None else aslinearoperator(OPinv)
    if mode == "buckling":
        return _pencil([a, solve], a, dtype, lambda nu: sigma * nu / (nu - 1))
    if mode == "cayley":
        shifted = LinearOperator(
            a.shape, lambda x: a.matvec(x) + sigma * (x if m is None else m.matvec(x)), dtype=dtype
        )
        return _pencil([shifted, solve], m, dtype, lambda nu: sigma * (nu + 1) / (nu - 1))
    return _pencil([solve] if m is None else [m, solve], m, dtype, lambda nu: sigma + 1 / nu)


def _pencil(
    steps: list[Any],
    metric: Any,
    dtype: Any,
    back: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Pencil:
    """Operators applied one after the other, self-adjoint in the product of `metric`."""

    def multiply(x: Any) -> Any:
        for step in steps:
            x = step.matvec(x)
        return x

    product = face_of(LinearOperator(steps[0].shape, multiply, dtype=dtype)).product
    if metric is None:
        return Pencil(product, LocalSpace(product.n, product.dtype, product.device), back)
    image = face_of(LinearOperator(metric.shape, metric.matvec, dtype=dtype)).product
    return Pencil(product, MetricSpace(image, product), back)


def inverse_of(
    A: Any, M: Any, sigma: float, rtol: float, preconditioner: Any = None
) -> LinearOperator:
    """
    ``(A - sigma M)^{-1}``: by factors of a matrix, by MINRES where there is no matrix.

    Raises
    ------
    ValueError
        If the matrix is singular.
    """
    given = [X for X in (A, M) if X is not None]
    if not all(scipy.sparse.issparse(X) or isinstance(X, np.ndarray) for X in given):
        return _iterative(aslinearoperator(A), M, sigma, rtol, preconditioner)
    if all(scipy.sparse.issparse(X) for X in given):
        identity = scipy.sparse.eye_array(A.shape[0], dtype=A.dtype)
        try:
            factors = splu(scipy.sparse.csc_array(A - sigma * (identity if M is None else M)))
        except RuntimeError as error:
            raise _singular(sigma) from error
        return LinearOperator(A.shape, factors.solve, dtype=A.dtype)
    A, M = (X.toarray() if scipy.sparse.issparse(X) else X for X in (A, M))
    with warnings.catch_warnings():
        warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
        try:
            identity = np.eye(len(A), dtype=A.dtype)
            lu = scipy.linalg.lu_factor(A - sigma * (identity if M is None else M))
        except scipy.linalg.LinAlgWarning as error:
            raise _singular(sigma) from error
    return LinearOperator(A.shape, lambda x: scipy.linalg.lu_solve(lu, x), dtype=A.dtype)


def _iterative(A: Any, M: Any, sigma: float, rtol: float, preconditioner: Any) -> LinearOperator:
    shifted, shift = A, sigma
    if M is not None and sigma:
        m = aslinearoperator(M)
        shifted = LinearOperator(
            A.shape, lambda x: A.matvec(x) - sigma * m.matvec(x), dtype=A.dtype
        )
        shift = 0.0
    most = 5 * A.shape[0]

    def solve(b: Any) -> Any:
        return minres(shifted, b, shift=shift, rtol=rtol, maxiter=most, M=preconditioner)[0]

    return LinearOperator(A.shape, solve, dtype=A.dtype)


def _singular(sigma: float) -> ValueError:
    return ValueError(
        _validation.message(
            "sigma",
            "not be an eigenvalue, for A - sigma M has to be inverted (as M has, without sigma)",
            f"sigma={sigma}, where that is singular",
            "Move sigma a little.",
        )
    )
