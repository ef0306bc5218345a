"""Rows of a host basis cross beside the computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from hessop._space import LocalSpace
from hessop.krylov import basis as basis_module
from hessop.krylov.basis import Basis
from hessop.krylov.storage import OnDisk, OnHost

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def busy(cycles=20_000_000):
    """Keep the current stream at work, so that what does not wait for it comes too early."""
    torch.cuda._sleep(cycles)


def orthonormal_rows(m, n):
    """The same ones each time."""
    G = torch.randn(n, m, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(G)[0].T.contiguous()


@pytest.mark.parametrize("where", ["host", "disk"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_rows_and_a_right_pass(dtype, where, tmp_path, monkeypatch):
    """Behind a busy device: rows bit for bit, a pass to rounding, restarts and files."""
    n, m = 20_000, 70
    monkeypatch.setattr(basis_module, "_PIECE", 3 * n)
    space = LocalSpace(n, torch.float64, GPU)
    store = OnHost(dtype, GPU) if where == "host" else OnDisk(dtype, tmp_path)
    rows, basis = orthonormal_rows(m, n).to(GPU), Basis(space, store)
    torch.cuda.synchronize()
    for i, v in enumerate(rows):
        scratch = torch.empty_like(v)
        busy(2_000_000)
        basis.append(scratch.copy_(v))
        scratch.fill_(torch.nan)
        basis.prefetch()
        assert torch.equal(basis.row(i), v.to(dtype).double())
    stored = rows.to(dtype).double()
    w = torch.randn(n, dtype=torch.float64, device=GPU)
    left = w.clone()
    busy()
    h = basis.purge(left)
    expected_h, expected = [], w.clone()
    for block in ((0, 32), (32, 64), (64, 70)):  # the pieces, one after the other
        for a in range(*block, 3):
            piece = stored[a : min(a + 3, block[1])]
            expected_h.append(piece @ expected)
            expected -= piece.T @ expected_h[-1]
    torch.testing.assert_close(h, torch.cat(expected_h), rtol=0, atol=1e-12)
    torch.testing.assert_close(left, expected, rtol=0, atol=1e-12)
    assert torch.equal(basis.stack(m), stored)
    bits = [torch.from_numpy(b.copy()) for b in basis.bits()]
    basis.prefetch()
    basis.replace(np.eye(5, m)[::-1].copy())
    assert torch.equal(basis.stack(5), stored[:5].flip(0))
    basis.prefetch()
    basis.load(bits)
    assert torch.equal(basis.stack(m), stored)


def test_the_users_own_stream():
    """What is computed on another current stream is waited for all the same."""
    n = 100_000
    with torch.cuda.stream(torch.cuda.Stream()):
        space = LocalSpace(n, torch.float32, GPU)
        basis = Basis(space, OnHost(torch.float32, GPU))
        for i in range(40):
            v = torch.empty(n, device=GPU)
            busy(2_000_000)
            basis.append(v.fill_(i))
        assert torch.equal(basis.stack(40)[:, 0].cpu(), torch.arange(40.0))


def test_dropped_with_copies_under_way():
    """The memory of buffers is nobody else's before the last copy into them has been made."""
    n = 1 << 22
    space = LocalSpace(n, torch.float32, GPU)
    for _ in range(30):
        basis = Basis(space, OnHost(torch.float32, GPU))
        for _ in range(8):
            basis.append(torch.full((n,), 7.0, device=GPU))
        torch.cuda.synchronize()
        basis.prefetch()  # 2 x 64 MB
        del basis
        others = [torch.zeros(4, n, device=GPU) for _ in range(4)]
        torch.cuda.synchronize()
        assert all(not t.any() for t in others)


def test_the_host_is_not_held_up():
    """Neither `append` nor `prefetch` waits for a busy device: its work is still under way."""
    n = 1 << 22
    space = LocalSpace(n, torch.float32, GPU)
    basis, v = Basis(space, OnHost(torch.float32, GPU)), torch.ones(n, device=GPU)
    for _ in range(16):
        basis.append(v)
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    busy(2_000_000_000)  # about a second
    done.record()
    basis.append(v)
    basis.prefetch()
    assert not done.query()
    torch.cuda.synchronize()


@pytest.mark.filterwarnings("ignore")  # a profiler may have remarks of its own
def test_pieces_cross_during_the_product():
    """In a trace: copies to the device that lie within the time of a product."""
    from torch.profiler import ProfilerActivity, profile

    n = 1 << 22
    space = LocalSpace(n, torch.float32, GPU)
    basis, X = Basis(space, OnHost(torch.float32, GPU)), torch.randn(8192, 8192, device=GPU)
    for _ in range(16):
        basis.append(torch.ones(n, device=GPU))
    w = torch.ones(n, device=GPU)
    basis.purge(w)
    X @ X
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
        basis.prefetch()
        for _ in range(5):
            X @ X
        basis.purge(w)
        torch.cuda.synchronize()
    spans = [e for e in trace.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    copies = [e.time_range for e in spans if "HtoD" in e.name]
    work = [e.time_range for e in spans if "gemm" in e.name.lower() or "cutlass" in e.name.lower()]
    assert len(copies) >= 4  # 16 rows, 4 each; each row once
    assert any(c.start < k.end and k.start < c.end for c in copies[:2] for k in work)


@pytest.mark.parametrize("how", [{}, {"ncv": 30}, {"block_size": 3}, {"basis_dtype": "bfloat16"}])
def test_a_search(how):
    """The pairs that a basis on the device gives."""
    n = 3000
    A = torch.diag(torch.linspace(0, 1, n, dtype=torch.float64, device=GPU) ** 8)
    plain = hessop.lanczos(A, 5, rng=0)
    there = hessop.lanczos(A, 5, rng=0, basis="host", **how)
    assert there.converged.all()
    np.testing.assert_allclose(there.eigenvalues, plain.eigenvalues, rtol=0, atol=1e-12)
