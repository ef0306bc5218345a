"""Densities in files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np

from hessop.quadrature.measure import Measure
from hessop.quadrature.probes import Source
from hessop.quadrature.sweeps import Method

_NUMBERS = ("n", "ncv", "n_matvec")
_ARRAYS = ("nodes", "weights", "points", "residuals", "alpha", "beta")


def write(density: Measure, file: BinaryIO) -> None:
    """All of it but the vectors that are kept."""
    state = {
        **{name: getattr(density, name) for name in _NUMBERS},
        "method": asdict(density.method),
        "source": None if density.source is None else asdict(density.source),
    }
    arrays = {name: getattr(density, name) for name in _ARRAYS}
    known = {name: a for name, a in arrays.items() if a is not None}
    np.savez(file, allow_pickle=False, state=np.array(json.dumps(state)), **known)


def read(file: Any) -> dict[str, Any]:
    """The fields of what `write` wrote, by name."""
    with np.load(file, allow_pickle=False) as archive:
        state = json.loads(str(archive["state"]))
        arrays = {name: archive[name] for name in _ARRAYS if name in archive}
    method, source = Method(**state.pop("method")), state.pop("source")
    return {**arrays, **state, "method": method, "source": source and Source.read(source)}
