"""What every Krylov algorithm is handed: a start vector and vectors to stay orthogonal to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hessop import _exchange, _validation
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal


def start_vector(space: LocalSpace, v0: Any, rng: np.random.Generator) -> torch.Tensor:
    """The user's start vector, or a random one. For reading: it may be the user's memory."""
    if v0 is None:
        return space.draw(rng, "gaussian")
    v0 = _validation.nonzero_vector("v0", v0, space.n)
    return _exchange.to_torch(v0, dtype=space.dtype, device=space.device)


def locked_basis(space: LocalSpace, lock: Any) -> Basis:
    """An orthonormal basis of the span of the user's columns; empty for None."""
    basis = Basis(space)
    if lock is not None:
        columns = _validation.columns("lock", lock, space.n)
        for v in _exchange.to_torch(columns, dtype=space.dtype, device=space.device).T:
            w = orthonormal(space, v, basis)
            if w is not None:
                basis.append(w)
    return basis
