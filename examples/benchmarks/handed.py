"""An operator as the peers take it, each of whose products is one of the operator."""

from __future__ import annotations

from typing import Any

import torch

from examples.benchmarks.solvers import Counted


def eigenthings(A: Counted) -> Any:
    """hessian-eigenthings' operator."""
    from hessian_eigenthings.operators.base import LambdaOperator

    product = A.operator.product
    return LambdaOperator(lambda v: product.matmat(v[None])[0], product.n, dtype=product.dtype)


def curvlinops(A: Counted) -> Any:
    """curvlinops' operator."""
    from curvlinops._torch_base import PyTorchLinearOperator

    product = A.operator.product

    class Handed(PyTorchLinearOperator):
        SELF_ADJOINT = True
        device, dtype = product.device, product.dtype

        def __init__(self) -> None:
            super().__init__([(product.n,)], [(product.n,)])

        def _matmat(self, X: list[torch.Tensor]) -> list[torch.Tensor]:
            return [product.matmat(X[0].T.contiguous()).T]

    return Handed()


def pyhessian(A: Counted) -> Any:
    """
    PyHessian's object of an objective ``p^T A p / 2`` at p = 0, whose Hessian is A.

    Its gradient there is zero, and the derivative of that in a direction is one product.
    """
    import pyhessian as ph

    product = A.operator.product

    class Gradient(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, p: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(p)

        @staticmethod
        def backward(context: Any, v: torch.Tensor) -> torch.Tensor:
            return product.matmat(v[None])[0]

    model = torch.nn.ParameterList([torch.zeros(product.n, dtype=product.dtype)])
    (p,) = model.parameters()
    h = ph.hessian.__new__(ph.hessian)
    h.__dict__.update(device="cpu", full_dataset=False, model=model)
    h.params, h.gradsH = [p], [Gradient.apply(p)]
    return h
