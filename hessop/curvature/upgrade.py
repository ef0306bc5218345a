"""Changing how kept batches are multiplied: record them, compare, and only then switch."""

from __future__ import annotations

import time

import torch

from hessop.curvature.kept import KeptMap
from hessop.curvature.store import Held, Store
from hessop.curvature.tape import Tape
from hessop.curvature.ways import LINEARIZED, Planner


class Clock:
    """Seconds spent inside it, the device's work included."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._device = device

    def __enter__(self) -> None:
        self._started = self._now()

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self._started

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def upgrade(store: Store, planner: Planner, stage: str) -> None:
    """
    Record every batch that is kept, by the way of `stage`.

    A tape is used when it agrees with what it replaces, to rounding, and is faster, and its
    constants fit into the budget; the first batch speaks for all in what concerns speed.
    """
    setup = Clock(store.objective.space.device)
    changed = 0
    with setup:
        for held in store.held.values():
            try:
                tapes = {n: m.record(stage == LINEARIZED) for n, m in held.maps.items()}
                problem = _objection(held, tapes, compare_speed=not changed and not planner.decided)
            except Exception as error:  # whatever torch cannot trace, the graph still can do
                problem = f"{type(error).__name__}: {str(error)[:200]}"
            if problem:
                planner.refuse(stage, problem)
                break
            nbytes = sum(tape.nbytes for tape in tapes.values())
            if nbytes > store.room + held.nbytes:
                planner.notes.append(f"{stage}: {nbytes / 1e6:.0f} MB for a batch do not fit")
                continue
            for name, tape in tapes.items():
                held.maps[name].adopt(tape, planner.settings.compile)
            held.local.release()
            held.nbytes = nbytes
            changed += 1
    planner.setup[stage] = setup.seconds
    if changed:
        planner.stage = stage
    else:
        planner.refuse(stage, "no batch was changed")


def _objection(held: Held, tapes: dict[str, Tape], compare_speed: bool) -> str:
    """Why tapes should not replace what is in use; empty if they should."""
    old, new = Clock(held.local.leaves[0].device), Clock(held.local.leaves[0].device)
    for name, tape in tapes.items():
        before, now = _products(held.maps[name], tape, old, new)
        error = float((before - now).double().norm())
        size = float(before.double().norm())
        if not error <= torch.finfo(before.dtype).eps ** 0.6 * size:
            return f"differs from what it would replace by {error / size if size else error:.1e}"
    if compare_speed and new.seconds > 0.98 * old.seconds:
        return f"takes {new.seconds / old.seconds:.2f} of the time of what it would replace"
    return ""


def _products(
    old: KeptMap, tape: Tape, old_clock: Clock, new_clock: Clock
) -> tuple[torch.Tensor, torch.Tensor]:
    """A product in the old way and by the tape, each timed the second time."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(1, old.inputs.n, generator=generator)
    u = u.to(old.inputs.device, old.inputs.dtype)
    before, now = (torch.zeros(1, old.outputs.n).to(u) for _ in range(2))
    with old_clock:
        old.add(u, before, old.inputs, old.outputs, 1)
    tape(*old.inputs.split(u[0]))
    with new_clock:
        old.outputs.add(tape(*old.inputs.split(u[0])), now[0])
    return before, now


def widen(store: Store, planner: Planner, V: torch.Tensor) -> None:
    """Try the rows of `V` in blocks, and go on so if that is faster."""
    largest = max((held.nbytes for held in store.held.values()), default=1)
    width = planner.next_width(len(V), 1 + store.room // max(1, largest))
    if width is None:
        return
    single, block = (Clock(V.device) for _ in range(2))
    for held in store.held.values():
        for kept in held.maps.values():
            rows = torch.randn(width, kept.inputs.n, dtype=V.dtype, device=V.device)
            out = torch.zeros(width, kept.outputs.n, dtype=V.dtype, device=V.device)
            for size, clock in ((1, single), (width, block)):
                kept.add(rows, out, kept.inputs, kept.outputs, size)
                with clock:
                    kept.add(rows, out, kept.inputs, kept.outputs, size)
        break  # one batch speaks for all
    planner.compare_width(width, single.seconds, block.seconds)
    if planner.width != width:
        for held in store.held.values():
            for kept in held.maps.values():
                kept.forget_blocks()
