"""Products per second on a device, for bench_gpu: every mode in turns with the plain algorithm."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import torch

from examples.benchmarks import clock, eigenthings
from examples.benchmarks.gpu_problem import Problem

RIGHT, ROUGH = 1e-4, 5e-2
"""What a product may be wrong by, relative to its norm; in TensorFloat-32."""

_ROUNDS = 200
_ENOUGH = 4.0  # seconds after which no further round of a duel begins
_FIRST = 3  # products until all is set up: built, recorded, captured
_EXPECTED = 100  # products that an operator is told to expect, as by a solver

Build = Callable[[], eigenthings.Multiply]


def measured(problem: Problem, brief: bool) -> Iterator[dict[str, Any]]:
    """A row for each contender, as it is done; `brief` for trying out."""
    for who, (build, bound) in _contenders(problem).items():
        row = {"who": who, "network": problem.title, "bound": bound}
        try:
            row |= _duel(problem, build, bound, brief)
        except Exception as error:
            row["refused"] = f"{type(error).__name__}: {str(error)[:150]}"
        clock.free_memory(problem.device)  # one operator at a time: each may fill the card
        yield row


def _contenders(problem: Problem) -> dict[str, tuple[Build, float]]:
    """What is measured, and the error that it may have."""
    case = problem.model, problem.batches
    found: dict[str, tuple[Build, float]] = {"plain": (lambda: problem.plain, RIGHT)}
    found["plain, TF32"] = (lambda: eigenthings.in_tf32(problem.plain), ROUGH)
    if importlib.util.find_spec("hessian_eigenthings"):
        found["hessian-eigenthings"] = (lambda: eigenthings.package(*case), RIGHT)
    hows: dict[str, dict[str, Any]] = {"hessop": {}, "hessop, kept graph": {"mode": "kept"}}
    for mode in ("recorded", "linearized"):
        hows[f"hessop, {mode}, no CUDA graphs"] = {"mode": mode, "cuda_graphs": False}
        if problem.device.type == "cuda":
            hows[f"hessop, {mode}, CUDA graphs"] = {"mode": mode, "cuda_graphs": True}
    for who, how in hows.items():
        found[who] = (lambda how=how: _ours(problem, **how), RIGHT)
    found["hessop, TF32"] = (lambda: _ours(problem, precision="high"), ROUGH)
    return found


def _ours(problem: Problem, **how: Any) -> eigenthings.Multiply:
    H = problem.hessian(**how)
    H.product.expect(_EXPECTED)
    return lambda v: H.product.matmat(v[None])[0]


def _duel(problem: Problem, build: Build, bound: float, brief: bool) -> dict[str, Any]:
    """
    Set-up, times in turns with the plain algorithm, and the error.

    The error is that of products after the timed ones, in the state in which those were: what is
    captured late, or overwrites itself, is found.
    """
    device, v = problem.device, problem.V[0]
    ready, multiply = clock.timed(lambda: _ready(build, v), device)
    works = {"it": lambda: multiply(v), "plain": lambda: problem.plain(v)}
    clock.turns(works, device, 2, _ENOUGH)  # warm
    laps = clock.turns(works, device, 5 if brief else _ROUNDS, _ENOUGH)
    error = problem.error(multiply)
    if not error < bound:
        return {"refused": f"wrong by {error:.1e}", "error": error}
    each = clock.median(laps["it"])
    return {
        "error": error,
        "setup": max(0.0, ready - _FIRST * each),
        "seconds": each,
        "spread": clock.spread(laps["it"]),
        "ratio": clock.median(laps["plain"]) / each,
        "rounds": len(laps["it"]),
    }


def _ready(build: Build, v: torch.Tensor) -> eigenthings.Multiply:
    """Built, and used until nothing more is set up."""
    multiply = build()
    for _ in range(_FIRST):
        multiply(v)
    return multiply


HEADER = ["network", "", "products / s", "spread", "plain's time over it", "set-up, s", "error"]


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table; what is wrong has no time."""
    if "refused" in row:
        return [row["network"], row["who"], row["refused"], "", "", "", ""]
    rough = " (TF32)" if row["bound"] == ROUGH else ""
    return [
        row["network"],
        row["who"],
        f"{1 / row['seconds']:.4g}",
        f"{row['spread']:.1%} of {row['rounds']}",
        f"{row['ratio']:.2f}{rough}",
        f"{row['setup']:.2g}",
        f"{row['error']:.1e}{rough}",
    ]
