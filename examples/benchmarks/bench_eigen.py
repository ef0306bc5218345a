"""
Eigensolvers on Hessians of real networks: products, time beside them, memory.

``python -m examples.benchmarks.bench_eigen --data DIR --out FILE``

All solvers are handed the same operator. A cell holds products, and the time spent outside them
as a share of the whole. A set that differs from the reference (`hessop.lanczos` at a tenth of the
tolerance, residuals measured) by more than the tolerance is not timed: "wrong", or "gave up".
"optimum" is a Lanczos process with full orthogonality that is never restarted, stopped as soon as
all k residuals are small enough. Who needs `--most` times as many products (and at least 100) is
stopped. Memory is what a process of its own needs more at its peak than
one that multiplies and does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

import hessop
from examples import data
from examples.benchmarks import report
from examples.benchmarks.networks import LOSS, NAMES, Case, case
from examples.benchmarks.solvers import Counted, GaveUpError, solvers
from examples.models import mlp

CASES = {"digits": "MLP 64-32-10, digits", **{k: NAMES[k] for k in ("mlp", "transformer")}}


def problem(name: str, state: str, folder: str | None) -> Case:
    """A network at initialisation, or after 300 steps of Adam on its batch."""
    if name == "digits":
        torch.manual_seed(0)
        x, y = data.digits()
        found: Case = (mlp((x.shape[1], 32, 10), torch.nn.Tanh), x, y)
    else:
        found = case(name, folder)
    model, x, y = found
    if state == "trained":
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(300):
            optimizer.zero_grad()
            LOSS(model(x), y).backward()
            optimizer.step()
    if name != "transformer":  # so that 1e-6 lies above rounding
        model.double()
        x = x.double()
    return model, x, y


def optimum(A: Counted, k: int, tol: float) -> int:
    """Products of unrestarted Lanczos with full orthogonality, looked at after each."""
    steps = 0

    def look(state: hessop.LanczosState) -> bool:
        nonlocal steps
        steps = state.n_matvec
        return steps >= k and bool(state.converged.all())

    n = A.operator.shape[0]
    hessop.lanczos(A.operator, k, tol=tol, rng=0, verify=False, ncv=n, callback=look)
    return steps


def measure(
    name: str, state: str, ks: list[int], tols: list[float], folder: str | None, most: int
) -> Any:
    """All solvers on one Hessian."""
    model, x, y = problem(name, state, folder)
    H = hessop.HessianOperator(model, LOSS, (x, y), mode="recorded", check=False)
    for _ in range(3):
        H @ np.ones(H.shape[0])
    rows = []
    for k in ks:
        for tol in tols:
            reference = hessop.lanczos(H, k, tol=tol / 10, verify=True, rng=1)
            exact = np.sort(np.abs(reference.eigenvalues))
            best = optimum(Counted(H), k, tol)
            cells = [str(best)]
            for solve in solvers().values():
                A = Counted(H, max(most * best, 100))
                started = time.perf_counter()
                try:
                    found = solve(A, k, tol)
                except GaveUpError:
                    cells.append(f"> {A.count}")
                    continue
                seconds = time.perf_counter() - started
                cells.append(_cell(A, found, exact, tol, seconds))
            rows.append([f"{CASES[name]}, {state}", str(k), f"{tol:g}", *cells])
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _cell(A: Counted, found: Any, exact: Any, tol: float, seconds: float) -> str:
    if found is None:
        return "gave up"
    off = np.abs(np.sort(np.abs(np.float64(found))) - exact).max()
    if off > 2 * tol * exact.max():
        return f"wrong ({A.count})"
    return f"{A.count} ({(seconds - A.seconds) / seconds:.0%})"


def high_water(name: str, folder: str | None, solver: str, k: int) -> float:
    """Megabytes that a process needs at most."""
    model, x, y = problem(name, "initial", folder)
    H = hessop.HessianOperator(model, LOSS, (x, y), mode="recorded", check=False)
    for _ in range(20):
        H @ np.ones(H.shape[0])
    if solver != "products":
        with contextlib.suppress(GaveUpError):  # memory has long stopped growing by then
            solvers()[solver](Counted(H, 30 * k), k, 1e-3)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(options: argparse.Namespace, *arguments: str) -> Any:
    command = [sys.executable, "-m", "examples.benchmarks.bench_eigen", *arguments]
    command += ["--ks", options.ks, "--tols", options.tols, "--most", str(options.most)]
    if options.data:
        command += ["--data", str(options.data)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def tables(options: argparse.Namespace) -> None:
    """Run everything, one process each, and publish."""
    names, rows, memory = options.networks.split(","), [], []
    for name in names:
        for state in ("initial", "trained"):
            rows += _in_a_process(options, "--measure", name, state)
    for name in names:
        base = _in_a_process(options, "--memory", name, "products", "10")
        cells = [
            f"{_in_a_process(options, '--memory', name, who, '10') - base:.0f}" for who in solvers()
        ]
        memory.append([CASES[name], *cells])
    report.publish(
        "Eigensolvers on Hessians",
        "Products, and in parentheses the share of time spent outside them. float64, the "
        "transformer float32. eigsh, lobpcg and PRIMME multiply through NumPy.",
        [
            ("Products", ["Hessian", "k", "tol", "optimum", *solvers()], rows),
            ("Memory beyond that of products, k = 10, MB", ["Hessian", *solvers()], memory),
        ],
        options.out,
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_option(parser)
    report.add_option(parser)
    parser.add_argument("--networks", default=",".join(CASES))
    parser.add_argument("--ks", default="1,10,50,100")
    parser.add_argument("--tols", default="1e-3,1e-6")
    parser.add_argument("--most", type=int, default=4, help="times the optimum's products")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.data
    if options.measure:
        name, state = options.measure
        tols = [float(tol) for tol in options.tols.split(",")]
        if name == "transformer":
            tols = [tol for tol in tols if tol > 1e-5]  # in single precision
        ks = [int(k) for k in options.ks.split(",")]
        print(json.dumps(measure(name, state, ks, tols, folder, options.most)))
    elif options.memory:
        name, solver, k = options.memory
        print(json.dumps(high_water(name, folder, solver, int(k))))
    else:
        tables(options)


if __name__ == "__main__":
    main()
