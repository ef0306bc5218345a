"""Gauss-Radau quadrature: a node where one is wanted, and the bounds that follow."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_banded

from hessop.quadrature import gauss

# Beyond this multiple of the recurrence's size, the last coefficient is infinite: the node that is
# asked for is one of the Gauss rule's.
_INFINITE = 1e8


def radau(sweep: gauss.Swept, at: float) -> gauss.Rule:
    r"""
    The rule of ``m + 1`` nodes of which one is `at`; exact for polynomials of degree ``2 m``.

    The tridiagonal matrix gets one row more, with the diagonal entry that makes `at` an
    eigenvalue, :math:`x + \beta_m^2 \, e_m^T (T - x)^{-1} e_m` (Golub 1973; Golub and Meurant 2010,
    Section 6.2). Where nothing was left over, the Gauss rule, which is the measure itself.
    """
    alpha, beta = sweep.alpha, sweep.beta
    if sweep.exact:
        return gauss.rule(alpha, beta)
    bands = np.zeros((3, len(alpha)))
    bands[0, 1:], bands[1], bands[2, :-1] = beta[:-1], alpha - at, beta[:-1]
    unit = np.append(np.zeros(len(alpha) - 1), 1.0)
    try:
        shift = float(beta[-1] * (beta[-1] * solve_banded((1, 1), bands, unit)[-1]))
    except np.linalg.LinAlgError:
        shift = np.inf
    if not abs(shift) <= _INFINITE * (np.abs(alpha).max() + beta.max()):
        return gauss.rule(alpha, beta)
    return gauss.rule(np.append(alpha, at + shift), beta)


def cumulative(sweep: gauss.Swept, x: float) -> tuple[float, float]:
    """
    The best bounds for the measure of ``(-inf, x]`` that the steps give.

    By the separation theorem of Chebyshev, Markov and Stieltjes (Golub and Meurant 2010), the
    weights of the nodes below x of the rule that has x as a node bound it from below, and those
    up to x from above.
    """
    if not np.isfinite(x):  # NaN says nothing
        return float(x > 0), float(not x < 0)
    nodes, weights = radau(sweep, x)
    if sweep.exact:
        share = float(weights[nodes <= x].sum())
        return share, share
    here = int(np.argmin(np.abs(nodes - x)))
    return float(weights[:here].sum()), float(weights[: here + 1].sum())


def shares(sweeps: list[gauss.Swept], x: float) -> tuple[gauss.Array, gauss.Array]:
    """`cumulative` for each of many sweeps."""
    low, high = np.clip([cumulative(one, x) for one in sweeps], 0.0, 1.0).T
    return low, high
