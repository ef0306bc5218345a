"""What has to hold around a forward pass, for its length only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


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
    (pytorch#5261). The random state is put back, so that nothing global is changed.
    """
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(m, torch.nn.RNNBase) for m in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        devices = [device] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=devices))
        yield
