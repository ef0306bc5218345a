"""Data as people have it: one batch, a list of batches, a DataLoader, any re-iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from hessop import _validation


class Batches:
    """The same batches in the same order, as often as asked."""

    def __init__(self, data: Any) -> None:
        self._source = _as_iterable(data)

    def __iter__(self) -> Iterator[Any]:
        """One pass over the batches."""
        empty = True
        # A DataLoader draws a seed from torch's global generator: put its state back.
        with torch.random.fork_rng(devices=[]):
            for batch in self._source:
                empty = False
                yield batch
        if empty:
            raise ValueError(_validation.message("data", "hold at least one batch", "none"))

    def missing(self, held: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        """The batches that `held` has no entry for, numbered; a sequence loads no others."""
        if isinstance(self._source, Sequence):
            yield from ((i, self._source[i]) for i in range(len(self._source)) if i not in held)
        else:
            yield from ((i, b) for i, b in enumerate(self) if i not in held)


def _as_iterable(data: Any) -> Iterable[Any]:
    """Batches that can be read again and again."""
    forms = "be an (x, y) pair of tensors, a list of batches, a DataLoader or another re-iterable"
    if isinstance(data, Mapping) or (
        isinstance(data, tuple) and data and isinstance(data[0], torch.Tensor)
    ):
        return [data]
    if isinstance(data, Dataset):
        raise TypeError(
            _validation.message(
                "data", forms, f"a {type(data).__name__}", "Wrap it in DataLoader(dataset, ...)."
            )
        )
    if not isinstance(data, Iterable) or isinstance(data, (str, torch.Tensor)):
        raise TypeError(_validation.message("data", forms, f"a {type(data).__name__}"))
    if isinstance(data, Iterator):
        raise TypeError(
            _validation.message(
                "data",
                "be readable more than once",
                f"a {type(data).__name__}, which can be read once",
                "Pass list(data).",
            )
        )
    if isinstance(data, DataLoader):
        _refuse_shuffling(data)
    if isinstance(data, Sequence):
        if not data:
            raise ValueError(_validation.message("data", "hold at least one batch", "none"))
        if isinstance(data[0], torch.Tensor):
            raise TypeError(
                _validation.message(
                    "data", "be a tuple (x, y) or a list of batches", "a list of tensors"
                )
            )
    return data


def _refuse_shuffling(loader: DataLoader[Any]) -> None:
    """A loader with a random order visits other batches at every pass."""
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    name = type(sampler).__name__
    if "Random" in name:
        raise ValueError(
            _validation.message(
                "data",
                "visit the same batches in the same order at every pass",
                f"a DataLoader with a {name}",
                "Use shuffle=False, or pass list(loader) to freeze one pass.",
            )
        )


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on `device`; tuples, lists and mappings are followed."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return type(batch)({k: to_device(b, device) for k, b in batch.items()})  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(b, device) for b in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(to_device(b, device) for b in batch)
    return batch


def tensors(batch: Any) -> list[torch.Tensor]:
    """The tensors of a batch, in a fixed order."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        return [t for b in batch.values() for t in tensors(b)]
    if isinstance(batch, (tuple, list)):
        return [t for b in batch for t in tensors(b)]
    return []
