"""Wall time of a density on real networks, for bench_density: each by its own products."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import hessop
from examples.benchmarks import contenders, estimators, report
from examples.benchmarks.networks import LOSS, NAMES, Case, case
from examples.benchmarks.peer_estimators import Density, Rule
from examples.benchmarks.solvers import Counted

Job = Callable[[Case, int, int], tuple[float, Rule]]
"""Of a network, with so many probes and steps: seconds of set-up, and the density."""

_ENOUGH = 200.0  # seconds after which no further round begins
_SIGMAS = 4.0  # standard errors that the trace of a right density may be off
_TOP = 0.01  # share of the largest eigenvalue that its largest node may be off


@dataclass(frozen=True)
class Reference:
    """What is known of a Hessian: trace, largest eigenvalue, sum of squares of eigenvalues."""

    trace: float
    top: float
    squares: float

    @classmethod
    def of(cls, problem: Case) -> Reference:
        """By estimates good enough to tell a wrong density."""
        model, x, y = problem
        H = hessop.HessianOperator(model, LOSS, (x, y), check=False)
        found = hessop.lanczos(H, 20, tol=1e-3, rng=0)
        density = hessop.slq(H, n_probes=5, ncv=20, lock=found, rng=0)
        trace = hessop.trace(H, method="xtrace", n_matvec=100, rng=0)
        return cls(float(trace), float(found.eigenvalues.max()), float(density.trace(np.square)))

    def refuses(self, rule: Rule, n: int, probes: int) -> str | None:
        """What is wrong with a density."""
        trace, top = n * float(rule[1] @ rule[0]), float(rule[0].max())
        slack = _SIGMAS * (2 * self.squares / probes) ** 0.5  # Gaussian probes; signs have less
        if abs(trace - self.trace) > slack:
            return f"a trace of {trace:.4g}, not {self.trace:.4g} +- {slack:.2g}"
        if abs(top - self.top) > _TOP * self.top:
            return f"a largest eigenvalue of {top:.4g}, not {self.top:.4g}"
        return None


def ours(problem: Case, probes: int, steps: int) -> tuple[float, Rule]:
    """hessop, as it is by default."""
    model, x, y = problem
    started = time.perf_counter()
    H = hessop.HessianOperator(model, LOSS, (x, y))
    ready = time.perf_counter() - started
    return ready, estimators.rule_of(hessop.slq(H, n_probes=probes, ncv=steps, rng=0))


def theirs(build: Callable[..., contenders.Multiply], density: Density) -> Job:
    """A peer's algorithm on its own products."""

    def run(problem: Case, probes: int, steps: int) -> tuple[float, Rule]:
        n = sum(p.numel() for p in problem[0].parameters())
        started = time.perf_counter()
        multiply = build("Hessian", problem)
        ready = time.perf_counter() - started
        H = hessop.TorchOperator(lambda X: multiply(X.T.contiguous()).T, n)
        return ready, density(Counted(H), probes, steps, 0)

    return run


def jobs(wanted: str) -> dict[str, Job]:
    """hessop and those wanted of the peers that have both products and a density."""
    found: dict[str, Job] = {"hessop": ours}
    known = estimators.densities(sys.maxsize)
    for name, build in contenders.peers("Hessian").items():
        if any(part in name for part in wanted.split(",")):
            found[name] = theirs(build, known[name])
    return found


def tables(options: argparse.Namespace) -> None:
    """Time all in turns, and publish medians."""
    shape, rows = (options.probes, options.steps), []
    for name in options.networks.split(","):
        problem = case(name, options.data)
        n = sum(p.numel() for p in problem[0].parameters())
        reference = Reference.of(problem)
        seconds: dict[str, list[tuple[float, float]]] = {who: [] for who in jobs(options.peers)}
        begun = time.perf_counter()
        for _ in range(options.rounds):
            if any(seconds.values()) and time.perf_counter() - begun > _ENOUGH:
                break
            for who, job in jobs(options.peers).items():
                problem[0].zero_grad(set_to_none=True)
                gc.collect()
                started = time.perf_counter()
                ready, rule = job(problem, *shape)
                seconds[who].append((time.perf_counter() - started, ready))
                wrong = reference.refuses(rule, n, shape[0])
                if wrong:
                    raise SystemExit(f"{who}, {name}: {wrong}")
            print(name, seconds, file=sys.stderr, flush=True)
        medians = {who: np.median(each, axis=0) for who, each in seconds.items()}
        total = medians["hessop"][0]
        for who, (whole, ready) in medians.items():
            ratio = f"{total / whole:.2f}"
            rounds = str(len(seconds[who]))
            rows.append([NAMES[name], who, rounds, f"{whole:.2f}", f"{ready:.2f}", ratio])
    header = ["Hessian", "", "rounds", "seconds", "of which set-up", "hessop's time over it"]
    report.publish(
        "Wall time of a spectral density",
        f"{shape[0]} probes of {shape[1]} steps, float32; medians of rounds in "
        "turns. Everything is timed that turns model, loss and data into nodes and weights; "
        "curvlinops is spared the products for the ends of its picture. A density whose trace or "
        "largest eigenvalue is wrong ends the run.",
        [("", header, rows)],
        options.out,
    )
