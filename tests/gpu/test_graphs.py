"""Real CUDA graphs: captured products and Lanczos steps give what single launches give."""

from __future__ import annotations

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


def test_from_another_stream():
    """Captured on one stream, launched on the caller's, in order with what he does there."""
    model, data = problem("mlp")
    loss = nn.CrossEntropyLoss()
    H = hessop.HessianOperator(model, loss, data, mode="recorded", cuda_graphs=True)
    V = torch.randn(1, H.shape[0], dtype=torch.float64, device=GPU)
    expected = H.product.matmat(V)
    for stream in (torch.cuda.Stream(), torch.cuda.Stream(), torch.cuda.current_stream()):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                late = torch.zeros_like(V)
                torch.cuda._sleep(5_000_000)
                late.copy_(V)
                found = H.product.matmat(late)
                late.fill_(torch.nan)
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_what_looks_at_the_host_is_not_captured():
    """And leaves the device as it was: single launches go on."""
    x = torch.ones(3, device=GPU)
    with pytest.raises(RuntimeError):
        _graphs.Replay(lambda t: t * float(t.sum()), [x])
    assert torch.equal(x + 1, torch.full((3,), 2.0, device=GPU))
    again = _graphs.Replay(lambda t: t * 2, [x])
    assert again(3 * x).tolist() == [6.0, 6.0, 6.0]


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
