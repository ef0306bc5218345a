"""Deflated power iteration with Polyak momentum."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop._product import Product
from hessop._results import ConvergenceWarning, EigenResult
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.entrance import locked_basis, start_vector
from hessop.operators import enter


def deflated_power_iteration(
    A: Any,
    k: int = 1,
    *,
    momentum: float | str = 0.0,
    v0: Any = None,
    maxiter: int | None = None,
    tol: float = 1e-4,
    lock: Any = None,
    rng: Any = None,
) -> EigenResult:
    r"""
    The eigenpairs of largest magnitude, one after the other, by power iteration.

    .. math:: x_{t+1} = (A x_t - \mu x_{t-1}) / \|A x_t - \mu x_{t-1}\|,

    where :math:`x_{t-1}` is divided by the same norms as :math:`x_t`, and everything stays
    orthogonal to the pairs found before.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    k : int, optional
        How many, ``0 < k <= n`` less the locked vectors. Default 1.
    momentum : float or "auto", optional
        :math:`\mu \geq 0`. Best is :math:`\lambda_2^2 / 4`, a quarter of the square of the next
        eigenvalue; from :math:`\lambda_1^2 / 4` on nothing converges. "auto" takes that of the
        second Ritz value of the last two iterates, in each step. Default 0.
    v0 : array_like, shape (n,), optional
        Start vector for the first pair, not zero. Default: random. Not written.
    maxiter : int, optional
        Most products per pair. Default 1000.
    tol : float, optional
        A pair has converged when both the change of the Rayleigh quotient since the last step
        and the residual ``||A x - w x||`` are at most ``tol * max|w|``. Raised to machine
        precision where it lies below. Default 1e-4.
    lock : array_like, shape (n, l), optional
        Vectors to stay orthogonal to.
    rng : None, int or numpy.random.Generator, optional
        For start vectors.

    Returns
    -------
    EigenResult
        Unpacks as ``w, v``. Eigenvalue and residual are measured with `A`, also under momentum.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`; but that `A` is not symmetric is not noticed.

    Warns
    -----
    ConvergenceWarning
        If `maxiter` was reached for a pair. Two eigenvalues of equal magnitude and opposite sign
        cannot be told apart by power iteration.

    See Also
    --------
    hessop.lanczos : Needs far fewer products, and finds clusters.

    References
    ----------
    .. [1] C. De Sa, B. He, I. Mitliagkas, C. Re and P. Xu, "Accelerated stochastic power
       iteration", AISTATS 2018, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> result = hessop.deflated_power_iteration(np.diag([5.0, -3.0, 1.0]), k=2, rng=0)
    >>> np.round(result.eigenvalues, 6)
    array([-3.,  5.])
    """
    product, give = enter(A)
    space = product.space()
    found = locked_basis(space, lock)
    n_locked = len(found)
    k = _validation.eigenvalue_count(k, product.n - n_locked)
    limits = _Limits(
        None if momentum == "auto" else _validation.number("momentum", momentum, 0.0),
        max(_validation.number("tol", tol, 0.0), space.eps),
        1000 if maxiter is None else _validation.integer("maxiter", maxiter, 1),
    )
    generator = _validation.rng(rng)
    pairs: list[_Pair] = []
    for _ in range(k):
        start = start_vector(space, None if pairs else v0, found, generator)
        scale = max((abs(pair.w) for pair in pairs), default=0.0)
        pair = _iterate(product, space, found, start, scale, limits)
        found.append(pair.x)
        pairs.append(pair)
    order = np.argsort([pair.w for pair in pairs], kind="stable")
    residuals = np.array([pairs[i].residual for i in order])
    converged = np.array([pairs[i].converged for i in order])
    rows = found.stack(n_locked + k)[n_locked:][torch.from_numpy(order).to(product.device)]
    if not converged.all():
        warnings.warn(
            f"{k - converged.sum()} of {k} eigenvalues did not converge in {limits.maxiter} "
            "products each; see `converged` and `residuals`. Raise `maxiter` or `tol`, lower "
            "`momentum`, or use hessop.lanczos.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return EigenResult(
        eigenvalues=np.array([pairs[i].w for i in order]),
        eigenvectors=give(rows).T,
        residuals=residuals,
        error_bounds=residuals + space.eps * max(abs(pair.w) for pair in pairs),
        converged=converged,
        complete=False,
        n_matvec=sum(pair.steps for pair in pairs),
        n_restart=0,
        noise=space.eps,
        scale=max(abs(pair.w) for pair in pairs),
        method="power iteration",
    )


@dataclass(frozen=True)
class _Limits:
    momentum: float | None  # None: by the Ritz values
    tol: float
    maxiter: int


@dataclass(frozen=True)
class _Pair:
    w: float
    x: torch.Tensor
    residual: float
    converged: bool
    steps: int


def _iterate(
    product: Product,
    space: LocalSpace,
    found: Basis,
    start: torch.Tensor,
    scale: float,
    limits: _Limits,
) -> _Pair:
    """One pair, orthogonal to those found; `scale` is the largest eigenvalue among them."""
    x = start
    previous = torch.zeros_like(x)
    last = float("inf")
    momentum = limits.momentum or 0.0
    before: tuple[torch.Tensor, torch.Tensor] | None = None
    for step in range(1, limits.maxiter + 1):
        y = product.matmat(x[None])[0]
        w = space.dot(x, y)
        value, gap = torch.stack([w, space.norm(y - w.to(y.dtype) * x)]).tolist()
        if not (np.isfinite(value) and np.isfinite(gap)):
            raise _validation.finite_product("A")
        bound = limits.tol * max(scale, abs(value))
        converged = gap <= bound and abs(value - last) <= bound
        if converged or step == limits.maxiter:
            break
        last = value
        # Momentum enters the iterate alone: w and residual above are those of A.
        if limits.momentum is None:
            if before is not None:
                momentum = _best_momentum(space, (x, y), before)
            before = x, y.clone()
        y = y.sub_(previous, alpha=momentum)
        following = orthonormal(space, y, found)
        if following is not None:  # where A x = 0, x stands, and the next round finds no change
            previous, x = x / space.norm(y).to(x.dtype), following
    return _Pair(value, x, gap, converged, step)


def _best_momentum(
    space: LocalSpace,
    now: tuple[torch.Tensor, torch.Tensor],
    before: tuple[torch.Tensor, torch.Tensor],
) -> float:
    """
    A quarter of the square of the second Ritz value of two vectors, given with their images.

    It grows towards that of the second eigenvalue from below.
    """
    (x, y), (u, z) = now, before
    overlap = space.dot(x, u).to(x.dtype)
    d, image = u - overlap * x, z - overlap * y
    entries = torch.stack([space.dot(x, y), space.dot(x, image), space.dot(d, image)])
    a, b, c, size = [*entries.tolist(), float(space.norm(d))]
    if size <= space.eps**0.5:
        return 0.0  # nothing but rounding tells the two apart
    T = np.array([[a, b / size], [b / size, c / size**2]])
    second, first = sorted(np.abs(np.linalg.eigvalsh(T)).tolist())
    half = np.float64(min(second, 0.99 * first)) / 2
    with np.errstate(over="ignore"):
        best = float(half * half)
    # where the square does not fit, plain power iteration has to do
    return best if best <= torch.finfo(space.dtype).max else 0.0
