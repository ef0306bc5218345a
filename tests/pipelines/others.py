"""Rows of the matrix: other libraries, and what is built on SciPy's solvers."""

from __future__ import annotations

import numpy as np
import scipy.sparse.linalg as sl

from tests.pipelines.systems import RIDGE, ridge, tolerance
from tests.pipelines.table import Consumer, identity, solution


def _wrapped(A):
    import pylops

    return pylops.aslinearoperator(A)


def _stacked(A, b):
    import pylops

    return pylops.VStack([_wrapped(A), pylops.Diagonal(b) @ _wrapped(A)]) @ b


def _divided(A, b):
    return _wrapped(A).div(b, niter=300)


def _cgls(A, b):
    from pylops.optimization.basic import cgls

    return cgls(_wrapped(A), b, np.zeros_like(b), niter=300, tol=tolerance(A) ** 2)[0]


def _regularized(A, b):
    import pylops
    from pylops.optimization.leastsquares import regularized_inversion

    regularizer = pylops.Identity(len(b), dtype=A.dtype)
    tolerances = {"atol": 1e-12, "btol": 1e-12, "iter_lim": 500}
    return regularized_inversion(_wrapped(A), b, [regularizer], epsRs=[RIDGE], **tolerances)[0]


def _influence(A, b):
    """The damped system of an influence function, ``(A + damping I)^-1 g``."""
    x, info = sl.cg(A + RIDGE * identity(A), b, rtol=tolerance(A))
    assert info == 0
    return x


def _damped(D, b):
    return solution(D + RIDGE * np.eye(len(b)), b)


PYLOPS = [
    Consumer(
        "`A` in `VStack` and `Diagonal`",
        _stacked,
        lambda D, b: np.r_[D @ b, b * (D @ b)],
        needs="pylops",
    ),
    Consumer("`A / b`, `A.div`", _divided, solution, damped=True, double=1e-5, needs="pylops"),
    Consumer("`cgls`", _cgls, solution, damped=True, double=1e-6, needs="pylops"),
    Consumer("`regularized_inversion`", _regularized, ridge, needs="pylops"),
    Consumer(
        "`eigs(symmetric=True)`",
        lambda A, b: np.sort(_wrapped(A).eigs(2, symmetric=True, which="LA", v0=b)),
        lambda D, b: np.linalg.eigvalsh(D)[-2:],
        needs="pylops",
    ),
    Consumer("`todense`", lambda A, b: _wrapped(A).todense(), lambda D, b: D, needs="pylops"),
]
INFLUENCE = [Consumer("`cg(A + damping I, g)`", _influence, _damped, damped=True)]
