"""What the docstrings of the curvature operators have in common."""

from __future__ import annotations

from typing import TypeVar

_DATA = """\
    data : tuple of tensors, list, torch.utils.data.DataLoader or iterable
        A batch (a pair ``(x, y)`` of tensors, a mapping, a dataclass, or anything nested of them),
        a list of batches, a DataLoader that does not shuffle, or anything that can be read again
        and again. Moved to the parameters' device as needed.
"""

_MODEL = """\
    model : torch.nn.Module
        The network. It is called, never changed: parameters, ``.grad``, ``requires_grad``,
        buffers, train or eval mode and the random state are as before after every product. When
        it has been trained on since, the operator follows. Wrappers (DataParallel,
        DistributedDataParallel, torch.compile) are looked through.
"""

_LOSS = """\
    loss_fn : callable
        ``loss_fn(output, target)`` returns a scalar tensor, the mean over the batch. Of torch's
        loss modules, ``reduction="sum"``, ``ignore_index`` and class weights are understood.
"""

_PARAMS = """\
    params : str, iterable of str or callable, optional
        Which parameters to differentiate by: names, globs, names of modules, or a predicate
        ``(name, parameter) -> bool``. Default: those with ``requires_grad=True``. A frozen
        parameter takes part if it is named in full or the predicate accepts it. A tied parameter
        counts once.
"""

_MEAN = """\
    reduction : {"mean", "sum"}, optional
        The mean over all examples (default) or their sum.
    forward : callable, optional
        ``forward(model, batch)`` returns ``(output, target)``, for batches that are not
        ``(x, y)`` pairs.
    weight : callable, optional
        ``weight(batch)`` returns how many examples (or tokens that count) the mean of `loss_fn`
        over that batch is taken over. Default: the first dimension of the target; for
        `torch.nn.CrossEntropyLoss` and `torch.nn.NLLLoss` what torch divides by.
"""

_HOW = """\
    mode : str, optional
        How a product is computed. ``"kept"``: a backward pass through the kept graph of the
        first derivative. ``"recorded"``: that pass, recorded once without what does not depend on
        the vector. ``"linearized"``: forward over reverse mode, recorded likewise.
        ``"forward-over-reverse"``, ``"reverse-over-reverse"``: nothing is kept.
        ``"finite-difference"``: central differences of first derivatives, for models that cannot
        be differentiated twice. The step is tuned on the first vector; ``report()`` states the
        error, about ``eps**(2/3)`` of the dtype for smooth models and more where there are kinks.
        ``"auto"`` (default) begins with kept graphs and records them when that is earned back.
    block_size : int or "auto", optional
        How many vectors go through one pass where products are recorded. Default: by measurement.
    compile : bool, optional
        Whether `torch.compile` compiles what was recorded; takes minutes for large models.
    memory : int or "auto", optional
        Bytes that may be kept between products; batches beyond it are recomputed in each product,
        and one that is larger than all of it is cut into pieces. Default: half of what is free at
        the first product. 0 keeps nothing.
    check : bool, optional
        Whether to look for what would make the objective ill-defined (dropout in train mode,
        shuffled data, other randomness, layers without a second derivative), at the cost of two
        forward passes, one gradient and two products for the first batch; and again for dropout
        whenever the model has changed. Default True.
    progress : bool, optional
        Whether passes over the batches show a bar.
    precision : {"highest", "high", "medium"}, optional
        How exactly float32 is multiplied, in the words of
        `torch.set_float32_matmul_precision`: in full (default), whatever the process has set;
        with factors rounded to TF32 where the hardware has it; or, on CPUs, to bfloat16. What
        that does to products is in ``noise``.
    cuda_graphs : {"auto", True, False}, optional
        Whether the launches of a recorded product, and of the reorthogonalisation in solvers, are
        captured in CUDA graphs. "auto" (default): where launching takes longer than computing.
        True records products at once, and captures long ones too, which takes the memory of one.
"""

_ATTRIBUTES = """\
    product : Product
        The torch side: ``n``, ``dtype``, ``device``, ``matmat(V)`` for rows `V` ``(k, n)``.
    names : tuple of str
        The chosen parameters in the order of the flat vector.
    noise : float
        Noise of a product, relative to its size.
"""

_RAISES = """\
    ValueError
        If no parameter is chosen, the chosen ones differ in dtype or device, the data are empty
        or shuffled, the model is not deterministic, or the loss is not a scalar.
    TypeError
        If `data` can be read only once, or a parameter is complex.
    FloatingPointError
        If the loss or a product is NaN or Inf.
    NotImplementedError
        If the model has a layer that torch cannot differentiate twice.
"""

_PARTS = {
    "model": _MODEL,
    "loss_fn": _LOSS,
    "data": _DATA,
    "params": _PARAMS,
    "mean": _MEAN,
    "how": _HOW,
    "attributes": _ATTRIBUTES,
    "raises": _RAISES,
}

C = TypeVar("C", bound=type)


def documented(cls: C) -> C:
    """Fill ``<<part>>`` lines of a class's docstring."""
    text = cls.__doc__ or ""
    for name, part in _PARTS.items():
        text = text.replace(f"    <<{name}>>\n", part)
    cls.__doc__ = text
    return cls
