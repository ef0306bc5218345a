"""The state of a search in a file, so that it goes on after a kill as if nothing had been."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hessop import _files, _validation
from hessop._product import Product
from hessop.krylov import reorthogonalization
from hessop.krylov.audit import Audit
from hessop.krylov.basis import Basis
from hessop.krylov.goal import Goal
from hessop.krylov.projection import Row
from hessop.krylov.restart import Search
from hessop.krylov.rounding import Rounding
from hessop.krylov.wanted import Nearest

_VERSION = 1
# Writing takes at most this share of the time.
_SHARE = 0.1
# A product that differs by more than this multiple of the noise is another operator's.
_SAME = 100.0
_SEARCH = ("steps", "next_look", "settled")
_CHECK = ("blind", "proven", "missing")
_SWEEP = ("waiting", "leftover")


def call_key(
    goal: Goal, reorth: str, dtype: torch.dtype, ncv: int | None, lock: Basis
) -> dict[str, Any]:
    """What has to be the same in two calls for one to go on where the other left off."""
    which = goal.which if isinstance(goal.which, (str, Nearest)) else _named(goal.which)
    locked = hashlib.sha256()
    for rows in lock.bits():
        locked.update(rows.tobytes())
    return {
        "k": goal.k,
        "which": str(which),
        "ncv": ncv,
        "tol": goal.tol,
        "verify": goal.audit,
        "block_size": goal.block,
        "reorth": reorth,
        "basis_dtype": str(dtype),
        "lock": locked.hexdigest(),
    }


def _named(function: Any) -> str:
    """A function by name, and by what it does as far as Python tells."""
    code = getattr(function, "__code__", None)
    does = b"" if code is None else code.co_code + repr((code.co_consts, code.co_names)).encode()
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{name}, {hashlib.sha256(does).hexdigest()[:16]}"


class RefusedError(ValueError):
    """A file that is not what this call can go on from."""


class Checkpoint:
    """
    A file with the state of a search.

    Parameters
    ----------
    path : path_like
        Where. Read if it exists, and replaced as a whole each time.
    product : Product
        What is multiplied with.
    key : dict
        What must be the same in the call that goes on: arguments, by name.

    Attributes
    ----------
    last : bool
        Whether the file is to go when the search has reached its goal.
    """

    def __init__(self, path: Any, product: Product, key: dict[str, Any]) -> None:
        self.path = _files.in_folder("checkpoint", path)
        self.last = True
        self._product = product
        self._key = {"n": product.n, "dtype": str(product.dtype), **key}
        self._written, self._cost = time.monotonic(), 0.0

    @contextmanager
    def of(self, search: Search) -> Iterator[None]:
        """
        Keep the state of a search that is about to begin, or go on from what the file holds.

        The file stays when the search is interrupted or ends without having reached its goal.
        """
        if self.path.exists():
            self._restore(search)
        search.save = self._save
        yield
        done = search.settled == search.goal.k and (search.done or not search.goal.audit)
        if done and self.last:
            self.path.unlink(missing_ok=True)
        else:
            self._write(search)

    def _restore(self, search: Search) -> None:
        try:
            with self.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                state = json.loads(str(file["state"]))
                self._check_key(state)
                _fill(search, state, file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, RefusedError):
                raise
            raise self._refused(
                f"a file that cannot be read ({type(error).__name__}: {error})"
            ) from error
        self._check_operator(search)

    def _check_key(self, state: dict[str, Any]) -> None:
        if state["version"] != _VERSION:
            raise self._refused(f"a file of version {state['version']}, where {_VERSION} is read")
        for name, value in self._key.items():
            if state["key"].get(name) != value:
                raise self._refused(
                    f"one of another call: {name} was {state['key'].get(name)}, and is {value}"
                )

    def _save(self, search: Search) -> None:
        """Write the state, unless that was done a moment ago."""
        if search.steps and time.monotonic() - self._written >= self._cost / _SHARE:
            self._write(search)

    def _write(self, search: Search) -> None:
        """Write the state, all of it or nothing."""
        started = time.monotonic()
        state, arrays = _taken(search)
        text = json.dumps({"version": _VERSION, "key": self._key, **state}, default=_plain)
        with _files.replaced(self.path) as file:
            np.savez(file, allow_pickle=False, state=np.array(text), **arrays)
        self._written = time.monotonic()
        self._cost = self._written - started

    def _check_operator(self, search: Search) -> None:
        """One product, of a vector whose product is known."""
        sweep = search.sweep
        row = sweep.multiplied[0]
        rounding = sweep.rounding
        w = self._product.matmat(sweep.basis.row(row)[None])[0]
        seen = sweep.basis.project(w).cpu().numpy()
        T, C = sweep.projection()
        known = np.concatenate([T[:, 0], C[:, 0]])
        # without full orthogonality only what is coupled is known well
        coupled = known != 0
        coupled[0] = True
        off = (seen[[*sweep.multiplied, *sweep.waiting]] - known)[coupled]
        difference = float(np.linalg.norm(off))
        if difference > _SAME * rounding.noise * rounding.scale:
            raise self._refused(
                f"one of another operator: a product differs by {difference / rounding.scale:.1e}, "
                "relatively"
            )

    def _refused(self, got: str) -> RefusedError:
        return RefusedError(
            _validation.message(
                "checkpoint",
                f"be a new file, or one that the same call wrote ({self.path})",
                got,
                "Nothing was changed. Name another file, or delete it to begin anew.",
            )
        )


def _plain(value: Any) -> Any:
    """JSON for NumPy's numbers and arrays, such as a generator's state holds."""
    return value.tolist()


def _taken(search: Search) -> tuple[dict[str, Any], dict[str, Any]]:
    """All that a search knows: what goes into text, and arrays."""
    sweep, audit = search.sweep, search.check.audit
    state: dict[str, Any] = {
        "search": {name: getattr(search, name) for name in _SEARCH},
        "check": {name: getattr(search.check, name) for name in _CHECK},
        "sweep": {name: getattr(sweep, name) for name in _SWEEP},
        "policy": sweep.policy.state(),
        "rounding": vars(sweep.rounding),
        "audit": None if audit is None else vars(audit),
        "ncv": search.goal.ncv,  # by default what was free then
        "rng": search.rng.bit_generator.state,
        "starts": [row.start for row in sweep.rows],
    }
    arrays: dict[str, Any] = {
        "alpha": np.array([np.nan if row.alpha is None else row.alpha for row in sweep.rows]),
        "lengths": np.array([len(row.coupling) for row in sweep.rows], dtype=np.int64),
        "coupling": np.concatenate([row.coupling for row in sweep.rows]),
    }
    for i, block in enumerate(sweep.basis.bits()):
        arrays[f"basis{i}"] = block
    return state, arrays


def _fill(search: Search, state: dict[str, Any], arrays: Any) -> None:
    """Put it all back; `arrays` are read one by one, for they may be large together."""
    sweep = search.sweep
    for name in _SEARCH:
        setattr(search, name, state["search"][name])
    for name in _CHECK:
        setattr(search.check, name, state["check"][name])
    for name in _SWEEP:
        setattr(sweep, name, state["sweep"][name])
    sweep.rounding = Rounding(**state["rounding"])
    sweep.policy = reorthogonalization.restored(state["policy"], sweep.space.n)
    audit = state["audit"]
    if audit is not None:
        arrays_of = {name: np.array(audit[name]) for name in ("keys", "values")}
        search.check.audit = Audit(**{**audit, **arrays_of})
    search.goal = replace(search.goal, ncv=state["ncv"])
    search.rng.bit_generator.state = state["rng"]
    ends = np.cumsum(arrays["lengths"])[:-1]
    rows = zip(arrays["alpha"], state["starts"], np.split(arrays["coupling"], ends), strict=True)
    sweep.rows = [
        Row(None if np.isnan(alpha) else float(alpha), start, coupling.copy())
        for alpha, start, coupling in rows
    ]
    pieces = sum(name.startswith("basis") for name in arrays)
    sweep.basis.load(torch.from_numpy(arrays[f"basis{i}"]) for i in range(pieces))
