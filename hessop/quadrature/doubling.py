"""Chebyshev moments of probes by the three-term recurrence, and an interval to do it on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from hessop import _validation
from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.sweep import Sweep

# The share of the range that is added at either end.
_MARGIN = 0.01
# Below this share of the magnitude, as for kernels, or this many roundings, a range is none.
_NO_RANGE, _ROUNDINGS = 1e-6, 10.0
# No moment of a measure on [-1, 1] exceeds 1; with the noise of products one can.
_LARGEST = 1.1
# Asymmetry beyond this share of a product is none of a symmetric operator.
_ASYMMETRY = 1e-2


def interval(
    product: Product, space: LocalSpace, start: torch.Tensor, lock: Basis, steps: int, degree: int
) -> tuple[float, float]:
    """
    Bounds of the spectrum on the complement of `lock`, from a Lanczos sweep that keeps no basis.

    The outermost Ritz values, their residuals, and a margin. Where there is no range beyond
    rounding, magnitude takes its place (1 for zero), as for the kernels of `hessop.slq`; what is
    rounding is multiplied by the scaling to [-1, 1], and once more by the number of moments.
    """
    sweep = Sweep(space, start, reorth="none", lock=lock, keep=False)
    for _ in range(min(steps, sweep.size)):
        if sweep.waiting:
            sweep.absorb(product.matmat(sweep.vector()[None])[0])
    alpha, beta = sweep.tridiagonal()
    theta, Y = eigh_tridiagonal(alpha, beta[:-1])
    residuals = beta[-1] * np.abs(Y[-1])
    low, high = theta[0] - residuals[0], theta[-1] + residuals[-1]
    middle, half = low / 2 + high / 2, (0.5 + _MARGIN) * (high - low)
    size = max(abs(low), abs(high))
    if half <= max(_NO_RANGE, _ROUNDINGS * space.eps * degree) * size:
        half = size
    half = half or 1.0
    return float(middle - half), float(middle + half)


def moments(
    product: Product,
    space: LocalSpace,
    blocks: Iterable[torch.Tensor],
    lock: Basis,
    bounds: tuple[float, float],
    degree: int,
) -> NDArray[np.float64] | None:
    """
    Moments (probes, degree + 1) of probes in blocks, outside `lock`, at norm 1.

    None where they grow, as they do where an eigenvalue lies outside the bounds.
    """
    found = []
    for Z in blocks:
        starts = [z for z in (orthonormal(space, z, lock) for z in Z) if z is not None]
        if starts:
            here = _moments(product, space, torch.stack(starts), lock, bounds, degree)
            if here is None:
                return None
            found.append(here)
    if not found:
        raise ValueError(
            _validation.message("lock", "leave something of a probe", "no probe outside its span")
        )
    return np.concatenate(found)


def _moments(
    product: Product,
    space: LocalSpace,
    Z: torch.Tensor,
    lock: Basis,
    bounds: tuple[float, float],
    degree: int,
) -> NDArray[np.float64] | None:
    """Those of one block: three vectors for each probe, two moments for each product."""
    middle, half = bounds[0] / 2 + bounds[1] / 2, bounds[1] / 2 - bounds[0] / 2
    zeroth = _dots(space, Z, Z)
    mu = [np.ones(len(Z))]
    before, current = Z, Z
    for j in range((degree + 1) // 2):
        following = product.matmat(current).sub_(current, alpha=middle).div_(half)
        if j:
            following.mul_(2).sub_(before)
        for w in following if len(lock) else ():  # rounding would bring back what is locked
            lock.subtract(w, lock.project(w))
        cross, square = _dots(space, current, following), _dots(space, following, following)
        odd = 2 * cross / zeroth - mu[1] if j else cross / zeroth
        mu += [odd, 2 * square / zeroth - 1.0]
        if not np.isfinite(mu[-1]).all() and not product.matmat(current).isfinite().all():
            raise _validation.finite_product("A")
        if j == 1:
            # z.B(Bz) and Bz.Bz are one for a symmetric operator B, here as the second moment
            error = np.abs(_dots(space, before, following) / zeroth - mu[2]) / 2
            size = (1 + mu[2]) / 2
            rounding = (1e3 * space.eps + 30 * product.floor()) * (1 + abs(middle) / half)
            if (error > _ASYMMETRY * size + rounding).any():
                raise _validation.not_symmetric("A", float(np.max(error / size)))
        if not (np.abs(mu[-2:]) <= _LARGEST).all():
            return None
        before, current = current, following
    return np.stack(mu[: degree + 1], axis=1)


def _dots(space: LocalSpace, V: torch.Tensor, W: torch.Tensor) -> NDArray[np.float64]:
    """The dot products of rows."""
    dots = torch.stack([space.dot(v, w) for v, w in zip(V, W, strict=True)])
    numbers: NDArray[np.float64] = dots.cpu().numpy()
    return numbers
