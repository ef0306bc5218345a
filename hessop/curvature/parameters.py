"""Which parameters are differentiated, and how they are laid out in one vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch

from hessop import _validation
from hessop.curvature.layout import Layout, Subset

Choice = str | Iterable[str] | Callable[[str, torch.nn.Parameter], bool] | None


class ParameterSpace(Layout):
    """
    The chosen parameters of a model, each once, in the model's order.

    A tied parameter goes by its first name.
    """

    def __init__(self, model: torch.nn.Module, choice: Choice) -> None:
        chosen = _choose(model, choice)
        super().__init__(chosen, (p.shape for p in chosen.values()), *_shared_kind(chosen))
        self._model = model

    def subset(self, choice: Choice) -> Subset:
        """Some of the chosen parameters, by name, glob, module or predicate."""
        if choice is None:
            return self.everything()
        if callable(choice):
            parameters = dict(self._model.named_parameters())
            wanted = {name for name in self.names if choice(name, parameters[name])}
            if not wanted:
                raise self._no_match("a chosen parameter", "a predicate that accepts none")
        else:
            aliases, wanted = _aliases(self._model), set()
            for pattern in _patterns(choice):
                fitting = {a[0] for a in aliases.values() if any(_fits(n, pattern) for n in a)}
                if not fitting & set(self.names):
                    what = "a chosen parameter" if fitting else "a parameter"
                    raise self._no_match(what, repr(pattern))
                wanted |= fitting
        return Subset(self, [i for i, name in enumerate(self.names) if name in wanted])

    def _no_match(self, what: str, got: str) -> ValueError:
        return ValueError(
            _validation.message(
                "name",
                f"match {what} by name, glob or module name",
                got,
                f"The parameters are {list(self.names)}.",
            )
        )

    def groups(self, by: str) -> dict[str, Subset]:
        """A partition: each parameter by itself, or those that one module owns together."""
        members: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            owner = name.rpartition(".")[0] or name
            members.setdefault(name if by == "parameter" else owner, []).append(i)
        return {key: Subset(self, indices) for key, indices in members.items()}


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
    aliases = _aliases(model)
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


def _aliases(model: torch.nn.Module) -> dict[int, list[str]]:
    """All names of each parameter: a tied one may be asked for by any of them."""
    aliases: dict[int, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(p), []).append(name)
    return aliases


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
