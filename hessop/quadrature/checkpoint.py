"""A density in the making in a file, so that a run goes on after a kill."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from hessop import _files, _validation
from hessop.quadrature import storing
from hessop.quadrature.density import SpectralDensity
from hessop.quadrature.growth import Growth


class Checkpoint:
    """
    A file with the probes that are done.

    Parameters
    ----------
    path : path_like
        Where. Read if it exists, replaced as a whole after each block of probes.
    **call : object
        What must be the same in the call that goes on, and is no part of a density.
    """

    def __init__(self, path: Any, **call: Any) -> None:
        self._path, self._call = _files.in_folder("checkpoint", path), call

    def restored(self, empty: SpectralDensity, seeded: bool) -> SpectralDensity:
        """What the file holds of a density that is about to be made; that one if there is none."""
        if not self._path.exists():
            return empty
        try:
            fields, call = storing.read(self._path)
            found = SpectralDensity(**fields)
        except (OSError, *storing.UNREADABLE) as error:
            self._refuse(f"a file that cannot be read ({type(error).__name__}: {error})", error)
        if call is None:
            self._refuse("a density that was saved")
        for name, now in self._call.items():
            if call.get(name) != now:
                self._refuse(f"one of another call: {name} was {call.get(name)}, and is {now}")
        for name in ("n", "ncv", "method", "source"):
            was, now = getattr(found, name), getattr(empty, name)
            # without a seed, the probes are those that the file began with
            if was != now and (seeded or name != "source"):
                self._refuse(f"one of another call: {name} was {was}, and is {now}")
        if not np.array_equal(found.points, empty.points):
            self._refuse("one of another call: other eigenvalues were locked")
        return found

    def check(self, found: SpectralDensity, growth: Growth) -> None:
        """One product, of which a coefficient is known."""
        off = growth.difference(found)
        if off:
            self._refuse(f"one of another operator: a product differs by {off:.1e}, relatively")

    def save(self, density: SpectralDensity) -> None:
        """Write it, all or nothing."""
        with _files.replaced(self._path) as file:
            storing.write(density, file, self._call)

    def remove(self) -> None:
        """The run has reached its end."""
        self._path.unlink(missing_ok=True)

    def _refuse(self, got: str, error: Exception | None = None) -> NoReturn:
        raise ValueError(
            _validation.message(
                "checkpoint",
                f"be a new file, or one that the same call wrote ({self._path})",
                got,
                "Nothing was changed. Name another file, or delete it to begin anew.",
            )
        ) from error
