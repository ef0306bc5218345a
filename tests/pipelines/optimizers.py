"""Rows of the matrix: scipy.optimize."""

from __future__ import annotations

import numpy as np
import scipy.optimize as so

from tests.pipelines.systems import polynomial
from tests.pipelines.table import Consumer, identity, minimiser, solution


def _minimize(method, form):
    """The minimiser of the quadratic ``b . x + x . A x / 2``, by its second derivatives."""

    def use(A, b):
        second = {"hessp": lambda x, p: A @ p, "hess": lambda x: A}[form]
        return so.minimize(
            lambda x: b @ x + 0.5 * x @ (A @ x),
            np.zeros_like(b),
            jac=lambda x: b + A @ x,
            method=method,
            options={"gtol": 1e-7} if method != "Newton-CG" else {"xtol": 1e-9},
            **{form: second},
        ).x

    return use


def _constrained(A, b):
    """The point nearest to b where ``x . A x / 2`` is at most half of what it is at b."""
    bound = 0.25 * b @ (A @ b)
    constraint = so.NonlinearConstraint(
        lambda x: 0.5 * x @ (A @ x),
        -np.inf,
        bound,
        jac=lambda x: (A @ x)[None],
        hess=lambda x, v: v[0] * A,
    )
    return so.minimize(
        lambda x: 0.5 * ((x - b) ** 2).sum(),
        np.zeros_like(b),
        jac=lambda x: x - b,
        hess=lambda x: identity(A),
        method="trust-constr",
        constraints=constraint,
        options={"gtol": 1e-5, "xtol": 1e-6},
    ).x


def _projected(D, b):
    """The same: ``x = (I + t D)^-1 b`` with t where the constraint is met."""
    w, v = np.linalg.eigh(D)
    c = v.T @ b

    def excess(t):
        return 0.5 * (w * (c / (1 + t * w)) ** 2).sum() - 0.25 * (w * c**2).sum()

    return v @ (c / (1 + so.brentq(excess, 0, 1e3 / w[-1], xtol=1e-14) * w))


def _least_squares(method):
    def use(A, b):
        return so.least_squares(
            lambda x: A @ x - b,
            np.zeros_like(b),
            jac=lambda x: A,
            method=method,
            tr_solver="lsmr",
            tr_options={"atol": 1e-12, "btol": 1e-12},
            xtol=None,
            ftol=None,
            gtol=1e-6,
        ).x

    return use


def _lsq_linear(A, b):
    return so.lsq_linear(A, b, lsmr_tol=1e-13, tol=1e-15).x


def _bounded(A, b):
    return so.lsq_linear(A, b, bounds=(-0.1, 0.1), lsmr_tol=1e-6, tol=1e-6).cost


def _bounded_dense(D, b):
    return so.lsq_linear(D, b, bounds=(-0.1, 0.1), method="bvls", tol=1e-14).cost


def _root(A, b):
    M = polynomial(A)
    options = {"fatol": 1e-9, "jac_options": {"inner_M": M}}
    return so.root(lambda x: A @ x - b, np.zeros_like(b), method="krylov", options=options).x


OPTIMIZERS = [
    *(
        Consumer(
            f'`minimize(method="{m}", {form}=)`',
            _minimize(m, form),
            minimiser,
            damped=True,
            double=1e-4,
            single=None,
        )
        for m, form in (
            ("Newton-CG", "hess"),
            ("Newton-CG", "hessp"),
            ("trust-ncg", "hessp"),
            ("trust-krylov", "hessp"),
            ("trust-constr", "hess"),
            ("trust-constr", "hessp"),
        )
    ),
    Consumer(
        "`NonlinearConstraint(hess=)`",
        _constrained,
        _projected,
        damped=True,
        double=1e-4,
        single=None,
    ),
    *(
        Consumer(
            f'`least_squares(method="{m}", jac=)`',
            _least_squares(m),
            solution,
            damped=True,
            double=1e-5,
            single=None,
        )
        for m in ("trf", "dogbox")
    ),
    Consumer("`lsq_linear`", _lsq_linear, solution, damped=True, double=1e-3, single=None),
    Consumer(
        "`lsq_linear(bounds=)`", _bounded, _bounded_dense, damped=True, double=1e-3, single=None
    ),
    Consumer('`root(method="krylov")`, `inner_M`', _root, solution, damped=True, single=None),
]
