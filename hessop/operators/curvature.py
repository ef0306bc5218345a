"""What the curvature operators of a network have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hessop import _exchange, _validation
from hessop._precision import float32_precision
from hessop.curvature.checks import check_curvature
from hessop.curvature.data import Batches
from hessop.curvature.forms import Form
from hessop.curvature.layout import Layout
from hessop.curvature.parameters import Choice
from hessop.curvature.product import CurvatureProduct
from hessop.curvature.report import Report
from hessop.curvature.store import Make
from hessop.curvature.ways import DIFFERENCE, settings
from hessop.operators._gates import check_module, objective_of
from hessop.operators.face import ProductOperator
from hessop.operators.parts import BlockOperator
from hessop.operators.pieces import ParameterVectors


class CurvatureOperator(ParameterVectors, ProductOperator):
    """
    A curvature matrix of a mean (or sum) over all examples.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    form : Form
        How the model and a batch give a loss.
    data : object
        The batches.
    make : callable
        Gives the linear map of one batch.
    **options : object
        The keyword arguments that all curvature operators share.
    """

    product: CurvatureProduct

    def __init__(
        self,
        model: torch.nn.Module,
        form: Form,
        data: Any,
        make: Make,
        *,
        params: Choice,
        reduction: str,
        mode: str,
        block_size: int | str,
        compile: bool,
        memory: int | str,
        check: bool,
        progress: bool,
        precision: str,
        cuda_graphs: bool | str,
    ) -> None:
        check_module(model)
        mean = _validation.choice("reduction", reduction, ("mean", "sum")) == "mean"
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
        batches = Batches(data)
        noise = None
        if check:
            with float32_precision(precision, objective.space.dtype):
                noise = check_curvature(objective, batches, make, twice=mode != DIFFERENCE)
        super().__init__(CurvatureProduct(objective, batches, make, mean, how, noise, check))

    @property
    def _layout(self) -> Layout:
        return self.product.objective.space

    @property
    def noise(self) -> float:
        """
        Noise of a product: what rounding, and chance, do to it, relative to its size.

        From ``|u . A v - v . A u|`` for two random vectors. Measured on the first batch by the
        checks at construction; with ``check=False``, or by finite differences, in two products
        when first asked for. `hessop.lanczos` does not take a tolerance below it.
        """
        return self.product.noise

    def report(self) -> Report:
        """
        How products are computed at present, and why.

        Returns
        -------
        Report
            The way in use, measured times, memory held and decisions; ``print`` shows it.
        """
        return self.product.report()

    def loss(self) -> float:
        """
        The objective: mean (or sum) of the loss over all examples.

        Returns
        -------
        float
            At the model's present parameters, with the weights of the curvature.
        """
        return float(self.product.loss())

    def gradient(self) -> Any:
        """
        The gradient of the objective.

        Returns
        -------
        ndarray, shape (n,)
            In the operator's dtype, with the weights of the curvature.

        Raises
        ------
        FloatingPointError
            If it is NaN or Inf.
        """
        gradient = _exchange.to_numpy(self.product.gradient())
        if not np.isfinite(gradient).all():
            raise _validation.finite_gradient()
        return gradient

    def block(self, name: Choice) -> BlockOperator:
        """
        The diagonal block over some of the parameters.

        Parameters
        ----------
        name : str, iterable of str or callable
            Which, as in `params`: names, globs, names of modules, or a predicate.

        Returns
        -------
        BlockOperator
            An operator of its own, with ``names``, ``flatten`` and ``unflatten``. It shares what
            this one keeps, and multiplies with less work.

        Raises
        ------
        ValueError
            If no chosen parameter matches.
        """
        subset = self.product.objective.space.subset(name)
        return BlockOperator(self.product, subset)

    def blocks(self, by: str = "layer") -> dict[str, BlockOperator]:
        """
        All diagonal blocks of a partition of the parameters.

        Parameters
        ----------
        by : {"layer", "parameter"}, optional
            Together what one module owns, as weight and bias (default), or each parameter alone.

        Returns
        -------
        dict of str to BlockOperator
            By name of module or parameter, in the order of the flat vector.
        """
        _validation.choice("by", by, ("layer", "parameter"))
        groups = self.product.objective.space.groups(by)
        return {name: BlockOperator(self.product, subset) for name, subset in groups.items()}
