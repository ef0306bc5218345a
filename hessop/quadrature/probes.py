"""Random probes: probe i of a seed is the same however probes are grouped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from hessop import _memory, _validation
from hessop._space import LocalSpace, children

DISTRIBUTIONS = ("rademacher", "gaussian")


def blocks(
    space: LocalSpace, count: int, distribution: str, rng: Any, rows_each: int
) -> Iterator[torch.Tensor]:
    """
    `count` probes in blocks (k, n), as many at a time as fit into half the free memory.

    `rows_each` is how many vectors one probe will need while its block is worked on.
    """
    each = rows_each * space.n * space.dtype.itemsize
    width = max(1, _memory.available_bytes(space.device) // 2 // each)
    generators = children(_validation.rng(rng), count)
    for a in range(0, count, width):
        yield torch.stack([space.draw(g, distribution) for g in generators[a : a + width]])
