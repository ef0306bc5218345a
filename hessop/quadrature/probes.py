"""Random probes: probe i of a seed is the same however probes are grouped, and can be had again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from hessop import _memory, _validation
from hessop._space import LocalSpace, parent

DISTRIBUTIONS = ("rademacher", "gaussian", "sphere")


@dataclass(frozen=True)
class Source:
    """
    Where the probes of a run come from: probe i has a generator of its own.

    Attributes
    ----------
    entropy : int or tuple of int
        Of the parent of the probes' seed sequences.
    spawn_key : tuple of int
        Of the parent.
    first : int
        The first probe's number among the parent's children.
    bits : str
        The name of NumPy's bit generator.
    """

    entropy: int | tuple[int, ...]
    spawn_key: tuple[int, ...]
    first: int
    bits: str

    @classmethod
    def of(cls, rng: Any, count: int) -> Source:
        """The next `count` children of the user's generator, which is advanced past them."""
        generator = _validation.rng(rng)
        seed = parent(generator)
        given: Any = seed.entropy
        entropy = tuple(map(int, given)) if np.ndim(given) else int(given)
        first = seed.n_children_spawned
        seed.spawn(count)
        return cls(entropy, tuple(seed.spawn_key), first, type(generator.bit_generator).__name__)

    @classmethod
    def read(cls, state: dict[str, Any]) -> Source:
        """From what `dataclasses.asdict` and JSON made of one."""
        entropy = state["entropy"]
        given = entropy if isinstance(entropy, int) else tuple(entropy)
        return cls(given, tuple(state["spawn_key"]), state["first"], state["bits"])

    def generators(self, start: int, stop: int) -> Generators:
        """Those of probes `start` to `stop`."""
        return Generators(self, range(self.first + start, self.first + stop))

    def overlaps(self, mine: int, other: Source, others: int) -> bool:
        """Whether my first probes and those of another share one."""
        apart = {**asdict(self), "first": 0} != {**asdict(other), "first": 0}
        behind = self.first >= other.first + others or other.first >= self.first + mine
        return not (apart or behind)


class Generators(Sequence[np.random.Generator]):
    """Generators of probes, made when they are asked for."""

    def __init__(self, source: Source, numbers: range) -> None:
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        """How many."""
        return len(self._numbers)

    def __getitem__(self, which: Any) -> Any:
        """One, or some."""
        if isinstance(which, slice):
            return Generators(self._source, self._numbers[which])
        source = self._source
        key = (*source.spawn_key, self._numbers[which])
        seed = np.random.SeedSequence(source.entropy, spawn_key=key)
        return np.random.Generator(getattr(np.random, source.bits)(seed))


def room(space: LocalSpace, rows_each: int) -> int:
    """How many probes fit into half the free memory, where each needs so many vectors."""
    each = rows_each * space.n * space.dtype.itemsize
    return max(1, _memory.available_bytes(space.device) // 2 // each)


def blocks(
    space: LocalSpace,
    generators: Sequence[np.random.Generator],
    distribution: str,
    rows_each: int,
    first: int = 0,
    most: int | None = None,
    before: int = 0,
) -> Iterator[torch.Tensor]:
    """
    A probe from each generator, in blocks (k, n): as many at a time as there is `room` for.

    With `first`, blocks are that large, then as large as all before together, those of an earlier
    call included: to look at what they show in between. With `most`, none is larger.
    """
    count, a = len(generators), 0
    width = min(room(space, rows_each), most or count)
    while a < count:
        size = min(width, count - a, max(first, before + a) if first else count)
        yield torch.stack([drawn(space, g, distribution) for g in generators[a : a + size]])
        a += size


def drawn(space: LocalSpace, rng: np.random.Generator, distribution: str) -> torch.Tensor:
    """One probe, ``E[z z^T] = I``; "sphere" is a uniform direction of length ``sqrt(n)``."""
    if distribution != "sphere":
        return space.draw(rng, distribution)
    z = space.draw(rng, "gaussian")
    z *= space.n**0.5 / float(space.norm(z))
    return z
