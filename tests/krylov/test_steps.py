"""Captured Lanczos steps: the same sweep, and when they are captured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from hessop._product import Product
from hessop._space import LocalSpace
from hessop.krylov import steps
from hessop.krylov.basis import Basis, orthonormal
from hessop.krylov.steps import Steps
from hessop.krylov.storage import OnHost
from hessop.krylov.sweep import Sweep
from hessop.krylov.window import Window
from tests.replaying import graphs

__all__ = ["graphs"]

CPU = torch.device("cpu")
N = 200
SPECTRUM = torch.linspace(-1, 1, N, dtype=torch.float64) ** 3


def sweep_of(count, *, captures, reorth="double", lock=0, storage=None, dtype=torch.float64):
    """A sweep over a diagonal matrix, `count` steps long."""
    space = LocalSpace(N, dtype, CPU, graphs=captures)
    generator = np.random.default_rng(0)
    locked = Basis(space)
    for _ in range(lock):
        locked.append(orthonormal(space, space.draw(generator, "gaussian"), locked))
    start = orthonormal(space, space.draw(generator, "gaussian"), locked)
    found = Sweep(space, start, reorth=reorth, lock=locked, storage=storage)
    for _ in range(count):
        found.absorb(found.vector() * SPECTRUM.to(dtype))
    return found


def rows_of(swept):
    """All rows, in float64."""
    return swept.basis.stack(100).double()


class TestSweeps:
    @pytest.mark.parametrize("reorth", ["full", "double"])
    @pytest.mark.parametrize("lock", [0, 3])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_same_sweep(self, graphs, reorth, lock, dtype):
        """Coefficients to rounding, a basis as orthonormal, what is known of the noise."""
        how = {"reorth": reorth, "lock": lock, "dtype": dtype}
        plain, swept = (sweep_of(100, captures=c, **how) for c in (False, True))
        eps = torch.finfo(dtype).eps
        for a, b in zip(plain.tridiagonal(), swept.tridiagonal(), strict=True):
            np.testing.assert_allclose(a, b, atol=3000 * eps)
        lost = [float((V @ V.T - torch.eye(100)).abs().max()) for V in map(rows_of, (plain, swept))]
        assert lost[1] < 2 * lost[0] + 4 * eps
        assert swept.rounding.noise < 10 * plain.rounding.noise + 10 * eps
        assert graphs.captured == 3  # at 32, 64 and 128 rows
        assert graphs.launched > 80

    @pytest.mark.parametrize(("reorth", "passes"), [("full", 1), ("double", 2)])
    def test_as_many_passes(self, graphs, monkeypatch, reorth, passes):
        """Each over all rows that there is room for, once to warm up and once to capture."""
        over, purge = [], Steps.purge

        def noted(self, w):
            over.append(len(self._basis))
            return purge(self, w)

        monkeypatch.setattr(Steps, "purge", noted)
        sweep_of(20, captures=True, reorth=reorth)
        assert over.count(32) == 2 * passes

    def test_rows_to_come_are_zero(self, graphs):
        """What lies in memory that is not used yet must not reach a product."""
        before = torch.empty

        def dirty(*args, **how):
            out = before(*args, **how)
            return out.fill_(torch.nan) if out.is_floating_point() else out

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "empty", dirty)
            swept = sweep_of(50, captures=True)
        assert graphs.captured == 2
        assert np.isfinite(swept.tridiagonal()[0]).all()

    @pytest.mark.parametrize("how", [{}, {"which": "BE", "block_size": 3}, {"ncv": 24}])
    def test_a_search(self, graphs, how):
        """With restarts, fresh directions and rows that wait."""
        w = np.sort(np.concatenate([np.full(3, 2.0), np.linspace(-1, 1, 397) ** 3]))
        A = hessop.aslinearoperator(torch.diag(torch.from_numpy(w)))
        found = hessop.lanczos(A, 6, rng=0, **({"which": "LA"} | how))
        assert found.converged.all()
        assert found.complete
        expected = w[-6:] if "block_size" not in how else np.r_[w[:3], w[-3:]]
        np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-12)
        assert graphs.launched > 0

    def test_after_a_restart(self, graphs):
        """Rows that were there before are not there any more."""
        A = torch.diag(SPECTRUM)
        found = hessop.lanczos(A, 4, which="LA", ncv=20, rng=0, verify=False)
        assert found.n_restart > 1
        np.testing.assert_allclose(found.eigenvalues, SPECTRUM[-4:], atol=1e-12)

    def test_a_density(self, graphs):
        """Sweeps side by side, each with graphs of its own."""
        A = torch.diag(SPECTRUM)
        found = hessop.slq(A, n_probes=3, ncv=40, rng=0)
        plain = hessop.slq(Plain(), n_probes=3, ncv=40, rng=0)
        np.testing.assert_allclose(found.nodes, plain.nodes, atol=1e-12)
        np.testing.assert_allclose(found.weights, plain.weights, atol=1e-10)
        assert graphs.captured == 6


class Plain(Product):
    """The same matrix; no graphs."""

    def __init__(self):
        super().__init__(N, torch.float64, CPU)
        self.cuda_graphs = False

    def _apply(self, V):
        return V * SPECTRUM


class TestWhen:
    @pytest.mark.parametrize(
        "how",
        [
            {"captures": False},
            {"captures": True, "reorth": "selective"},
            {"captures": True, "reorth": "none"},
            {"captures": True, "storage": OnHost(torch.float32, CPU)},
        ],
    )
    def test_not(self, graphs, how):
        """Not wanted; decided on the host; rows that are not at hand."""
        sweep_of(60, **how)
        assert graphs.captured == 0

    def test_not_where_a_pass_is_long(self, graphs, monkeypatch):
        """Launches are not what takes the time there."""
        monkeypatch.setattr(steps, "_QUICK", 63 * N)
        sweep_of(100, captures=True)
        assert graphs.captured == 1  # the first 32 rows

    def test_not_on_this_machine(self):
        """A CPU has no such graphs."""
        assert not LocalSpace(N, torch.float64, CPU, graphs=True).captures

    @pytest.mark.parametrize("wanted", [True, False])
    def test_as_the_product_has_it(self, graphs, wanted):
        """One switch for both."""
        product = Plain()
        product.cuda_graphs = wanted
        hessop.lanczos(product, 2, rng=0)
        assert (graphs.captured > 0) == wanted

    @pytest.mark.parametrize("kind", [RuntimeError, torch.OutOfMemoryError])
    def test_what_cannot_be_captured(self, graphs, kind):
        """Goes on step by step, also where a graph does not fit."""
        graphs.error = kind("not permitted")
        plain, swept = (sweep_of(60, captures=c) for c in (False, True))
        for a, b in zip(plain.tridiagonal(), swept.tridiagonal(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_window_has_its_last_rows_only():
    """What is orthogonalised against one is orthogonal to those."""
    space = LocalSpace(6, torch.float64, CPU)
    window = Window(space)
    for row in torch.eye(5, 6, dtype=torch.float64):
        window.append(row)
    left = orthonormal(space, torch.ones(6, dtype=torch.float64), window)
    assert left is not None
    np.testing.assert_allclose(left, np.array([1, 1, 1, 0, 0, 1]) / 2, atol=1e-15)
