"""What crosses from the device to the host: a few numbers a step, and no vector."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import hessop
from hessop import _cupy

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

N = 20_000
# A profiler may have remarks of its own, and so has the detector of waits when it is switched on.
quiet = pytest.mark.filterwarnings("ignore")


def diagonal(dtype=torch.float32):
    """An operator without memory to speak of."""
    d = torch.linspace(0, 1, N, dtype=dtype, device="cuda:0")
    return hessop.TorchOperator(lambda X: d[:, None] * X, N, dtype=dtype, device="cuda:0").to_cupy()


@pytest.fixture
def waits():
    """Sets what a wait for the device does: "error", "warn" or "default"."""
    before = torch.cuda.get_sync_debug_mode()
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode(before)


def crossings(call, path):
    """The sizes in bytes of all copies from the device to the host that a call makes."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    seen.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    return [
        event["args"]["bytes"]
        for event in events
        if event.get("cat") == "gpu_memcpy" and "DtoH" in event["name"]
    ]


@quiet
class TestSteps:
    def test_the_profiler_sees_copies(self, tmp_path):
        """Else the other tests would show nothing."""
        x = torch.ones(N, device="cuda")
        assert crossings(lambda: x.cpu(), tmp_path / "trace") == [4 * N]
        y = cupy.ones(N, dtype="f4")
        assert crossings(lambda: y.get(), tmp_path / "other") == [4 * N]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_each_step_alike(self, tmp_path, dtype):
        """From step 20 to 40 as many copies as from 40 to 60, at most two each, of few numbers."""
        A = diagonal(dtype)
        v0 = cupy.ones(N)

        def steps(m):
            return crossings(lambda: hessop.tridiagonalize(A, v0, m), tmp_path / f"{m}")

        steps(5)  # what is done once
        sizes = {m: steps(m) for m in (20, 40, 60)}
        first, second = (len(sizes[b]) - len(sizes[a]) for a, b in ((20, 40), (40, 60)))
        assert first == second
        assert 0 < first <= 40
        # alpha, beta and a coefficient for each row there is room for
        assert max(sizes[60]) <= 8 * 100

    def test_a_search(self, tmp_path):
        """Eigenvectors stay where they are, also through restarts."""
        A = diagonal()
        sizes = crossings(
            lambda: hessop.lanczos(A, 3, which="LA", tol=1e-3, ncv=40, rng=0), tmp_path / "trace"
        )
        assert sizes
        assert max(sizes) < N

    def test_a_density(self, tmp_path):
        """Neither do probes come back."""
        A = diagonal()
        sizes = crossings(lambda: hessop.slq(A, n_probes=4, ncv=20, rng=0), tmp_path / "trace")
        assert sizes
        assert max(sizes) < N


@quiet
class TestWaits:
    def test_the_detector_works(self, waits):
        """Else the other tests would show nothing."""
        x = torch.ones(3, device="cuda")
        waits("error")
        with pytest.raises(RuntimeError, match="synchroniz"):
            x.cpu()

    def test_the_doors_wait_for_nothing(self, waits):
        """In either direction, also in streams of their own."""
        x, t = cupy.ones(N), torch.ones(N, device="cuda")
        side = cupy.cuda.Stream(non_blocking=True)
        waits("error")
        for stream in (cupy.cuda.Stream.null, side):
            with stream:
                _cupy.take(x)
                _cupy.give(t)
                _cupy.settle(0)

    def test_products_wait_for_nothing(self, waits):
        """Only the face asks whether what it hands out is finite."""
        product = diagonal().product
        V = torch.ones(2, N, device="cuda")
        waits("error")
        product.matmat(V)


def test_the_copies_are_right():
    """The basis that stayed on the device is orthonormal."""
    basis = hessop.tridiagonalize(diagonal(torch.float64), cupy.ones(N), 20).basis
    np.testing.assert_allclose((basis.T @ basis).get(), np.eye(20), atol=1e-12)
