"""Reorthogonalisation against the memory's bandwidth, for bench_gpu."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from examples.benchmarks import clock
from hessop._space import LocalSpace
from hessop.krylov.storage import storage
from hessop.krylov.sweep import Sweep

READS = {"device": 2, "host": 1}
"""
How often a pass of Gram-Schmidt has to read the basis.

Coefficients first, their rows' sum then; a row that was brought from the host serves for both.
"""

_RESNET, _GPT = 11_173_962, 124_337_664
# (where, length of a vector, rows): 1, 10, 10 and 40 GB on the device, 1 and 10 GB on the host
_BASES = (
    ("device", _RESNET, 22),
    ("device", _RESNET, 223),
    ("device", _GPT, 20),
    ("device", _GPT, 80),
    ("host", _RESNET, 22),
    ("host", _GPT, 20),
)
_SMALL = (("device", 1 << 16, 40),)
_LAST = 5  # steps that count
_ENOUGH = 40.0  # seconds after which a basis grows no further
_COPIED = {False: 1 << 31, True: 1 << 24}  # bytes; for trying out


def copying(device: torch.device, size: int) -> float:
    """Bytes per second, read and written, of a copy on the device."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / _copy(target, source, device)


def fetching(device: torch.device, size: int) -> float:
    """Bytes per second from pinned host memory to the device."""
    source = torch.ones(size // 4, pin_memory=True)
    target = torch.empty(size // 4, device=device)
    return size / _copy(target, source, device)


def _copy(target: torch.Tensor, source: torch.Tensor, device: torch.device) -> float:
    """Median seconds."""
    work = {"copy": lambda: target.copy_(source, non_blocking=True)}
    clock.turns(work, device, 2, _ENOUGH)
    return clock.median(clock.turns(work, device, 10, _ENOUGH)["copy"])


def measured(device: torch.device, small: bool) -> Iterator[dict[str, Any]]:
    """A row for each basis; those on the host where there is a device beside it."""
    for where, n, rows in _SMALL if small else _BASES:
        bandwidth = (copying if where == "device" else fetching)(device, _COPIED[small])
        row = {"where": where, "n": n, "bandwidth": bandwidth}
        try:
            row |= _last_steps(where, n, rows, bandwidth, device)
        except Exception as error:
            row["refused"] = f"{type(error).__name__}: {str(error)[:150]}"
        clock.free_memory(device)
        yield row


def _last_steps(
    where: str, n: int, rows: int, bandwidth: float, device: torch.device
) -> dict[str, Any]:
    """
    The last steps of a sweep with `rows` rows, the products left out, and what they leave.

    The operator is a diagonal matrix: cheap, and symmetric, so that nothing in the sweep goes
    another way than with a network.
    """
    space = LocalSpace(n, torch.float32, device)
    d = torch.linspace(-1, 1, n, device=device)
    start = torch.randn(n, generator=torch.Generator().manual_seed(0)).to(device)
    sweep = Sweep(
        space, start / space.norm(start), reorth="double", storage=storage(space, where, None)
    )
    passes = _counted(sweep)
    laps: list[float] = []
    moved: list[int] = []  # bytes
    begun = time.perf_counter()
    while len(laps) < rows and (len(laps) < _LAST or time.perf_counter() - begun < _ENOUGH):
        w = d * sweep.vector()
        passes.clear()
        laps.append(clock.seconds(lambda w=w: sweep.absorb(w), device))
        moved.append(READS[where] * sum(passes) * n * 4)
    lost = _lost(sweep, len(laps))
    if not lost < 1e-5:
        return {"refused": f"not orthogonal by {lost:.1e}"}
    last, least = laps[-_LAST:], [count / bandwidth for count in moved[-_LAST:]]
    return {
        "rows": len(laps),
        "passes": len(passes),
        "seconds": clock.median(last),
        "spread": clock.spread(last),
        "ratio": clock.median([lap / t for lap, t in zip(last, least, strict=True)]),
        "lost": lost,
    }


def _counted(sweep: Sweep) -> list[int]:
    """A list that grows by the rows of each pass over the basis."""
    seen: list[int] = []
    purge = sweep.basis.purge

    def noted(w: torch.Tensor) -> torch.Tensor:
        seen.append(len(sweep.basis))
        return purge(w)

    sweep.basis.purge = noted  # type: ignore[method-assign]
    return seen


def _lost(sweep: Sweep, newest: int) -> float:
    """The largest scalar product of the newest row with the others."""
    return float(sweep.basis.project(sweep.basis.row(newest))[:newest].abs().max())


HEADER = ["basis", "n", "rows", "GB", "passes", "bandwidth, GB/s", "ms per step"]
HEADER += ["spread", "over the limit"]


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table; what is wrong has no time."""
    head = [row["where"], f"{row['n']:,}"]
    if "refused" in row:
        return [*head, row["refused"], "", "", "", "", "", ""]
    return [
        *head,
        str(row["rows"]),
        f"{row['rows'] * row['n'] * 4e-9:.2g}",
        str(row["passes"]),
        f"{row['bandwidth'] * 1e-9:.0f}",
        f"{1e3 * row['seconds']:.3g}",
        f"{row['spread']:.1%}",
        f"{row['ratio']:.2f}",
    ]
