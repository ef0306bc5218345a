"""Rows of the matrix that say no: calls that take no operator, and the error of each."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.linalg.interpolative as interpolative
import scipy.sparse.linalg as sl
from scipy.sparse import eye_array

from tests.pipelines.refused_by_optimizers import BY_OPTIMIZERS
from tests.pipelines.table import Refusal

DENSE = "`A @ numpy.eye(n)` if it is small"
SOLVER = "`cg`, `minres`"
RANDOMIZED = "`hessop.randomized_eigh`, `svds`"


def _randomized_svd(A, b):
    from sklearn.utils.extmath import randomized_svd

    return randomized_svd(A, 2, random_state=0)


def _truncated_svd(A, b):
    from sklearn.decomposition import TruncatedSVD

    return TruncatedSVD(2).fit(A)


def _kernel_ridge(A, b):
    from sklearn.kernel_ridge import KernelRidge

    return KernelRidge(kernel="precomputed").fit(A, b)


def _stacked(A, b):
    import pylops

    return pylops.VStack([A, A])


def _times_diagonal(A, b):
    import pylops

    return A @ pylops.Diagonal(b)


REFUSALS = [
    Refusal("`sl.norm`", lambda A, b: sl.norm(A), TypeError, "not sparse", "`hessop.norm`"),
    Refusal("`sl.inv`", lambda A, b: sl.inv(A), TypeError, "sparse array", SOLVER),
    Refusal("`sl.expm`", lambda A, b: sl.expm(A), TypeError, "tri", "`expm_multiply`"),
    Refusal("`sl.spsolve`", lambda A, b: sl.spsolve(A, b), ValueError, "0D input", SOLVER),
    Refusal("`sl.splu`", lambda A, b: sl.splu(A), ValueError, "0D input", SOLVER),
    Refusal("`sl.spilu`", lambda A, b: sl.spilu(A), ValueError, "0D input", SOLVER),
    Refusal("`sl.factorized`", lambda A, b: sl.factorized(A), ValueError, "0D input", SOLVER),
    Refusal(
        "`sl.spsolve_triangular`",
        lambda A, b: sl.spsolve_triangular(A, b),
        ValueError,
        "0D input",
        SOLVER,
    ),
    Refusal(
        "`sl.matrix_power`", lambda A, b: sl.matrix_power(A, 2), AttributeError, "copy", "`A**2`"
    ),
    Refusal("`scipy.linalg.eigh`", lambda A, b: scipy.linalg.eigh(A), ValueError, "object", DENSE),
    Refusal(
        "`numpy.linalg.eigvalsh`",
        lambda A, b: np.linalg.eigvalsh(A),
        np.linalg.LinAlgError,
        "0-dimensional",
        DENSE,
    ),
    Refusal(
        "`A + 1.0`", lambda A, b: A + 1.0, TypeError, "unsupported operand", "`A + I`, as above"
    ),
    Refusal(
        "`A + sparse`",
        lambda A, b: A + eye_array(len(b)),
        TypeError,
        "unsupported operand",
        "`A + hessop.aslinearoperator(sparse)`",
    ),
    Refusal(
        "`A @ sparse`",
        lambda A, b: A @ eye_array(len(b)),
        TypeError,
        "aslinearoperator",
        "the same",
    ),
    *BY_OPTIMIZERS,
    Refusal(
        "`randomized_svd`", _randomized_svd, ValueError, "2D array", RANDOMIZED, needs="sklearn"
    ),
    Refusal(
        "`TruncatedSVD.fit`", _truncated_svd, ValueError, "2D array", RANDOMIZED, needs="sklearn"
    ),
    Refusal(
        '`KernelRidge(kernel="precomputed").fit`',
        _kernel_ridge,
        ValueError,
        "2D array",
        "`cg(K + alpha I, y)`",
        needs="sklearn",
    ),
    Refusal(
        "`pylops.VStack([A, A])`",
        _stacked,
        AttributeError,
        "dims",
        "`pylops.aslinearoperator(A)` in it",
        needs="pylops",
    ),
    Refusal(
        "`A @ pylops.Diagonal(d)`",
        _times_diagonal,
        ValueError,
        "1-d or 2-d",
        "`pylops.aslinearoperator(A) @ ...`",
        needs="pylops",
    ),
]

SINGLE_REFUSALS = [
    Refusal(
        "`scipy.linalg.interpolative`",
        lambda A, b: interpolative.svd(A, 2),
        ValueError,
        "float64",
        "a float64 network",
    ),
    Refusal(
        "`lsmr`",
        lambda A, b: sl.lsmr(A, b),
        RuntimeWarning,
        "overflow encountered in cast",
        "a float64 right side; or `lsqr`",
    ),
]
"""What takes an operator of float64, but not of float32; the warning is an error in tests."""
