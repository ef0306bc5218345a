"""Rows of the matrix: linear systems and least squares."""

from __future__ import annotations

import numpy as np
import scipy.optimize as so
import scipy.sparse.linalg as sl

from tests.pipelines.table import Consumer, identity, solution

RIDGE = 0.5


def tolerance(A):
    """For residuals."""
    return 1e-11 if A.dtype == np.float64 else 1e-5


def _solver(function, **options):
    def use(A, b):
        x, info = function(A, b, rtol=tolerance(A), maxiter=2000, **options)
        assert info == 0
        return x

    return use


def polynomial(A):
    """A preconditioner made of the operator: two terms of Neumann's series for its inverse."""
    t = sl.onenormest(A)
    return (2 / t) * identity(A) - A / t**2


def _preconditioned(function):
    def use(A, b):
        x, info = function(A, b, rtol=tolerance(A), M=polynomial(A))
        assert info == 0
        return x

    return use


def _by_inverse_of_lbfgs(A, b):
    found = so.minimize(
        lambda x: 0.5 * x @ (A @ x) - b @ x,
        np.zeros_like(b),
        jac=lambda x: A @ x - b,
        method="L-BFGS-B",
        options={"maxiter": 10},
    )
    return sl.cg(A, b, rtol=tolerance(A), M=found.hess_inv)[0]


def _lsqr(A, b):
    return sl.lsqr(A, b, atol=tolerance(A), btol=tolerance(A), iter_lim=2000)[0]


def _lsmr(A, b):
    return sl.lsmr(A, b, atol=tolerance(A), btol=tolerance(A), maxiter=2000)[0]


def ridge(D, b):
    """The minimiser of ``|D x - b|^2 + RIDGE^2 |x|^2``."""
    return np.linalg.solve(D.T @ D + RIDGE**2 * np.eye(len(b)), D.T @ b)


SYSTEMS = [
    *(
        Consumer(f"`{f.__name__}`", _solver(f), solution, damped=True, double=1e-7)
        for f in (sl.cg, sl.cgs, sl.bicg, sl.bicgstab, sl.lgmres, sl.minres, sl.qmr)
    ),
    Consumer("`gmres`", _solver(sl.gmres, restart=100), solution, damped=True, double=1e-7),
    *(
        Consumer(f"`{f.__name__}`", _solver(f), solution, damped=True, double=1e-7)
        for f in (sl.gcrotmk, sl.tfqmr)
    ),
    *(
        Consumer(f"`{f.__name__}(M=)`", _preconditioned(f), solution, damped=True, double=1e-7)
        for f in (sl.cg, sl.minres)
    ),
    Consumer(
        "`cg(M=)`, an inverse of L-BFGS",
        _by_inverse_of_lbfgs,
        solution,
        damped=True,
        double=1e-7,
        single=None,
    ),
    Consumer("`lsqr`", _lsqr, solution, damped=True, double=1e-7),
    Consumer(
        "`lsqr(damp=)`", lambda A, b: sl.lsqr(A, b, damp=RIDGE, atol=1e-12, btol=1e-12)[0], ridge
    ),
    Consumer("`lsmr`", _lsmr, solution, damped=True, double=1e-7, single=None),
]
