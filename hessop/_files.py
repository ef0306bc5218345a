"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hessop import _validation


def in_folder(name: str, path: Any) -> Path:
    """The gate of a file that is going to be written."""
    try:
        found = Path(path)
    except TypeError:
        raise TypeError(_validation.message(name, "be a path", repr(path))) from None
    if not found.parent.is_dir():
        raise ValueError(
            _validation.message(name, "be a file in a folder that exists", repr(str(path)))
        )
    return found


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when it is complete, and not before."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
