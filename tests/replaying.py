"""A stand-in for CUDA graphs: the operations that were captured are done again, in their memory."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hessop import _graphs

# Whoever looks at a value on the host has to wait for it, which a graph cannot. With a mask for an
# index the host has to know how much it lets through.
LOOKS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}
INDEXING = {torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_}


def waits(func, args):
    """Whether the host would wait for a GPU."""
    if func.overloadpacket in INDEXING:
        return any(i is not None and i.dtype == torch.bool for i in args[1])
    return func in LOOKS


class Recorder(TorchDispatchMode):
    """Notes every operation with the very tensors that it read and wrote."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if waits(func, args):
            raise RuntimeError("operation not permitted when stream is capturing")
        out = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        """Do them again; no Python code of the function that was captured runs."""
        for func, args, kwargs, out in self.operations:
            aliases = [result.alias_info for result in func._schema.returns]
            if any(alias is not None and not alias.is_write for alias in aliases):
                continue  # a view of memory, which stays where it is
            fresh = func(*args, **kwargs)
            if not any(aliases):
                for old, new in zip(tree_leaves(out), tree_leaves(fresh), strict=True):
                    if isinstance(old, torch.Tensor):
                        old.copy_(new)


class Captures:
    """
    What takes the place of `_graphs.capture`, and counts.

    Like a graph it keeps the memory that it was captured with, sees no change of shape, size or
    number since, and cannot look at values. Unlike one it allows whatever else the CPU does.
    """

    def __init__(self):
        self.captured = 0
        self.launched = 0
        self.error = None

    def capture(self, work, device):
        """As `_graphs.capture`: once for nothing, once to record."""
        try:
            if self.error is not None:
                raise self.error
            work()
            with Recorder() as recorder:
                output = work()
        except RuntimeError as error:
            raise _graphs.NotCapturedError(f"{type(error).__name__}: {error}") from error
        self.captured += 1

        def launch():
            self.launched += 1
            with torch.no_grad():
                recorder.replay()

        return launch, output


@pytest.fixture
def graphs(monkeypatch):
    """The CPU has graphs."""
    found = Captures()
    monkeypatch.setattr(_graphs, "possible", lambda device: True)
    monkeypatch.setattr(_graphs, "capture", found.capture)
    return found
