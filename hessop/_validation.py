"""Every argument check and its message: name, rule, what came, remedy."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hessop import _exchange
from hessop._messages import message as message


def check_block(V: torch.Tensor, n: int, dtype: torch.dtype, device: torch.device) -> None:
    """A block of row vectors fits a product."""
    if V.ndim != 2 or V.shape[1] != n:
        raise ValueError(message("V", f"have shape (k, {n})", f"shape {tuple(V.shape)}"))
    if V.dtype != dtype or V.device.type != device.type:
        raise ValueError(
            message("V", f"be {dtype} on {device}", f"{V.dtype} on {V.device}", "Use V.to(...).")
        )


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer in a closed range, as a Python int."""
    rule = f"be an integer >= {low}" if high is None else f"be an integer in [{low}, {high}]"
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(message(name, rule, repr(value))) from None
    if result < low or (high is not None and result > high):
        raise ValueError(message(name, rule, result))
    return result


def number(
    name: str, value: Any, low: float, *, high: float | None = None, strict: bool = False
) -> float:
    """A finite real number above a bound, or in a closed range, as a Python float."""
    rule = f"be a finite number {'>' if strict else '>='} {low:g}"
    if low == -np.inf:
        rule = "be a finite number"
    if high is not None:
        rule = f"be a number in [{low:g}, {high:g}]"
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(message(name, rule, repr(value))) from None
    beyond = result < low or (strict and result == low) or (high is not None and result > high)
    if not np.isfinite(result) or beyond:
        raise ValueError(message(name, rule, result))
    return result


def choice(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """One of a few values."""
    if not any(value is a or (isinstance(value, str) and value == a) for a in allowed):
        raise ValueError(message(name, f"be one of {', '.join(map(repr, allowed))}", repr(value)))
    return value


def eigenvalue_count(k: Any, n: int) -> int:
    """`k` of SciPy's `eigsh`, with `k = n` allowed."""
    try:
        result = operator.index(k)
    except TypeError:
        raise TypeError(message("k", "be an integer satisfying 0 < k <= n", repr(k))) from None
    if not 0 < result <= n:
        raise ValueError(message("k", "satisfy 0 < k <= n", f"k={result}, n={n}"))
    return result


def basis_size(ncv: Any, k: int, n: int) -> int:
    """`ncv` of SciPy's `eigsh`: more than k, at most n."""
    result = integer("ncv", ncv, 1)
    if result > n or result <= min(k, n - 1):
        raise ValueError(message("ncv", "satisfy k < ncv <= n", f"ncv={result}, k={k}, n={n}"))
    return result


def vector(name: str, x: Any, n: int) -> Any:
    """A real, finite array with n entries, of any library; (n, 1) counts as (n,)."""
    x = _exchange.array(x)
    if tuple(x.shape) not in ((n,), (n, 1)):
        raise ValueError(message(name, f"have shape ({n},)", f"shape {tuple(x.shape)}"))
    _real_and_finite(name, x)
    return x.reshape(n)


def nonzero_vector(name: str, x: Any, n: int) -> Any:
    """A vector, as above, that has a direction."""
    x = vector(name, x, n)
    if not (x != 0).any():
        raise ValueError(message(name, "not be zero", "a zero vector"))
    return x


def columns(name: str, X: Any, n: int) -> Any:
    """A real, finite array of n rows and at most n columns; (n,) counts as one column."""
    X = _exchange.array(X)
    if X.ndim == 1:
        X = X.reshape(-1, 1)
    if X.ndim != 2 or X.shape[0] != n or X.shape[1] > n:
        raise ValueError(
            message(name, f"have shape ({n}, k) with k <= {n}", f"shape {tuple(X.shape)}")
        )
    _real_and_finite(name, X)
    return X


def real(name: str, x: Any) -> Any:
    """A vector or block of an array library that is not complex."""
    if x.dtype.kind == "c":
        raise TypeError(message(name, "be real", str(x.dtype), "Apply to x.real and x.imag."))
    return x


def _real_and_finite(name: str, x: Any) -> None:
    if isinstance(x, torch.Tensor):
        real, finite = not x.dtype.is_complex, bool(torch.isfinite(x).all())
    else:
        real, finite = x.dtype.kind in "fiub", x.dtype.kind != "f" or bool(np.isfinite(x).all())
    if not real:
        raise TypeError(message(name, "be real", str(x.dtype)))
    if not finite:
        raise ValueError(message(name, "be finite", "NaN or Inf"))


def rng(value: Any) -> np.random.Generator:
    """SPEC 7: whatever `numpy.random.default_rng` takes, normalised once."""
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError):
        raise TypeError(
            message("rng", "be None, an int, a SeedSequence or a numpy Generator", repr(value))
        ) from None


def finite_gradient() -> FloatingPointError:
    """The error for NaN or Inf in a gradient."""
    return FloatingPointError(
        message("gradient", "be finite", "NaN or Inf", "Look for an overflow, or 0/0, in the loss.")
    )


def finite_product(where: str) -> FloatingPointError:
    """The error for NaN or Inf in a product of finite vectors."""
    return FloatingPointError(
        f"`{where}` must give finite products; got NaN or Inf for a finite vector. "
        "Look for an overflow in the loss or its derivatives, or use a float64 model."
    )


def not_symmetric(name: str, asymmetry: float) -> ValueError:
    """The error for products that those of a symmetric operator cannot be."""
    return ValueError(
        message(
            name,
            "be symmetric",
            f"|u.Av - v.Au| of {asymmetry:.1e} relative to ||Av||",
            "Pass (A + A.T) / 2, or look for randomness in the product.",
        )
    )
