"""
What ``mode="auto"`` costs over 20, 100 and 1000 products, set-up included, beside fixed modes.

``python -m examples.benchmarks.bench_auto --data DIR --out FILE``

For each number of products, ``auto`` is told how many to expect, as a solver would tell it, and
takes turns with the fixed modes, product by product, for `--rounds` products. Those in which
something is set up or decided count at what they took, all others at the median.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
import torch

import hessop
from examples import data
from examples.benchmarks import report
from examples.benchmarks.networks import LOSS, NAMES, Case, case

FIXED = ("kept", "recorded", "linearized")
COUNTS = (20, 100, 1000)


def build(problem: Case, mode: str, operator: type) -> hessop.HessianOperator:
    """An operator that has done nothing yet."""
    model, x, y = problem
    return operator(model, LOSS, (x, y), mode=mode, check=False)


def totals(
    problem: Case, operator: type, count: int, rounds: int
) -> tuple[dict[str, float], hessop.HessianOperator]:
    """Seconds of `count` products by each mode, and the operator that chose."""
    works = {mode: build(problem, mode, operator) for mode in (*FIXED, "auto")}
    works["auto"].product.expect(count)
    v = torch.randn(1, works["auto"].shape[0])
    laps: dict[str, list[Lap]] = {mode: [] for mode in works}
    for _ in range(min(rounds, count)):
        for mode, A in works.items():
            decisions = A.report().notes
            start = time.perf_counter()
            A.product.matmat(v)
            seconds, report = time.perf_counter() - start, A.report()
            laps[mode].append(Lap(seconds, report.stage, report.notes != decisions))
    return {mode: _total(found, count) for mode, found in laps.items()}, works["auto"]


class Lap(NamedTuple):
    """One product: its time, the way it went, and whether anything was decided in it."""

    seconds: float
    stage: str
    decided: bool


def _total(laps: list[Lap], count: int) -> float:
    """
    Seconds of `count` products.

    The first two, and those in which something was decided, at what they took; the others at the
    median of those that went the same way, so that a hiccup of the machine counts for nobody.
    """
    special = {0, 1} | {i for i, lap in enumerate(laps) if lap.decided}
    total = sum(laps[i].seconds for i in special)
    usual: dict[str, float] = {}
    for stage in {lap.stage for lap in laps}:
        same = [p for i, p in enumerate(laps) if p.stage == stage and i not in special]
        usual[stage] = float(np.median([p.seconds for p in same])) if same else 0.0
    total += sum(usual[lap.stage] for i, lap in enumerate(laps) if i not in special)
    return total + (count - len(laps)) * usual[laps[-1].stage]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_option(parser)
    report.add_option(parser)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    rows = []
    for name in NAMES:
        problem = case(name, options.data)
        totals(problem, hessop.HessianOperator, 3, 3)  # what a process does once
        for operator in (hessop.HessianOperator, hessop.GGNOperator):
            for count in COUNTS:
                seconds, A = totals(problem, operator, count, options.rounds)
                best = min(seconds[mode] for mode in FIXED)
                rows.append(
                    [
                        NAMES[name],
                        operator.__name__.removesuffix("Operator"),
                        str(count),
                        *(f"{seconds[mode]:.2f}" for mode in (*FIXED, "auto")),
                        A.report().stage,
                        f"{seconds['auto'] / best:.2f}",
                    ]
                )
    header = ["network", "operator", "products", *FIXED, "auto", "chosen", "auto / best fixed"]
    note = "Seconds for all products, set-up included."
    report.publish("The choice of mode, in seconds", note, [("", header, rows)], options.out)


if __name__ == "__main__":
    main()
