"""What is done around a capture, in which order, and what is put right after one that failed."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from hessop import _graphs

DEVICE = torch.device("cuda", 0)


class Cuda:
    """A stand-in for ``torch.cuda`` that writes down what it is told."""

    def __init__(self):
        self.said = []
        self.debug = 0
        self.broken_end = False
        here = self

        class Stream:
            def __init__(self, device="default"):
                self.cuda_stream = device
                here.current = getattr(here, "current", self)

            def wait_stream(self, other):
                here.said.append(f"{self.cuda_stream} waits for {other.cuda_stream}")

            def wait_event(self, event):
                here.said.append(f"{self.cuda_stream} waits for the last replay")

        class Graph:
            def capture_begin(self, **how):
                here.said.append("begin")

            def capture_end(self):
                here.said.append("end")
                if here.broken_end:
                    raise RuntimeError("capture was invalidated")

            def replay(self):
                here.said.append("replay")

        self.Stream, self.CUDAGraph = Stream, Graph
        self.Event = lambda: SimpleNamespace(record=lambda stream: None)
        self.default = Stream()

    def current_stream(self, device):
        return self.default

    def current_device(self):
        return 0

    def device(self, device):
        return contextlib.nullcontext()

    stream = device

    def get_sync_debug_mode(self):
        return self.debug

    def set_sync_debug_mode(self, mode):
        self.debug = mode

    def empty_cache(self):
        self.said.append("empty cache")


@pytest.fixture
def cuda(monkeypatch):
    """In the place of torch's, with a side stream and a pool at hand."""
    found = Cuda()
    core = SimpleNamespace(
        _cuda_endAllocateToPool=lambda number, pool: found.said.append(f"pool {pool} closed"),
        _cuda_releasePool=lambda number, pool: found.said.append(f"pool {pool} released"),
    )
    monkeypatch.setattr(_graphs, "torch", SimpleNamespace(cuda=found, _C=core))
    monkeypatch.setattr(_graphs, "_side", lambda device: found.Stream("side"))
    monkeypatch.setattr(_graphs, "_pool", lambda device: 7)
    monkeypatch.setattr(_graphs, "_last", {})
    return found


def test_in_order(cuda):
    """Once on the side, where nothing may wait, then captured; the caller's stream goes on last."""
    seen = []

    def work():
        seen.append(cuda.debug)
        return (1,)

    launch, outputs = _graphs.capture(work, DEVICE)
    assert outputs == (1,)
    assert seen == ["error", 0]
    assert cuda.said == ["side waits for default", "begin", "end", "default waits for side"]
    launch()
    assert cuda.said[-1] == "replay"


def test_what_waits_fails_before_a_capture(cuda):
    """So that none is spoilt; and the caller's stream waits for what was done by then."""

    def work():
        raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(_graphs.NotCapturedError, match="RuntimeError: called a synchronizing"):
        _graphs.capture(work, DEVICE)
    assert cuda.said == ["side waits for default", "default waits for side"]
    assert cuda.debug == 0


@pytest.mark.parametrize("broken", [True, False])
def test_what_fails_in_a_capture(cuda, broken):
    """The allocator is told what the graph cannot tell it any more."""
    runs = []

    def work():
        runs.append(1)
        if len(runs) == 2:
            raise RuntimeError("not permitted")
        return ()

    cuda.broken_end = broken
    with pytest.raises(_graphs.NotCapturedError, match="not permitted"):
        _graphs.capture(work, DEVICE)
    mended = ["pool 7 closed", "pool 7 released"] if broken else []
    assert cuda.said[1:] == ["begin", "end", *mended, "default waits for side"]


def test_memory_that_others_have_at_hand(cuda):
    """Is let go of for one more attempt, and no more than one."""
    runs = []

    def work():
        runs.append(1)
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(_graphs.NotCapturedError, match="out of memory"):
        _graphs.capture(work, DEVICE)
    assert len(runs) == 2
    assert cuda.said.count("empty cache") == 1


def test_one_replay_after_the_other(cuda):
    """In another stream than the last one, it waits."""
    with _graphs.in_turn(DEVICE):
        pass
    with _graphs.in_turn(DEVICE):
        pass
    assert cuda.said == []
    cuda.default = cuda.Stream("another")
    with _graphs.in_turn(DEVICE):
        pass
    assert cuda.said == ["another waits for the last replay"]


def test_no_order_on_a_cpu():
    """There is nothing to wait for."""
    with _graphs.in_turn(torch.device("cpu")):
        pass
    assert torch.device("cpu") not in _graphs._last
