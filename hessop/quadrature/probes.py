"""Random probes: probe i of a seed is the same however probes are grouped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from hessop import _memory, _validation
from hessop._space import LocalSpace, children

DISTRIBUTIONS = ("rademacher", "gaussian", "sphere")


def room(space: LocalSpace, rows_each: int) -> int:
    """How many probes fit into half the free memory, where each needs so many vectors."""
    each = rows_each * space.n * space.dtype.itemsize
    return max(1, _memory.available_bytes(space.device) // 2 // each)


def blocks(
    space: LocalSpace, count: int, distribution: str, rng: Any, rows_each: int, first: int = 0
) -> Iterator[torch.Tensor]:
    """
    `count` probes in blocks (k, n), as many at a time as there is `room` for.

    With `first`, blocks are that large, then as large as all before together: to look at what
    they show in between.
    """
    generators = children(_validation.rng(rng), count)
    width, a = room(space, rows_each), 0
    while a < count:
        size = min(width, count - a, max(first, a) if first else count)
        yield torch.stack([drawn(space, g, distribution) for g in generators[a : a + size]])
        a += size


def drawn(space: LocalSpace, rng: Any, distribution: str) -> torch.Tensor:
    """One probe, ``E[z z^T] = I``; "sphere" is a uniform direction of length ``sqrt(n)``."""
    if distribution != "sphere":
        return space.draw(rng, distribution)
    z = space.draw(rng, "gaussian")
    z *= space.n**0.5 / float(space.norm(z))
    return z
