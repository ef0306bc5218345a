"""Bars for what takes long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def shown(items: Iterable[T], wanted: bool) -> Iterable[T]:
    """The items, with a progress bar if one is wanted."""
    if not wanted:
        return items
    from tqdm.auto import tqdm

    bar: Iterable[T] = tqdm(items, desc="batches", leave=False)
    return bar


def counter(what: str, wanted: bool = True) -> Any:
    """A bar that counts, with no end known; one that is not shown if none is wanted."""
    from tqdm.auto import tqdm

    return tqdm(desc=what, leave=False, disable=not wanted)
