"""What the device does in a Lanczos step, captured in a CUDA graph where launches take the time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from hessop import _graphs
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis
from hessop.krylov.projection import Row
from hessop.krylov.reorthogonalization import Coefficients, Constant, Selective

# A pass that finds less than this multiple of eps * scale is the last one.
_FOUND = 100.0
# Entries of a basis that a GPU passes over in less time than the host waits for a number: up to
# here launches are captured, and beyond it the host asks whether another pass is needed.
_QUICK = 1 << 22
# Rows that are still to come into a basis for which a graph is worth capturing.
_COMING = 8

Minus = Callable[[torch.Tensor], None]


class Steps:
    """
    Orthogonalises products: against locked rows, the row itself and those before it.

    A captured step passes over all rows that a basis has room for, of which those that have not
    come yet are zero: so one graph serves until the basis has grown.

    Parameters
    ----------
    space : LocalSpace
        Where the vectors live.
    basis, lock : Basis
        The rows of the sweep, and those locked.
    """

    def __init__(self, space: LocalSpace, basis: Basis, lock: Basis) -> None:
        self._space = space
        self._basis = basis
        self._lock = lock
        self._captures = space.captures
        self._replay: _graphs.Replay | None = None
        self._room: object = None  # what the replay was captured for
        self._seen: object = None

    def take(
        self,
        w: torch.Tensor,
        v: torch.Tensor,
        number: int,
        row: Row,
        policy: Constant | Selective,
        scale: float,
    ) -> tuple[torch.Tensor, NDArray[np.float64], bool]:
        """
        Orthogonalise w, the product of v, row `number` of the sweep; w is overwritten.

        Returns what is left of w; on the host alpha, its norm, and the coefficients that symmetry
        says are zero, those on the rows before those on the locked ones; and whether a pass over
        all rows was made.
        """
        captured = self._captured(w, v, number, row, policy)
        if captured is not None:
            w, numbers = captured
            to_come = slice(2 + len(self._basis), 2 + self._basis.room)
            return w, np.delete(numbers.cpu().numpy(), to_come), True
        locked, alpha = self._local(w, v, lambda w: self._uncouple(w, row))
        passes = policy.passes(self._asked(w, alpha, row))
        if passes:
            zeros = self.purge(w)
            for _ in range(passes - 1):
                if not self._is_rounding(zeros, scale):
                    self.purge(w)
        else:  # at least the row before: local orthogonality holds without any pass
            before = self._basis.row(number - 1) if number else 0 * v
            zeros = self._space.dot(before, w)[None]
        return w, self._numbers(alpha, w, zeros, locked).cpu().numpy(), passes > 0

    def purge(self, w: torch.Tensor) -> torch.Tensor:
        """One pass against all rows, then the locked ones; the coefficients on the rows."""
        h = self._basis.purge(w)
        self._lock.purge(w)
        return h

    def forget(self) -> None:
        """Other rows have come in place of those there were."""
        self._replay = self._room = self._seen = None

    def _local(
        self, w: torch.Tensor, v: torch.Tensor, minus: Minus
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take out what is locked, what is known, and v; the first and last coefficients."""
        # What lies in the locked rows goes first: it may be all there is, rounding aside.
        locked = self._lock.purge(w)
        minus(w)
        alpha = self._space.dot(v, w)
        w -= alpha.to(w.dtype) * v
        return locked, alpha

    def _uncouple(self, w: torch.Tensor, row: Row) -> None:
        if len(row.coupling):
            self._basis.subtract(w, self._space.bring(row.coupling), row.start)

    def _numbers(
        self, alpha: torch.Tensor, w: torch.Tensor, zeros: torch.Tensor, locked: torch.Tensor
    ) -> torch.Tensor:
        return torch.cat([torch.stack([alpha, self._space.norm(w)]), zeros, locked])

    def _asked(self, w: torch.Tensor, alpha: torch.Tensor, row: Row) -> Coefficients:
        """What the selective policy needs: alpha, beta and the coupling to the row before."""

        def read() -> tuple[float, ...]:
            before = float(row.coupling[-1]) if len(row.coupling) else 0.0
            return (*torch.stack([alpha, self._space.norm(w)]).tolist(), before)

        return read

    def _is_rounding(self, h: torch.Tensor, scale: float) -> bool:
        """
        Whether a pass found so little that another one would find nothing.

        The local terms went before it, which makes it the second where it finds rounding alone.
        Not asked of a GPU where the pass takes less time than to wait for the answer.
        """
        if h.device.type == "cuda" and len(h) * self._space.n <= _QUICK:
            return False
        limit = _FOUND * self._space.eps * scale
        return float(torch.linalg.vector_norm(h)) <= limit

    def _captured(
        self,
        w: torch.Tensor,
        v: torch.Tensor,
        number: int,
        row: Row,
        policy: Constant | Selective,
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The step by a graph; None where there is none, and none is worth capturing."""
        if not (
            self._captures
            and isinstance(policy, Constant)
            and policy.count
            and self._basis.at_hand
            and self._basis.room * self._space.n <= _QUICK
            and (len(row.coupling) == 0 or (len(row.coupling) == 1 and row.start == number - 1))
        ):
            return None
        beta = float(row.coupling[-1]) if len(row.coupling) else 0.0
        before = self._basis.row(number - 1) if number else v
        inputs = (w, v, before, w.new_full((), beta))
        room = (self._basis.room, policy.count)
        if room != self._room:
            if room != self._seen or self._basis.room - len(self._basis) < _COMING:
                self._seen = room
                return None
            self._capture(inputs, policy.count)
            self._room = room
        if self._replay is None:
            return None
        left, numbers = self._replay(*inputs)
        assert left is not None
        assert numbers is not None
        return left, numbers

    def _capture(self, inputs: tuple[torch.Tensor, ...], passes: int) -> None:
        """Capture a step of so many passes over all rows that there is room for."""

        def step(
            w: torch.Tensor, v: torch.Tensor, before: torch.Tensor, beta: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            def uncouple(w: torch.Tensor) -> None:
                w -= beta * before

            locked, alpha = self._local(w, v, uncouple)
            found = [self.purge(w) for _ in range(passes)]
            return w, self._numbers(alpha, w, found[0], locked)

        with self._basis.all_room():
            try:
                self._replay = _graphs.Replay(step, inputs)
            except _graphs.NotCapturedError:
                self._replay, self._captures = None, False
