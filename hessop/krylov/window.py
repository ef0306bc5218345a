"""The last two rows of a basis, for sweeps that keep no more."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from hessop.krylov.basis import Basis


class Window(Basis):
    """The last two rows only: all that the three-term recurrence needs."""

    def append(self, v: torch.Tensor) -> None:
        """Copy one vector in over the last but one."""
        if len(self._blocks) < 2:
            self._blocks.append(torch.empty_like(v)[None])
        self._size += 1
        self._stored(self._size - 1).copy_(v)

    def _stored(self, i: int) -> torch.Tensor:
        if not self._size - 2 <= i < self._size:
            raise IndexError(i)
        return self._blocks[i % 2][0]

    def _filled(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        for i in range(max(start, self._size - 2), min(stop, self._size)):
            yield i, self._stored(i)[None]
