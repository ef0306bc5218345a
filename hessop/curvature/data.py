"""Data as people have it: one batch, a list of batches, a DataLoader, any re-iterable."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from hessop import _validation


class Batches:
    """
    The same batches in the same order, as often as asked.

    Parameters
    ----------
    data : object
        What the user gave.
    name : str, optional
        The argument in which it came, for messages.
    """

    def __init__(self, data: Any, name: str = "data") -> None:
        self.name = name
        with torch.random.fork_rng(devices=[]):  # a look at the data may draw
            self._source = _as_iterable(data, name)

    def __iter__(self) -> Iterator[Any]:
        """One pass over the batches."""
        empty = True
        # A DataLoader draws a seed from torch's global generator: put its state back.
        with torch.random.fork_rng(devices=[]):
            for batch in self._source:
                empty = False
                yield batch
        if empty:
            raise ValueError(_validation.message(self.name, "hold at least one batch", "none"))

    def missing(self, held: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        """The batches that `held` has no entry for, numbered; a sequence loads no others."""
        if isinstance(self._source, Sequence):
            for i in range(len(self._source)):
                if i not in held:
                    with torch.random.fork_rng(devices=[]):
                        batch = self._source[i]
                    yield i, batch
        else:
            yield from ((i, b) for i, b in enumerate(self) if i not in held)


def _as_iterable(data: Any, name: str) -> Iterable[Any]:
    """Batches that can be read again and again."""
    forms = "be an (x, y) pair of tensors, a list of batches, a DataLoader or another re-iterable"
    if _is_one_batch(data):
        return [data]
    if isinstance(data, Dataset):
        raise TypeError(
            _validation.message(
                name, forms, f"a {type(data).__name__}", "Wrap it in DataLoader(dataset, ...)."
            )
        )
    if not isinstance(data, Iterable) or isinstance(data, (str, torch.Tensor)):
        raise TypeError(_validation.message(name, forms, f"a {type(data).__name__}"))
    if isinstance(data, Iterator):
        raise TypeError(
            _validation.message(
                name,
                "be readable more than once",
                f"a {type(data).__name__}, which can be read once",
                "Pass list(data).",
            )
        )
    if isinstance(data, DataLoader):
        _refuse_shuffling(data, name)
    if isinstance(data, Sequence):
        if not data:
            raise ValueError(_validation.message(name, "hold at least one batch", "none"))
        if isinstance(data[0], torch.Tensor):
            raise TypeError(
                _validation.message(
                    name, "be a tuple (x, y) or a list of batches", "a list of tensors"
                )
            )
    return data


def _is_one_batch(data: Any) -> bool:
    """A mapping, a dataclass, or a tuple that holds a tensor."""
    if isinstance(data, tuple):
        return any(isinstance(part, torch.Tensor) for part in data)
    return isinstance(data, Mapping) or (
        dataclasses.is_dataclass(data) and not isinstance(data, (type, Iterable))
    )


def _refuse_shuffling(loader: DataLoader[Any], name: str) -> None:
    """A loader with a random order visits other batches at every pass."""
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    kind = type(sampler).__name__
    if "Random" in kind:
        raise ValueError(
            _validation.message(
                name,
                "visit the same batches in the same order at every pass",
                f"a DataLoader with a {kind}",
                "Use shuffle=False, or pass list(loader) to freeze one pass.",
            )
        )


def mapped(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """
    A batch with each of its tensors changed.

    Tuples, lists, mappings (a tokenizer's BatchEncoding is one) and dataclasses are followed, to
    any depth; what is none of these stays.
    """
    if isinstance(batch, torch.Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        changed = {k: mapped(b, change) for k, b in batch.items()}
        if not isinstance(batch, MutableMapping):
            return type(batch)(changed)  # type: ignore[call-arg]
        filled = copy.copy(batch)  # keeps what the type holds besides, as a defaultdict does
        filled.update(changed)
        return filled
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(mapped(b, change) for b in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(mapped(b, change) for b in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        twin = copy.copy(batch)  # not `replace`, which would call the user's __init__
        for field in dataclasses.fields(batch):
            value = mapped(getattr(batch, field.name), change)
            object.__setattr__(twin, field.name, value)  # a frozen one has no other way
        return twin
    return batch


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on `device`."""
    return mapped(batch, lambda t: t.to(device, non_blocking=True))


def tensors(batch: Any) -> list[torch.Tensor]:
    """The tensors of a batch, in a fixed order."""
    found: list[torch.Tensor] = []

    def collect(t: torch.Tensor) -> torch.Tensor:
        found.append(t)
        return t

    mapped(batch, collect)
    return found


def example_count(batch: Any) -> int | None:
    """The first dimension that all tensors of a batch share; None where they share none."""
    sizes = {t.shape[0] if t.ndim else None for t in tensors(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def pieces_of(batch: Any, count: int) -> list[Any]:
    """A batch cut along its examples into `count` batches of about equal size."""
    size = example_count(batch)
    assert size is not None
    edges = [size * i // count for i in range(count + 1)]
    return [mapped(batch, lambda t, a=a, b=b: t[a:b]) for a, b in pairwise(edges) if a < b]  # type: ignore[misc]
