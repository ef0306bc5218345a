"""The columns of the compatibility matrix: each kind of operator beside its dense matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import eye_array

import hessop
from tests import oracles
from tests.models import regression

SHIFT = 0.3
LAYER = "0"  # the first 20 parameters


def _hessian(dtype: torch.dtype) -> Any:
    model, loss_fn, data = regression(dtype)
    return hessop.HessianOperator(model, loss_fn, data)


def _ggn(dtype: torch.dtype) -> Any:
    model, loss_fn, data = regression(dtype)
    return hessop.GGNOperator(model, loss_fn, data)


def _fisher(dtype: torch.dtype) -> Any:
    model, loss_fn, data = regression(dtype)
    return hessop.FisherOperator(model, loss_fn, data, kind="empirical")


def _ntk(dtype: torch.dtype) -> Any:
    model, _, data = regression(dtype)
    return hessop.NTKOperator(model, data)


def _block(dtype: torch.dtype) -> Any:
    return _hessian(dtype).block(LAYER)


def _sum(dtype: torch.dtype) -> Any:
    return _hessian(dtype) + 0.5 * _fisher(dtype)


def _shifted(dtype: torch.dtype) -> Any:
    H = _hessian(dtype)
    return H + SHIFT * hessop.aslinearoperator(eye_array(H.shape[0], dtype=H.dtype))


def _deflated(dtype: torch.dtype) -> Any:
    return hessop.deflate(_hessian(dtype), *_largest())


def _largest() -> tuple[np.ndarray, np.ndarray]:
    """Two eigenpairs of the Hessian."""
    w, v = np.linalg.eigh(dense("Hessian"))
    return w[-2:], v[:, -2:]


OPERATORS: dict[str, Callable[[torch.dtype], Any]] = {
    "Hessian": _hessian,
    "GGN": _ggn,
    "Fisher": _fisher,
    "NTK": _ntk,
    "block": _block,
    "sum": _sum,
    "shifted": _shifted,
    "deflated": _deflated,
}

SINGLE = ("Hessian", "NTK", "shifted", "deflated")
"""Those in float32 too: a network, its kernel, and what is made of operators."""


@functools.cache
def dense(name: str) -> np.ndarray:
    """The matrix in float64, from naive second ways."""
    model, loss_fn, data = regression()
    if name == "GGN":
        return oracles.dense_ggn(model, loss_fn, data)
    if name == "Fisher":
        return oracles.dense_fisher(model, loss_fn, data, "empirical")
    if name == "NTK":
        J = oracles.dense_jacobian(model, data[0])
        return J @ J.T
    H = oracles.dense_hessian(model, loss_fn, data)
    if name == "block":
        return H[:20, :20]
    if name == "sum":
        return H + 0.5 * dense("Fisher")
    if name == "shifted":
        return H + SHIFT * np.eye(len(H))
    if name == "deflated":
        w, v = _largest()
        return H - (v * w) @ v.T
    return H


@dataclass(frozen=True)
class Case:
    """An operator, its matrix, and a vector of the operator's dtype."""

    A: Any
    D: np.ndarray
    b: np.ndarray


@functools.cache
def case(name: str, dtype: torch.dtype = torch.float64, damped: bool = False) -> Case:
    """One of the columns; damped, with eigenvalues from c to 11 c."""
    A, D = OPERATORS[name](dtype), dense(name)
    n = len(D)
    if damped:
        w = np.linalg.eigvalsh(D)
        c = float(0.1 * (w[-1] - w[0]) - w[0])
        A = A + c * hessop.aslinearoperator(eye_array(n, dtype=A.dtype))
        D = D + c * np.eye(n)
    return Case(A, D, np.random.default_rng(5).standard_normal(n).astype(A.dtype))
