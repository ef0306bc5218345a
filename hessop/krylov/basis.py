"""Where Lanczos vectors live: nobody else knows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from hessop._space import LocalSpace
from hessop.krylov.storage import OnDevice, Storage
from hessop.krylov.transfer import Transfer

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
    than its vectors have, come to it piece by piece, once in each pass.

    Parameters
    ----------
    space : LocalSpace
        Where vectors are computed with.
    storage : Storage, optional
        Where the rows lie. Default: on the device, in the space's dtype.

    Attributes
    ----------
    at_hand : bool
        Whether rows are computed with where they lie, as they are.
    """

    def __init__(self, space: LocalSpace, storage: Storage | None = None) -> None:
        self._space = space
        self._storage = storage or OnDevice(space.dtype, space.device)
        self.at_hand = self._storage.on_device and self._storage.dtype == space.dtype
        self._step = max(1, _PIECE // space.n)
        streams = self._storage.streams(space.device)
        self._transfer: Transfer | None = None
        if streams is not None:
            most = min(self._step, space.n)
            self._transfer = Transfer(streams, most, space.n, self._storage.dtype)
        self._blocks: list[torch.Tensor] = []
        self._size = 0

    def __len__(self) -> int:
        """Number of rows."""
        return self._size

    def append(self, v: torch.Tensor) -> None:
        """Copy one vector in as the last row."""
        if self._size == self.room:
            most = max(1, _BLOCK_BYTES // (self._space.n * self._storage.dtype.itemsize))
            rows = min(max(_FIRST_BLOCK, self._size), self._space.n, most)
            self._blocks.append(self._storage.allocate(rows, self._space.n))
        self._size += 1
        row = self._stored(self._size - 1)
        if self._transfer is None:
            row.copy_(v)
        else:
            self._transfer.put(self._size - 1, v, row)

    def row(self, i: int) -> torch.Tensor:
        """
        Row i on the device.

        A view where it lies there; where it does not, good until two more have been appended.
        """
        rows = self._stored(i)[None]
        if self._transfer is not None:
            rows = self._transfer.few(i, rows)
        return rows[0].to(self._space.dtype)

    def _stored(self, i: int) -> torch.Tensor:
        """A view of row i where it lies."""
        for block in self._blocks:
            if i < len(block):
                return block[i]
            i -= len(block)
        raise IndexError(i)

    def prefetch(self) -> None:
        """Say that a pass over all rows comes after what is to be computed next."""
        if self._transfer is not None:
            self._transfer.prefetch(rows for _, rows in self._cut(0, self._size))

    def project(self, w: torch.Tensor) -> torch.Tensor:
        """The coefficients ``V w`` of a vector on all rows, float64 on the device."""
        return _joined([self._space.project(rows, w) for _, rows in self._pieces()], w)

    def subtract(self, w: torch.Tensor, h: torch.Tensor, start: int = 0) -> None:
        """``w -= V^T h`` in place, where h belongs to the rows from `start` on."""
        some = self._filled if self.at_hand else self._cut
        for a, rows in some(start, start + len(h)):
            if self._transfer is not None:
                rows = self._transfer.few(a, rows)
            part = h[a - start : a - start + len(rows)]
            self._space.subtract(w, rows.to(self._space.dtype), part)

    def purge(self, w: torch.Tensor) -> torch.Tensor:
        """
        One pass of block Gram-Schmidt over all rows, in place; the coefficients found, float64.

        All coefficients come first where rows are at hand. Where they have to be brought, each
        piece takes its part out of w before the next one comes: that is as good, and no row comes
        twice.
        """
        if self.at_hand:
            h = self.project(w)
            self.subtract(w, h, self._size - len(h))  # a window has the last rows only
            return h
        found = []
        for _, rows in self._pieces():
            found.append(self._space.project(rows, w))
            self._space.subtract(w, rows, found[-1])
        return _joined(found, w)

    def combine(self, S: NDArray[np.float64]) -> torch.Tensor:
        """New rows ``S V`` for coefficients S of shape (k, rows)."""
        out = torch.zeros(
            (len(S), self._space.n), dtype=self._space.dtype, device=self._space.device
        )
        for a, rows in self._pieces():
            out += self._space.combine(torch.from_numpy(S[:, a : a + len(rows)].copy()), rows)
        return out

    def stack(self, m: int) -> torch.Tensor:
        """A copy of the first m rows, (m, n)."""
        out = torch.empty((m, self._space.n), dtype=self._space.dtype, device=self._space.device)
        for a, rows in self._pieces(m):
            out[a : a + len(rows)] = rows
        return out

    def replace(self, S: NDArray[np.float64]) -> None:
        """Put the rows ``S V`` in place of all rows, strip by strip, without a second basis."""
        if self._transfer is not None:  # all rows have to be there, and no copy may read them
            self._transfer.forget()
            self._transfer.finish()
        coefficients = torch.from_numpy(np.ascontiguousarray(S))
        for a in range(0, self._space.n, _COLUMNS):
            columns = slice(a, a + _COLUMNS)
            old = [
                rows[:, columns].to(self._space.device).to(self._space.dtype)
                for _, rows in self._filled(0, self._size)
            ]
            new = self._space.combine(coefficients, torch.cat(old))
            for b, rows in self._filled(0, len(S)):
                rows[:, columns] = new[b : b + len(rows)]
        self._size = len(S)

    def bits(self) -> Iterator[NDArray[np.uint8]]:
        """All rows byte by byte, some at a time, for a file."""
        if self._transfer is not None:
            self._transfer.finish()
        for _, rows in self._filled(0, self._size):
            for a in range(0, len(rows), self._step):
                yield rows[a : a + self._step].view(torch.uint8).cpu().numpy()

    def load(self, blocks: Iterable[torch.Tensor]) -> None:
        """Put what `bits` gave in place of all rows."""
        if self._transfer is not None:
            self._transfer.forget()
        self._size = 0
        for block in blocks:
            for row in block:
                self.append(row.view(self._storage.dtype))

    @property
    def room(self) -> int:
        """How many rows there is memory for by now."""
        return sum(len(block) for block in self._blocks)

    @contextmanager
    def all_room(self) -> Iterator[None]:
        """Let everything go over all the room there is, with zeros for rows that are to come."""
        size = self._size
        for _, rows in self._filled(size, self.room):
            rows.zero_()
        self._size = self.room
        try:
            yield
        finally:
            self._size = size

    def _pieces(self, stop: int | None = None) -> Iterator[tuple[int, torch.Tensor]]:
        """The rows before stop on the device, each piece with its first row's number."""
        stop = self._size if stop is None else stop
        if self.at_hand:
            yield from self._filled(0, stop)
            return
        pieces = list(self._cut(0, stop))
        brought: Iterable[torch.Tensor] = (rows for _, rows in pieces)
        if self._transfer is not None:
            brought = self._transfer.bring(brought)
        for (first, _), rows in zip(pieces, brought, strict=True):
            yield first, rows.to(self._space.dtype)

    def _cut(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The rows from start to stop where they lie, in pieces that can be brought at once."""
        for first, rows in self._filled(start, stop):
            for a in range(0, len(rows), self._step):
                yield first + a, rows[a : a + self._step]

    def _filled(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The rows from start to stop where they lie, block by block, each with its number."""
        first = 0
        for block in self._blocks:
            a, b = max(start - first, 0), min(stop - first, len(block))
            if a < b:
                yield first + a, block[a:b]
            first += len(block)


def _joined(coefficients: list[torch.Tensor], w: torch.Tensor) -> torch.Tensor:
    """Those of all pieces; none where there is no row."""
    return torch.cat(coefficients) if coefficients else w.new_zeros(0, dtype=torch.float64)


def orthonormal(space: LocalSpace, v: torch.Tensor, *bases: Basis) -> torch.Tensor | None:
    """What of v is orthogonal to all bases, at norm one; None if that is nothing but rounding."""
    norm = float(space.norm(v))
    if norm == 0.0:
        return None
    v = v / norm
    for _ in range(3):
        for basis in bases:
            basis.purge(v)
        norm = float(space.norm(v))
        if norm <= _NOTHING * math.sqrt(space.n) * space.eps:
            return None
        v = v / norm
    return v
