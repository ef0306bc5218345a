"""Which way leads to a result, and what it has no use for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hessop import _validation
from hessop._product import Product
from hessop._results import EigenResult
from hessop._space import LocalSpace
from hessop.krylov.goal import Goal
from hessop.krylov.inverse import solve_inverted
from hessop.krylov.refine import solve_refined
from hessop.krylov.solver import Means, solve
from hessop.krylov.twopass import solve_two_pass
from hessop.krylov.wanted import Nearest

Way = Callable[[Product, LocalSpace, Goal, Means], tuple[EigenResult, torch.Tensor]]
"""From what is looked for, and with what, to pairs without vectors, and those as rows."""

UNMEASURED = (solve, solve_two_pass)
"""The ways whose residuals are those of a recurrence."""


def way_for(goal: Goal, n: int, space: LocalSpace, means: Means) -> Way:
    """What the arguments ask for."""
    if means.reorth == "none":
        return solve_two_pass
    if isinstance(goal.which, Nearest) and goal.ncv < n:
        return solve_inverted
    assert means.storage is not None
    return solve_refined if means.storage.dtype.itemsize < space.dtype.itemsize else solve


def refuse_without_basis(**given: tuple[Any, Any]) -> None:
    """What a search with three vectors has no use for: values, and their defaults."""
    for name, (value, default) in given.items():
        if value is not default and value != default:
            raise ValueError(
                _validation.message(
                    name,
                    f'be {default!r} with reorth="none"',
                    repr(value),
                    'Use reorth="double".',
                )
            )


def refuse_for_inverse(way: Way, n: int, checkpoint: Any) -> None:
    """A file would hold a basis of the inverse, which nothing can be compared with."""
    if way is solve_inverted:
        raise ValueError(
            _validation.message(
                "checkpoint",
                "be None where A - sigma is inverted",
                repr(checkpoint),
                f"Pass ncv={n}, so that A itself is searched.",
            )
        )
