"""One product with one batch that has just been built, in any mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hessop._memory import out_of_memory
from hessop.curvature.layout import Pieces
from hessop.curvature.local import Found, Local
from hessop.curvature.ways import DIFFERENCE, FORWARD, REVERSE, Planner

Way = Callable[[Pieces, Sequence[int] | None], Found]


def way_of(local: Local, planner: Planner) -> Way:
    """How a batch is multiplied that has no tape."""
    if planner.stage == FORWARD:
        return _forward_if_possible(local, planner)
    if planner.stage == DIFFERENCE:
        return _of_dense(local, lambda v: local.difference(v, step(v, local.leaves)))
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


def step(v: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]) -> float:
    """
    The step of a central difference, ``eps^(1/3) (1 + ||p||) / ||v||``.

    Truncation grows with its square, rounding with its inverse.
    """
    length, size = _norm(v), _norm(parameters)
    eps: float = torch.finfo(v[0].dtype).eps
    return float(eps ** (1 / 3) * (1 + size) / (length or 1.0))


def _norm(pieces: Sequence[torch.Tensor]) -> float:
    return float(torch.stack([p.detach().double().norm() for p in pieces]).norm())


def _of_dense(local: Local, function: Callable[[Sequence[torch.Tensor]], Found]) -> Way:
    """A way that knows no missing pieces, made one that does."""

    def way(pieces: Pieces, wanted: Sequence[int] | None) -> Found:
        parameters = zip(pieces, local.leaves, strict=True)
        found = function([torch.zeros_like(p) if v is None else v for v, p in parameters])
        return found if wanted is None else [found[i] for i in wanted]

    return way
