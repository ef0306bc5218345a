"""
A GPU's share: products, whole Lanczos runs and reorthogonalisation on one card.

``python -m examples.benchmarks.bench_gpu --out FILE --json FILE``, and with ``--device cpu
--small`` to try it out.

"plain" is hessian-eigenthings' algorithm written out (`eigenthings`), on the same card and, unless
it says TF32, in full float32. Each network has a process of its own, and what it has measured is
written as JSON at once, so that a run that is ended leaves what it has. Products are checked
against float64, after they were timed; eigenpairs by their residuals and with one another. What is
wrong, or has not converged, has no time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from examples import data
from examples.benchmarks import (
    clock,
    eigenthings,
    gpu_bandwidth,
    gpu_lanczos,
    gpu_products,
    report,
)
from examples.benchmarks.gpu_problem import Problem
from examples.benchmarks.networks import ON_GPU

# the longest last: the time may end
CASES = ("mlp", "bandwidth", "mlp-batches", "transformer", "resnet")
PARTS = {
    "products": ("Products, one vector at a time", gpu_products),
    "lanczos": ("Whole Lanczos runs, without a restart", gpu_lanczos),
    "bandwidth": ("One step of reorthogonalisation, products left out", gpu_bandwidth),
}
TARGETS = (
    "Targets: whole runs of all steps in a tenth of the plain time on the MLP and half of it on "
    "GPT-2 small, there with at most 3 percent outside products; a step of reorthogonalisation "
    "within 1.3 of the limit."
)


def rows(name: str, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """What one case measures, and which part each row belongs to."""
    device = torch.empty(0, device=options.device).device  # with its number, as tensors have it
    eigenthings.full_precision()
    if name == "bandwidth":
        for row in gpu_bandwidth.measured(device, options.small):
            yield name, row
        return
    problem = Problem.of(name, options.data, options.sequences, options.small, device)
    for row in gpu_lanczos.measured(problem, options.small):
        yield "lanczos", row
    clock.free_memory(device)
    for row in gpu_products.measured(problem, options.small):
        yield "products", row


def in_a_process(name: str, options: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """Its rows as they come; the last says how it ended, if that was not well."""
    command = [sys.executable, "-m", "examples.benchmarks.bench_gpu", "--case", name]
    command += ["--device", options.device, "--sequences", str(options.sequences)]
    command += ["--small"] if options.small else []
    command += ["--data", str(options.data)] if options.data else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        alarm = threading.Timer(max(0.0, until - time.monotonic()), process.kill)
        alarm.start()
        for line in process.stdout:
            yield json.loads(line)
        code = process.wait()
        alarm.cancel()
    if code:
        yield {"part": "ended", "case": name, "code": code}


def everything(options: argparse.Namespace) -> dict[str, Any]:
    """All cases one after the other, recorded row by row."""
    found: dict[str, Any] = {"machine": report.machine(options.device), "rows": []}
    until = time.monotonic() + 60 * options.minutes
    for name in options.only.split(",") if options.only else CASES:
        for row in in_a_process(name, options, until):
            found["rows"].append(row)
            report.record(found, options.json)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return found


def tables(options: argparse.Namespace) -> None:
    """Run everything and publish."""
    found = everything(options)["rows"]
    sections = [
        (title, part.HEADER, [part.cells(row) for row in found if row["part"] == name])
        for name, (title, part) in PARTS.items()
    ]
    notes = [__doc__.split("\n\n")[-1].replace("\n", " ").strip(), TARGETS]
    notes.append(
        f"Lanczos: k = {gpu_lanczos.K} of largest magnitude; {gpu_lanczos.TOL:g} of the largest "
        "is what a residual, and a difference, may be. hessop.lanczos ends when all have "
        'converged to rounding; "all steps" is for equal work. Set-up is in the column that says '
        "so and nowhere else. Outside products: what the same number of products takes less, each "
        "waited for, in hessop's own; the bandwidth's share is what one pass of Gram-Schmidt in "
        "each step, which reads the basis twice, would be of the whole. The limit of the last "
        "table: so many passes at the speed of a copy on the device, or, for a basis on the host, "
        "which is read once in a pass, of one from pinned memory. "
        f"Products may be wrong by {gpu_products.RIGHT:g}, in TF32 by {gpu_products.ROUGH:g}. "
        "Spread: half the distance of the quartiles."
    )
    if options.device == "cpu":
        notes.append("Without a GPU: CuPy, CUDA graphs and bases on the host are left out.")
    ended = [f"{row['case']} ({row['code']})" for row in found if row["part"] == "ended"]
    if ended:
        notes.append(f"Ended early: {', '.join(ended)}.")
    filled = [section for section in sections if section[2]]
    note = "\n\n".join(notes)
    report.publish("On a GPU", note, filled, options.out, options.device)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_option(parser)
    report.add_option(parser)
    parser.add_argument("--json", type=Path, help="file for what was measured, as it comes")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="tiny networks, few rounds")
    parser.add_argument("--only", help=", ".join((*ON_GPU, "bandwidth")))
    parser.add_argument("--sequences", type=int, default=8, help="of 512 tokens, for GPT-2 small")
    parser.add_argument("--minutes", type=float, default=8.5, help="after which cases are ended")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        for part, row in rows(options.case, options):
            print(json.dumps({"part": part, "case": options.case, **row}), flush=True)
    else:
        tables(options)


if __name__ == "__main__":
    main()
