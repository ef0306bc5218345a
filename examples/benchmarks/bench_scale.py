"""
The leading eigenvalues of a transformer of the size of GPT-2 small, killed half-way and resumed.

``python -m examples.benchmarks.bench_scale --data DIR --folder DIR --out FILE``

124 million parameters at initialisation, a short text, k = 5 to 1e-3. The Lanczos vectors, half a
gigabyte each, lie in files in `--folder`. A process of its own is killed after `--kill` products;
this one goes on from its checkpoint. On two cores it takes about half an hour.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

import hessop
from examples import data
from examples.benchmarks import report
from examples.benchmarks.networks import LOSS
from examples.models import CharTransformer

SMALL = {"vocab": 50257, "context": 64, "width": 768, "heads": 12, "layers": 12}


def search(options: argparse.Namespace, kill: int | None) -> tuple[hessop.EigenResult, int]:
    """The eigenvalues, and the number of parameters; ends the process after `kill` products."""
    torch.manual_seed(0)
    sizes = SMALL if options.layers == 12 else {**SMALL, "layers": options.layers, "width": 96}
    model = CharTransformer(**sizes)
    x, y = data.characters(options.data, 4)
    H = hessop.HessianOperator(model, LOSS, (x, y), mode="kept", check=False)

    def callback(state: hessop.LanczosState) -> None:
        print(f"{state.n_matvec} products, {time.perf_counter() - started:.0f} s", flush=True)
        if kill is not None and state.n_matvec >= kill:
            os.kill(os.getpid(), signal.SIGKILL)

    started = time.perf_counter()
    file = Path(options.folder) / "bench_scale.checkpoint"
    # 22 vectors and a checkpoint of as many stay in 24 GiB of memory, though they are on the disk
    how = {"basis": options.folder, "checkpoint": file, "callback": callback, "rng": 0, "ncv": 22}
    return hessop.lanczos(H, 5, which="LA", tol=1e-3, **how), H.shape[0]


def main() -> None:
    """Be killed, resume, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_option(parser)
    report.add_option(parser)
    parser.add_argument("--folder", required=True, help="where vectors and checkpoint lie")
    parser.add_argument("--kill", type=int, default=15, help="products before the kill")
    parser.add_argument("--layers", type=int, default=12, help="fewer make a rehearsal")
    parser.add_argument("--victim", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.victim:
        search(options, options.kill)
    victim = [sys.executable, "-m", "examples.benchmarks.bench_scale", *sys.argv[1:], "--victim"]
    ended = subprocess.run(victim, check=False).returncode
    assert ended == -signal.SIGKILL, ended
    started = time.perf_counter()
    result, n = search(options, None)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    header = ["eigenvalue", "residual", "error bound", "converged"]
    rows = [
        [f"{w:.6g}", f"{r:.1e}", f"{b:.1e}", "yes" if c else "no"]
        for w, r, b, c in zip(
            result.eigenvalues, result.residuals, result.error_bounds, result.converged,
            strict=True,
        )
    ]  # fmt: skip
    note = (
        f"{n:,} parameters, killed after {options.kill} products, resumed; {result.n_matvec} "
        f"products in all, {seconds:.0f} s after the kill. Peak resident memory {peak:.1f} GiB, of "
        f"which the mapped vectors ({n * 4 / 1e9:.2f} GB each, on disk) may be evicted. "
        f"Complete: {result.complete}."
    )
    report.publish("A transformer of GPT-2-small's size", note, [("", header, rows)], options.out)


if __name__ == "__main__":
    main()
