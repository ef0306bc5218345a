"""Which parameters are differentiated, and how they are laid out in one vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch

from hessop import _exchange, _validation

Choice = str | Iterable[str] | Callable[[str, torch.nn.Parameter], bool] | None


class ParameterSpace:
    """
    The chosen parameters of a model, each once, in the model's order.

    Attributes
    ----------
    names : tuple of str
        Their names; a tied parameter goes by its first.
    shapes : tuple of torch.Size
        Their shapes.
    n : int
        How many numbers they hold: the length of the flat vector.
    dtype, device : torch.dtype, torch.device
        What they share.
    """

    def __init__(self, model: torch.nn.Module, choice: Choice) -> None:
        chosen = _choose(model, choice)
        self.names = tuple(chosen)
        self.shapes = tuple(p.shape for p in chosen.values())
        self.sizes = [p.numel() for p in chosen.values()]
        self.n = sum(self.sizes)
        self.dtype, self.device = _shared_kind(chosen)

    def split(self, v: torch.Tensor) -> list[torch.Tensor]:
        """Views of a flat vector in the parameters' shapes."""
        pieces = torch.split(v, self.sizes)
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def join(self, pieces: Iterable[torch.Tensor | None], out: torch.Tensor) -> torch.Tensor:
        """Write pieces in parameter order into a flat vector; None stands for zeros."""
        for target, piece in zip(self.split(out), pieces, strict=True):
            if piece is None:
                target.zero_()
            else:
                target.copy_(piece)
        return out

    def flatten(self, tree: Mapping[str, Any] | Iterable[Any]) -> Any:
        """One vector from a mapping by name, or a sequence in parameter order."""
        if isinstance(tree, Mapping):
            missing = [name for name in self.names if name not in tree]
            if missing:
                raise ValueError(
                    _validation.message("tree", f"hold {list(self.names)}", f"no {missing}")
                )
            tree = [tree[name] for name in self.names]
        leaves = list(tree)
        shapes = [tuple(leaf.shape) for leaf in leaves]
        if shapes != [tuple(s) for s in self.shapes]:
            raise ValueError(
                _validation.message(
                    "tree", f"hold arrays of shapes {[tuple(s) for s in self.shapes]}", shapes
                )
            )
        if any(_exchange.is_complex(leaf) for leaf in leaves):
            raise TypeError(_validation.message("tree", "hold real arrays", "complex ones"))
        dtype = _exchange.face_dtype(self.dtype)
        pieces = [_exchange.to_torch(x, dtype=dtype, device=self.device) for x in leaves]
        out = torch.empty(self.n, dtype=dtype, device=self.device)
        return _exchange.like(leaves[0], self.join(pieces, out))

    def unflatten(self, v: Any) -> dict[str, Any]:
        """Parameters by name from one vector, as views of it."""
        v = _validation.vector("v", v, self.n)
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        return {
            name: v[end - size : end].reshape(tuple(shape))
            for name, size, end, shape in zip(
                self.names, self.sizes, ends, self.shapes, strict=True
            )
        }


def _choose(model: torch.nn.Module, choice: Choice) -> dict[str, torch.nn.Parameter]:
    """The chosen parameters by first name, in the model's order."""
    everything = dict(model.named_parameters())
    if choice is None:
        matched = {n: p for n, p in everything.items() if p.requires_grad}
        if not matched:
            raise ValueError(
                _validation.message(
                    "params",
                    "choose at least one parameter",
                    f"none of {len(everything)} with requires_grad=True",
                    "Name frozen ones in params, or unfreeze them.",
                )
            )
        return matched
    if callable(choice):
        matched = {n: p for n, p in everything.items() if choice(n, p)}
        got = "a predicate that accepts none"
    else:
        patterns = _patterns(choice)
        matched = _match(model, everything, patterns)
        got = repr(patterns)
    if not matched:
        raise ValueError(
            _validation.message(
                "params",
                "choose at least one parameter",
                got,
                f"The parameters are {list(everything)}; frozen ones must be named in full.",
            )
        )
    return matched


def _patterns(choice: object) -> list[str]:
    """The patterns of a choice that is neither None nor a predicate."""
    if isinstance(choice, str):
        return [choice]
    patterns: list[Any] = list(choice) if isinstance(choice, Iterable) else [choice]
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(
            _validation.message(
                "params", "be a name, names, a predicate (name, parameter) or None", repr(choice)
            )
        )
    return patterns


def _match(
    model: torch.nn.Module, everything: dict[str, torch.nn.Parameter], patterns: list[str]
) -> dict[str, torch.nn.Parameter]:
    """Parameters by full name, glob or module name; only a full name reaches a frozen one."""
    # A tied parameter may be asked for by any of its names.
    aliases: dict[int, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(p), []).append(name)
    every_name = [name for names in aliases.values() for name in names]
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in every_name):
            raise ValueError(
                _validation.message(
                    "params",
                    "match a parameter by name, glob or module name",
                    repr(pattern),
                    f"The parameters are {list(everything)}.",
                )
            )
    return {
        name: p
        for name, p in everything.items()
        if any(
            alias == pattern or (p.requires_grad and _fits(alias, pattern))
            for alias in aliases[id(p)]
            for pattern in patterns
        )
    }


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)


def _shared_kind(chosen: dict[str, torch.nn.Parameter]) -> tuple[torch.dtype, torch.device]:
    """The one real floating dtype and the one device of all chosen parameters."""
    for name, p in chosen.items():
        if not p.is_floating_point():
            raise TypeError(
                _validation.message("params", "be real and floating", f"{name} of {p.dtype}")
            )
    for what in ("dtype", "device"):
        kinds = {getattr(p, what): name for name, p in chosen.items()}
        if len(kinds) > 1:
            raise ValueError(
                _validation.message(
                    "params",
                    f"share one {what}",
                    ", ".join(f"{kind} ({name})" for kind, name in kinds.items()),
                    f"Move the model to one {what}, or choose parameters of one {what}.",
                )
            )
    first = next(iter(chosen.values()))
    return first.dtype, first.device
