"""How much memory may still be taken on a device."""

from __future__ import annotations

import psutil
import torch


def available_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on `device` without swapping."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    return int(psutil.virtual_memory().available)
