"""Thick-restart Lanczos with a check that nothing was missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hessop._product import Product
from hessop.krylov.audit import STEPS
from hessop.krylov.completeness import Completeness
from hessop.krylov.goal import Found, Goal
from hessop.krylov.ritz import Ritz, rayleigh_ritz, turn_to_leak_of
from hessop.krylov.sweep import Sweep
from hessop.krylov.wanted import ranking

# A look at the Ritz values costs no product but time; this many looks per doubling of the basis.
_LOOKS = 25

Watch = Callable[["Search"], bool]


class Search:
    """
    Thick-restart Lanczos (Wu and Simon 2000) in a sweep, until the goal is reached.

    What has converged is checked for completeness before it is returned (`Completeness`).

    Parameters
    ----------
    product : Product
        What is multiplied with.
    sweep : Sweep
        With one start vector waiting, or several.
    goal : Goal
        What is looked for.
    rng : numpy.random.Generator
        For fresh directions.
    watch : callable, optional
        Called with the search after each step; True ends it.
    random : bool, optional
        Whether the start is random, and so next to no eigenvector.
    """

    def __init__(
        self,
        product: Product,
        sweep: Sweep,
        goal: Goal,
        rng: np.random.Generator,
        watch: Watch = lambda search: False,
        random: bool = False,
    ) -> None:
        self._product = product
        self.sweep = sweep
        self.goal = goal
        self.rng = rng
        self._watch = watch
        self.steps = 0
        self.next_look = goal.k
        self.settled = 0  # how many of the wanted pairs had converged at the last look
        self.done = False
        self.check = Completeness(sweep, goal, rng, random)
        # called before each step, where all that is known is in attributes
        self.save: Callable[[Search], None] = lambda search: None

    def run(self) -> Found:
        """Multiply until the wanted set has converged and is complete, or until told to end."""
        sweep, goal = self.sweep, self.goal
        while True:
            self.save(self)
            self._step()
            multiplied = len(sweep.multiplied)
            exhausted = False
            if not sweep.waiting:
                # A fresh direction knows nothing of what the exhausted one has converged to.
                self.check.blind = True
                exhausted = not sweep.fresh(self.rng)
            stopped = self._watch(self)
            over = exhausted or stopped or self.steps >= goal.maxiter
            if not (
                over or multiplied >= min(self.next_look, goal.ncv) or self.check.is_due(self.steps)
            ):
                continue
            ritz = rayleigh_ritz(sweep)
            if over or len(ritz.theta) >= goal.k:
                found, converged = self.judge(ritz)
                good, auditing = bool(converged[found.chosen].all()), self.check.audit is not None
                done = good and not goal.audit
                if auditing:
                    done = self.check.is_over(found, good, self.steps)
                if done or exhausted:
                    return self._final(found, exhausted)
                if over:
                    return replace(found, stopped=stopped)
                if good and not auditing:
                    self._open_check(found)
                self._turn_to_largest_leak(found, converged)
            multiplied = len(sweep.multiplied)
            if multiplied >= goal.ncv:
                multiplied = self._restart(ritz, goal.ncv - 1)
            self.next_look = multiplied + max(1, multiplied // _LOOKS)

    def _step(self) -> None:
        """One product, of one vector or, while no audit goes on, of a block."""
        sweep = self.sweep
        aside = self.check.aside(self.steps)
        rows = self._next_rows() if aside is None else [aside]
        V = sweep.basis.row(rows[0])[None]
        if len(rows) > 1:
            V = torch.stack([sweep.basis.row(row) for row in rows])
        went_on = False
        for row, w in zip(rows, self._product.matmat(V), strict=True):
            went_on = sweep.absorb(w, row)
        self.steps += len(rows)
        if aside is None:
            self.check.followed(self.steps, went_on)

    def _next_rows(self) -> list[int]:
        """The newest of the rows that wait: one, or a block, as far as there is room."""
        if self.check.audit is not None:
            return self.sweep.waiting[-1:]
        room = self.goal.ncv - len(self.sweep.multiplied)
        width = min(self.goal.block, self.goal.maxiter - self.steps, max(1, room))
        return self.sweep.waiting[-width:]

    def judge(self, ritz: Ritz) -> tuple[Found, NDArray[np.bool_]]:
        """The k most wanted pairs, and which Ritz pairs have converged."""
        which, k = self.goal.which, self.goal.k
        limit = self._limit(ritz)
        converged = ritz.residuals <= limit
        chosen = ranking(ritz.theta, which)[:k]
        settled = np.flatnonzero(converged)
        if len(settled) >= k and self.check.is_a_tie(ritz.theta, ritz.theta[settled]):
            # A newcomer at the border, or next to a pair of the set: prefer what has converged.
            chosen = settled[ranking(ritz.theta[settled], which)[:k]]
        self.settled = int(converged[chosen].sum())
        return Found(ritz, chosen, limit, self.steps, self.sweep.rounding.restarts), converged

    def _open_check(self, found: Found) -> None:
        """The set has converged: is it complete?"""
        room = self.goal.ncv - STEPS  # for the fresh direction
        if len(self.sweep.multiplied) > room and self.goal.ncv < self.sweep.size:
            self._restart(found.ritz, room)
        self.check.open(found, self.steps)

    def _final(self, found: Found, exhausted: bool) -> Found:
        """What is returned when nothing more is to be done."""
        self.done = True
        if exhausted:
            return replace(found, complete=True, miss_probability=0.0)
        if not (self.goal.audit and self.check.proven):
            return found
        return replace(found, complete=True, miss_probability=self.check.missed())

    def _turn_to_largest_leak(self, found: Found, converged: NDArray[np.bool_]) -> None:
        """Of the rows that wait, go on with the one that holds the wanted pairs up most."""
        open_pairs = np.zeros(len(converged), dtype=bool)
        open_pairs[found.chosen] = ~converged[found.chosen]
        if self.check.audit is None or self.check.is_due(self.steps):
            turn_to_leak_of(self.sweep, found.ritz, open_pairs)

    def _restart(self, ritz: Ritz, most: int) -> int:
        """
        Keep the wanted Ritz vectors and some of their neighbours, `most` or k; how many.

        The neighbours are as many as have converged (ARPACK's rule, which keeps the wanted ones
        from stagnating) or a quarter of the room beyond 2 k, at most half the room beyond k.
        Measured against a fixed share: fewer products, most of all where room is scarce.
        """
        k, room = self.goal.k, self.goal.ncv
        order = ranking(ritz.theta, self.goal.which)
        settled = int((ritz.residuals[order[:k]] <= self._limit(ritz)).sum())
        keep = k + min(max(settled, (room - 2 * k) // 4), (room - k) // 2)
        kept = order[: max(k, min(keep, most))]
        self.check.before_restart(len(kept))
        self.sweep.restart(ritz.theta[kept], ritz.S[kept])
        return len(kept)

    def _limit(self, ritz: Ritz) -> float:
        """The residual below which a pair has converged."""
        return max(self.goal.tol, self.sweep.rounding.noise) * ritz.largest
