"""A computation captured in a CUDA graph, and launched as a whole from then on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from hessop._memory import out_of_memory

SWITCH = ("auto", True, False)

Tensors = tuple[torch.Tensor | None, ...]
Work = Callable[..., Sequence[torch.Tensor | None]]


class NotCapturedError(RuntimeError):
    """Something cannot be captured; it can be computed as before. Says why."""


class Replay:
    """
    A function of tensors whose launches are recorded once.

    Small kernels take less time to run than to be launched one by one from Python; a graph of them
    is launched at once. Shapes, and all memory that the function reads beside its arguments, stay
    where they are: whoever keeps a replay sees to that.

    Parameters
    ----------
    function : callable
        From tensors to some tensors, without a look at values on the host.
    inputs : sequence of torch.Tensor
        Arguments as they will come: their shapes, dtypes and device.

    Raises
    ------
    NotCapturedError
        If the function waits for the device, or memory has run out.
    """

    def __init__(self, function: Work, inputs: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():  # where the graph reads its arguments
            self._inputs = [torch.empty_like(t).copy_(t) for t in inputs]
        self._device = inputs[0].device
        self._launch, self._outputs = capture(lambda: function(*self._inputs), self._device)

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """The function's values, in new memory."""
        with torch.no_grad(), in_turn(self._device):
            torch._foreach_copy_(self._inputs, list(inputs))
            self._launch()
            return tuple(None if t is None else t.clone() for t in self._outputs)


def possible(device: torch.device) -> bool:
    """Whether there are such graphs on a device."""
    return device.type == "cuda"


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


_last: dict[torch.device, tuple[int, torch.cuda.Event]] = {}


@contextmanager
def in_turn(device: torch.device) -> Iterator[None]:
    """
    One replay after the other, also where they are launched in several streams.

    All graphs of a device have a memory pool in common, and the workspaces of its libraries.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.current_stream(device)
    handle, done = _last.get(device) or (stream.cuda_stream, _event())
    if handle != stream.cuda_stream:
        stream.wait_event(done)
    try:
        yield
    finally:
        done.record(stream)
        _last[device] = stream.cuda_stream, done


def capture(
    work: Callable[[], Sequence[torch.Tensor | None]], device: torch.device
) -> tuple[Callable[[], None], Sequence[torch.Tensor | None]]:
    """
    What launches `work` again, and where its values will lie.

    Memory that torch has at hand for others is of no use to a graph: where that is why it does
    not fit, there is a second attempt without it.
    """
    try:
        try:
            return _captured(work, device)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            torch.cuda.empty_cache()
            return _captured(work, device)
    except RuntimeError as error:
        raise NotCapturedError(f"{type(error).__name__}: {str(error)[:200]}") from error


def _captured(
    work: Callable[[], Sequence[torch.Tensor | None]], device: torch.device
) -> tuple[Callable[[], None], Sequence[torch.Tensor | None]]:
    """One attempt, on a stream of our own, for the default stream cannot be captured."""
    side, pool = _side(device), _pool(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), in_turn(device):
        ours = torch.cuda.current_stream(device)
        side.wait_stream(ours)
        try:
            with torch.cuda.stream(side):
                # Once beforehand: what libraries make when they are first used is made outside the
                # graph, and what waits for the device fails before a capture is spoilt by it.
                with _no_waits():
                    work()
                outputs = _recorded(graph, work, pool)
        finally:
            ours.wait_stream(side)  # which has written to memory that is the caller's
    return graph.replay, outputs


def _recorded(
    graph: torch.cuda.CUDAGraph, work: Callable[[], Sequence[torch.Tensor | None]], pool: Any
) -> Sequence[torch.Tensor | None]:
    """The work, captured; where that fails, torch's allocator is told, as a graph's end would."""
    # other threads may go on using the GPU meanwhile
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        outputs = work()
        graph.capture_end()
    except BaseException:
        try:
            graph.capture_end()
        except RuntimeError:
            number, core = torch.cuda.current_device(), torch._C
            end = getattr(core, "_cuda_endAllocateToPool", None)
            end = end or getattr(core, "_cuda_endAllocateCurrentStreamToPool")  # noqa: B009
            end(number, pool)
            core._cuda_releasePool(number, pool)
        raise
    return outputs


@contextmanager
def _no_waits() -> Iterator[None]:
    """An error, where the host would wait for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that not every wait is found
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """One for all: libraries keep a workspace for each stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@cache
def _first(device: torch.device) -> torch.cuda.CUDAGraph:
    """A graph of next to nothing, which holds the pool for as long as the process lives."""
    graph, side = torch.cuda.CUDAGraph(), _side(device)
    with torch.cuda.device(device), torch.cuda.stream(side):
        one = torch.ones(1, device=device)
        graph.capture_begin(capture_error_mode="thread_local")
        one.add_(1)
        graph.capture_end()
    return graph


def _pool(device: torch.device) -> Any:
    """The memory of all graphs on a device, of which each has the use while it runs."""
    return _first(device).pool()
