"""Changing how kept batches are multiplied: record them, compare, and only then switch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from hessop import _graphs
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


def shortest(work: Callable[[], object], device: torch.device, warm: bool = False) -> float:
    """Seconds of the fastest of a few runs; the first is lost unless it was done before."""
    times: list[float] = []
    lost = 0 if warm else 1
    least = 2  # the shorter of two: one alone may have been disturbed
    while len(times) < lost + least or (len(times) < lost + 3 and sum(times) < 0.05):
        started = now(device)
        work()
        times.append(now(device) - started)
    return min(times[lost:])


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
            objection = _objection(held, tapes)
            if not (objection or changed or planner.decided):
                objection = _too_slow(held, tapes, planner, _known_seconds(store, planner))
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


def _objection(held: Held, tapes: dict[str, Tape]) -> str:
    """How tapes disagree with what is in use; empty if they do not."""
    for name, tape in tapes.items():
        old = held.maps[name]
        u = _random(1, old.inputs)
        before = torch.zeros(1, old.outputs.n).to(u)
        old.add(u, before, old.inputs, old.outputs, 1)
        problem = disagreement(tape(*old.inputs.split(u[0])), old.outputs.split(before[0]))
        if problem:
            return f"the tape {problem}"
    return ""


def _known_seconds(store: Store, planner: Planner) -> float | None:
    """What a product with the first batch takes, where it is all there is."""
    alone = store.complete and len(store.held) == 1
    return planner.seconds.get(planner.stage) if alone else None


def _too_slow(held: Held, tapes: dict[str, Tape], planner: Planner, known: float | None) -> str:
    """That tapes, which have run once, are not faster than what is in use; empty if they are."""
    device, old_seconds, new_seconds = held.local.leaves[0].device, known or 0.0, 0.0
    for name, tape in tapes.items():
        old = held.maps[name]
        u = _random(1, old.inputs)
        run: Callable[[], Any] = partial(tape, *old.inputs.split(u[0]))
        if planner.launch_bound:
            run = _as_used(run, planner, device)
        new_seconds += shortest(run, device, warm=True)
        if known is None:
            out = torch.zeros(1, old.outputs.n).to(u)
            add = partial(old.add, u, out, old.inputs, old.outputs, 1)
            old_seconds += shortest(add, device, warm=True)
    if new_seconds > 0.98 * old_seconds:
        return f"takes {new_seconds / old_seconds:.2f} of the time of what it would replace"
    return ""


def _as_used(run: Callable[[], Any], planner: Planner, device: torch.device) -> Callable[[], Any]:
    """What launches it in a graph, if that can be."""
    try:
        return _graphs.capture(run, device)[0]
    except _graphs.NotCapturedError as error:
        planner.refuse_graphs(str(error))
        return run


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
        # one row speaks for all
        one = partial(kept.add, V[:1], out[:1], kept.inputs, kept.outputs, 1)
        single += width * shortest(one, device)
        block += shortest(partial(kept.add, V, out, kept.inputs, kept.outputs, width), device)
    planner.compare_width(width, single, block)
    if planner.width != width:
        for held in store.held.values():
            for kept in held.maps.values():
                kept.forget_blocks(width)
