"""float32 is multiplied in full on a GPU, whatever the process has allowed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import hessop

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def tf32_everywhere():
    """As a training script has it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def networks():
    """A convolution, which is rounded by default, and matrix products, which are when allowed."""
    wide = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10))
    conv = nn.Sequential(nn.Conv2d(16, 32, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32 * 36, 10))
    return {"matrix": (wide, (64, 256)), "convolution": (conv, (64, 16, 8, 8))}


def errors(name, mode, level):
    """Of a float32 product, relative to that of float64."""
    torch.manual_seed(0)
    model, shape = networks()[name]
    x, y = torch.randn(shape, device=GPU), torch.randint(10, (64,), device=GPU)
    model, loss = model.to(GPU), nn.CrossEntropyLoss()
    H = hessop.HessianOperator(model, loss, (x, y), mode=mode, precision=level)
    v = torch.randn(1, H.shape[0], device=GPU)
    for _ in range(4):
        found = H.product.matmat(v).double()
    exact = hessop.HessianOperator(model.double(), loss, (x.double(), y), memory=0)
    expected = exact.product.matmat(v.double())
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("mode", ["kept", "recorded", "linearized", "reverse-over-reverse"])
@pytest.mark.parametrize("name", ["matrix", "convolution"])
def test_in_full_by_default(name, mode):
    """Rounding of float32, not of ten bits; which is what is asked for by name."""
    assert errors(name, mode, "highest") < 3e-6
    assert errors(name, mode, "high") > 3e-5


def test_sweeps_are_orthogonalised_in_full():
    """To rounding of float32."""
    n = 20_000
    d = torch.linspace(-1, 1, n, device=GPU) ** 3
    A = hessop.TorchOperator(lambda X: d[:, None] * X, n, device=GPU)
    V = hessop.tridiagonalize(A.product, None, 100, rng=0).basis.double()
    assert (V.T @ V - torch.eye(100, device=GPU)).abs().max() < 1e-5


def test_vectors_are_combined_in_full():
    """An orthonormal basis stays so through a restart."""
    n = 4000
    d = torch.linspace(-1, 1, n, device=GPU) ** 3
    A = hessop.TorchOperator(lambda X: d[:, None] * X, n, device=GPU)
    found = hessop.lanczos(A.product, 5, ncv=20, tol=1e-5, rng=0)
    assert found.n_restart > 0
    V = found.eigenvectors.double()
    assert (V.T @ V - torch.eye(5, device=GPU)).abs().max() < 1e-5
