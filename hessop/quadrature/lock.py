"""Eigenpairs that a density is to hold exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _exchange, _validation
from hessop._results import EigenResult
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis
from hessop.krylov.entrance import locked_basis


@dataclass(frozen=True)
class Lock:
    """
    Known eigenvalues, ascending, and their vectors, made orthonormal, in the same order.

    Attributes
    ----------
    values : ndarray of float64, shape (l,)
        The eigenvalues.
    basis : Basis
        l rows.
    """

    values: NDArray[np.float64]
    basis: Basis

    @classmethod
    def of(cls, space: LocalSpace, lock: Any) -> Lock:
        """The gate of ``lock=(w, v)`` or ``lock=result``."""
        if lock is None:
            return cls(np.zeros(0), Basis(space))
        if not (isinstance(lock, EigenResult) or (isinstance(lock, tuple) and len(lock) == 2)):
            raise TypeError(
                _validation.message("lock", "be (w, v) or an EigenResult", type(lock).__name__)
            )
        w, v = lock
        w = _exchange.on_host(w)
        if np.iscomplexobj(w):
            raise TypeError(_validation.message("lock", "hold real eigenvalues", "complex ones"))
        values = np.atleast_1d(np.asarray(w, dtype=np.float64))
        columns = _validation.columns("lock", v, space.n)
        order = np.argsort(values, kind="stable")
        fits = values.shape == (columns.shape[1],) and np.isfinite(values).all()
        basis = locked_basis(space, columns[:, order.tolist()] if fits else columns)
        if not fits or len(basis) < len(values):
            raise ValueError(
                _validation.message(
                    "lock",
                    "hold a finite eigenvalue for each of independent eigenvectors",
                    f"{values.shape} values and {len(basis)} independent vectors",
                )
            )
        if len(basis) >= space.n:
            raise ValueError(_validation.message("lock", "leave something", f"{len(basis)} pairs"))
        return cls(values[order], basis)
