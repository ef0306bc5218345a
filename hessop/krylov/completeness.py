"""Is the set that has converged all there is? The checks that a search goes through."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hessop.krylov import audit as auditing
from hessop.krylov.audit import Audit, may_enter, miss_probability
from hessop.krylov.goal import Found, Goal
from hessop.krylov.ritz import turn_to_leak_of
from hessop.krylov.sweep import Sweep
from hessop.krylov.wanted import borders, keys, ranking

# Where an audit must wait for its own values to settle: to this, relative to the largest.
_SETTLED = 1e-4
# ... but not for ever: from this many products on, or twice what the search had taken, the set
# counts as not checked.
_BLIND_STEPS = 200


class Completeness:
    """
    Opens, lengthens and closes audits.

    A single start vector misses further copies of an eigenvalue, and may miss members of a tight
    cluster: they are orthogonal, or nearly so, to the whole Krylov space. So when the wanted set
    has converged, a fresh random direction orthogonal to the whole basis is followed for some
    steps: the audit. A Ritz value there beyond the set's border proves the set incomplete, and
    the search goes on; none makes a missed one improbable (Kuczynski and Wozniakowski 1992).

    Attributes
    ----------
    audit : Audit or None
        The one in progress.
    blind : bool
        Whether an audit may not end before its own values have settled, for the search so far
        says little: its start was next to an eigenvector, or its Krylov space was exhausted.
    proven : bool
        Whether the last audit was carried through.
    missing : float
        The bound on the probability that one was missed all the same.
    """

    def __init__(
        self, sweep: Sweep, goal: Goal, rng: np.random.Generator, random: bool = False
    ) -> None:
        self._sweep = sweep
        self._goal = goal
        self._rng = rng
        self._random = random
        self.audit: Audit | None = None
        self.blind = False
        self.proven = True
        self.missing = 1.0

    def is_due(self, steps: int) -> bool:
        """Whether an audit has come to its end."""
        return self.audit is not None and steps >= self.audit.end

    def open(self, found: Found, steps: int) -> None:
        """
        Set out in a fresh direction.

        What waits already is set aside, out of the fresh direction's sight, and may be just what
        is missing: the audit's last products go there.
        """
        set_aside, first = len(self._sweep.waiting), len(self._sweep.rows)
        length = max(auditing.STEPS, math.ceil(auditing.SHARE * steps))
        if not self._sweep.fresh(self._rng):
            length = set_aside
        # So short a sweep started next to an eigenvector, maybe of another eigenvalue.
        self.blind |= not self._random and steps < 2 * auditing.STEPS
        self.proven = True
        values = found.ritz.theta[found.chosen]
        self.audit = Audit(
            keys(values, self._goal.which),
            values,
            found.ritz.largest,
            begun=steps,
            end=steps + length,
            latest=steps + 2 * length,
            set_aside=set_aside,
            first=first,
            settled=self._settled(found),
        )

    def aside(self, steps: int) -> int | None:
        """The row set aside whose turn it is in the last steps of an audit; None before."""
        audit = self.audit
        if audit is None or not 0 < audit.end - steps <= audit.set_aside:
            return None
        audit.set_aside -= 1
        return self._sweep.waiting[0]

    def followed(self, steps: int, went_on: bool) -> None:
        """A step in the fresh direction is done: has it shown all that it can?"""
        if self.audit is not None and not went_on:
            self.audit.end = steps + self.audit.set_aside

    def is_a_tie(self, *values: NDArray[np.float64]) -> bool:
        """Whether any of these, ascending, would be the set under audit."""
        audit = self.audit
        if audit is None:
            return False
        return all(audit.agrees(v, self._goal.which, self._slack(audit)) for v in values)

    def is_over(self, found: Found, good: bool, steps: int) -> bool:
        """Whether the audit is at its end; it is dropped when it has shown something."""
        audit = self.audit
        if not self.is_a_tie(found.ritz.theta):
            self.audit, self.missing = None, 1.0
        if not good or self.audit is None or audit is None or not self.is_due(steps):
            return False
        border, slack = borders(audit.values, self._goal.which), self._slack(audit)
        enters = may_enter(found.ritz.theta, found.ritz.residuals, border, slack)
        if self.blind and self.missed() > auditing.SURE and self._may_be_beaten(found):
            audit.end = steps + max(auditing.STEPS, steps // 10)
            self._turn_to_what_is_stuck(found)
        elif enters.any():
            # A copy that is half-way into the basis is in nobody's sight: it has left the
            # complement, and its value is not yet what it will be.
            audit.end = steps + auditing.STEPS // 3
            turn_to_leak_of(self._sweep, found.ritz, enters)
        else:
            return True
        latest = audit.latest
        if self.blind:
            latest = max(latest, _BLIND_STEPS, 2 * audit.begun)
            self.proven = steps < latest
        return steps >= latest

    def missed(self) -> float:
        """A bound on the probability that the audit's rows do not show what was missed."""
        if self.audit is not None:
            border = borders(self.audit.values, self._goal.which)
            bound = miss_probability(self._sweep, self.audit.first, border)
            self.missing = min(self.missing, bound)
        return self.missing

    def before_restart(self, kept: int) -> None:
        """The audit's rows are about to be mixed with the others, and few are kept."""
        if self.audit is not None:
            self.missed()
            self.audit.first = self._sweep.space.n
            self.audit.settled = min(self.audit.settled, kept - self._goal.k)

    def _slack(self, audit: Audit) -> float:
        """How far values may differ that count as equal."""
        noise = self._sweep.rounding.noise
        return (max(self._goal.tol, noise) + 10 * noise) * audit.largest

    def _settled(self, found: Found) -> int:
        """How many Ritz values of those that are kept, the set aside, have settled."""
        kept = ranking(found.ritz.theta, self._goal.which)[: len(self._sweep.multiplied)]
        others = np.setdiff1d(kept, found.chosen)
        return int((found.ritz.residuals[others] <= self._tight(found)).sum())

    def _tight(self, found: Found) -> float:
        """The residual of a value that has settled."""
        return max(found.limit, _SETTLED * found.ritz.largest)

    def _reach(self, found: Found) -> NDArray[np.float64]:
        """
        How far rivals of the set may still move; 0 for those that have settled, and all others.

        Rivals are the most wanted values outside the set: as many as had settled before the
        audit, which the fresh direction has no part in, and one more, which is the first that it
        brings up. (Of each end, where both are wanted.) Of what comes after that, nothing settles
        for long.
        """
        assert self.audit is not None
        order = ranking(found.ritz.theta, self._goal.which)
        others = order[~np.isin(order, found.chosen)]
        ends = 2 if self._goal.which == "BE" else 1
        rivals = others[: ends * (self.audit.settled + 1)]
        reach = np.zeros(len(order))
        reach[rivals] = found.ritz.residuals[rivals]
        reach[reach <= self._tight(found)] = 0.0
        return reach

    def _may_be_beaten(self, found: Found) -> bool:
        """Whether a rival could still, within its residual, get into the set."""
        theta, reach = found.ritz.theta, self._reach(found)
        return not self.is_a_tie(np.sort(theta + reach), np.sort(theta - reach))

    def _turn_to_what_is_stuck(self, found: Found) -> None:
        """
        Leave the direction that is followed for values of which it holds next to nothing.

        Directions share the basis, and to change them often gets none anywhere.
        """
        leaks = np.abs(found.ritz.leaks)
        elsewhere = leaks[-1:].max(axis=0, initial=0.0) < 0.1 * leaks.max(axis=0)
        turn_to_leak_of(self._sweep, found.ritz, elsewhere & self._crosses(found))

    def _crosses(self, found: Found) -> NDArray[np.bool_]:
        """Which values, ties included, may cross the border of the set."""
        assert self.audit is not None
        low, high = borders(self.audit.values, self._goal.which)
        theta, reach = found.ritz.theta, self._reach(found)
        crosses = np.zeros(len(theta), dtype=bool)
        if high is not None:
            crosses |= (reach > 0) & (theta + reach > high)
        if low is not None:
            crosses |= (reach > 0) & (theta - reach < low)
        return crosses
