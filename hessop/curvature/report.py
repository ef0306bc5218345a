"""What an operator did to multiply, and why."""

from __future__ import annotations

from dataclasses import dataclass

from hessop.curvature.store import Store
from hessop.curvature.ways import Planner


@dataclass(frozen=True)
class Report:
    """
    How products are computed at present.

    Attributes
    ----------
    mode : str
        The mode that was asked for.
    stage : str
        The way in use: "kept", "recorded", "linearized", "forward-over-reverse",
        "reverse-over-reverse" or "finite-difference".
    block_size : int
        How many vectors go through one pass.
    batches, kept : int
        How many batches there are, 0 before the first product, and of how many the graph or tape
        is kept.
    kept_bytes : int
        Memory that those hold.
    seconds : dict of str to float
        Shortest time of a product so far, per vector, for each way tried.
    setup : dict of str to float
        Seconds of set-up of each way tried.
    notes : tuple of str
        Decisions and their reasons, in order.
    """

    mode: str
    stage: str
    block_size: int
    batches: int
    kept: int
    kept_bytes: int
    seconds: dict[str, float]
    setup: dict[str, float]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """A few lines to read."""
        held = f"{self.kept} of {self.batches} batches kept, {self.kept_bytes / 1e6:.1f} MB"
        lines = [f"mode={self.mode!r}: {self.stage}, {self.block_size} vector(s) at once; {held}"]
        for way, seconds in self.seconds.items():
            setup = f", set-up {self.setup[way]:.2g} s" if way in self.setup else ""
            lines.append(f"  {way}: {1e3 * seconds:.3g} ms per vector{setup}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def report_of(store: Store, planner: Planner) -> Report:
    """The report of a product."""
    return Report(
        mode=planner.settings.mode,
        stage=planner.stage,
        block_size=planner.width,
        batches=store.batches,
        kept=len(store.held),
        kept_bytes=store.kept_bytes,
        seconds=dict(planner.seconds),
        setup=dict(planner.setup),
        notes=tuple(planner.notes),
    )
