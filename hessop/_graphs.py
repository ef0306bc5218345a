"""A computation captured in a CUDA graph, and launched as a whole from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

SWITCH = ("auto", True, False)

Launch = Callable[[], None]


class Replay(Generic[T]):
    """
    A function of tensors whose launches are recorded once.

    Small kernels take less time to run than to be launched one by one from Python; a graph of them
    is launched at once. Shapes, and all memory that the function reads beside its arguments, stay
    where they are: whoever keeps a replay sees to that.

    Parameters
    ----------
    function : callable
        Of tensors, without a look at values on the host.
    inputs : sequence of torch.Tensor
        Arguments as they will come: their shapes, dtypes and device.
    """

    def __init__(self, function: Callable[..., T], inputs: Sequence[torch.Tensor]) -> None:
        # where the graph reads its arguments
        self._inputs = [torch.empty_like(t).copy_(t) for t in inputs]
        self._stream: torch.cuda.Stream | None = None
        self._launch, self._output = capture(lambda: function(*self._inputs), inputs[0].device)

    def __call__(self, *inputs: torch.Tensor) -> T:
        """The function's value, in memory that the next call overwrites."""
        self._in_order()
        torch._foreach_copy_(self._inputs, list(inputs))
        self._launch()
        return self._output

    def _in_order(self) -> None:
        """Let the caller's stream wait for that of the last call, whose value may still be read."""
        if self._inputs[0].is_cuda:
            stream = torch.cuda.current_stream(self._inputs[0].device)
            if self._stream is not None and stream != self._stream:
                stream.wait_stream(self._stream)
            self._stream = stream


def possible(device: torch.device) -> bool:
    """Whether there are such graphs on a device."""
    return device.type == "cuda"


def capture(work: Callable[[], T], device: torch.device) -> tuple[Launch, T]:
    """
    What launches `work` again, and where its value will lie.

    On a stream of our own, for the default stream cannot be captured. `work` runs there once
    beforehand, so that what libraries make when they are first used is made outside the graph.
    """
    graph, side = torch.cuda.CUDAGraph(), _side(device)
    with torch.cuda.device(device):
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            work()
            # other threads may go on using the GPU meanwhile
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                output = work()
            except BaseException:
                with suppress(RuntimeError):  # that it was cut short
                    graph.capture_end()
                raise
            graph.capture_end()
        torch.cuda.current_stream(device).wait_stream(side)
    return graph.replay, output


@cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """One for all: libraries keep a workspace for each stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
