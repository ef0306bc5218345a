"""
Spectral densities and traces by hessop and its peers: error for the same products, and time.

``python -m examples.benchmarks.bench_density --data DIR --cache DIR --out FILE``

Errors (``--what error``, the default): all multiply with the same operator, whose eigenvalues are
all known, and their products are counted; who has made another number than the table says ends the
run. Densities are judged before they are smoothed. Time (``--what time``): each with its own
operator on the real network, set-up included, in turns; a wrong density ends the run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable

import numpy as np
from scipy.stats import gmean, wasserstein_distance

from examples.benchmarks import density_times, exact, report
from examples.benchmarks.estimators import OURS, densities, split, traces
from examples.benchmarks.exact import Known
from examples.benchmarks.peer_estimators import Density, Trace
from examples.benchmarks.solvers import Counted

NOTE = (
    "Products are of one vector each and counted. A density has ten probes, or fewer so that each "
    "has twenty steps; locked: twenty outliers, found by products that count. Errors are means "
    "over {seeds} seeds ({hessian_seeds} for Hessians), in percent. Distance: Wasserstein-1 "
    "to the eigenvalues, of the mean magnitude s of an eigenvalue. Trace: of the sum of "
    "magnitudes, n s. Log-determinant: of 1 + (A / s)^2, relative. A made-up operator has a "
    "uniformly random eigenbasis."
)
_SPARE = 9  # products that may be left over, where they must divide equally
MEASURES = ("distance", "trace", "log-det.")

Run = Callable[[Counted, int, int], list[float]]
"""Errors in percent, of an operator with so many products, by a seed."""

Errors = dict[str, np.ndarray]
"""Mean errors by contender: an array (numbers of products, measures)."""


def judge(density: Density, w: np.ndarray) -> Run:
    """The three errors of a density."""
    s = np.abs(w).mean()

    def logs(values: np.ndarray) -> np.ndarray:
        out: np.ndarray = np.log1p((values / s) ** 2)
        return out

    def run(A: Counted, budget: int, seed: int) -> list[float]:
        x, share = density(A, *split(budget), seed)
        distance = wasserstein_distance(x, w, share) / s
        trace = abs(share @ x - w.mean()) / s
        return [100 * distance, 100 * trace, 100 * abs(share @ logs(x) / logs(w).mean() - 1)]

    return run


def judge_trace(trace: Trace, w: np.ndarray) -> Run:
    """The error of a trace."""
    return lambda A, budget, seed: [100 * abs(trace(A, budget, seed) - w.sum()) / np.abs(w).sum()]


def errors(known: Known, contenders: dict[str, Run], products: list[int], seeds: int) -> Errors:
    """Mean errors of all contenders."""
    found = {}
    for name, run in contenders.items():
        rows = []
        for budget in products:
            each = []
            for seed in range(seeds):
                A = Counted(known.operator)
                each.append(run(A, budget, seed))
                if not budget - _SPARE <= A.count <= budget:
                    raise SystemExit(f"{name} made {A.count} products in the place of {budget}")
                if not np.isfinite(each[-1]).all():
                    raise SystemExit(f"{name} found {each[-1]}")
            rows.append(np.mean(each, axis=0))
        found[name] = np.array(rows)
        print(known.name, name, np.round(found[name], 2).tolist(), file=sys.stderr, flush=True)
    return found


def ratios(found: Errors) -> list[str]:
    """Errors of ours over the geometric mean of the peers', geometric means over products."""
    peers = [e for name, e in found.items() if name not in OURS]
    if not peers:
        return ["-"] * (len(OURS) * len(MEASURES))
    theirs = gmean(peers, axis=0)
    return [f"{ratio:.2f}" for name in OURS for ratio in gmean(found[name] / theirs, axis=0)]


def section(known: Known, found: Errors, products: list[int]) -> report.Section:
    """A table of errors: a row for each contender, and for each measure all numbers of products."""
    names = MEASURES if next(iter(found.values())).shape[1] > 1 else ("trace",)
    header = [known.name, *(f"{name}, {budget}" for name in names for budget in products)]
    rows = [[name, *(f"{e:.2f}" for e in rows.T.ravel())] for name, rows in found.items()]
    return "", header, rows


def tables(options: argparse.Namespace) -> None:
    """Measure all errors, and publish them."""
    products = [int(count) for count in options.products.split(",")]
    summary, shown, alone = [], [], []
    cases: list[tuple[Iterable[Known], int]] = [
        (exact.made_up(options.n), options.seeds),
        (exact.hessians(options.data, options.cache), options.hessian_seeds),
    ]
    for known, seeds in ((known, seeds) for each, seeds in cases for known in each):
        w = known.eigenvalues
        runs = {name: judge(d, w) for name, d in densities(len(w)).items()}
        found = errors(known, runs, products, seeds)
        summary.append([known.name, *ratios(found)])
        shown.append(section(known, found, products))
        runs = {name: judge_trace(t, w) for name, t in traces().items()}
        alone.append(section(known, errors(known, runs, products, seeds), products))
    header = ["", *(f"{name}: {measure}" for name in OURS for measure in MEASURES)]
    shown[0] = ("Densities, errors in percent", *shown[0][1:])
    alone[0] = ("Traces alone, errors in percent", *alone[0][1:])
    report.publish(
        "Spectral densities for the same number of products",
        NOTE.format(**vars(options)),
        [("Error over the peers'", header, summary), *shown, *alone],
        options.out,
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    exact.add_options(parser)
    report.add_option(parser)
    parser.add_argument("--what", choices=("error", "time"), default="error")
    parser.add_argument("--products", default="100,200,400,800")
    parser.add_argument("--n", type=int, default=2000, help="of made-up operators")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--hessian-seeds", type=int, default=10)
    parser.add_argument("--probes", type=int, default=10, help="for --what time")
    parser.add_argument("--steps", type=int, default=50, help="of each probe, for --what time")
    parser.add_argument("--networks", default="mlp,transformer", help="for --what time")
    parser.add_argument("--peers", default="", help="parts of names, for --what time; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="for --what time")
    options = parser.parse_args()
    if options.what == "time":
        density_times.tables(options)
    else:
        tables(options)


if __name__ == "__main__":
    main()
