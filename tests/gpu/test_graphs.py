"""Real CUDA graphs: captured products and Lanczos steps give what single launches give."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import hessop
from hessop import _graphs
from hessop._space import LocalSpace
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.sweep import Sweep

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")


class Block(nn.Module):
    """Attention over a few tokens, with an embedding in front of it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 11)

    def forward(self, tokens):
        x = self.embed(tokens)
        q, k, v = (
            t.unflatten(-1, (4, 4)).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1)
        )
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(x + y.transpose(1, 2).flatten(2)).flatten(0, 1)


def mlp():
    return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 5))


def cnn():
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 5)).eval()


def problem(name, dtype=torch.float64):
    """Network and two batches of different size, on the GPU; the same numbers each time."""
    torch.manual_seed(0)
    if name == "transformer":
        model, x = Block(), torch.randint(11, (6, 7))
        y = torch.randint(11, (6, 7))
        data = [(x[:4], y[:4].flatten()), (x[4:], y[4:].flatten())]
    else:
        model = mlp() if name == "mlp" else cnn()
        x = torch.randn(30, 20) if name == "mlp" else torch.randn(30, 3, 8, 8)
        y = torch.randint(5, (30,))
        data = [(x[:20].to(dtype), y[:20]), (x[20:].to(dtype), y[20:])]
    return model.to(GPU, dtype), [(a.to(GPU), b.to(GPU)) for a, b in data]


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
@pytest.mark.parametrize("mode", ["recorded", "linearized"])
@pytest.mark.parametrize("block_size", [1, 4])
def test_products(name, mode, block_size):
    """Of every kind of layer, with several batches, one vector and blocks with a rest."""
    model, data = problem(name)
    loss = nn.CrossEntropyLoss()
    plain = hessop.HessianOperator(model, loss, data, mode="kept", cuda_graphs=False)
    H = hessop.HessianOperator(
        model, loss, data, mode=mode, block_size=block_size, cuda_graphs=True
    )
    V = torch.randn(6, H.shape[0], dtype=torch.float64, device=GPU)
    expected = plain.product.matmat(V)
    for _ in range(5):
        found = H.product.matmat(V)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    assert H.product._replays._captured, H.report()


def test_a_model_that_is_trained_on():
    """The graph of what it was is not used again, by whatever way it was changed."""
    model, data = problem("mlp")
    H = hessop.HessianOperator(
        model, nn.CrossEntropyLoss(), data, mode="recorded", cuda_graphs=True
    )
    v = torch.randn(1, H.shape[0], dtype=torch.float64, device=GPU)
    for _ in range(4):
        before = H.product.matmat(v)
    model[0].weight.data.mul_(1.5)  # which torch's counters do not see
    plain = hessop.HessianOperator(model, nn.CrossEntropyLoss(), data, memory=0)
    for _ in range(4):
        after = H.product.matmat(v)
        torch.testing.assert_close(after, plain.product.matmat(v), rtol=0, atol=1e-11)
    assert (after - before).abs().max() > 1e-3


def test_from_other_streams():
    """Captured on one stream, launched on the callers', by turns and without a look in between."""
    operators, vectors, expected = [], [], []
    for name in ("mlp", "cnn"):
        model, data = problem(name)
        how = {"mode": "recorded", "cuda_graphs": True}
        H = hessop.HessianOperator(model, nn.CrossEntropyLoss(), data, **how)
        vectors.append(torch.randn(1, H.shape[0], dtype=torch.float64, device=GPU))
        expected.append(H.product.matmat(vectors[-1]))
        for _ in range(3):
            H.product.matmat(vectors[-1])
        operators.append(H)
    streams, found = (torch.cuda.Stream(), torch.cuda.Stream()), []
    torch.cuda.synchronize()
    for turn in range(40):
        with torch.cuda.stream(streams[turn % 2]):
            which = turn // 2 % 2
            torch.cuda._sleep(1_000_000)
            found.append((which, (turn + 1) * vectors[which]))
            image = operators[which].product.matmat(found[-1][1])
            found[-1] = (which, image / (turn + 1))
    torch.cuda.synchronize()
    for which, image in found:
        torch.testing.assert_close(image, expected[which], rtol=0, atol=1e-11)


@pytest.mark.parametrize("function", [lambda t: (t * float(t.sum()),), lambda t: (t[t > 0],)])
def test_what_looks_at_the_host_is_not_captured(function):
    """And leaves the device as it was: everything else goes on."""
    x = torch.ones(3, device=GPU)
    with pytest.raises(_graphs.NotCapturedError):
        _graphs.Replay(function, [x])
    assert torch.cuda.get_sync_debug_mode() == 0
    torch.cuda.empty_cache()
    assert torch.randn(3, device=GPU).isfinite().all()
    again = _graphs.Replay(lambda t: (t * 2,), [x])
    assert again(3 * x)[0].tolist() == [6.0, 6.0, 6.0]


def test_a_capture_that_is_spoilt_half_way(monkeypatch):
    """What no check sees beforehand: the allocator is told, and goes on."""
    monkeypatch.setattr(_graphs, "_no_waits", contextlib.nullcontext)
    x = torch.ones(3, device=GPU)
    with pytest.raises(_graphs.NotCapturedError):
        _graphs.Replay(lambda t: (t * float(t.sum()),), [x])
    torch.cuda.empty_cache()
    again = _graphs.Replay(lambda t: (t * 2,), [x])
    assert again(3 * x)[0].tolist() == [6.0, 6.0, 6.0]


def test_a_loss_with_a_mask():
    """Its products are computed as before, and the report says so."""
    model, data = problem("mlp")

    def masked(z, y):
        return nn.functional.cross_entropy(z[y > 0], y[y > 0])

    how = {"mode": "recorded", "weight": lambda batch: float((batch[1] > 0).sum())}
    H = hessop.HessianOperator(model, masked, data, cuda_graphs=True, **how)
    plain = hessop.HessianOperator(model, masked, data, cuda_graphs=False, **how)
    V = torch.randn(1, H.shape[0], dtype=torch.float64, device=GPU)
    for _ in range(4):
        torch.testing.assert_close(H.product.matmat(V), plain.product.matmat(V), rtol=0, atol=1e-11)
    assert any("no CUDA graphs" in note for note in H.report().notes)
    torch.cuda.empty_cache()


def test_memory_does_not_grow_with_captures():
    """They have one pool in common."""
    d = torch.linspace(-1, 1, 3000, dtype=torch.float64, device=GPU)
    A = hessop.TorchOperator(lambda X: d[:, None] * X, 3000, dtype=torch.float64, device=GPU)
    reserved = []
    for _ in range(3):
        hessop.slq(A, n_probes=20, ncv=50, rng=0)
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[2] == reserved[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lock", [0, 3])
def test_sweeps(dtype, lock):
    """Captured steps give the sweep that single launches give."""
    n, found = 5000, []
    d = torch.linspace(-1, 1, n, dtype=dtype, device=GPU) ** 3
    for captures in (False, True):
        space = LocalSpace(n, dtype, GPU, graphs=captures)
        generator, locked = np.random.default_rng(0), Basis(space)
        for _ in range(lock):
            locked.append(orthonormal(space, space.draw(generator, "gaussian"), locked))
        start = orthonormal(space, space.draw(generator, "gaussian"), locked)
        sweep = Sweep(space, start, reorth="double", lock=locked)
        for _ in range(100):
            sweep.absorb(sweep.vector() * d)
        assert (sweep._steps._replay is not None) == captures
        rows = sweep.basis.stack(100).double()
        lost = (rows @ rows.T - torch.eye(100, device=GPU)).abs().max()
        assert lost < 20 * torch.finfo(dtype).eps
        found.append(sweep.tridiagonal())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=3000 * torch.finfo(dtype).eps)


def test_a_search_with_restarts():
    """Rows that were there before are not there any more."""
    w = np.sort(np.concatenate([np.full(3, 2.0), np.linspace(-1, 1, 1997) ** 3]))
    A = torch.diag(torch.from_numpy(w).to(GPU))
    found = hessop.lanczos(A, 6, which="LA", ncv=40, rng=0)
    assert found.n_restart > 0
    assert found.complete
    np.testing.assert_allclose(found.eigenvalues, w[-6:], atol=1e-12)
