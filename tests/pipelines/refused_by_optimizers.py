"""Rows of the matrix that say no: scipy.optimize."""

from __future__ import annotations

import numpy as np
import scipy.optimize as so

from tests.pipelines.table import Refusal


def _minimize(method, hess):
    def use(A, b):
        return so.minimize(
            lambda x: b @ x + 0.5 * x @ (A @ x),
            np.zeros_like(b),
            jac=lambda x: b + A @ x,
            hess=hess(A),
            method=method,
        )

    return use


def _least_squares(**options):
    return lambda A, b: so.least_squares(
        lambda x: A @ x - b, np.zeros_like(b), jac=lambda x: A, **options
    )


BY_OPTIMIZERS = [
    Refusal(
        '`minimize(method="trust-ncg", hess=)`',
        _minimize("trust-ncg", lambda A: lambda x: A),
        TypeError,
        "'<=' not supported",
        "`hessp=`",
    ),
    Refusal(
        '`minimize(method="trust-krylov", hess=)`',
        _minimize("trust-krylov", lambda A: lambda x: A),
        TypeError,
        "real number",
        "`hessp=`",
    ),
    Refusal(
        '`minimize(method="trust-exact")`',
        _minimize("trust-exact", lambda A: lambda x: A),
        AttributeError,
        "flags",
        "`trust-krylov`",
    ),
    Refusal(
        '`minimize(method="dogleg")`',
        _minimize("dogleg", lambda A: lambda x: A),
        TypeError,
        "real number",
        "`trust-ncg`",
    ),
    Refusal(
        '`minimize(method="Newton-CG", hess=A)`',
        _minimize("Newton-CG", lambda A: A),
        ValueError,
        "ambiguous",
        "`hess=lambda x: A`",
    ),
    Refusal(
        '`least_squares(method="lm")`',
        _least_squares(method="lm"),
        ValueError,
        "dense Jacobian",
        '`method="trf"`',
    ),
    Refusal(
        '`least_squares(tr_solver="exact")`',
        _least_squares(tr_solver="exact"),
        ValueError,
        "dense Jacobian",
        '`tr_solver="lsmr"`',
    ),
    Refusal(
        '`lsq_linear(method="bvls")`',
        lambda A, b: so.lsq_linear(A, b, method="bvls"),
        ValueError,
        "LinearOperator",
        '`method="trf"`',
    ),
    Refusal("`nnls`", so.nnls, TypeError, "real number", "`lsq_linear(bounds=(0, inf))`"),
]
