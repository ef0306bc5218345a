"""One product with one batch that has just been built, in any mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from hessop._memory import out_of_memory
from hessop.curvature import differences
from hessop.curvature.layout import Pieces
from hessop.curvature.local import Found, Local
from hessop.curvature.ways import DIFFERENCE, FORWARD, REVERSE, Planner

Way = Callable[[Pieces, Sequence[int] | None], Found]


def way_of(local: Local, planner: Planner) -> Way:
    """How a batch is multiplied that has no tape."""
    if planner.stage == FORWARD:
        return _forward_if_possible(local, planner)
    if planner.stage == DIFFERENCE:
        return _of_dense(local, partial(_difference, local, planner))
    return local.reverse


def _forward_if_possible(local: Local, planner: Planner) -> Way:
    """Forward over reverse, or reverse over reverse where torch lacks a formula for it."""
    forward = _of_dense(local, local.forward)

    def way(pieces: Pieces, wanted: Sequence[int] | None) -> Found:
        if planner.stage == FORWARD:
            try:
                return forward(pieces, wanted)
            except (RuntimeError, NotImplementedError) as error:
                if out_of_memory(error):
                    raise
                problem = f"{type(error).__name__}: {str(error)[:200]}"
            found = local.reverse(pieces, wanted)
            planner.refuse(FORWARD, problem)
            planner.stage = REVERSE
            return found
        return local.reverse(pieces, wanted)

    return way


def _difference(local: Local, planner: Planner, v: Sequence[torch.Tensor]) -> Found:
    """A central difference, by a step that is tuned on the first vector."""
    if not any(piece.any() for piece in v):
        return [torch.zeros_like(piece) for piece in local.difference(v, 1.0) if piece is not None]
    unit = differences.unit_step(v, local.leaves)
    if planner.step is None:
        tuned = differences.tuned(lambda s: local.difference(v, s * unit), v[0].dtype)
        planner.step, planner.error = tuned
        planner.notes.append(
            f"differences by {planner.step:.1e} of the size of the parameters, "
            f"wrong by about {planner.error:.0e} of a product"
        )
    return local.difference(v, planner.step * unit)


def _of_dense(local: Local, function: Callable[[Sequence[torch.Tensor]], Found]) -> Way:
    """A way that knows no missing pieces, made one that does."""

    def way(pieces: Pieces, wanted: Sequence[int] | None) -> Found:
        parameters = zip(pieces, local.leaves, strict=True)
        found = function([torch.zeros_like(p) if v is None else v for v, p in parameters])
        return found if wanted is None else [found[i] for i in wanted]

    return way
