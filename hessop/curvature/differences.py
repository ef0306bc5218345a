"""The step of a central difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from hessop.curvature.local import Found

_TRIED, _RATIO = 6, 8.0


def unit_step(v: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]) -> float:
    """``(1 + ||p||) / ||v||``: a step that changes the parameters by all of their size."""
    return (1 + _norm(parameters)) / (_norm(v) or 1.0)


def tuned(difference: Callable[[float], Found], dtype: torch.dtype) -> tuple[float, float]:
    """
    A relative step, and the relative error of the difference by it.

    Truncation grows with the square of the step, rounding with its inverse; for a smooth function
    they meet near ``eps^(1/3)``, the largest that is tried. Kinks, as of ReLU, that lie within the
    step add an error of the size of the product, however many they are, and ask for a step that
    reaches none. Two neighbouring steps whose differences agree best bracket the optimum. Where
    still smaller ones disagree more and more, rounding is what is left, and the larger is best.

    Parameters
    ----------
    difference : callable
        ``difference(step)``, of one vector that is not zero.
    dtype : torch.dtype
        That of the parameters.
    """
    steps = [torch.finfo(dtype).eps ** (1 / 3) / _RATIO**i for i in range(_TRIED)]
    found = [[z for z in difference(step) if z is not None] for step in steps]
    errors = [
        _norm([a - b for a, b in zip(coarse, fine, strict=True)]) / (_norm(fine) or 1.0)
        for coarse, fine in pairwise(found)
    ]
    best = min(range(len(errors)), key=errors.__getitem__)
    if best + 1 < len(errors) and errors[best + 1] > _RATIO / 2 * errors[best]:
        return steps[best], errors[best] / _RATIO
    return (steps[best] * steps[best + 1]) ** 0.5, errors[best]


def _norm(pieces: Sequence[torch.Tensor]) -> float:
    if not pieces:
        return 0.0
    return float(torch.stack([p.detach().double().norm() for p in pieces]).norm())
