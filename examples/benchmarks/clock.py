"""Wall time of what runs on a device: everything launched is waited for."""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

Work = Callable[[], Any]


def wait(device: torch.device) -> None:
    """Until the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Work, device: torch.device) -> tuple[float, Any]:
    """Wall time of one call, and what it gave."""
    wait(device)
    start = time.perf_counter()
    found = work()
    wait(device)
    return time.perf_counter() - start, found


def seconds(work: Work, device: torch.device) -> float:
    """Wall time of one call."""
    return timed(work, device)[0]


def turns(
    works: Mapping[str, Work],
    device: torch.device,
    rounds: int,
    enough: float,
    before: Work = lambda: None,
    after: Callable[[str, Any], object] = lambda who, found: None,
) -> dict[str, list[float]]:
    """
    Seconds of each round, in which all take turns; no round begins after `enough` seconds.

    Each is preceded by `before()` and followed by ``after(who, found)``, which are not timed.
    """
    laps: dict[str, list[float]] = {who: [] for who in works}
    begun = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - begun > enough:
            break
        for who, work in works.items():
            before()
            lap, found = timed(work, device)
            laps[who].append(lap)
            after(who, found)
            del found  # the next one may need the room
    return laps


def free_memory(device: torch.device) -> None:
    """Hand back what nobody uses, so that torch's pool and CuPy's leave each other room."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        if importlib.util.find_spec("cupy"):
            import cupy

            cupy.get_default_memory_pool().free_all_blocks()


def median(laps: list[float]) -> float:
    """Of the rounds."""
    return float(np.median(laps))


def spread(laps: list[float]) -> float:
    """Half the distance between the quartiles, relative to the median."""
    low, high = np.quantile(laps, [0.25, 0.75])
    return float((high - low) / 2 / np.median(laps))
