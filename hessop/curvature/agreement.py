"""Whether two ways to compute the same thing give the same, to rounding."""

from __future__ import annotations

import torch

from hessop.curvature.layout import Pieces


def disagreement(found: Pieces, expected: Pieces) -> str:
    """
    How pieces differ, in words; empty where they agree.

    They agree when the norm of the difference is at most ``eps**0.6`` of that of `expected`: 7e-5
    in float32, 4e-10 in float64. Rounding in deep networks stays below that, a lost term does not.
    """
    square, size, eps = 0.0, 0.0, 0.0
    for a, b in zip(found, expected, strict=True):
        some = a if a is not None else b
        if some is None:
            continue
        a, b = (torch.zeros_like(some) if t is None else t for t in (a, b))
        square += float((a.double() - b.double()).square().sum())
        size += float(b.double().square().sum())
        eps = float(torch.finfo(some.dtype).eps)
    if square <= eps**1.2 * size:
        return ""
    return f"differs by {(square / size) ** 0.5:.1e}, relatively" if size else "is not zero"
