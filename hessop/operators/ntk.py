"""The empirical neural tangent kernel as an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hessop import _validation
from hessop._precision import float32_precision
from hessop.curvature.data import Batches
from hessop.curvature.forms import Supervised
from hessop.curvature.ntk import NTKProduct
from hessop.curvature.parameters import Choice
from hessop.curvature.report import Report
from hessop.curvature.ways import settings
from hessop.operators._documents import documented
from hessop.operators._gates import check_module, objective_of
from hessop.operators.face import ProductOperator
from hessop.operators.parts import KernelTermOperator


@documented
class NTKOperator(ProductOperator):
    r"""
    The empirical neural tangent kernel as a `scipy.sparse.linalg.LinearOperator`.

    With the Jacobian :math:`J` of all outputs for all inputs, one under the other, by the
    parameters, it is :math:`K = J J^T`: for N inputs and C outputs for each, a matrix of side
    :math:`N C`, in the order of the flattened outputs (example by example). J is never formed.

    Parameters
    ----------
    <<model>>
    inputs : torch.Tensor, list, torch.utils.data.DataLoader or iterable
        A batch of inputs, a list of batches, or anything that can be read again and again. Of a
        batch that is a pair ``(x, y)``, the first is the input.
    <<params>>
    forward : callable, optional
        ``forward(model, batch)`` returns the outputs, for batches that are neither a tensor nor a
        pair.
    <<how>>

    Attributes
    ----------
    product : Product
        The torch side: ``n``, ``dtype``, ``device``, ``matmat(U)`` for rows `U` ``(k, n)``.

    Raises
    ------
    <<raises>>

    See Also
    --------
    hessop.GGNOperator : :math:`J^T J` with the loss between.

    Notes
    -----
    One forward pass over the inputs at construction finds the number of outputs. A product needs
    two visits to each batch, and batches that are not kept are computed twice.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel and C. Hongler, "Neural tangent kernel: convergence and
       generalization in neural networks", NeurIPS 2018.

    Examples
    --------
    >>> import torch
    >>> import hessop
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> K = hessop.NTKOperator(model, torch.randn(50, 4))
    >>> K.shape
    (150, 150)
    >>> w, v = hessop.lanczos(K, k=2, rng=0)
    >>> bool((w > 0).all())
    True
    """

    product: NTKProduct

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Any,
        *,
        params: Choice = None,
        forward: Callable[[torch.nn.Module, Any], Any] | None = None,
        mode: str = "auto",
        block_size: int | str = "auto",
        compile: bool = False,
        memory: int | str = "auto",
        check: bool = True,
        progress: bool = False,
        precision: str = "highest",
        cuda_graphs: bool | str = "auto",
    ) -> None:
        check_module(model)
        if forward is not None and not callable(forward):
            raise TypeError(_validation.message("forward", "be callable", repr(forward)))
        form = Supervised(_no_loss, Predict(forward), None)
        objective = objective_of(model, form, params)
        how = settings(
            objective.space.device,
            mode=mode,
            block_size=block_size,
            compile=compile,
            memory=memory,
            progress=progress,
            precision=precision,
            cuda_graphs=cuda_graphs,
        )
        batches = Batches(_batches(inputs), "inputs")
        with float32_precision(precision, objective.space.dtype):
            product = NTKProduct(objective, batches, how, check)
        super().__init__(product)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that the kernel is taken over."""
        return self.product.objective.space.names

    def report(self) -> Report:
        """
        How products are computed at present, and why.

        Returns
        -------
        Report
            The way in use, measured times, memory held and decisions; ``print`` shows it.
        """
        return self.product.report()

    def block(self, name: Choice) -> KernelTermOperator:
        """
        The kernel of some of the parameters; those of a partition add up to the whole.

        Parameters
        ----------
        name : str, iterable of str or callable
            Which, as in `params`: names, globs, names of modules, or a predicate.

        Returns
        -------
        KernelTermOperator
            An operator of the same side, which shares what this one keeps.

        Raises
        ------
        ValueError
            If no chosen parameter matches.
        """
        subset = self.product.objective.space.subset(name)
        return KernelTermOperator(self.product, subset, self.shape[0])

    def blocks(self, by: str = "layer") -> dict[str, KernelTermOperator]:
        """
        The kernels of a partition of the parameters.

        Parameters
        ----------
        by : {"layer", "parameter"}, optional
            Together what one module owns, as weight and bias (default), or each parameter alone.

        Returns
        -------
        dict of str to KernelTermOperator
            By name of module or parameter.
        """
        _validation.choice("by", by, ("layer", "parameter"))
        groups = self.product.objective.space.groups(by)
        side = self.shape[0]
        return {name: KernelTermOperator(self.product, s, side) for name, s in groups.items()}


class Predict:
    """``(outputs, None)`` of a batch; an object, not a closure, so that operators pickle."""

    def __init__(self, forward: Callable[[torch.nn.Module, Any], Any] | None) -> None:
        self._forward = forward

    def __call__(self, model: torch.nn.Module, batch: Any) -> tuple[Any, None]:
        """The outputs for a batch."""
        if self._forward is not None:
            return self._forward(model, batch), None
        if isinstance(batch, (tuple, list)):
            batch = batch[0]
        if not isinstance(batch, torch.Tensor):
            raise TypeError(
                _validation.message(
                    "inputs",
                    "have batches that are tensors or (x, y) pairs",
                    f"a {type(batch).__name__}",
                    "Pass forward=lambda model, batch: outputs.",
                )
            )
        return model(batch), None


def _no_loss(output: Any, target: Any) -> torch.Tensor:
    raise AssertionError("a tangent kernel has no loss")


def _batches(inputs: Any) -> Any:
    """Inputs in the forms that data come in."""
    if isinstance(inputs, torch.Tensor):
        return [(inputs,)]
    if isinstance(inputs, list) and inputs and isinstance(inputs[0], torch.Tensor):
        return [(x,) for x in inputs]
    return inputs
