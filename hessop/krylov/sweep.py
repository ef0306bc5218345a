"""The one Lanczos sweep of the house, a step at a time."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from hessop import _validation
from hessop._space import LocalSpace
from hessop.krylov import reorthogonalization
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.projection import Row, matrices, tridiagonal
from hessop.krylov.rounding import Rounding
from hessop.krylov.steps import Steps
from hessop.krylov.storage import Storage
from hessop.krylov.window import Window

# Below this share of the scale a leftover is orthogonalised once more.
_CLOSE = 1e-4
_DRAWS = 5


class Sweep:
    """
    Grows an orthonormal basis by one product at a time.

    ``A V_E^T = V_E^T T + V_P^T C`` holds throughout, where E are the rows that were multiplied
    and P those that wait. An ordinary Lanczos process has one row waiting, what the last step
    left over. `fresh` adds another in a random direction, which is how breakdown is survived and
    how further copies of an eigenvalue are found; `restart` replaces E by few Ritz vectors.

    Whoever drives it multiplies, ``sweep.absorb(product.matmat(sweep.vector()[None])[0])``: several
    sweeps can share one block product.

    Parameters
    ----------
    space : LocalSpace
        Where the vectors live.
    start : torch.Tensor, shape (n,)
        First direction, of norm one and orthogonal to `lock`.
    reorth : str
        One of `reorthogonalization.METHODS`.
    lock : Basis, optional
        Rows to stay orthogonal to: A is seen on their complement only.
    keep : bool, optional
        Whether the basis is kept. Without, the last two rows are, and only "none" works.
    floor : float, optional
        What is known of the products' noise.
    storage : Storage, optional
        Where the basis lies. Default: on the device.

    Attributes
    ----------
    rows : list of Row
        The projection, row by row.
    waiting : list of int
        The rows not multiplied yet, the next one last.
    rounding : Rounding
        The operator's size, and what cannot be told from nothing.
    leftover : float
        The norm of what the last product left over.
    policy : Constant or Selective
        When a new vector is orthogonalised.
    """

    def __init__(
        self,
        space: LocalSpace,
        start: torch.Tensor,
        *,
        reorth: str,
        lock: Basis | None = None,
        keep: bool = True,
        floor: float = 0.0,
        storage: Storage | None = None,
    ) -> None:
        self.space = space
        self.basis = Basis(space, storage) if keep else Window(space)
        self.rows: list[Row] = []
        self.waiting: list[int] = []
        self.leftover = 0.0
        self._keep = keep
        self._lock = Basis(space) if lock is None else lock
        self._steps = Steps(space, self.basis, self._lock)
        # what rows are rounded to where they lie is what can be asked of their orthogonality
        stored = space.eps if storage is None else float(torch.finfo(storage.dtype).eps)
        self.policy = reorthogonalization.policy(reorth, max(stored, space.eps), space.n)
        self.rounding = Rounding(space.eps, floor)
        self._append(start)

    def join(self, v: torch.Tensor) -> bool:
        """Put a further start vector in line, as far as it is new; whether it is."""
        new = orthonormal(self.space, v, self._lock, self.basis)
        if new is None:
            return False
        if self.waiting:
            self.policy = self.policy.unconditional()
        self._append(new)
        return True

    @property
    def size(self) -> int:
        """How many rows there can be: n less those locked."""
        return self.space.n - len(self._lock)

    @property
    def multiplied(self) -> list[int]:
        """The rows that were multiplied, E."""
        return [i for i, row in enumerate(self.rows) if row.alpha is not None]

    @property
    def intact(self) -> bool:
        """Whether it can go on, or has come to its end: no product failed half-way."""
        return bool(self.waiting) or self.leftover == 0.0 or len(self.rows) >= self.size

    def vector(self, row: int | None = None) -> torch.Tensor:
        """The row to multiply next: the newest that waits, or the one asked for."""
        if row is not None:
            self.waiting.remove(row)
            self.waiting.append(row)
        self.basis.prefetch()  # for the pass that comes after the product
        return self.basis.row(self.waiting[-1])

    def absorb(self, w: torch.Tensor, row: int | None = None) -> bool:
        """
        Take in `w`, the product of `vector(row)`, which is overwritten.

        Returns whether anything was left over, to be multiplied next; nothing is where the
        Krylov space is exhausted. One transfer to the host; a second one under "selective", and
        where a pass takes longer than to ask whether it is needed.
        """
        v = self.vector(row)
        number = self.waiting.pop()
        known = self.rows[number]
        scale = self.rounding.scale
        w, numbers, complete = self._steps.take(w, v, number, known, self.policy, scale)
        if not np.isfinite(numbers).all():
            raise _validation.finite_product("A")
        known.alpha, beta = float(numbers[0]), float(numbers[1])
        # hypot, for no square of it over- or underflows
        scale = max(scale, math.hypot(*numbers, *known.coupling))
        self.rounding.scale = scale
        self._learn(number, numbers[2 : len(numbers) - len(self._lock)], complete)
        if beta < _CLOSE * scale:
            # Little is left over, and one pass leaves rounding of what was there.
            if complete:
                self._steps.purge(w)
            else:
                for i in range(max(number - 1, 0), number + 1):
                    u = self.basis.row(i)
                    w -= self.space.dot(u, w).to(w.dtype) * u
            beta = float(self.space.norm(w))
        return self._continue(number, w, beta)

    def fresh(self, rng: np.random.Generator) -> bool:
        """Add a random direction orthogonal to everything; False if there is none left."""
        # several draws that are not new mean that nothing is left: a singular inner product
        draws = range(_DRAWS if len(self.basis) < self.size else 0)
        return any(self.join(self.space.draw(rng, "gaussian")) for _ in draws)

    def projection(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The matrices T, (E, E), and C, (P, E)."""
        return matrices(self.rows, self.waiting)

    def tridiagonal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coefficients alpha and beta of a sweep that was never restarted."""
        return tridiagonal(self.rows, self.leftover)

    def release(self) -> None:
        """Let go of the vectors; the coefficients stay."""
        self.basis = Window(self.space)
        self._steps = Steps(self.space, self.basis, self._lock)

    def spread(self, S: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients on E, shape (k, E), as coefficients on all rows."""
        full = np.zeros((len(S), len(self.rows)))
        full[:, self.multiplied] = S
        return full

    def restart(self, theta: NDArray[np.float64], S: NDArray[np.float64]) -> None:
        """Replace E by Ritz vectors: values theta (k,), coefficients S (k, E)."""
        self.policy = self.policy.unconditional()
        self.rounding.restarts += 1
        _, C = self.projection()
        self._steps.forget()
        self.basis.replace(np.vstack([self.spread(S), np.eye(len(self.rows))[self.waiting]]))
        self.rows = [Row(float(t)) for t in theta]
        self.waiting = list(range(len(theta), len(theta) + len(self.waiting)))
        self.rows += [Row(None, 0, coupling) for coupling in C @ S.T]

    def _learn(self, number: int, h: NDArray[np.float64], complete: bool) -> None:
        """What should be zero, and the coefficients on rows that wait."""
        zeros = h
        if complete:
            for i in self.waiting:
                self.rows[i].couple(number, float(h[i]))
            zeros = np.delete(h, self.waiting)
        self.rounding.see(zeros)

    def _continue(self, number: int, w: torch.Tensor, beta: float) -> bool:
        """Put what is left over in line, unless it is rounding."""
        if beta <= self.rounding.nothing:
            beta = 0.0
        self.leftover = beta
        # rows that are not kept lose their orthogonality: there may be more than dimensions
        if beta == 0.0 or (self._keep and len(self.basis) >= self.size):
            return False
        self._append(w / beta)
        self.rows[-1].couple(number, beta)
        return True

    def _append(self, v: torch.Tensor) -> None:
        """Put a vector of norm one in line."""
        self.basis.append(v)
        self.basis.prefetch()  # here too, for not all who multiply ask for `vector`
        self.waiting.append(len(self.rows))
        self.rows.append(Row())
