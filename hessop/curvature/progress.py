"""A bar for passes over data that take long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def shown(items: Iterable[T], wanted: bool) -> Iterable[T]:
    """The items, with a progress bar if one is wanted."""
    if not wanted:
        return items
    from tqdm.auto import tqdm

    bar: Iterable[T] = tqdm(items, desc="batches", leave=False)
    return bar
