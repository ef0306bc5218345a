"""Rows that lie in host memory: brought to the device, and taken there, while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch

from hessop.krylov.streams import Streams

_BUFFERS = 2  # one to compute with, one that is being filled


class _Copy(NamedTuple):
    """A piece on its way: which one, where to, and the mark behind it."""

    place: tuple[int, torch.Size]
    target: torch.Tensor
    mark: Any


class Transfer:
    """
    What crosses between the rows of one basis and the device.

    All rows go by piece by piece, in buffers that are used in turn: while the device computes with
    one, the next piece crosses into the other. A new row goes out while the device multiplies. The
    last two rows stay on the device as well, for the recurrence asks for them in each step.

    Everything crosses in the dtype that rows are stored in. Whoever computes converts it on the
    device, so that half precision crosses in half the time.

    Parameters
    ----------
    streams : Streams
        What copies.
    rows, n : int
        The shape of the largest piece.
    dtype : torch.dtype
        Of the rows as they are stored.
    """

    def __init__(self, streams: Streams, rows: int, n: int, dtype: torch.dtype) -> None:
        self._streams = streams
        self._buffers = [streams.empty(rows, n, dtype=dtype) for _ in range(_BUFFERS)]
        self._turn = 0
        self._ahead: deque[_Copy] = deque()
        # row i is kept in place i % 2, until its copy out has been made and row i + 2 comes
        self._last = streams.empty(2, n, dtype=dtype)
        self._numbers = [-1, -1]
        self._out = [streams.mark(), streams.mark()]

    def put(self, number: int, v: torch.Tensor, target: torch.Tensor) -> None:
        """Have a new row on its way to where it will lie; v itself may change at once."""
        slot = number % 2
        self._streams.wait(self._out[slot])
        self._last[slot].copy_(v)
        self._numbers[slot] = number
        self._streams.follow()
        self._streams.copy(target, self._last[slot])
        self._out[slot] = self._streams.mark()

    def few(self, number: int, rows: torch.Tensor) -> torch.Tensor:
        """
        Some rows on the device, the first of which has that number.

        One of the last two is a view of what is kept, until two more have been put. Others are
        copied to memory of their own in the order of what is computed, past what is on its way
        for the next pass.
        """
        if len(rows) == 1 and number in self._numbers:
            return self._last[number % 2][None]
        self._streams.wait(self._streams.mark())  # they may not have gone out yet
        return self._fetch(rows)

    def _fetch(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.to(self._last.device, non_blocking=True)

    def prefetch(self, pieces: Iterable[torch.Tensor]) -> None:
        """Have the first pieces of the next pass on their way."""
        self._send(list(islice(pieces, _BUFFERS)))

    def bring(self, pieces: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Each piece on the device, until the next one is asked for."""
        pieces = list(pieces)
        for i in range(len(pieces)):
            self._send(pieces[i : i + _BUFFERS])
            piece = self._ahead.popleft()
            self._streams.wait(piece.mark)
            yield piece.target

    def forget(self) -> None:
        """Other rows will take the place of these: use nothing that came before."""
        self._ahead.clear()
        self._numbers = [-1, -1]

    def finish(self) -> None:
        """Wait until the host has all rows, and nothing reads them."""
        self._streams.finish()

    def _send(self, pieces: list[torch.Tensor]) -> None:
        """
        Have these pieces on their way, in this order, as far as they are not already.

        What is on its way and is none of them is let go: copies are made in order, so that its
        buffer is free for the next one. No copy needs to know what was computed with a buffer
        before, for it waits for all that has been asked for by now. That holds nothing up: what
        comes later, the product or the work on the piece before, is what it goes on beside.
        """
        places = [(piece.data_ptr(), piece.shape) for piece in pieces]
        if [copy.place for copy in self._ahead] != places[: len(self._ahead)]:
            self._ahead.clear()
        for piece, place in list(zip(pieces, places, strict=True))[len(self._ahead) :]:
            target = self._buffers[self._turn][: len(piece)]
            self._turn = (self._turn + 1) % _BUFFERS
            self._streams.follow()
            self._streams.copy(target, piece)
            self._ahead.append(_Copy(place, target, self._streams.mark()))
