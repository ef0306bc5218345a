"""The variance of Hutchinson's estimator, known before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from hessop import _validation
from hessop._product import Product
from hessop._space import LocalSpace, children
from hessop.operators import enter
from hessop.quadrature import probes
from hessop.quadrature.moments import Moments


def trace_variance(
    A: Any, *, distribution: str = "rademacher", n_matvec: int | None = None, rng: Any = None
) -> float:
    r"""
    The variance of one sample of Hutchinson's estimator of the trace.

    That of a mean of s samples is an s-th of it: it says how many probes a tolerance takes, and
    which distribution takes fewest.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes, or a product; real symmetric.
    distribution : {"rademacher", "gaussian", "sphere"}, optional
        Of the probes, as in `hessop.trace`. Default "rademacher".
    n_matvec : int, optional
        Products to spend, at least 2. The result is then an unbiased estimate, from probes of
        random signs. Default: all n columns of `A` are computed, and the result is exact.
    rng : None, int or numpy.random.Generator, optional
        For the probes, with `n_matvec`.

    Returns
    -------
    float
        The variance of :math:`z^T A z`.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`.

    See Also
    --------
    hessop.trace : The estimator; its samples show their variance themselves.

    Notes
    -----
    The variance is :math:`2 \|A\|_F^2` for "gaussian", :math:`2 \|A\|_F^2 - 2 \sum_i A_{ii}^2`
    for "rademacher", and :math:`(2 \|A\|_F^2 - 2 (\operatorname{tr} A)^2 / n) n / (n + 2)` for
    "sphere". Squares of the diagonal and of the trace are estimated by products of two different
    probes each; the average over all pairs has no bias.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> [hessop.trace_variance(A, distribution=d) for d in ("rademacher", "gaussian", "sphere")]
    [4.0, 20.0, 2.0]
    """
    product, _ = enter(A)
    space = product.space()
    _validation.choice("distribution", distribution, probes.DISTRIBUTIONS)
    if n_matvec is None:
        off, diagonal, spread = _exact(product, space)
    else:
        n_matvec = _validation.integer("n_matvec", n_matvec, 2)
        generators = children(_validation.rng(rng), n_matvec)
        off, diagonal, spread = _estimated(product, space, generators)
    if not np.isfinite([off, diagonal, spread]).all():
        raise _validation.finite_product("A")
    if distribution == "rademacher":
        return 2 * off
    if distribution == "gaussian":
        return 2 * (off + diagonal)
    return 2 * (off + spread) * space.n / (space.n + 2)


def _exact(product: Product, space: LocalSpace) -> tuple[float, float, float]:
    """Sums of squares off the diagonal, on it, and on it about its mean, from all columns."""
    product.expect(space.n)
    off, diagonal = 0.0, []
    for a, E in _identity(space):
        W = product.matmat(E).double()
        own = torch.arange(len(E), device=W.device)
        diagonal += W[own, a + own].tolist()
        W[own, a + own] = 0.0
        off += float((W * W).sum())
    return off, float(np.sum(np.square(diagonal))), float(np.var(diagonal)) * space.n


def _identity(space: LocalSpace) -> Iterator[tuple[int, torch.Tensor]]:
    """The rows of the identity, in blocks with the number of the first."""
    # the block, its product and that in float64, which counts double
    width = probes.room(space, rows_each=4)
    for a in range(0, space.n, width):
        size = min(width, space.n - a)
        E = torch.zeros(size, space.n, dtype=space.dtype, device=space.device)
        E[torch.arange(size), a + torch.arange(size)] = 1.0
        yield a, E


def _estimated(
    product: Product, space: LocalSpace, generators: list[np.random.Generator]
) -> tuple[float, float, float]:
    """
    The same three, each without a bias.

    For random signs z, entry i of ``z * A z`` is ``A_ii`` plus what has the squares off the
    diagonal in row i for its variance, and z is as long as ``z * A z``: no sum of squares has to
    be taken from another that is nearly as large.
    """
    product.expect(len(generators))
    moments, traces, squares = Moments(space.n, space.device), [], []
    for Z in probes.blocks(space, generators, "rademacher", rows_each=2):
        for z, w in zip(Z, product.matmat(Z), strict=True):
            moments.add(z * w)
            traces.append(float(space.dot(z, w)))
            squares.append(float(space.norm(w)) ** 2)
    s = len(traces)
    off = s * float((moments.standard_error**2).sum())
    pairs = (np.sum(traces) ** 2 - np.sum(np.square(traces))) / (s * (s - 1))
    diagonal = float(np.mean(squares)) - off
    return off, diagonal, diagonal - float(pairs) / space.n
