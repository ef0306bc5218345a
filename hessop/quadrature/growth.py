"""Probes of a density and their steps: the first ones, and more of either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hessop import _validation
from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov.sweep import Sweep
from hessop.operators import enter
from hessop.quadrature import sweeps
from hessop.quadrature.lock import Lock
from hessop.quadrature.measure import Measure
from hessop.quadrature.probes import Source
from hessop.quadrature.sweeps import Method, Part

# A coefficient that differs by more than this multiple of the noise is another operator's.
_SAME = 100.0


class Growth:
    """
    An operator and the sweeps that a density is made of.

    Parameters
    ----------
    product : Product
        What is multiplied with.
    space : LocalSpace
        Where the vectors live.
    lock : Lock
        What the probes do not see.
    source : Source
        Of the probes.
    method : Method
        Of the sweeps.
    ncv : int
        Steps of each.
    """

    def __init__(
        self,
        product: Product,
        space: LocalSpace,
        lock: Lock,
        source: Source,
        method: Method,
        ncv: int,
    ) -> None:
        self._product, self._space, self._lock = product, space, lock.basis
        self._source, self._method = source, method
        self.steps = min(ncv, product.n - len(lock.basis))

    @classmethod
    def of(cls, density: Measure, A: Any, lock: Any, ncv: int) -> Growth:
        """For a density that is there, with the operator and the lock that it came from."""
        if density.source is None:
            raise ValueError(
                _validation.message("density", "know its probes", "one without", "Use hessop.slq.")
            )
        product, _ = enter(A)
        space = product.space()
        held = Lock.of(space, lock)
        if product.n != density.n or len(held.values) != len(density.points):
            raise ValueError(
                _validation.message(
                    "A, lock",
                    f"have n={density.n} and {len(density.points)} locked eigenvalues, as the "
                    "density",
                    f"n={product.n} and {len(held.values)}",
                )
            )
        if not np.array_equal(held.values, density.points):
            off = np.abs(held.values - density.points).max()
            raise ValueError(
                _validation.message(
                    "lock", "have the eigenvalues of the density", f"others, by up to {off:.1e}"
                )
            )
        return cls(product, space, held, density.source, density.method, ncv)

    def probes(
        self,
        first: int,
        last: int,
        *,
        keep: bool = False,
        look: int = 0,
        most: int | None = None,
        enough: Callable[[], sweeps.Enough | None] = lambda: None,
        tick: Callable[[int], Any] = lambda products: None,
    ) -> Iterator[Part]:
        """
        The probes of these numbers, block by block.

        With `look`, the first block is of that many; none is larger than `most`. `enough` gives
        what may end a block early.
        """
        self._product.expect((last - first) * self.steps)
        generators = self._source.generators(first, last)
        for block in self._start(generators, look, most, first):
            yield sweeps.advance(
                self._product,
                block,
                self._method,
                steps=self.steps,
                keep=keep,
                enough=enough(),
                tick=tick,
            )

    def deeper(self, density: Measure, kept: Sequence[Sweep]) -> Part:
        """All probes with more steps; those that are kept go on where they were."""
        # a product that failed leaves sweeps behind that cannot go on
        if len(kept) == len(density.nodes) and all(sweep.intact for sweep in kept):
            self._product.expect(len(kept) * (self.steps - density.ncv))
            return sweeps.advance(self._product, kept, self._method, steps=self.steps, keep=True)
        parts = list(self.probes(0, len(density.nodes)))
        return [rule for rules, _, _ in parts for rule in rules], sum(p[1] for p in parts), ()

    def difference(self, density: Measure) -> float:
        """One product: how far the first coefficient of the density is off, beyond noise."""
        block = next(self._start(self._source.generators(0, 1)))
        (rule,), _, _ = sweeps.advance(self._product, block, self._method, steps=1)
        scale = float(np.abs(density.nodes).max()) or 1.0
        off = abs(float(rule.alpha[0] - density.sweeps[0].alpha[0])) / scale
        return off if off > _SAME * max(self._method.rounding, self._product.floor()) else 0.0

    def _start(
        self, generators: Any, look: int = 0, most: int | None = None, before: int = 0
    ) -> Iterator[list[Sweep]]:
        return sweeps.start(
            self._space,
            generators,
            self._method,
            steps=self.steps,
            lock=self._lock,
            first=look,
            most=most,
            before=before,
        )
