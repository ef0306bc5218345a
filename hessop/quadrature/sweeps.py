"""Lanczos sweeps side by side, from probes to Gauss rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.sweep import Sweep
from hessop.quadrature import gauss, probes


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
    """

    distribution: str = "rademacher"
    reorth: str = "double"


def rules(
    product: Product,
    space: LocalSpace,
    generators: Sequence[np.random.Generator],
    method: Method,
    *,
    steps: int,
    lock: Basis,
    first: int = 0,
) -> Iterator[tuple[list[gauss.Rule], int]]:
    """
    Gauss rules of the probes, and the products they took, block by block as `probes.blocks`.

    With `lock`, of the operator on the complement of its rows: probes are projected onto it.
    """
    reorth = method.reorth
    rows_each = 4 if reorth == "none" else steps + 4
    for Z in probes.blocks(space, generators, method.distribution, rows_each, first):
        starts = [orthonormal(space, z, lock) for z in Z]
        sweeps = [
            Sweep(space, start, reorth=reorth, lock=lock, keep=reorth != "none")
            for start in starts
            if start is not None
        ]
        _advance(product, sweeps, steps)
        yield (
            [gauss.rule(*sweep.tridiagonal()) for sweep in sweeps],
            sum(len(sweep.multiplied) for sweep in sweeps),
        )


def _advance(product: Product, sweeps: list[Sweep], steps: int) -> None:
    """One block product per step; exhausted ones drop out."""
    for _ in range(steps):
        active = [sweep for sweep in sweeps if sweep.waiting]
        if not active:
            break
        results = product.matmat(torch.stack([sweep.vector() for sweep in active]))
        for sweep, w in zip(active, results, strict=True):
            sweep.absorb(w)
    for sweep in sweeps:
        sweep.release()
