"""Eigenpairs by random projection: few passes, wide blocks."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop._product import Product
from hessop._results import EigenResult
from hessop._space import LocalSpace, children
from hessop.operators import enter

METHODS = ("rayleigh-ritz", "nystrom")


def randomized_eigh(
    A: Any,
    k: int = 6,
    *,
    oversample: int = 10,
    n_power: int = 1,
    method: str = "rayleigh-ritz",
    tol: float = 1e-2,
    rng: Any = None,
) -> EigenResult:
    r"""
    The eigenpairs of largest magnitude, roughly, by random projection.

    A few wide block products: for operators whose block products are cheap, spectra that decay
    fast, and answers that need few digits. Where they do not decay, `hessop.lanczos` gets more
    out of as many products.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric, definite or
        not.
    k : int, optional
        How many, ``0 < k <= n``. Default 6.
    oversample : int, optional
        How many more vectors are carried along, at least 0. Default 10.
    n_power : int, optional
        Power iterations, at least 0; each sharpens by one more factor of the ratio of
        eigenvalues. Default 1.
    method : {"rayleigh-ritz", "nystrom"}, optional
        The projection on the range (default): ``n_power + 2`` block products of
        ``k + oversample`` vectors. Or Nystrom's approximation, for positive semi-definite `A`
        alone: one block product less, and `k` products for the residuals.
    tol : float, optional
        Pairs with residuals up to ``tol * max|w|`` are marked as converged. Default 1e-2.
    rng : None, int or numpy.random.Generator, optional
        For the random projection.

    Returns
    -------
    EigenResult
        Unpacks as ``w, v``. The residuals are measured, and bound the errors: each value lies
        that close to an eigenvalue, maybe not to the one of its rank. ``complete`` is False.

    Raises
    ------
    ValueError
        If an argument is out of range, or `A` turns out not to be positive semi-definite under
        "nystrom".
    TypeError, FloatingPointError
        As `hessop.lanczos`.

    See Also
    --------
    hessop.lanczos : Fewer products for the same accuracy.

    Notes
    -----
    With random orthonormal :math:`\Omega` and :math:`Q` a basis of the range of
    :math:`A^{q+1} \Omega` [1]_, the eigenpairs of :math:`Q Q^T A Q Q^T`; or, with
    :math:`Y = A Q`, those of :math:`Y (Q^T Y)^{-1} Y^T`, computed with a shift [2]_.

    References
    ----------
    .. [1] N. Halko, P. Martinsson and J. Tropp, "Finding structure with randomness", SIAM Review
       53(2), 2011, Sections 4.5 and 5.3.
    .. [2] J. Tropp, A. Yurtsever, M. Udell and V. Cevher, "Fixed-rank approximation of a
       positive-semidefinite matrix from streaming data", NeurIPS 2017, Algorithm 3.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag(0.1 ** np.arange(20.0))
    >>> w, v = hessop.randomized_eigh(A, k=2, rng=0)
    >>> np.round(w, 6)
    array([0.1, 1. ])
    """
    product, give = enter(A)
    space = product.space()
    k = _validation.eigenvalue_count(k, space.n)
    width = min(space.n, k + _validation.integer("oversample", oversample, 0))
    rounds = _validation.integer("n_power", n_power, 0)
    _validation.choice("method", method, METHODS)
    tol = _validation.number("tol", tol, 0.0)
    product.expect((rounds + 2) * width)
    before = product.n_matvec
    draws = [space.draw(g, "gaussian") for g in children(_validation.rng(rng), width)]
    Q = _orthonormal(torch.stack(draws))
    for _ in range(rounds + (method == "rayleigh-ritz")):
        Q = _orthonormal(_image(product, Q))
    project = partial(_project, space) if method == "rayleigh-ritz" else _nystrom
    theta, rows, images = project(product, Q, k)
    w = torch.from_numpy(theta).to(rows)
    residuals = np.array([float(space.norm(row)) for row in images - w[:, None] * rows])
    largest = float(np.abs(theta).max())
    return EigenResult(
        eigenvalues=theta,
        eigenvectors=give(rows).T,
        residuals=residuals,
        error_bounds=residuals + 10 * space.eps * largest,
        converged=residuals <= tol * largest,
        complete=False,
        n_matvec=product.n_matvec - before,
        n_restart=0,
        noise=10 * space.eps,
        scale=largest,
        method=f"random projection, {method}",
    )


def _image(product: Product, Q: torch.Tensor) -> torch.Tensor:
    image = product.matmat(Q)
    if not torch.isfinite(image).all():
        raise _validation.finite_product("A")
    return image


def _orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """Orthonormal rows whose span holds that of `rows`."""
    Q: torch.Tensor = torch.linalg.qr(rows.T)[0].T.contiguous()
    return Q


def _gram(V: torch.Tensor, W: torch.Tensor) -> np.ndarray[Any, Any]:
    """``V W^T`` in float64, for few rows."""
    return torch.stack([torch.mv(W.double(), v.double()) for v in V]).cpu().numpy()


def _project(
    space: LocalSpace, product: Product, Q: torch.Tensor, k: int
) -> tuple[np.ndarray[Any, Any], torch.Tensor, torch.Tensor]:
    """Rayleigh-Ritz: values, vectors and their images; one block product."""
    image = _image(product, Q)
    T = _gram(Q, image)
    theta, Y = np.linalg.eigh((T + T.T) / 2)
    chosen = np.sort(np.argsort(-np.abs(theta), kind="stable")[:k])
    S = torch.from_numpy(Y[:, chosen].T.copy())
    return theta[chosen], space.combine(S, Q), space.combine(S, image)


def _nystrom(
    product: Product, Q: torch.Tensor, k: int
) -> tuple[np.ndarray[Any, Any], torch.Tensor, torch.Tensor]:
    """Nystrom: values, vectors and their images; a block product and one of k vectors."""
    image = _image(product, Q).double()
    Q = Q.double()
    size = float(image.abs().max())
    if size == 0.0:
        rows = Q[:k].to(product.dtype)
        return np.zeros(k), rows, torch.zeros_like(rows)
    image /= size  # no square over- or underflows
    norm = float(torch.linalg.matrix_norm(image))
    shift = np.sqrt(product.n) * torch.finfo(product.dtype).eps * norm
    shifted = image + shift * Q
    core = _gram(Q, shifted)
    core = (core + core.T) / 2
    lowest = float(np.linalg.eigvalsh(core)[0])
    if lowest <= 0:
        raise ValueError(
            _validation.message(
                "A",
                'be positive semi-definite for method="nystrom"',
                f"u.Au = {size * (lowest - shift):.2e} for a unit vector u",
                'Use method="rayleigh-ritz".',
            )
        )
    half = torch.linalg.solve_triangular(
        torch.linalg.cholesky(torch.from_numpy(core).to(shifted)), shifted, upper=False
    )
    _, s, rows = torch.linalg.svd(half, full_matrices=False)
    theta = size * (s**2 - shift).clamp_min(0.0)[:k].flip(0)
    vectors = rows[:k].flip(0).to(product.dtype)
    return theta.cpu().numpy(), vectors, _image(product, vectors)
