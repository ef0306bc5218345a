"""Where Lanczos vectors live: nobody else knows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from hessop._space import LocalSpace
from hessop.krylov.storage import OnDevice, Storage

_FIRST_BLOCK = 32
_BLOCK_BYTES = 1 << 31  # no block is larger, unless one row is
_PIECE = 1 << 24  # entries that are brought to the device at once
_COLUMNS = 1 << 14  # width of a strip when rows are recombined in place
_NOTHING = 10  # times sqrt(n) eps: what is left of a vector of norm one by rounding


class Basis:
    """
    Orthonormal rows, in blocks that double the room when it is full.

    Growing copies nothing, and a pass over all rows is a handful of matrix-vector products,
    however many rows there are. Rows that lie elsewhere than on the device, or in another dtype
    than its vectors have, come to it piece by piece.

    Parameters
    ----------
    space : LocalSpace
        Where vectors are computed with.
    storage : Storage, optional
        Where the rows lie. Default: on the device, in the space's dtype.
    """

    def __init__(self, space: LocalSpace, storage: Storage | None = None) -> None:
        self._space = space
        self._storage = storage or OnDevice(space.dtype, space.device)
        self._blocks: list[torch.Tensor] = []
        self._size = 0

    def __len__(self) -> int:
        """Number of rows."""
        return self._size

    def append(self, v: torch.Tensor) -> None:
        """Copy one vector in as the last row."""
        if self._size == self._room():
            most = max(1, _BLOCK_BYTES // (self._space.n * self._storage.dtype.itemsize))
            rows = min(max(_FIRST_BLOCK, self._size), self._space.n, most)
            self._blocks.append(self._storage.allocate(rows, self._space.n))
        self._size += 1
        self._stored(self._size - 1).copy_(v)

    def row(self, i: int) -> torch.Tensor:
        """Row i on the device; a view where it lies there."""
        return self._moved(self._stored(i))

    def _moved(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.to(device=self._space.device, dtype=self._space.dtype, non_blocking=True)

    def _stored(self, i: int) -> torch.Tensor:
        """A view of row i where it lies."""
        for block in self._blocks:
            if i < len(block):
                return block[i]
            i -= len(block)
        raise IndexError(i)

    def project(self, w: torch.Tensor) -> torch.Tensor:
        """The coefficients ``V w`` of a vector on all rows, float64 on the device."""
        parts = [self._space.project(rows, w) for _, rows in self._pieces(0, self._size)]
        return torch.cat(parts) if parts else w.new_zeros(0, dtype=torch.float64)

    def subtract(self, w: torch.Tensor, h: torch.Tensor, start: int = 0) -> None:
        """``w -= V^T h`` in place, where h belongs to the rows from `start` on."""
        for a, rows in self._pieces(start, start + len(h)):
            self._space.subtract(w, rows, h[a - start : a - start + len(rows)])

    def combine(self, S: NDArray[np.float64]) -> torch.Tensor:
        """New rows ``S V`` for coefficients S of shape (k, rows)."""
        out = torch.zeros(
            (len(S), self._space.n), dtype=self._space.dtype, device=self._space.device
        )
        for a, rows in self._pieces(0, self._size):
            out += self._space.combine(torch.from_numpy(S[:, a : a + len(rows)].copy()), rows)
        return out

    def stack(self, m: int) -> torch.Tensor:
        """A copy of the first m rows, (m, n)."""
        return torch.cat([rows for _, rows in self._pieces(0, m)])

    def replace(self, S: NDArray[np.float64]) -> None:
        """Put the rows ``S V`` in place of all rows, strip by strip, without a second basis."""
        coefficients = torch.from_numpy(np.ascontiguousarray(S))
        for a in range(0, self._space.n, _COLUMNS):
            columns = slice(a, a + _COLUMNS)
            old = torch.cat(
                [self._moved(rows[:, columns]) for _, rows in self._filled(0, self._size)]
            )
            new = self._space.combine(coefficients, old)
            for b, rows in self._filled(0, len(S)):
                rows[:, columns] = new[b : b + len(rows)]
        self._size = len(S)

    def bits(self) -> Iterator[NDArray[np.uint8]]:
        """All rows byte by byte, some at a time, for a file."""
        step = max(1, _PIECE // self._space.n)
        for _, rows in self._filled(0, self._size):
            for a in range(0, len(rows), step):
                yield rows[a : a + step].view(torch.uint8).cpu().numpy()

    def load(self, blocks: Iterable[torch.Tensor]) -> None:
        """Put what `bits` gave in place of all rows."""
        self._size = 0
        for block in blocks:
            for row in block:
                self.append(row.view(self._storage.dtype))

    def _room(self) -> int:
        return sum(len(block) for block in self._blocks)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The rows from start to stop on the device, each piece with its first row's number."""
        for first, rows in self._filled(start, stop):
            step = max(1, _PIECE // self._space.n)
            if rows.device == self._space.device and rows.dtype == self._space.dtype:
                step = len(rows)
            for a in range(0, len(rows), step):
                yield first + a, self._moved(rows[a : a + step])

    def _filled(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The rows from start to stop where they lie, block by block, each with its number."""
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
        self._stored(self._size - 1).copy_(v)

    def _stored(self, i: int) -> torch.Tensor:
        if not self._size - 2 <= i < self._size:
            raise IndexError(i)
        return self._blocks[i % 2][0]

    def _filled(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        for i in range(max(start, self._size - 2), min(stop, self._size)):
            yield i, self._stored(i)[None]


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
        if norm <= _NOTHING * math.sqrt(space.n) * space.eps:
            return None
        v = v / norm
    return v
