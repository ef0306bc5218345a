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
# A solution that leaves more than this share of the right-hand side is none.
_UNSOLVED = 1e-4


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
    A, M : LinearOperator
        The problem; M is None for the identity.
    """

    product: Product
    space: LocalSpace
    back: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    A: Any
    M: Any

    def errors(self, w: NDArray[np.float64], x: NDArray[Any]) -> NDArray[np.float64]:
        """``||A x - w M x||`` relative to the sizes of its parts, for each column x."""
        images = np.column_stack([self.A.matvec(v) for v in x.T])
        masses = x if self.M is None else np.column_stack([self.M.matvec(v) for v in x.T])
        sizes = np.linalg.norm(x, axis=0)
        image, mass = np.linalg.norm(images, axis=0), np.linalg.norm(masses, axis=0)
        size = float(np.max(image / sizes, initial=0.0))
        left = np.linalg.norm(images - w * masses, axis=0)
        whole = size * sizes + np.abs(w) * mass
        return np.asarray(left / np.where(whole > 0, whole, 1.0))


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
    for name, X in (("M", M), ("Minv", Minv), ("OPinv", OPinv)):
        if X is not None and tuple(X.shape) != a.shape:
            raise ValueError(
                _validation.message(name, f"have the shape of A, {a.shape}", tuple(X.shape))
            )
    m = None if M is None else aslinearoperator(M)
    rtol = max(1e-2 * tol, 10 * float(np.finfo(dtype).eps))  # of the solutions, by MINRES
    if sigma is None:
        inverse = inverse_of(M, None, 0.0, rtol) if Minv is None else aslinearoperator(Minv)
        return _pencil([a, inverse], m, dtype, lambda nu: nu, a, m)
    solve = inverse_of(A, M, sigma, rtol) if OPinv is None else aslinearoperator(OPinv)
    if mode == "buckling":
        return _pencil([a, solve], a, dtype, lambda nu: sigma * nu / (nu - 1), a, m)
    if mode == "cayley":
        shifted = LinearOperator(
            a.shape, lambda x: a.matvec(x) + sigma * (x if m is None else m.matvec(x)), dtype=dtype
        )
        return _pencil([shifted, solve], m, dtype, lambda nu: sigma * (nu + 1) / (nu - 1), a, m)
    steps = [solve] if m is None else [m, solve]
    return _pencil(steps, m, dtype, lambda nu: sigma + 1 / nu, a, m)


def _pencil(
    steps: list[Any],
    metric: Any,
    dtype: Any,
    back: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    A: Any,
    M: Any,
) -> Pencil:
    """Operators applied one after the other, self-adjoint in the product of `metric`."""

    def multiply(x: Any) -> Any:
        for step in steps:
            x = step.matvec(x)
        return x

    product = face_of(LinearOperator(steps[0].shape, multiply, dtype=dtype)).product
    if metric is None:
        return Pencil(product, product.space(), back, A, M)
    _check_metric(metric, "M" if metric is M else "A")
    image = face_of(LinearOperator(metric.shape, metric.matvec, dtype=dtype)).product
    return Pencil(product, MetricSpace(image, product), back, A, M)


def _check_metric(metric: Any, name: str) -> None:
    """Two random vectors tell whether an operator may be symmetric and positive."""
    u, v = np.random.default_rng(0).standard_normal((2, metric.shape[0]))
    Mu, Mv = np.ravel(metric.matvec(u)), np.ravel(metric.matvec(v))
    size = np.linalg.norm(Mu) * np.linalg.norm(v)
    if abs(u @ Mv - v @ Mu) > 1e-2 * size:
        got = f"|u.Mv - v.Mu| of {abs(u @ Mv - v @ Mu) / size:.1e} relative to the product"
        raise ValueError(_validation.message(name, "be symmetric", got))
    if min(u @ Mu, v @ Mv) < 0:
        got = f"u.Mu = {min(u @ Mu, v @ Mv):.2e} for a vector u"
        raise ValueError(_validation.message(name, "be positive semi-definite", got))


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
        x = minres(shifted, b, shift=shift, rtol=rtol, maxiter=most, M=preconditioner)[0]
        left = np.linalg.norm(np.ravel(shifted.matvec(x)) - shift * x - b)
        if not left <= max(_UNSOLVED, 1e3 * rtol) * np.linalg.norm(b):
            raise _singular(sigma, f", or nearly (MINRES leaves {left / np.linalg.norm(b):.0e})")
        return x

    return LinearOperator(A.shape, solve, dtype=A.dtype)


def _singular(sigma: float, nearly: str = "") -> ValueError:
    return ValueError(
        _validation.message(
            "sigma",
            "not be an eigenvalue, for A - sigma M has to be inverted (as M has, without sigma)",
            f"sigma={sigma}, where that is singular{nearly}",
            "Move sigma a little, or pass a matrix, OPinv or Minv.",
        )
    )
