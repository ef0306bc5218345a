"""Thick-restart Lanczos with a check that nothing was missed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hessop._product import Product
from hessop.krylov.ritz import Ritz, keys, ranking, rayleigh_ritz
from hessop.krylov.sweep import Sweep

# A look at the Ritz values costs no product but time; this many looks per doubling of the basis.
_LOOKS = 25
# Where an audit must wait for its own values to settle: to this, relative to the largest.
_SETTLED = 1e-4
# ... but not for ever: from this many products on the set counts as not checked.
_BLIND_STEPS = 200
# The check for missed eigenvalues spends this share of the products, or this many.
_AUDIT_SHARE, _AUDIT_STEPS = 0.2, 15


def audit_room(k: int, n: int) -> int:
    """The rows that it takes to hold k pairs and follow a fresh direction."""
    return min(k + _AUDIT_STEPS, n)


@dataclass(frozen=True)
class Goal:
    """
    What is looked for, and how long.

    Attributes
    ----------
    k, which : int, str
        How many eigenvalues, and of which kind.
    tol : float
        Relative to the largest Ritz value in magnitude.
    ncv : int
        Most rows that may be multiplied before a restart; more than k, or n. For an audit at
        least `audit_room`.
    maxiter : int
        Most products.
    audit : bool
        Whether to check that the set is complete.
    """

    k: int
    which: str
    tol: float
    ncv: int
    maxiter: int
    audit: bool


@dataclass(frozen=True)
class Found:
    """The Ritz pairs a look finds: `chosen` of `ritz`, with `limit` on their residuals."""

    ritz: Ritz
    chosen: NDArray[np.intp]
    limit: float
    n_matvec: int
    n_restart: int


@dataclass
class Audit:
    """
    A check in progress that nothing was missed.

    Attributes
    ----------
    keys : ndarray, shape (k,)
        What the set under audit ranks by.
    largest : float
        The largest Ritz value in magnitude.
    end : int
        The number of products at which it is over.
    set_aside : int
        Rows that waited when it began, and still do.
    """

    keys: NDArray[np.float64]
    largest: float
    end: int
    set_aside: int


class Search:
    """
    Thick-restart Lanczos (Wu and Simon 2000) in a sweep, until the goal is reached.

    A single start vector misses further copies of an eigenvalue, and may miss members of a tight
    cluster: they are orthogonal, or nearly so, to the whole Krylov space. So when the wanted set
    has converged, a fresh random direction orthogonal to the whole basis is followed for some
    steps: the audit. A Ritz value there beyond the set's border proves the set incomplete, and
    the search goes on; none makes a missed one improbable (Kuczynski and Wozniakowski 1992).
    """

    def __init__(
        self, product: Product, sweep: Sweep, goal: Goal, rng: np.random.Generator
    ) -> None:
        self._product = product
        self._sweep = sweep
        self._goal = goal
        self._rng = rng
        self._steps = 0
        self._restarts = 0
        self._audit: Audit | None = None
        self._proven = True
        self._blind = False  # whether an audit may not end before its own values have settled

    def run(self) -> tuple[Found, bool]:
        """
        Multiply until the wanted set has converged and is complete, or maxiter is reached.

        Returns what was found, and whether the set is known to be complete.
        """
        sweep, goal = self._sweep, self._goal
        next_look = goal.k
        while True:
            self._step()
            multiplied = len(sweep.multiplied)
            exhausted = False
            if not sweep.waiting:
                # A fresh direction knows nothing of what the exhausted one has converged to.
                self._blind = True
                exhausted = not sweep.fresh(self._rng)
            over = exhausted or self._steps >= goal.maxiter
            if not (over or multiplied >= min(next_look, self._goal.ncv) or self._audit_is_due()):
                continue
            ritz = rayleigh_ritz(sweep)
            if over or len(ritz.theta) >= goal.k:
                found, converged = self._judge(ritz)
                if self._is_done(found, converged) or exhausted:
                    return found, exhausted or (goal.audit and self._proven)
                if over:
                    return found, False
                self._turn_to_largest_leak(found, converged)
            multiplied = len(sweep.multiplied)
            if multiplied >= self._goal.ncv:
                multiplied = self._restart(ritz, self._goal.ncv - 1)
            next_look = multiplied + max(1, multiplied // _LOOKS)

    def _step(self) -> None:
        """One product."""
        sweep, audit = self._sweep, self._audit
        aside = audit is not None and 0 < audit.end - self._steps <= audit.set_aside
        if audit is not None and aside:
            audit.set_aside -= 1
            sweep.vector(sweep.waiting[0])
        went_on = sweep.absorb(self._product.matmat(sweep.vector()[None])[0])
        self._steps += 1
        if audit is not None and not aside and not went_on:
            # Every eigenvalue that the fresh direction can show has been seen.
            audit.end = self._steps + audit.set_aside

    def _judge(self, ritz: Ritz) -> tuple[Found, NDArray[np.bool_]]:
        """The k most wanted pairs, and which Ritz pairs have converged."""
        which, k = self._goal.which, self._goal.k
        limit = self._limit(ritz)
        converged = ritz.residuals <= limit
        chosen = ranking(ritz.theta, which)[:k]
        settled = np.flatnonzero(converged)
        if self._audit is not None and len(settled) >= k:
            # A newcomer at the border, or next to a pair of the set, is a tie: prefer what has
            # converged.
            preferred = settled[ranking(ritz.theta[settled], which)[:k]]
            values = (ritz.theta, ritz.theta[settled])
            if all(self._agrees(self._audit, theta) for theta in values):
                chosen = preferred
        return Found(ritz, chosen, limit, self._steps, self._restarts), converged

    def _is_done(self, found: Found, converged: NDArray[np.bool_]) -> bool:
        """Whether the set has converged and the audit is over; opens and closes the audit."""
        good = bool(converged[found.chosen].all())
        if self._audit is None:
            if good and self._goal.audit:
                self._audit = self._open_audit(found)
            return good and not self._goal.audit
        if not self._agrees(self._audit, found.ritz.theta):
            self._audit = None
        if not good or self._audit is None or not self._audit_is_due():
            return False
        if self._blind and self._may_be_beaten(self._audit, found):
            self._audit.end = self._steps + max(_AUDIT_STEPS, self._steps // 10)
            self._proven = self._steps < _BLIND_STEPS
            return not self._proven
        return True

    def _open_audit(self, found: Found) -> Audit:
        """
        Set out in a fresh direction, with room to follow it.

        What waits already is set aside, out of the fresh direction's sight, and may be just what
        is missing: the audit's last products go there.
        """
        ncv, steps = self._goal.ncv, self._steps
        if len(self._sweep.multiplied) + _AUDIT_STEPS > ncv < self._sweep.size:
            self._restart(found.ritz, ncv - _AUDIT_STEPS)
        set_aside = len(self._sweep.waiting)
        length = max(_AUDIT_STEPS, math.ceil(_AUDIT_SHARE * steps))
        if not self._sweep.fresh(self._rng):
            length = set_aside
        ranked_by = keys(found.ritz.theta[found.chosen], self._goal.which)
        # So short a sweep started next to an eigenvector, maybe of another eigenvalue.
        self._blind |= steps < 2 * _AUDIT_STEPS
        return Audit(ranked_by, found.ritz.largest, steps + length, set_aside)

    def _audit_is_due(self) -> bool:
        return self._audit is not None and self._steps >= self._audit.end

    def _agrees(self, audit: Audit, theta: NDArray[np.float64]) -> bool:
        """Whether the most wanted of some ascending values are still those under audit."""
        slack = (max(self._goal.tol, self._sweep.noise) + 10 * self._sweep.noise) * audit.largest
        best = theta[ranking(theta, self._goal.which)[: self._goal.k]]
        return bool((np.abs(keys(best, self._goal.which) - audit.keys) <= slack).all())

    def _may_be_beaten(self, audit: Audit, found: Found) -> bool:
        """Whether a Ritz value outside the set could still, within its residual, get into it."""
        reach = found.ritz.residuals
        reach[found.chosen] = 0.0
        reach[reach <= max(found.limit, _SETTLED * found.ritz.largest)] = 0.0
        return not all(
            self._agrees(audit, np.sort(found.ritz.theta + shift)) for shift in (reach, -reach)
        )

    def _turn_to_largest_leak(self, found: Found, converged: NDArray[np.bool_]) -> None:
        """Of the rows that wait, go on with the one that holds the wanted pairs up most."""
        open_pairs = [i for i in found.chosen if not converged[i]]
        if open_pairs and (self._audit is None or self._audit_is_due()):
            leaks = np.abs(found.ritz.leaks[:, open_pairs]).max(axis=1, initial=0.0)
            self._sweep.vector(self._sweep.waiting[int(np.argmax(leaks))])

    def _restart(self, ritz: Ritz, most: int) -> int:
        """
        Keep the wanted Ritz vectors and some of their neighbours, `most` or k; how many.

        The neighbours are as many as have converged (ARPACK's rule, which keeps the wanted ones
        from stagnating) or a quarter of the room beyond 2 k, at most half the room beyond k.
        Measured against a fixed share: fewer products, most of all where room is scarce.
        """
        k, room = self._goal.k, self._goal.ncv
        order = ranking(ritz.theta, self._goal.which)
        settled = int((ritz.residuals[order[:k]] <= self._limit(ritz)).sum())
        keep = k + min(max(settled, (room - 2 * k) // 4), (room - k) // 2)
        kept = order[: max(k, min(keep, most))]
        self._sweep.restart(ritz.theta[kept], ritz.S[kept])
        self._restarts += 1
        return len(kept)

    def _limit(self, ritz: Ritz) -> float:
        """The residual below which a pair has converged."""
        return max(self._goal.tol, self._sweep.noise) * ritz.largest
