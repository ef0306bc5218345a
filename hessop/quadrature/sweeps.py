"""Lanczos sweeps side by side, from probes to Gauss rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.sweep import Sweep
from hessop.quadrature import gauss, probes

# Times eps and the scale: nodes nearer than this are ghosts of one another.
_GHOSTS = 100.0
# Times eps, relative: what cannot be told apart.
_ROUNDING = 10.0

Enough = Callable[[list[gauss.Swept]], bool]
"""Whether more steps would show anything new."""

Part = tuple[list[gauss.Swept], int, tuple[Sweep, ...]]
"""Rules, the products they took, and the sweeps where they are kept."""


@dataclass(frozen=True)
class Method:
    """
    How sweeps are done.

    Attributes
    ----------
    distribution : str
        Of the probes.
    reorth : str
        Of the basis.
    eps : float
        The unit of rounding of the products.
    """

    distribution: str = "rademacher"
    reorth: str = "double"
    eps: float = 2.0**-52

    @property
    def rounding(self) -> float:
        """What cannot be told apart, relative to the largest eigenvalue."""
        return _ROUNDING * self.eps

    def rule(self, sweep: Sweep, steps: int) -> gauss.Swept:
        """The rule that the first steps of a sweep give."""
        alpha, beta = sweep.tridiagonal()
        alone = _GHOSTS * self.eps * sweep.rounding.scale if self.reorth == "none" else 0.0
        return gauss.swept(alpha[:steps], beta[:steps], alone)


def start(
    space: LocalSpace,
    generators: Sequence[np.random.Generator],
    method: Method,
    *,
    steps: int,
    lock: Basis,
    first: int = 0,
    most: int | None = None,
    before: int = 0,
) -> Iterator[list[Sweep]]:
    """
    Sweeps from the probes, block by block as `probes.blocks`, for so many steps each.

    With `lock`, probes are projected onto the complement of its rows, where the operator is seen.
    """
    reorth = method.reorth
    rows_each, done = 4 if reorth == "none" else steps + 4, 0
    for Z in probes.blocks(space, generators, method.distribution, rows_each, first, most, before):
        mine, done = generators[done : done + len(Z)], done + len(Z)
        yield [
            Sweep(space, v, reorth=reorth, lock=lock, keep=reorth != "none")
            for v in (_unit(space, z, g, lock) for z, g in zip(Z, mine, strict=True))
        ]


def _unit(
    space: LocalSpace, z: torch.Tensor, generator: np.random.Generator, lock: Basis
) -> torch.Tensor:
    """The probe's direction; another one's, of its generator, where it lies in what is locked."""
    v = orthonormal(space, z, lock)
    while v is None:
        v = orthonormal(space, probes.drawn(space, generator, "gaussian"), lock)
    return v


def advance(
    product: Product,
    sweeps: Sequence[Sweep],
    method: Method,
    *,
    steps: int,
    keep: bool = False,
    enough: Enough | None = None,
    tick: Callable[[int], Any] = lambda products: None,
) -> Part:
    """
    Take sweeps to so many steps, one block product each; exhausted ones drop out.

    With `enough`, which is asked after 10 steps and each time there are a quarter more, fewer may
    do. Vectors are let go of, unless they are to be kept.
    """
    spent, taken, look = 0, steps, 10
    while True:
        active = [s for s in sweeps if s.waiting and len(s.multiplied) < steps]
        if not active:
            break
        results = product.matmat(torch.stack([sweep.vector() for sweep in active]))
        for sweep, w in zip(active, results, strict=True):
            sweep.absorb(w)
        spent += len(active)
        tick(len(active))
        done = len(active[0].multiplied)
        if enough is not None and done >= look:
            look += look // 4
            if enough([method.rule(sweep, done) for sweep in sweeps]):
                taken = done
                break
    rules = [method.rule(sweep, taken) for sweep in sweeps]
    if not keep:
        for sweep in sweeps:
            sweep.release()
    return rules, spent, tuple(sweeps) if keep else ()
