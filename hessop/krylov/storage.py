"""The memory that Lanczos vectors lie in: of the device, of the host, of a disk; their dtype."""

from __future__ import annotations

import os
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch

from hessop import _memory, _validation
from hessop._space import LocalSpace
from hessop.krylov import streams
from hessop.krylov.streams import Streams

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


# A device with room for so many rows is used before a host with more: a pass over a row that has
# to cross first takes some fifty times as long.
_ENOUGH = 100


class Storage(ABC):
    """
    Allocates blocks of rows, all of one dtype, and says how many there is room for.

    Attributes
    ----------
    dtype : torch.dtype
        Of the rows.
    on_device : bool
        Whether the memory is the device's: what it has once read it may as well read again.
    """

    on_device = False

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    @abstractmethod
    def allocate(self, rows: int, n: int) -> torch.Tensor:
        """An uninitialised block, shape (rows, n)."""

    @abstractmethod
    def available(self) -> int:
        """Bytes that are free."""

    def streams(self, device: torch.device) -> Streams | None:
        """What rows cross to the device on; None where it computes with them as they lie."""
        return None if self.on_device else streams.beside(device)

    def room(self, n: int) -> int:
        """How many rows of length n half of what is free holds."""
        return self.available() // 2 // (n * self.dtype.itemsize)

    def basis_size(self, length: int, k: int, n: int) -> int:
        """As many rows as there is room for, of at most n, but enough to make progress."""
        return min(n, max(self.room(length), 2 * k + 20))


class OnDevice(Storage):
    """The memory of the device that multiplies."""

    on_device = True

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(dtype)
        self._device = device

    def allocate(self, rows: int, n: int) -> torch.Tensor:
        """On the device."""
        return torch.empty((rows, n), dtype=self.dtype, device=self._device)

    def available(self) -> int:
        """Of the device."""
        return _memory.available_bytes(self._device)


class OnHost(Storage):
    """The host's memory, pinned where a GPU reads from it."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(dtype)
        self._pinned = device.type == "cuda"

    def allocate(self, rows: int, n: int) -> torch.Tensor:
        """On the host."""
        return torch.empty((rows, n), dtype=self.dtype, pin_memory=self._pinned)

    def available(self) -> int:
        """Of the host."""
        return _memory.available_bytes(torch.device("cpu"))


class OnDisk(Storage):
    """Memory-mapped files in a folder, gone with the process whatever ends it."""

    def __init__(self, dtype: torch.dtype, folder: Path) -> None:
        super().__init__(dtype)
        self._folder = folder

    def allocate(self, rows: int, n: int) -> torch.Tensor:
        """In a file of its own, which has no name any more once it is mapped."""
        handle, path = tempfile.mkstemp(prefix="hessop-", suffix=".basis", dir=self._folder)
        try:
            # The space is taken now: a write to a mapping that the disk has no room for kills.
            if sys.platform == "linux":
                os.posix_fallocate(handle, 0, rows * n * self.dtype.itemsize)
            mapped = torch.from_file(path, shared=True, size=rows * n, dtype=self.dtype)
        except OSError as error:
            raise MemoryError(
                _validation.message(
                    "basis",
                    "be a folder with room for the Lanczos vectors",
                    f"{self._folder}, where {rows} vectors of {n} entries do not fit",
                    "Name another folder, or pass a smaller ncv or basis_dtype.",
                )
            ) from error
        finally:
            os.close(handle)
            os.unlink(path)  # the mapping lives on
        return mapped.view(rows, n)

    def available(self) -> int:
        """
        Of the disk, as far as the host's memory can cache it.

        Each step passes over all rows twice. Where they are read from the disk each time, that
        takes longer than the products that a larger basis saves; who knows better says so by
        `ncv`.
        """
        space = os.statvfs(self._folder)
        cached = _memory.available_bytes(torch.device("cpu"))
        return min(space.f_bavail * space.f_frsize, cached)


def storage(space: LocalSpace, basis: Any, dtype: Any) -> Storage:
    """The gate of `basis` and `basis_dtype`."""
    stored = space.dtype
    if dtype is not None:
        name = str(dtype).removeprefix("torch.")
        stored = DTYPES[_validation.choice("basis_dtype", name, tuple(DTYPES))]
    if isinstance(basis, os.PathLike) or (
        isinstance(basis, str) and basis not in ("auto", "device", "host")
    ):
        folder = Path(basis)
        if not folder.is_dir():
            raise ValueError(
                _validation.message(
                    "basis",
                    'be "auto", "device", "host", or a folder that exists',
                    repr(str(basis)),
                )
            )
        return OnDisk(stored, folder)
    _validation.choice("basis", basis, ("auto", "device", "host"))
    device, host = OnDevice(stored, space.device), OnHost(stored, space.device)
    if basis == "host" and space.device.type != "cpu":
        return host
    near = basis == "device" or space.device.type == "cpu" or device.room(space.n) >= _ENOUGH
    return device if near else max(device, host, key=lambda s: s.room(space.n))
