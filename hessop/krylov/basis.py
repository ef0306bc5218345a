"""Where Lanczos vectors live: nobody else knows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from hessop._space import LocalSpace

_FIRST_BLOCK = 32
_COLUMNS = 1 << 14  # width of a strip when rows are recombined in place


class Basis:
    """
    Orthonormal rows on the device, in blocks that double the room when it is full.

    Growing copies nothing, and a pass over all rows is a handful of matrix-vector products,
    however many rows there are.
    """

    def __init__(self, space: LocalSpace) -> None:
        self._space = space
        self._blocks: list[torch.Tensor] = []
        self._size = 0

    def __len__(self) -> int:
        """Number of rows."""
        return self._size

    def append(self, v: torch.Tensor) -> None:
        """Copy one vector in as the last row."""
        if self._size == self._room():
            rows = min(max(_FIRST_BLOCK, self._size), self._space.n)
            self._blocks.append(
                torch.empty(
                    (rows, self._space.n), dtype=self._space.dtype, device=self._space.device
                )
            )
        self._size += 1
        self.row(self._size - 1).copy_(v)

    def row(self, i: int) -> torch.Tensor:
        """A view of row i."""
        for block in self._blocks:
            if i < len(block):
                return block[i]
            i -= len(block)
        raise IndexError(i)

    def project(self, w: torch.Tensor) -> torch.Tensor:
        """The coefficients ``V w`` of a vector on all rows, float64 on the device."""
        parts = [self._space.project(rows, w) for _, rows in self._filled(0, self._size)]
        return torch.cat(parts) if parts else w.new_zeros(0, dtype=torch.float64)

    def subtract(self, w: torch.Tensor, h: torch.Tensor, start: int = 0) -> None:
        """``w -= V^T h`` in place, where h belongs to the rows from `start` on."""
        for a, rows in self._filled(start, start + len(h)):
            self._space.subtract(w, rows, h[a - start : a - start + len(rows)])

    def combine(self, S: NDArray[np.float64]) -> torch.Tensor:
        """New rows ``S V`` for coefficients S of shape (k, rows)."""
        out = torch.zeros(
            (len(S), self._space.n), dtype=self._space.dtype, device=self._space.device
        )
        for a, rows in self._filled(0, self._size):
            out += self._space.combine(torch.from_numpy(S[:, a : a + len(rows)].copy()), rows)
        return out

    def stack(self, m: int) -> torch.Tensor:
        """A copy of the first m rows, (m, n)."""
        return torch.cat([rows for _, rows in self._filled(0, m)])

    def replace(self, S: NDArray[np.float64]) -> None:
        """Put the rows ``S V`` in place of all rows, strip by strip, without a second basis."""
        coefficients = torch.from_numpy(np.ascontiguousarray(S))
        for a in range(0, self._space.n, _COLUMNS):
            columns = slice(a, a + _COLUMNS)
            old = torch.cat([rows[:, columns] for _, rows in self._filled(0, self._size)])
            new = self._space.combine(coefficients, old)
            for b, rows in self._filled(0, len(S)):
                rows[:, columns] = new[b : b + len(rows)]
        self._size = len(S)

    def _room(self) -> int:
        return sum(len(block) for block in self._blocks)

    def _filled(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The rows from start to stop, block by block, each with its first row's number."""
        first = 0
        for block in self._blocks:
            a, b = max(start - first, 0), min(stop - first, len(block))
            if a < b:
                yield first + a, block[a:b]
            first += len(block)


class Window(Basis):
    """The last two rows only: all that the three-term recurrence needs."""

    def append(self, v: torch.Tensor) -> None:
        """Copy one vector in over the last but one."""
        if len(self._blocks) < 2:
            self._blocks.append(torch.empty_like(v)[None])
        self._size += 1
        self.row(self._size - 1).copy_(v)

    def row(self, i: int) -> torch.Tensor:
        """A view of row i, one of the last two."""
        if not self._size - 2 <= i < self._size:
            raise IndexError(i)
        return self._blocks[i % 2][0]

    def _filled(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        for i in range(max(start, self._size - 2), min(stop, self._size)):
            yield i, self.row(i)[None]


def orthonormal(space: LocalSpace, v: torch.Tensor, *bases: Basis) -> torch.Tensor | None:
    """What of v is orthogonal to all bases, at norm one; None if that is nothing but rounding."""
    norm = float(space.norm(v))
    if norm == 0.0:
        return None
    v = v / norm
    for _ in range(3):
        for basis in bases:
            basis.subtract(v, basis.project(v))
        norm = float(space.norm(v))
        if norm <= space.n * space.eps:
            return None
        v = v / norm
    return v
