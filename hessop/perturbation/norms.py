"""How large a perturbation is, however that is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _exchange, _validation
from hessop._estimates import Estimate
from hessop._product import Product
from hessop.quadrature.norm import norm as estimated_norm


def norm_of(norm: Any, confidence_level: float, rng: Any) -> NDArray[np.float64]:
    """
    Upper bounds on the spectral norm of a perturbation, shape () or (m,).

    Parameters
    ----------
    norm : float, array_like, Estimate, or operator or matrix
        Norms as they are; of an estimate its upper end, of an operator that of its estimate.
    confidence_level : float
        Of the estimate.
    rng : None, int or numpy.random.Generator
        For that of an operator.
    """
    # what has two axes is the perturbation, what has fewer are norms
    if isinstance(norm, Product) or len(getattr(norm, "shape", ())) == 2:
        norm = estimated_norm(norm, 2, rng=rng)
    if isinstance(norm, Estimate):
        high = norm.confidence_interval(confidence_level).high
        if np.isnan(high):
            raise ValueError(
                _validation.message(
                    "norm", "have a confidence interval", "one sample", "Spend more products."
                )
            )
        norm = high
    return nonnegative("norm", norm)


def nonnegative(name: str, value: Any) -> NDArray[np.float64]:
    """Numbers that are not negative, or infinite, of shape () or (m,)."""
    rule = "be a number >= 0, or an array of them with one axis"
    try:
        result = np.asarray(_exchange.on_host(value), dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(_validation.message(name, rule, repr(value))) from None
    if result.ndim > 1:
        raise ValueError(_validation.message(name, rule, f"shape {result.shape}"))
    if not (result >= 0).all():
        raise ValueError(_validation.message(name, rule, result))
    return result
