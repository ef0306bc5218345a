"""Changing how kept batches are multiplied: record them, compare, and only then switch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from hessop._memory import out_of_memory
from hessop.curvature.agreement import disagreement
from hessop.curvature.layout import Layout
from hessop.curvature.store import Held, Store
from hessop.curvature.tape import Tape
from hessop.curvature.ways import LINEARIZED, Planner


def now(device: torch.device) -> float:
    """Seconds, when the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def shortest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of up to four runs, fewer where one takes long; the first is lost."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < 4 and sum(times) < 0.2):
        started = now(device)
        work()
        times.append(now(device) - started)
    return min(times[1:])


def upgrade(store: Store, planner: Planner, stage: str) -> None:
    """
    Record every batch that is kept, by the way of `stage`.

    A tape is used when it agrees with what it replaces, to rounding, and is faster, and its
    constants fit into the budget; the first batch speaks for all in what concerns speed.
    """
    device = store.objective.space.device
    started, changed, problem = now(device), 0, "the tape of no batch fits into memory"
    for held in store.held.values():
        try:
            held.local.prepare()
            tapes = {n: m.record(stage == LINEARIZED) for n, m in held.maps.items()}
            objection = _objection(held, tapes, compare_speed=not (changed or planner.decided))
        except Exception as error:  # whatever torch cannot trace, the graph still can do
            if out_of_memory(error):
                raise
            objection = f"{type(error).__name__}: {str(error)[:200]}"
        if objection:
            problem = objection
            break
        nbytes = sum(tape.nbytes for tape in tapes.values())
        if nbytes <= store.room + held.nbytes:
            for name, tape in tapes.items():
                held.maps[name].adopt(tape, planner.settings.compile)
            held.local.release()
            held.nbytes = nbytes
            changed += 1
    planner.setup[stage] = now(device) - started
    if changed:
        planner.stage = stage
        if changed < len(store.held):
            planner.notes.append(f"{stage} for {changed} of {len(store.held)} batches: {problem}")
    else:
        planner.refuse(stage, problem)


def _objection(held: Held, tapes: dict[str, Tape], compare_speed: bool) -> str:
    """Why tapes should not replace what is in use; empty if they should."""
    device, old_seconds, new_seconds = held.local.leaves[0].device, 0.0, 0.0
    for name, tape in tapes.items():
        old = held.maps[name]
        u = _random(1, old.inputs)
        before = torch.zeros(1, old.outputs.n).to(u)
        old.add(u, before, old.inputs, old.outputs, 1)
        pieces = old.inputs.split(u[0])
        problem = disagreement(tape(*pieces), old.outputs.split(before[0]))
        if problem:
            return f"the tape {problem}"
        if compare_speed:
            old_seconds += shortest(partial(old.add, u, before, old.inputs, old.outputs, 1), device)
            new_seconds += shortest(partial(tape, *pieces), device)
    if compare_speed and new_seconds > 0.98 * old_seconds:
        return f"takes {new_seconds / old_seconds:.2f} of the time of what it would replace"
    return ""


def _random(rows: int, layout: Layout) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, layout.n, generator=generator).to(layout.device, layout.dtype)


def widen(store: Store, planner: Planner, rows: int) -> None:
    """Try so many rows in blocks, and go on so if that is faster."""
    largest = max((held.nbytes for held in store.held.values()), default=1)
    width = planner.next_width(rows, 1 + store.room // max(1, largest))
    if width is None:
        return
    device, single, block = store.objective.space.device, 0.0, 0.0
    for kept in next(iter(store.held.values())).maps.values():  # one batch speaks for all
        V = _random(width, kept.inputs)
        out = torch.zeros(width, kept.outputs.n).to(V)
        add = partial(kept.add, V, out, kept.inputs, kept.outputs)
        single += shortest(partial(add, 1), device)
        block += shortest(partial(add, width), device)
    planner.compare_width(width, single, block)
    if planner.width != width:
        for held in store.held.values():
            for kept in held.maps.values():
                kept.forget_blocks(width)
