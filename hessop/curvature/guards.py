"""What has to hold around a forward pass, for its length only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from hessop.curvature.substitutes import Substitutes

_WRAPPERS = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The user's own module inside DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(model, _WRAPPERS):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), torch.nn.Module):
            model = inner
        else:
            return model


@contextmanager
def recording() -> Iterator[None]:
    """Record graphs, whether or not the caller is under `torch.no_grad` or inference mode."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def twice_differentiable(model: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """
    Run a forward pass so that it can be differentiated twice and leaves no trace.

    Fused attention has no second derivative in torch (pytorch#116350), nor has a cuDNN RNN
    (pytorch#5261); compiled parts of a model have none either, and run as they were written; a
    sparse gradient has none, and is made dense; weight norm and embedding bags are spelled out.
    The random state is put back, so that nothing global is changed.
    """
    modules = list(model.modules())
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(m, torch.nn.RNNBase) for m in modules):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        if any(_compiled(m) for m in modules):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(Substitutes())
        devices = [device] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=devices))
        yield


def _compiled(module: torch.nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


@cache
def prepare_forward_mode() -> None:
    """Load torch's formulas for forward mode, which warn about torch.jit as they are loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.forward_ad.dual_level():
            x = torch.autograd.forward_ad.make_dual(torch.ones(2), torch.ones(2))
            torch.nn.functional.layer_norm(x, (2,))
