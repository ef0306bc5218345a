"""The doors: arrays of every library into tensors, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from hessop import _cupy

_TORCH_DTYPES: dict[np.dtype[Any], torch.dtype] = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}
_NUMPY_DTYPES: dict[torch.dtype, np.dtype[Any]] = {t: d for d, t in _TORCH_DTYPES.items()}


def torch_dtype(dtype: Any) -> torch.dtype:
    """The torch dtype to compute in for a NumPy dtype: float32 stays, the rest is float64."""
    return _TORCH_DTYPES.get(np.dtype(dtype), torch.float64)


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """The NumPy dtype of a float32 or float64 torch dtype."""
    return _NUMPY_DTYPES[dtype]


def face_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype an operator shows for parameters of `dtype`: half precision shows float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def is_complex(x: Any) -> bool:
    """Whether an array of any library, or a dtype, is complex."""
    dtype = getattr(x, "dtype", x)
    if isinstance(dtype, torch.dtype):
        return dtype.is_complex
    return dtype is not None and np.issubdtype(np.dtype(dtype), np.complexfloating)


def array(x: Any) -> Any:
    """A tensor or a CuPy array as it is, the rest as NumPy."""
    return x if isinstance(x, torch.Tensor) or _cupy.is_array(x) else np.asarray(x)


def to_torch(x: Any, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """
    Take an array in, by DLPack and without a copy where layout, dtype and device allow.

    Any stride, read-only memory, any real dtype. The result may share memory with `x`: it is
    for reading, and not to be kept.
    """
    if isinstance(x, torch.Tensor):
        return x.detach().to(device=device, dtype=dtype)
    if _cupy.is_array(x):
        return _cupy.take(x).to(device=device, dtype=dtype)
    a = np.asarray(x)
    if a.dtype.kind not in "fiub" or not a.dtype.isnative or a.dtype.itemsize > 8:
        a = a.astype(np.float64)
    if any(stride < 0 for stride in a.strides):
        # torch.from_dlpack aborts the process on a negative stride (pytorch#188023).
        a = np.ascontiguousarray(a)
    try:
        t = from_dlpack(a)
    except (BufferError, RuntimeError, TypeError):
        # Read-only memory before NumPy 2.1's versioned DLPack, or a dtype DLPack lacks.
        t = torch.from_numpy(a.copy())
    return t.to(device=device, dtype=dtype)


def to_numpy(t: torch.Tensor) -> np.ndarray[Any, Any]:
    """
    Hand a tensor out as NumPy, without a copy where it lies in host memory.

    By ``.numpy()``: ``np.from_dlpack`` drops a lazy negation and reads garbage from a ZeroTensor,
    both of which automatic differentiation produces.
    """
    return t.detach().resolve_conj().resolve_neg().cpu().numpy()


def on_host(x: Any) -> np.ndarray[Any, Any]:
    """An array of any library as NumPy."""
    if isinstance(x, torch.Tensor):
        return to_numpy(x)
    return np.asarray(x.get() if _cupy.is_array(x) else x)


def like(x: Any, t: torch.Tensor) -> Any:
    """Hand `t` out as `x` is: a tensor for a tensor, CuPy for what is CuPy's, else NumPy."""
    if isinstance(x, torch.Tensor):
        return t
    return _cupy.give(t) if _cupy.owns(x) else to_numpy(t)
