"""A function of an operator times one vector: a Lanczos sweep, and what its coefficients say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.storage import Storage
from hessop.krylov.sweep import Sweep
from hessop.quadrature import iterates
from hessop.quadrature.functions import Function
from hessop.quadrature.iterates import COMPARED, Iterate

# Times eps: the noise of products, where less of it is seen. Twice as much where a Krylov space is
# exhausted: up to ten roundings are left over, and dropped.
_NOISE = 2.0
_EXHAUSTED = 2.0


@dataclass(frozen=True)
class Means:
    """
    What the sweeps of all columns share.

    Attributes
    ----------
    f : callable
        The function of eigenvalues.
    rtol, atol : float
        What may be missing, relative to the result and as it is.
    steps : int
        The most that a sweep takes.
    reorth : str
        How its basis is kept orthogonal.
    storage : Storage
        Where that lies.
    lock : Basis
        Rows treated apart.
    locked : ndarray, shape (l,)
        What f makes of their eigenvalues.
    """

    f: Function
    rtol: float
    atol: float
    steps: int
    reorth: str
    storage: Storage
    lock: Basis
    locked: NDArray[np.float64]


class Action:
    """
    ``f(A) b`` for one b, which grows by a product at a time.

    With orthonormal rows V that start with ``b / |b|``, the iterate after m steps is ``V^T c_m``,
    ``c_m = |b| f(T_m) e_1``: how far two iterates are apart is told by their coefficients alone.

    Parameters
    ----------
    space : LocalSpace
        Where vectors live.
    b : torch.Tensor, shape (n,)
        In float64.
    means : Means
        The rest.

    Attributes
    ----------
    sweep : Sweep or None
        None where there is nothing of b outside the locked rows.
    error : float
        The estimated norm of what is missing.
    rounding : float
        The part of it that no further step takes away.
    limit : float
        What the tolerances allow.
    """

    def __init__(self, space: LocalSpace, b: torch.Tensor, means: Means) -> None:
        self._eps = space.eps
        self._means = means
        # scaled first: single precision may not hold the length it came with
        size = float(b.abs().max()) or 1.0
        unit = (b / size).to(space.dtype)
        self._locked = size * means.locked * means.lock.project(unit).cpu().numpy()
        start = orthonormal(space, unit, means.lock)
        self.sweep: Sweep | None = None
        self._length, self._looked, self._due = 0.0, 0, (COMPARED - 1) * iterates.delay(0)
        self._iterates: dict[int, Iterate | ValueError] = {0: Iterate(np.zeros(0), 0.0)}
        self.error = self.rounding = 0.0
        if start is not None:
            self.sweep = Sweep(
                space, start, reorth=means.reorth, lock=means.lock, storage=means.storage
            )
            self._length = size * float(space.dot(start, unit))
            self.error = np.inf
        self.limit = self._limit(np.zeros(0))

    @property
    def converged(self) -> bool:
        """Whether the estimated error is within the tolerance."""
        return self.error <= self.limit

    def absorb(self, w: torch.Tensor) -> bool:
        """Take in the product of the sweep's vector; whether another one is called for."""
        assert self.sweep is not None
        exhausted = not self.sweep.absorb(w)
        m = len(self.sweep.multiplied)
        if m < min(self._due, self._means.steps) and not exhausted:
            return True
        delay = iterates.delay(m)
        self._looked, self._due = m, m + delay
        self._look(m, min(delay, m // (COMPARED - 1)), exhausted)
        # what rounding leaves does not get less, and is all there is of a space that is exhausted
        settled = self.error <= max(self.limit, self.rounding)
        return not (settled or m == self._means.steps)

    def value(self) -> torch.Tensor:
        """The iterate of the last look; the vectors it is made of are let go of."""
        x = self._means.lock.combine(self._locked[None])[0]
        if self.sweep is not None:
            last = self._iterate(self._looked)
            if isinstance(last, ValueError):
                raise last
            c = self._length * np.pad(last.c, (0, len(self.sweep.basis) - len(last.c)))
            x += self.sweep.basis.combine(c[None])[0]
            self.sweep.release()
        return x

    def _look(self, m: int, delay: int, exhausted: bool) -> None:
        """Estimate the error after m steps from iterates that lie delays before."""
        compared = [self._iterate(m - i * delay) for i in range(COMPARED)]
        self.error = np.inf
        if isinstance(compared[0], ValueError):
            # a Ritz value may hit a pole in passing, but hardly at two looks running
            if isinstance(compared[1], ValueError) or exhausted:
                raise compared[0]
            return
        c, rounding = compared[0]
        self.rounding = self._length * rounding
        self.limit = self._limit(self._length * c)
        known = [i.c for i in compared if not isinstance(i, ValueError)]
        if exhausted:
            self.error = self.rounding = _EXHAUSTED * self.rounding
        elif delay and len(known) == COMPARED:
            self.error = max(self.rounding, self._length * iterates.missing(known))

    def _limit(self, c: NDArray[np.float64]) -> float:
        """The tolerance for an iterate."""
        norm = float(np.hypot(np.linalg.norm(self._locked), np.linalg.norm(c)))
        return max(self._means.atol, self._means.rtol * norm)

    def _iterate(self, m: int) -> Iterate | ValueError:
        """That after m steps, or why there is none."""
        assert self.sweep is not None
        if m not in self._iterates:
            alpha, beta = self.sweep.tridiagonal()
            seen = self.sweep.rounding
            error = seen.error / seen.scale if seen.scale else 0.0
            noise = max(_NOISE * self._eps, seen.floor, error)
            self._iterates[m] = iterates.iterate(
                self._means.f, alpha[:m], beta[:m], noise, seen.scale
            )
        return self._iterates[m]


def advance(product: Product, actions: list[Action], tick: Callable[[int], Any]) -> None:
    """One block product per step; what has converged, or can go no further, drops out."""
    active = [(action, action.sweep) for action in actions if action.sweep is not None]
    while active:
        results = product.matmat(torch.stack([sweep.vector() for _, sweep in active]))
        tick(len(active))
        active = [pair for pair, w in zip(active, results, strict=True) if pair[0].absorb(w)]
