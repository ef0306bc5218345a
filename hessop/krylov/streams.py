"""A stream that copies beside the one that computes, and the order of what the two do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch


class Streams(ABC):
    """
    Copies between host and device that go on while the device computes.

    Copies are made one after the other, in the order that they were asked for, and so is what is
    computed. Between a copy and what is computed there is no order but what `follow` and `wait`
    say.
    """

    @abstractmethod
    def empty(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Uninitialised memory of the device that is copied from or to."""

    @abstractmethod
    def follow(self) -> None:
        """Let copies from now on wait for all that was to be computed so far."""

    @abstractmethod
    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy, some time."""

    @abstractmethod
    def mark(self) -> Any:
        """The place behind all copies so far, for `wait`."""

    @abstractmethod
    def wait(self, mark: Any) -> None:
        """Let what is computed from now on wait for the copies before a mark."""

    @abstractmethod
    def finish(self) -> None:
        """Wait, on the host, until all copies have been made."""


class CudaStreams(Streams):
    """Of a GPU. Copies go on beside its work where the host's memory is pinned."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def empty(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Of the current stream's memory, which goes back once its last copy has been made."""
        memory = torch.empty(shape, dtype=dtype, device=self._device)
        # Between uses the events keep order. This is for the end, which may come with a copy
        # still under way: the allocator, who knows the current stream only, would give the
        # memory to whoever asks next. Noted once, it is asked of the copies at that time.
        memory.record_stream(self._copies)
        return memory

    def follow(self) -> None:
        """Let copies from now on wait for what the current stream was given so far."""
        self._copies.wait_stream(torch.cuda.current_stream(self._device))

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy on the stream of copies; the host goes on at once where its memory is pinned."""
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)

    def mark(self) -> torch.cuda.Event:
        """An event behind all copies so far."""
        event: torch.cuda.Event = self._copies.record_event()
        return event

    def wait(self, mark: torch.cuda.Event) -> None:
        """Let the current stream wait for an event."""
        torch.cuda.current_stream(self._device).wait_event(mark)

    def finish(self) -> None:
        """Wait, on the host, until all copies have been made."""
        self._copies.synchronize()


def beside(device: torch.device) -> Streams | None:
    """Of a device with memory of its own; None where it computes with what the host has."""
    return CudaStreams(device) if device.type == "cuda" else None
