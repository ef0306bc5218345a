"""Spectral densities and traces by hessop and what is installed of its peers."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np

import hessop
from examples.benchmarks import peer_estimators
from examples.benchmarks.peer_estimators import Density, Rule, Trace
from examples.benchmarks.solvers import Counted

OURS = ("hessop.slq", "hessop.slq, locked")

_IMATE_MOST = 3000  # rows of a matrix that imate is given


def plain(A: Counted, probes: int, steps: int, seed: int) -> Rule:
    """hessop.slq."""
    return rule_of(hessop.slq(A.operator, n_probes=probes, ncv=steps, rng=seed))


def deflated(A: Counted, probes: int, steps: int, seed: int) -> Rule:
    """
    hessop.slq with `lock`, for as many products as without.

    A third of them, at most 100, go to a search for 20 outliers, fewer where they are few; what it
    found is locked, converged or not, for the rest does not depend on it.
    """
    budget = probes * steps
    most = min(budget // 3, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hessop.ConvergenceWarning)
        found = hessop.lanczos(
            A.operator, min(20, most // 3), tol=1e-2, maxiter=most, verify=False, rng=seed
        )
    count, each = split(budget - A.count)
    return rule_of(hessop.slq(A.operator, n_probes=count, ncv=each, lock=found, rng=[seed, 1]))


def split(products: int) -> tuple[int, int]:
    """How many probes of how many steps: ten, or fewer so that each has twenty steps."""
    probes = max(1, min(10, products // 20))
    return probes, products // probes


def rule_of(density: hessop.SpectralDensity) -> Rule:
    """All values of a density, each of them with its share."""
    share = density.weights.ravel() * (density.bulk / (density.n * len(density.weights)))
    points = np.full(len(density.points), 1 / density.n)
    return np.append(density.nodes, density.points), np.append(share, points)


def ours_trace(method: str) -> Trace:
    """hessop.trace."""
    return lambda A, budget, seed: float(
        hessop.trace(A.operator, method=method, n_matvec=budget, rng=seed)
    )


def _installed() -> list[tuple[str, Density, dict[str, Trace]]]:
    return [
        (name, density, traces)
        for name, (module, density, traces) in peer_estimators.PEERS.items()
        if importlib.util.find_spec(module) is not None
    ]


def densities(n: int) -> dict[str, Density]:
    """hessop's and those of what is installed, for an operator of this size."""
    found: dict[str, Density] = dict(zip(OURS, (plain, deflated), strict=True))
    found |= {name: density for name, density, _ in _installed()}
    if n <= _IMATE_MOST and importlib.util.find_spec("imate") is not None:
        found["imate 0.29.11"] = peer_estimators.imate
    return found


def traces() -> dict[str, Trace]:
    """Estimators of the trace alone, by package and method."""
    found = {f"hessop, {m}": ours_trace(m) for m in ("hutchinson", "hutch++", "xtrace")}
    for name, _, each in _installed():
        found |= {f"{name}, {method}": trace for method, trace in each.items()}
    return found
