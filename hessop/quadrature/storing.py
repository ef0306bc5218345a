"""Densities in files."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from hessop import _files, _validation
from hessop.quadrature.bands import Banded
from hessop.quadrature.measure import Measure
from hessop.quadrature.probes import Source
from hessop.quadrature.sweeps import Method

# What reading a file that is none of ours raises.
UNREADABLE = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)

_NUMBERS = ("n", "ncv", "n_matvec")
_ARRAYS = ("nodes", "weights", "points", "residuals", "alpha", "beta")


def write(density: Measure, file: BinaryIO, call: dict[str, Any] | None = None) -> None:
    """All of it but the vectors that are kept; and of a run that goes on, which call it is."""
    state = {
        "call": call,
        "parts": [[asdict(source), count] for source, count in density.parts],
        **{name: getattr(density, name) for name in _NUMBERS},
        "method": asdict(density.method),
        "source": None if density.source is None else asdict(density.source),
    }
    arrays = {name: getattr(density, name) for name in _ARRAYS}
    known = {name: a for name, a in arrays.items() if a is not None}
    np.savez(file, allow_pickle=False, state=np.array(json.dumps(state)), **known)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The fields of what `write` wrote, by name, and the call."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
        state = json.loads(str(archive["state"]))
        arrays = {name: archive[name] for name in _ARRAYS if name in archive}
    method, source, call = Method(**state.pop("method")), state.pop("source"), state.pop("call")
    parts = tuple((Source.read(part), count) for part, count in state.pop("parts"))
    state |= {"method": method, "source": source and Source.read(source), "parts": parts}
    return {**arrays, **state}, call


@dataclass(frozen=True, eq=False)
class Stored(Banded):
    """What `SpectralDensity` does with files."""

    def save(self, path: Any) -> None:
        """
        Write it to a file, for `load`; without the vectors that are kept.

        Parameters
        ----------
        path : path_like
            A NumPy archive; ``.npz`` is added where it is missing.

        Raises
        ------
        ValueError
            If the folder does not exist.
        """
        with _files.replaced(_archive(path)) as file:
            write(self, file)

    @classmethod
    def load(cls, path: Any) -> Self:
        """
        Read what `save` wrote.

        Parameters
        ----------
        path : path_like
            The file; ``.npz`` is added where there is none of that name.

        Returns
        -------
        SpectralDensity
            The same, to the last bit.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is something else.
        """
        where = Path(path)
        try:
            return cls(**read(where if where.exists() else _archive(path))[0])
        except UNREADABLE as error:
            raise ValueError(
                _validation.message(
                    "path", "be a file that SpectralDensity.save wrote", f"{path} ({error})"
                )
            ) from error


def _archive(path: Any) -> Path:
    """The gate of a file's name, with its ending."""
    where = _files.in_folder("path", path)
    return where if where.suffix == ".npz" else where.with_name(f"{where.name}.npz")
