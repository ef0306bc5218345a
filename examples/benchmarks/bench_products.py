"""
Cost of a product with a curvature matrix, in gradients: every mode, blocks, memory, and peers.

``python -m examples.benchmarks.bench_products --data DIR --out FILE``

Each network has a process of its own. In it, all contenders are timed in turn, round by round, so
that a drift of the machine's speed reaches all alike; a cell holds the median over the rounds,
divided by that of one gradient (a forward and a backward pass as in training). Set-up is timed
apart. A product is timed only after it has agreed with one computed by plain torch calls. Memory is
the high-water mark of a process that does nothing but one set-up and ten products, less that of a
process that computes gradients.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from examples import data
from examples.benchmarks import contenders, report
from examples.benchmarks.networks import LOSS, NAMES, Case, case

WIDTHS = (1, 2, 4, 8, 16)
SINGLE = {
    "Hessian": tuple(contenders.MODES),
    "GGN": tuple(mode for mode in contenders.MODES if "reverse" not in mode),
    "Fisher, mc": ("kept graph", "linearized"),
    "Fisher, empirical": ("kept graph", "linearized"),
}
MEMORY = ("kept graph", "recorded", "linearized", "reverse over reverse, nothing kept")


def gradient(case: Case) -> None:
    """One forward and one backward pass, as in training."""
    model, x, y = case
    torch.autograd.grad(LOSS(model(x), y), list(model.parameters()))


def plain(operator: str, case: Case, v: torch.Tensor) -> torch.Tensor | None:
    """The product that torch's documentation would give; None for sampled matrices."""
    model, x, y = case
    parameters = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        z = model(x)
        if operator == "Hessian":
            grads = torch.autograd.grad(LOSS(z, y), parameters, create_graph=True)
            flat = torch.cat([g.reshape(-1) for g in grads])
            return _flat(torch.autograd.grad(flat @ v, parameters))
        u = torch.zeros_like(z, requires_grad=True)
        image = _flat(torch.autograd.grad(z, parameters, u, create_graph=True))
        (Jv,) = torch.autograd.grad(image @ v, u)
        if operator == "GGN":
            p = z.detach().softmax(1)
            middle = p * (Jv - (p * Jv).sum(1, keepdim=True)) / y.numel()
        elif operator == "Fisher, empirical":
            g = z.detach().softmax(1)
            g.scatter_add_(1, y.unsqueeze(1), torch.full_like(g[:, :1], -1.0))
            middle = g * (g * Jv).sum(1, keepdim=True) / y.numel()
        else:
            return None
        return _flat(torch.autograd.grad(z, parameters, middle))


def _flat(pieces: Any) -> torch.Tensor:
    return torch.cat([piece.reshape(-1) for piece in pieces])


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Race:
    """Contenders for one network, each set up, checked, and timed in turn with the others."""

    def __init__(self, problem: Case) -> None:
        self.case = problem
        self.n = sum(p.numel() for p in problem[0].parameters())
        self.works: dict[str, Callable[[], object]] = {"gradient": lambda: gradient(problem)}
        self.setup: dict[str, float] = {}
        self.vectors = {"gradient": 1}

    def enter(
        self, key: str, operator: str, build: Callable[[], contenders.Multiply], width: int = 1
    ) -> None:
        """Set up and check; what is wrong, or cannot, is left out, and says so."""
        V = torch.randn(width, self.n, generator=torch.Generator().manual_seed(width))
        start = time.perf_counter()
        try:
            multiply = build()
            self.setup[key] = time.perf_counter() - start
            found = multiply(V)
        except Exception as error:
            print(f"{key}: left out ({type(error).__name__}: {str(error)[:150]})", file=sys.stderr)
            return
        expected = plain(operator, self.case, V[-1])
        bound = 2e-2 if "finite" in key else 1e-4
        if expected is not None:
            error = float((found[-1] - expected).detach().norm() / expected.norm())
            if not error < bound:
                print(f"{key}: wrong by {error:.1e}, not timed", file=sys.stderr)
                return
        self.works[key] = lambda: multiply(V)
        self.vectors[key] = width

    def run(self, rounds: int) -> dict[str, float]:
        """Median seconds per vector."""
        times: dict[str, list[float]] = {key: [] for key in self.works}
        for _ in range(rounds + 1):
            for key, work in self.works.items():
                times[key].append(seconds(work) / self.vectors[key])
        return {key: float(np.median(t[1:])) for key, t in times.items()}


def race(name: str, folder: str | None, rounds: int) -> dict[str, Any]:
    """All contenders on one network: first single vectors, then blocks."""
    found: dict[str, Any] = {}
    for part in ("single", "blocks"):
        contest = Race(case(name, folder))
        if part == "single":
            _enter_singles(contest)
        else:
            _enter_blocks(contest, peers_up_to=WIDTHS[-1] if name != "transformer" else 8)
        times = contest.run(rounds if part == "single" else max(3, rounds // 4))
        found[part] = {"times": times, "setup": contest.setup}
        del contest
        gc.collect()
    return found


def _enter_singles(contest: Race) -> None:
    for operator, modes in SINGLE.items():
        for mode in modes:
            build = lambda m=mode, o=operator: contenders.ours(o, m, contest.case)  # noqa: E731
            contest.enter(f"{operator} | hessop, {mode}", operator, build)
        for peer, make in contenders.peers(operator).items():
            build = lambda m=make, o=operator: m(o, contest.case)  # noqa: E731
            contest.enter(f"{operator} | {peer}", operator, build)


def _enter_blocks(contest: Race, peers_up_to: int) -> None:
    peers = contenders.peers("Hessian")
    for width in WIDTHS:
        for operator in ("Hessian", "GGN"):
            build = lambda w=width, o=operator: contenders.ours(o, "linearized", contest.case, w)  # noqa: E731
            contest.enter(f"{operator} | hessop, linearized | {width}", operator, build, width)
            if "curvlinops 3.0.1" in peers and width <= peers_up_to:
                build = lambda o=operator: contenders.curvlinops(o, contest.case)  # noqa: E731
                contest.enter(f"{operator} | curvlinops 3.0.1 | {width}", operator, build, width)


def high_water(name: str, folder: str | None, key: str) -> float:
    """Megabytes that a process needs at most for ten products, or gradients."""
    problem = case(name, folder)
    v = torch.ones(1, sum(p.numel() for p in problem[0].parameters()))
    if key == "gradient":
        work: Callable[[], object] = lambda: gradient(problem)  # noqa: E731
    else:
        peers = contenders.peers("Hessian")
        multiply = (
            peers[key]("Hessian", problem)
            if key in peers
            else contenders.ours("Hessian", key, problem)
        )
        work = lambda: multiply(v)  # noqa: E731
    for _ in range(10):
        work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(options: argparse.Namespace, *arguments: str) -> Any:
    command = [sys.executable, "-m", "examples.benchmarks.bench_products", *arguments]
    command += ["--rounds", str(options.rounds)]
    if options.data:
        command += ["--data", str(options.data)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def tables(options: argparse.Namespace) -> None:
    """Run everything, one process each, and publish."""
    names = options.networks.split(",")
    found = {name: _in_a_process(options, "--race", name) for name in names}
    keys = ["gradient", *MEMORY, *contenders.peers("Hessian")]
    memory = {
        name: {key: _in_a_process(options, "--memory", name, key) for key in keys} for name in names
    }
    header = ["", *(NAMES[name] for name in names)]
    sections = [
        ("Hessian, GGN, Fisher: one vector at a time, in gradients (set-up in seconds)",
         header, _single_rows(found)),
        ("Blocks of k vectors: cost per vector, in gradients", ["", "k", *header[1:]],
         _block_rows(found)),
        ("Memory of Hessian products beyond that of gradients, MB", header,
         [[key, *(f"{memory[n][key] - memory[n]['gradient']:.0f}" for n in names)]
          for key in keys[1:]]),
    ]  # fmt: skip
    base = ", ".join(
        f"{NAMES[n]}: {1e3 * found[n]['single']['times']['gradient']:.1f} ms" for n in names
    )
    note = (
        f"float32; medians of {options.rounds} rounds (blocks: a quarter) in which all took turns. "
        f"One gradient: {base}. curvlinops' Hessian is measured with `torch.func.grad` in the "
        "place of `jacrev`, without which it is wrong for layer norm. Left out: what is wrong or "
        "fails."
    )
    report.publish("Cost of a product with a curvature matrix", note, sections, options.out)


def _single_rows(found: dict[str, Any]) -> list[list[str]]:
    parts = [f["single"] for f in found.values()]
    keys = dict.fromkeys(key for part in parts for key in part["times"] if key != "gradient")
    return [
        [key.replace(" | ", ": "), *(_cell(part, key, with_setup=True) for part in parts)]
        for key in keys
    ]


def _block_rows(found: dict[str, Any]) -> list[list[str]]:
    parts = [f["blocks"] for f in found.values()]
    keys = dict.fromkeys(key for part in parts for key in part["times"] if key != "gradient")
    rows = []
    for key in sorted(keys, key=lambda k: (k.split(" | ")[:2], int(k.split(" | ")[2]))):
        operator, who, width = key.split(" | ")
        rows.append([f"{operator}: {who}", width, *(_cell(part, key) for part in parts)])
    return rows


def _cell(part: dict[str, Any], key: str, with_setup: bool = False) -> str:
    if key not in part["times"]:
        return "-"
    ratio = f"{part['times'][key] / part['times']['gradient']:.2f}"
    return f"{ratio} ({part['setup'][key]:.2g} s)" if with_setup else ratio


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_option(parser)
    report.add_option(parser)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--networks", default=",".join(NAMES), help="mlp,transformer,cnn")
    parser.add_argument("--race", metavar="NETWORK", help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.race:
        print(json.dumps(race(options.race, options.data, options.rounds)))
    elif options.memory:
        print(json.dumps(high_water(options.memory[0], options.data, options.memory[1])))
    else:
        tables(options)


if __name__ == "__main__":
    main()
