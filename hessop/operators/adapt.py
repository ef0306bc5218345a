"""Everything that can be multiplied with becomes an operator, or a product for an algorithm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch

from hessop import _cupy, _exchange, _validation
from hessop._precision import float32_precision
from hessop._product import Product
from hessop.operators.face import ProductOperator
from hessop.operators.symmetric import SymmetricFace

_SYMMETRIC_FORMS = (
    "be an operator: a hessop, SciPy, NumPy or CuPy operator or matrix, a sparse matrix, "
    "a 2-D torch tensor, or a product"
)


class FunctionProduct(Product):
    """A torch function of columns, ``(n, k) -> (n, k)``."""

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        n: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(n, dtype, device)
        self._function = function

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        result = self._function(V.T)
        if not isinstance(result, torch.Tensor) or result.shape != V.T.shape:
            got = (
                f"shape {tuple(result.shape)}"
                if isinstance(result, torch.Tensor)
                else f"a {type(result).__name__}"
            )
            raise ValueError(
                _validation.message("matmat(X)", f"be a tensor of shape {tuple(V.T.shape)}", got)
            )
        # A copy: the function may return its argument, or a buffer that it uses again.
        return torch.empty_like(V, memory_format=torch.contiguous_format).copy_(result.detach().T)


class MatrixProduct(Product):
    """A dense or sparse torch matrix."""

    def __init__(self, matrix: torch.Tensor) -> None:
        dtype = _exchange.face_dtype(matrix.dtype)
        super().__init__(matrix.shape[0], dtype, matrix.device)
        self._matrix = matrix.detach().to(dtype)

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        # A V^T, not V A: where A is not symmetric, it shall be seen.
        with float32_precision("highest", self.dtype):
            return (self._matrix @ V.T).T.contiguous()


class ForeignProduct(Product):
    """
    An operator of SciPy or CuPy; vectors pass through without a copy where layout allows.

    Parameters
    ----------
    operator : LinearOperator
        The library's.
    device : torch.device
        Where its arrays lie.
    """

    def __init__(self, operator: Any, device: torch.device) -> None:
        super().__init__(operator.shape[0], _exchange.torch_dtype(operator.dtype), device)
        self._operator = operator

    def _apply(self, V: torch.Tensor) -> torch.Tensor:
        X = _exchange.like(self._operator, V)
        # One vector goes by matvec: the default matmat of SciPy is a loop with copies.
        Y = self._operator.matvec(X[0])[None] if len(X) == 1 else self._operator.matmat(X.T).T
        result = _exchange.to_torch(Y, dtype=self.dtype, device=self.device)
        fresh = torch.empty_like(V, memory_format=torch.contiguous_format).copy_(result)
        if self.device.type == "cuda":
            _cupy.settle(self.device.index)  # Y is read before its memory is used again
        return fresh


class TorchOperator(ProductOperator):
    """
    Any symmetric torch function as a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    matmat : callable
        Maps a ``(n, k)`` tensor of columns to the ``(n, k)`` tensor of their products. Must be
        linear and symmetric, must not write to its argument.
    n : int
        Number of rows and columns, at least 1.
    dtype : torch.dtype, optional
        ``torch.float32`` (default) or ``torch.float64``: what `matmat` takes and returns, and
        the dtype of the operator.
    device : torch.device or str, optional
        Where `matmat` takes its argument. Default: the CPU.

    Raises
    ------
    TypeError
        If `matmat` is not callable.
    ValueError
        If `n` or `dtype` is out of range, or `matmat` returns another shape.

    See Also
    --------
    aslinearoperator : The same for matrices and SciPy operators.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse.linalg import eigsh
    >>> import hessop
    >>> d = torch.arange(1.0, 101.0)
    >>> A = hessop.TorchOperator(lambda X: d[:, None] * X, 100)
    >>> w = eigsh(A, k=2, which="LA", return_eigenvectors=False)
    >>> [round(float(x), 3) for x in w]
    [99.0, 100.0]
    """

    def __init__(
        self,
        matmat: Callable[[torch.Tensor], torch.Tensor],
        n: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not callable(matmat):
            raise TypeError(_validation.message("matmat", "be callable", repr(matmat)))
        _validation.choice("dtype", dtype, (torch.float32, torch.float64))
        n = _validation.integer("n", n, 1)
        super().__init__(FunctionProduct(matmat, n, dtype, torch.device(device)))


def aslinearoperator(A: Any) -> ProductOperator:
    """
    The face of a hessop operator for anything symmetric that can be multiplied with.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        A hessop operator or product, a 2-D NumPy or CuPy array, a sparse matrix or array, a
        `scipy.sparse.linalg.LinearOperator` or anything that
        `scipy.sparse.linalg.aslinearoperator` takes, CuPy's of the same names, a dense or sparse
        2-D torch tensor. Real and symmetric: symmetry is not checked here, but by the algorithms
        as they go.

    Returns
    -------
    ProductOperator
        A `scipy.sparse.linalg.LinearOperator` with a torch product behind it, float32 if `A` is,
        float64 otherwise. `A` itself if it is one already.

    Raises
    ------
    TypeError
        If `A` is complex, or nothing that can be multiplied with.
    ValueError
        If `A` is not square.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = hessop.aslinearoperator(np.diag([1.0, 2.0, 3.0]))
    >>> A @ np.ones(3)
    array([1., 2., 3.])
    """
    if isinstance(A, ProductOperator):
        return A
    return ProductOperator(A if isinstance(A, Product) else _product_of(A))


def face_of(A: Any) -> Any:
    """The operator of `A` that its own library knows: CuPy's for what is CuPy's, else SciPy's."""
    operator = aslinearoperator(A)
    if not _cupy.owns(A):
        return operator
    from hessop.operators.cupy_face import CupyOperator  # which imports CuPy

    return CupyOperator(operator.product)


def _product_of(A: Any) -> Product:
    """What multiplies with `A`, which is no operator of SciPy's face."""
    if isinstance(A, SymmetricFace):
        return A.product
    if isinstance(A, torch.Tensor):
        _check_square_and_real(A)
        return MatrixProduct(A)
    of_cupy = _cupy.owns(A)
    home = _cupy.library("cupyx.scipy.sparse.linalg") if of_cupy else scipy.sparse.linalg
    try:
        operator = home.aslinearoperator(A)
    except (TypeError, ValueError):
        raise TypeError(
            _validation.message("A", _SYMMETRIC_FORMS, f"a {type(A).__name__}")
        ) from None
    _check_square_and_real(operator)
    place = _cupy.device_of(A) if of_cupy else torch.device("cpu")
    if isinstance(A, np.ndarray) or _cupy.is_array(A):
        dtype = _exchange.torch_dtype(A.dtype)
        return MatrixProduct(_exchange.to_torch(A, dtype=dtype, device=place))
    return ForeignProduct(operator, place)


def enter(A: Any) -> tuple[Product, Callable[[torch.Tensor], Any]]:
    """
    The door of every algorithm: the product behind `A`, and the way out for its results.

    A bare product, or a tensor, gives back torch tensors, what is CuPy's gives CuPy arrays,
    everything else NumPy.
    """
    if isinstance(A, Product):
        return A, lambda t: t
    return aslinearoperator(A).product, partial(_exchange.like, A)


def _check_square_and_real(A: Any) -> None:
    if len(A.shape) != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(_validation.message("A", "be square", f"shape {tuple(A.shape)}"))
    dtype = A.dtype
    if not isinstance(dtype, torch.dtype) and np.dtype(dtype).kind not in "fiubc":
        raise TypeError(_validation.message("A", "be real symmetric", f"dtype {dtype}"))
    if _exchange.is_complex(A):
        raise TypeError(_validation.message("A", "be real symmetric", f"dtype {A.dtype}"))
