"""The Hessian of a loss over a data set, as an operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from hessop import _exchange, _validation
from hessop.curvature.checks import check_objective
from hessop.curvature.data import Batches
from hessop.curvature.hessian import HessianProduct
from hessop.curvature.objective import Forward, Objective
from hessop.curvature.parameters import Choice, ParameterSpace
from hessop.operators.face import ProductOperator


class HessianOperator(ProductOperator):
    r"""
    The Hessian of a network's loss as a `scipy.sparse.linalg.LinearOperator`.

    For parameters :math:`\theta \in R^n` and examples :math:`1, \dots, N` it is

    .. math:: H = \nabla^2_\theta \; \frac{1}{N} \sum_{i=1}^N \ell_i(\theta),

    the Hessian of the mean over **all examples**: it does not depend on how `data` is cut into
    batches, be they of unequal size.

    Parameters
    ----------
    model : torch.nn.Module
        The network. It is called, never changed: parameters, ``.grad``, ``requires_grad``,
        buffers, train or eval mode and the random state are as before after every product. When
        it has been trained on since, the operator follows.
    loss_fn : callable
        ``loss_fn(output, target)`` returns a scalar tensor, the mean over the batch. Of torch's
        loss modules, ``reduction="sum"``, ``ignore_index`` and class weights are understood.
    data : tuple of tensors, list, torch.utils.data.DataLoader or iterable
        A pair ``(x, y)`` of tensors, a list of such batches, a DataLoader that does not shuffle,
        or anything that can be read again and again. Moved to the parameters' device as needed.
    params : str, iterable of str or callable, optional
        Which parameters to differentiate by: names, globs, names of modules, or a predicate
        ``(name, parameter) -> bool``. Default: those with ``requires_grad=True``. A frozen
        parameter takes part if it is named in full or the predicate accepts it. A tied parameter
        counts once.
    reduction : {"mean", "sum"}, optional
        The mean over all examples (default) or their sum.
    forward : callable, optional
        ``forward(model, batch)`` returns ``(output, target)``, for batches that are not
        ``(x, y)`` pairs.
    weight : callable, optional
        ``weight(batch)`` returns how many examples (or tokens that count) the mean of `loss_fn`
        over that batch is taken over. Default: the first dimension of the target; for
        `torch.nn.CrossEntropyLoss` and `torch.nn.NLLLoss` what torch divides by.
    memory : int or "auto", optional
        Bytes that the graphs kept between products may hold; batches beyond it are recomputed
        in each product. Default: half of what is free at the first product. 0 keeps nothing.
    check : bool, optional
        Whether to look for what would make the objective ill-defined (dropout in train mode,
        shuffled data, other randomness, layers without a second derivative), at the cost of two
        forward passes, one gradient and two products for the first batch. Default True.

    Attributes
    ----------
    product : Product
        The torch side: ``n``, ``dtype``, ``device``, ``matmat(V)`` for rows `V` ``(k, n)``.
    names : tuple of str
        The chosen parameters in the order of the flat vector.

    Raises
    ------
    ValueError
        If no parameter is chosen, the chosen ones differ in dtype or device, the data are empty
        or shuffled, the model is not deterministic, or the loss is not a scalar.
    TypeError
        If `data` can be read only once, or a parameter is complex.
    FloatingPointError
        If the loss or a product is NaN or Inf.
    NotImplementedError
        If the model has a layer that torch cannot differentiate twice.

    See Also
    --------
    hessop.lanczos, hessop.slq, hessop.trace : Algorithms that take it without leaving torch.
    scipy.sparse.linalg.eigsh : One of the many that take any LinearOperator.

    Notes
    -----
    A product is one backward pass through the kept graph of the gradient (reverse over reverse),
    and does no forward pass for batches whose graph is kept. Fused attention and cuDNN's RNNs are
    replaced by their twice differentiable forms for the length of the forward pass. Half-precision
    parameters get a float32 operator.

    References
    ----------
    .. [1] B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6(1),
       1994.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse.linalg import eigsh
    >>> import hessop
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> x, y = torch.randn(50, 4), torch.randint(0, 3, (50,))
    >>> H = hessop.HessianOperator(model, torch.nn.CrossEntropyLoss(), (x, y))
    >>> H.shape, str(H.dtype)
    ((67, 67), 'float32')
    >>> w = eigsh(H, k=3, which="LA", return_eigenvectors=False)
    >>> bool((w > 0).all())
    True
    """

    product: HessianProduct

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[[Any, Any], torch.Tensor],
        data: Any,
        *,
        params: Choice = None,
        reduction: str = "mean",
        forward: Forward | None = None,
        weight: Callable[[Any], float] | None = None,
        memory: int | str = "auto",
        check: bool = True,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(_validation.message("model", "be a torch.nn.Module", repr(model)))
        for name, value in (("forward", forward), ("weight", weight), ("loss_fn", loss_fn)):
            if not callable(value) and not (value is None and name != "loss_fn"):
                raise TypeError(_validation.message(name, "be callable", repr(value)))
        mean = _validation.choice("reduction", reduction, ("mean", "sum")) == "mean"
        budget = None if memory == "auto" else _validation.integer("memory", memory, 0)
        objective = Objective(model, loss_fn, ParameterSpace(model, params), forward, weight)
        batches = Batches(data)
        if check:
            check_objective(objective, batches)
        super().__init__(HessianProduct(objective, batches, mean, budget))

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen parameters in the order of the flat vector."""
        return self.product.objective.space.names

    def loss(self) -> float:
        """
        The objective: mean (or sum) of the loss over all examples.

        Returns
        -------
        float
            At the model's present parameters, with the weights of the Hessian.
        """
        return float(self.product.loss())

    def gradient(self) -> Any:
        """
        The gradient of the objective.

        Returns
        -------
        ndarray, shape (n,)
            In the operator's dtype, with the weights of the Hessian.

        Raises
        ------
        FloatingPointError
            If it is NaN or Inf.
        """
        gradient = _exchange.to_numpy(self.product.gradient())
        if not np.isfinite(gradient).all():
            raise _validation.finite_gradient()
        return gradient

    def flatten(self, tree: Mapping[str, Any] | Iterable[Any]) -> Any:
        """
        One vector from values for each parameter.

        Parameters
        ----------
        tree : mapping or iterable
            Arrays by parameter name, or in the order of `names`, each of its parameter's shape.

        Returns
        -------
        ndarray or torch.Tensor, shape (n,)
            Torch for torch, NumPy for the rest.

        Raises
        ------
        ValueError
            If a name is missing or a shape is wrong.
        """
        return self.product.objective.space.flatten(tree)

    def unflatten(self, v: Any) -> dict[str, Any]:
        """
        Values for each parameter from one vector.

        Parameters
        ----------
        v : ndarray or torch.Tensor, shape (n,)
            For instance an eigenvector.

        Returns
        -------
        dict of str to ndarray or torch.Tensor
            By parameter name, in the parameters' shapes, as views of `v`.

        Raises
        ------
        ValueError
            If `v` has another length or is not finite.
        """
        return self.product.objective.space.unflatten(v)
