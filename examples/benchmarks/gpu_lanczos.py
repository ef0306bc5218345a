"""Whole Lanczos runs on a device, for bench_gpu: eigenpairs without a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from examples.benchmarks import clock
from examples.benchmarks.gpu_bandwidth import READS, copying
from examples.benchmarks.gpu_problem import Problem
from examples.benchmarks.gpu_solvers import Pairs, ours, solvers

K, STEPS = 10, 100
TOL = 1e-3
"""Residuals, and differences of eigenvalues, relative to the largest one in magnitude."""

_ROUNDS = 5
_ENOUGH = 30.0  # seconds after which no further round begins
_ALONE = 20  # products measured alone in each round
_LARGE = 1 << 28  # entries of a basis that may need what others left behind
_COPIED = 1 << 28  # bytes, to measure the bandwidth with


class Judge:
    """Measures residuals by the plain product; eigenvalues must agree with the first good ones."""

    def __init__(self, problem: Problem) -> None:
        self._multiply = problem.plain
        self._first: np.ndarray | None = None
        self.refused: dict[str, str] = {}
        self.residual: dict[str, float] = {}
        self.steps: dict[str, int] = {}

    def look(self, who: str, found: Pairs | str) -> None:
        """At one result, or the reason why there is none."""
        if isinstance(found, str):
            self.refused[who] = found
            return
        w = found.w.double().cpu().numpy()
        sizes = np.sort(np.abs(w))
        pairs = zip(w, found.rows, strict=True)
        off = max(self._residual(float(value), v.contiguous()) for value, v in pairs) / sizes[-1]
        self.residual[who], self.steps[who] = float(off), found.steps
        if not off <= TOL:
            self.refused[who] = f"not converged, {off:.0e}"
        elif self._first is None:
            self._first = sizes
        elif not np.abs(sizes - self._first).max() <= TOL * sizes[-1]:
            self.refused[who] = f"other eigenvalues, by {np.abs(sizes - self._first).max():.1e}"

    def _residual(self, value: float, v: torch.Tensor) -> float:
        return float(torch.linalg.vector_norm(self._multiply(v) - value * v))


def measured(problem: Problem, small: bool) -> Iterator[dict[str, Any]]:
    """A row for each contender, for hessop as it is by default and, where that pays, recorded."""
    ways: dict[str, dict[str, Any]] = {"by default": {}}
    if problem.V.shape[1] * STEPS < _LARGE:  # a run may be too short to earn the recording back
        ways["linearized"] = {"mode": "linearized"}
    for way, how in ways.items():
        try:
            rows = _contest(problem, how, small)
        except Exception as error:
            rows = [{"who": "hessop", "refused": f"{type(error).__name__}: {str(error)[:150]}"}]
        clock.free_memory(problem.device)
        for row in rows:
            yield {"network": problem.title, "way": way, **row}


def _contest(problem: Problem, how: dict[str, Any], small: bool) -> list[dict[str, Any]]:
    """All in turns; hessop, and those on its products, with an operator made like that."""
    device, n = problem.device, problem.V.shape[1]
    v0 = torch.randn(n, generator=torch.Generator().manual_seed(0)).to(device)
    made, H = clock.timed(lambda: problem.hessian(**how), device)
    first = made + clock.seconds(lambda: ours(H, v0, K, STEPS), device)
    solves = solvers(problem, H, v0, K)
    for solve in solves.values():
        solve(K + 2)  # warm
    works = {who: lambda s=solve: s(STEPS) for who, solve in solves.items()}
    judge, alone = Judge(problem), list[float]()

    def before() -> None:
        if n * STEPS > _LARGE:
            clock.free_memory(device)

    def after(who: str, found: Any) -> None:
        judge.look(who, found)
        if who == "hessop":
            product = lambda: H.product.matmat(problem.V[:1])  # noqa: E731
            alone.extend(clock.seconds(product, device) for _ in range(_ALONE))

    laps = clock.turns(works, device, 2 if small else _ROUNDS, _ENOUGH, before, after)
    limit = READS["device"] * 4 * n * sum(range(1, STEPS + 1))
    limit /= copying(device, 1 << 24 if small else _COPIED)
    rows = []
    for who, times in laps.items():
        if who in judge.refused:
            rows.append({"who": who, "refused": judge.refused[who]})
            continue
        row = {"who": who, "steps": judge.steps[who], "residual": judge.residual[who]}
        row |= {"seconds": clock.median(times), "spread": clock.spread(times)}
        row |= {"rounds": len(times)}
        if "plain" not in judge.refused:
            row["ratio"] = clock.median(laps["plain"]) / row["seconds"]
        if who == "hessop":
            row["first"] = first
        if who != "plain":
            products = row["steps"] * clock.median(alone)
            row["outside"] = 1 - products / row["seconds"]
            if row["steps"] == STEPS:
                row["limit"] = limit / (limit + products)
        rows.append(row)
    return rows


HEADER = [
    "network", "hessop", "", "steps", "seconds", "spread", "plain's time over it", "with set-up",
    "outside products", "bandwidth's share", "residual",
]  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table; what is wrong has no time."""
    head = [row["network"], row["way"], row["who"]]
    if "refused" in row:
        return [*head, row["refused"], *[""] * 7]
    ratio, first = row.get("ratio"), row.get("first")
    return [
        *head,
        str(row["steps"]),
        f"{row['seconds']:.3g}",
        f"{row['spread']:.1%} of {row['rounds']}",
        "-" if ratio is None else f"{ratio:.2f}",
        "-" if ratio is None or first is None else f"{ratio * row['seconds'] / first:.2f}",
        f"{row['outside']:.1%}" if "outside" in row else "-",
        f"{row['limit']:.1%}" if "limit" in row else "-",
        f"{row['residual']:.0e}",
    ]
