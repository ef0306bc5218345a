"""Where Lanczos vectors lie, and in what precision: the same results, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop
from hessop import synthetic
from hessop._space import LocalSpace
from hessop.krylov import basis as basis_module
from hessop.krylov.basis import Basis
from hessop.krylov.storage import OnDevice, OnDisk, OnHost, storage
from tests.spectra import assert_wanted, measured, orthonormality

CPU = torch.device("cpu")
SPACE = LocalSpace(50, torch.float64, CPU)


def places(tmp_path):
    """Every kind of storage of float64."""
    return [
        OnDevice(torch.float64, CPU),
        OnHost(torch.float64, CPU),
        OnDisk(torch.float64, tmp_path),
    ]


def filled(store, rows):
    """A basis with these rows."""
    basis = Basis(SPACE, store)
    for row in rows:
        basis.append(row)
    return basis


def drawn(*shape):
    """Reproducible normal numbers."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", range(3))
def test_all_operations(kind, tmp_path):
    """Rows, coefficients, combinations and recombination, bit for bit wherever they lie."""
    rows, w, S = drawn(70, 50), drawn(50), drawn(5, 70).numpy()
    plain = filled(OnDevice(torch.float64, CPU), rows)
    basis = filled(places(tmp_path)[kind], rows)
    assert torch.equal(basis.row(40), rows[40])
    assert torch.equal(basis.project(w), plain.project(w))
    assert torch.equal(basis.combine(S), plain.combine(S))
    assert torch.equal(basis.stack(60), rows[:60])
    mine, theirs = w.clone(), w.clone()
    basis.subtract(mine, torch.ones(10).double(), 5)
    plain.subtract(theirs, torch.ones(10).double(), 5)
    assert torch.equal(mine, theirs)
    basis.replace(S)
    plain.replace(S)
    assert torch.equal(basis.stack(5), plain.stack(5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision(dtype):
    """Rows are rounded once; coefficients are of what is stored, in float64."""
    rows = drawn(40, 50)
    basis = filled(OnDevice(dtype, CPU), rows)
    rounded = rows.to(dtype).double()
    assert basis.row(3).dtype == torch.float64
    assert torch.equal(basis.row(3), rounded[3])
    w = drawn(50)
    np.testing.assert_allclose(basis.project(w), rounded @ w, rtol=1e-13)
    S = np.eye(2, 40)
    basis.replace(S)
    assert torch.equal(basis.row(1), rounded[1])


def test_bits_round_trip():
    """What a file gets is what comes back."""
    for dtype in (torch.float64, torch.bfloat16):
        basis = filled(OnDevice(dtype, CPU), drawn(33, 50))
        again = Basis(SPACE, OnDevice(dtype, CPU))
        again.load([torch.from_numpy(block.copy()) for block in basis.bits()])
        assert torch.equal(again.stack(33), basis.stack(33))


class TestDisk:
    def test_nothing_is_left_behind(self, tmp_path):
        """Nor is anything to be seen while the search goes on, should it be killed."""
        seen = []
        A = synthetic.operator("gaussian", 200, rng=0)
        result = hessop.lanczos(
            A, 5, rng=0, basis=tmp_path, callback=lambda s: seen.append(list(tmp_path.iterdir()))
        )
        assert result.converged.all()
        assert not any(seen)
        assert not list(tmp_path.iterdir())

    def test_no_room(self, tmp_path, monkeypatch):
        """Said before a mapping is written to, which would end the process."""

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.posix_fallocate", full)
        with pytest.raises(
            MemoryError, match=r"`basis` must be a folder with room .* not fit\. Na"
        ):
            hessop.lanczos(np.eye(50), 2, basis=tmp_path, rng=0)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["device", "host", "disk"])
@pytest.mark.parametrize("name", ["gaussian", "multiple", "clustered"])
def test_results_do_not_depend_on_the_place(name, where, tmp_path, monkeypatch):
    """Bit for bit, where all rows are one piece."""
    monkeypatch.setattr(basis_module, "_FIRST_BLOCK", 150)
    A = synthetic.operator(name, 150, rng=1)
    plain = hessop.lanczos(A, 6, rng=0)
    there = hessop.lanczos(A, 6, rng=0, basis=tmp_path if where == "disk" else where)
    np.testing.assert_array_equal(there.eigenvalues, plain.eigenvalues)
    np.testing.assert_array_equal(there.eigenvectors, plain.eigenvectors)
    assert there.n_matvec == plain.n_matvec


@pytest.mark.parametrize("name", ["gaussian", "multiple", "clustered"])
def test_pieces_that_come_one_after_the_other(name, tmp_path, monkeypatch):
    """Each takes its part out before the next: as orthogonal, and the same to rounding."""
    monkeypatch.setattr(basis_module, "_PIECE", 4 * 150)
    A = synthetic.operator(name, 150, rng=1)
    result = hessop.lanczos(A, 6, rng=0, basis=tmp_path)
    assert result.converged.all()
    assert result.complete
    scale = np.abs(A.eigenvalues).max()
    assert_wanted(result.eigenvalues, A.eigenvalues, "LM", 6, 1e-13 * scale)
    assert orthonormality(result.eigenvectors) < 1e-13


@pytest.mark.parametrize("kind", range(1, 3))
def test_a_pass_reads_each_row_once(kind, tmp_path, monkeypatch):
    """Where it is not the device's: a piece's coefficients, its part taken out, the next piece."""
    monkeypatch.setattr(basis_module, "_PIECE", 5 * 50)
    done = []
    for name in ("project", "subtract"):
        method = getattr(LocalSpace, name)
        monkeypatch.setattr(
            LocalSpace, name, lambda *a, name=name, do=method: done.append(name) or do(*a)
        )
    rows, w = torch.linalg.qr(drawn(50, 23))[0].T, drawn(50)
    basis, left = filled(places(tmp_path)[kind], rows), w.clone()
    h = basis.purge(left)
    assert done == ["project", "subtract"] * 5
    torch.testing.assert_close(h, rows @ w, rtol=0, atol=1e-14)
    torch.testing.assert_close(left, w - rows.T @ (rows @ w), rtol=0, atol=1e-14)


@pytest.mark.parametrize("tol", [0.0, 1e-5, 1e-2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["hessian_like", "multiple", "gaussian"])
def test_refinement(name, dtype, tol):
    """What a coarse basis finds is refined to what was asked for, and its residuals are true."""
    A = synthetic.operator(name, 200, rng=2)
    result = hessop.lanczos(A, 5, tol=tol, rng=0, basis_dtype=dtype)
    scale = np.abs(A.eigenvalues).max()
    assert result.converged.all()
    assert result.complete
    residuals = measured(A, *result)
    limit = max(tol, 1e-13) * scale
    assert (residuals <= 1.1 * limit).all()
    assert_wanted(result.eigenvalues, A.eigenvalues, "LM", 5, limit)
    assert orthonormality(result.eigenvectors) < max(1e-12, 0.05 * tol)
    assert f"basis in {dtype}" in result.method
    if dtype == "float32" or tol < 1e-2:  # half precision may do for two digits, or not
        assert ("refined" in result.method) == (tol == 0 or dtype != "float32")


def test_a_basis_of_the_operators_own_dtype_is_not_refined():
    """Named or not."""
    A = synthetic.operator("gaussian", 60, dtype=torch.float32, rng=0)
    for dtype in (None, "float32", torch.float32, "float64"):
        assert hessop.lanczos(A, 3, rng=0, basis_dtype=dtype).method == "lanczos"


class Free(OnDevice):
    """A device with a known amount of free memory."""

    def available(self):
        """Twenty-four gibibytes."""
        return 24 << 30


def test_arithmetic_beyond_two_to_the_31():
    """Sizes are Python integers throughout: nothing overflows at a trillion parameters."""
    for n in (2**31 // 20, 2**33, 10**12):
        rows = Free(torch.float32, CPU).room(n)
        assert rows == (24 << 30) // 2 // (4 * n)
        assert LocalSpace(n, torch.float32, CPU).n * 64 > 2**31
    assert hessop.krylov.audit.room(6, 10**13) == 21


def test_the_nearer_memory_is_taken_as_far_as_it_goes(monkeypatch):
    """Of a GPU and its host, by how many rows of 200 bytes fit into half; no question on a CPU."""
    gpu = LocalSpace(50, torch.float32, torch.device("cuda"))
    for device, host, kind in ((100, 10**6, OnDevice), (99, 100, OnHost), (99, 98, OnDevice)):
        free = {"cuda": 400 * device, "cpu": 400 * host}
        monkeypatch.setattr("hessop._memory.available_bytes", lambda d, f=free: f[d.type])
        assert type(storage(gpu, "auto", None)) is kind
    assert type(storage(SPACE, "auto", None)) is OnDevice
