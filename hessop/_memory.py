"""How much memory may still be taken on a device, and whether it has run out."""

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


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory has run out."""
    said = str(error).lower()
    known = "out of memory" in said or "allocate memory" in said
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or known
