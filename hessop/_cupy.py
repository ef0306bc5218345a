"""The door to CuPy: what belongs to it, and its arrays in and out, in the order of streams."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack

from hessop._messages import message

_LIBRARY = ("cupy", "cupyx")
# Handles of CUDA's legacy default stream, and of the one that each thread has of its own.
_DEFAULT, _PER_THREAD = (0, 1), 2


def owns(x: Any) -> bool:
    """Whether something is an array, matrix or operator of CuPy, which need not be installed."""
    return any(str(kind.__module__).partition(".")[0] in _LIBRARY for kind in type(x).__mro__)


def is_array(x: Any) -> bool:
    """Whether something is a dense array of CuPy."""
    return owns(x) and isinstance(x, sys.modules["cupy"].ndarray)


def is_matrix(x: Any) -> bool:
    """Whether something of CuPy's is a dense or sparse matrix, with entries to look at."""
    return is_array(x) or bool(library("cupyx.scipy.sparse").issparse(x))


def library(name: str = "cupy") -> ModuleType:
    """CuPy, or a part of it, imported now."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            message(
                "CuPy",
                "be installed for operators and arrays on a GPU",
                f"an import of {name} that failed ({error})",
                'Install "hessop[gpu]" (for CUDA 13; cupy-cuda12x for CUDA 12).',
            )
        ) from error


def device_of(x: Any) -> torch.device:
    """Where something of CuPy's lies; an operator of functions does not say: the current device."""
    place = getattr(x, "device", None)
    if place is None:  # what CuPy makes of a matrix has it inside
        place = getattr(getattr(x, "A", None), "device", None) or library().cuda.Device()
    return torch.device("cuda", place.id)


def take(x: Any) -> torch.Tensor:
    """
    A CuPy array as a tensor that shares its memory.

    torch's current stream waits for what CuPy's has been given so far. Whoever lets go of the
    array afterwards sees to it that CuPy's stream waits for torch's (`give` and `settle` do):
    CuPy may use its memory again at once, for work in its own stream.
    """
    if any(stride < 0 for stride in x.strides):
        # torch.from_dlpack aborts the process on a negative stride (pytorch#188023).
        x = library().ascontiguousarray(x)
    _their_stream(x.device.id)  # refused, if torch cannot wait for it
    with torch.cuda.device(x.device.id):
        tensor: torch.Tensor = from_dlpack(x)
    return tensor


def give(t: torch.Tensor) -> Any:
    """
    A tensor on a GPU as a contiguous CuPy array, without a copy where it is contiguous.

    CuPy's current stream waits for what torch's has been given so far.
    """
    t = t.detach().resolve_conj().resolve_neg().contiguous()
    number = t.device.index
    theirs, ours = _their_stream(number), torch.cuda.current_stream(number)
    with torch.cuda.device(number):  # torch hands out what lies on its current device alone
        x = library().from_dlpack(t)
        if theirs.cuda_stream == ours.cuda_stream:
            return x
        cuda = library().cuda
        memory = cuda.UnownedMemory(x.data.ptr, x.nbytes, _Lent(x, theirs, ours), number)
        return library().ndarray(x.shape, x.dtype, cuda.MemoryPointer(memory, 0))


class _Lent:
    """
    What keeps a tensor's memory while CuPy computes with it in a stream of its own.

    torch's allocator knows the stream that it gave the memory to, and would use it again there
    while CuPy still reads. `record_stream` would tell it of the other one, but keeps that stream's
    handle only, and CuPy destroys a stream that nobody holds. So it is held here, and at the end
    torch's stream waits for it.
    """

    def __init__(self, x: Any, theirs: torch.cuda.Stream, ours: torch.cuda.Stream) -> None:
        self.array = x
        self._stream = _current(x.device.id)
        self._theirs, self._ours = theirs, ours

    def __del__(self) -> None:
        """Order what torch does with the memory behind what CuPy was told to do."""
        if not sys.is_finalizing():
            self._ours.wait_stream(self._theirs)


def put(x: Any, number: int | None) -> Any:
    """A CuPy array as it is, one of NumPy as CuPy's on a device."""
    if is_array(x):
        return x
    with library().cuda.Device(number):
        return library().asarray(x)


def settle(number: int) -> None:
    """CuPy's current stream on a device waits for torch's."""
    theirs, ours = _their_stream(number), torch.cuda.current_stream(number)
    if theirs.cuda_stream != ours.cuda_stream:
        theirs.wait_stream(ours)


def _current(number: int) -> Any:
    """CuPy's current stream on a device."""
    with library().cuda.Device(number):
        return library().cuda.get_current_stream()


def _their_stream(number: int) -> torch.cuda.Stream:
    """CuPy's current stream on a device, as torch sees it."""
    handle = _current(number).ptr
    if handle == _PER_THREAD:
        raise ValueError(
            message(
                "CuPy's current stream",
                "not be a per-thread default stream, which torch cannot wait for",
                "that one",
                "Work within `with cupy.cuda.Stream():`, or unset "
                "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM.",
            )
        )
    if handle in _DEFAULT:
        return torch.cuda.default_stream(number)
    return torch.cuda.ExternalStream(handle, device=number)  # type: ignore[no-untyped-call]
