"""Forms of some operations that torch can differentiate twice, and rightly, for those it cannot."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class Substitutes(TorchFunctionMode):
    """
    Puts plain operations in the place of fused ones while it is entered.

    torch's fused weight norm has a wrong second derivative (torch 2.13); its embedding bag, and
    the sparse gradient of an embedding, have none.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do what was asked for, by other means where there are any."""
        kwargs = kwargs or {}
        if func is torch._weight_norm:
            return _weight_norm(*args, **kwargs)
        if func is F.embedding_bag and kwargs.get("mode", "mean") in ("sum", "mean"):
            return _embedding_bag(*args, **kwargs)
        if func is F.embedding:
            return _embedding(*args, **kwargs)
        return func(*args, **kwargs)


def _weight_norm(v: torch.Tensor, g: torch.Tensor, dim: int = 0) -> torch.Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _embedding(
    input: torch.Tensor,
    weight: torch.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> torch.Tensor:
    """With a dense gradient, whatever was asked for."""
    return F.embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)


def _embedding_bag(
    input: torch.Tensor,
    weight: torch.Tensor,
    offsets: torch.Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: torch.Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> torch.Tensor:
    """Sums, or means, of embeddings by bag; a bag is a row of a 2-D input, or between offsets."""
    index = input.flatten()
    if offsets is None:
        bags, size = input.shape
        bag = torch.arange(bags, device=index.device).repeat_interleave(size)
    else:
        bags = len(offsets) - include_last_offset
        position = torch.arange(len(index), device=index.device)
        bag = torch.searchsorted(offsets[:bags].contiguous(), position, right=True) - 1
    rows = F.embedding(index, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    counted = torch.ones_like(rows[:, :1])
    if padding_idx is not None:
        counted = (index != padding_idx).to(rows.dtype).unsqueeze(1)
    scaled = rows * counted
    if per_sample_weights is not None:
        scaled = scaled * per_sample_weights.flatten().unsqueeze(1)
    zeros = torch.zeros(bags, rows.shape[1], dtype=rows.dtype, device=rows.device)
    sums = zeros.index_add(0, bag, scaled)
    if mode == "sum":
        return sums
    counts = torch.zeros_like(zeros[:, :1]).index_add(0, bag, counted)
    return sums / counts.clamp_min(1)
