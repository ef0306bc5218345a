"""Basis storage against a plain array."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hessop._space import LocalSpace
from hessop.krylov import basis as basis_module
from hessop.krylov.basis import Basis
from hessop.krylov.window import Window

CPU = torch.device("cpu")
# Row counts around the doublings 32, 64, 128, and widths around the strips of `replace`.
SIZES = [0, 1, 2, 31, 32, 33, 64, 65, 130]


def filled(m, n, dtype=torch.float64, kind=Basis):
    """A basis with m random rows, and the same rows as an array."""
    rows = torch.from_numpy(np.random.default_rng(m).standard_normal((m, n))).to(dtype)
    basis = kind(LocalSpace(n, dtype, CPU))
    for row in rows:
        basis.append(row)
    return basis, rows


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("m", SIZES)
def test_every_operation_against_a_plain_array(m, dtype):
    """Projection, subtraction and combination do not notice the blocks."""
    n = 150
    basis, rows = filled(m, n, dtype)
    w = torch.from_numpy(np.random.default_rng(99).standard_normal(n)).to(dtype)
    exact = rows.double() @ w.double()
    atol = 200 * torch.finfo(dtype).eps  # of sums of n = 150 terms of size 1
    assert len(basis) == m
    h = basis.project(w)
    assert h.dtype == torch.float64
    torch.testing.assert_close(h, exact, rtol=0, atol=atol)
    left = w.clone()
    basis.subtract(left, exact)
    expected = w.double() - exact @ rows.double()
    scale = float(expected.norm()) + 1
    torch.testing.assert_close(left.double(), expected, rtol=0, atol=atol * scale)
    S = np.random.default_rng(5).standard_normal((3, m))
    torch.testing.assert_close(
        basis.combine(S).double(), torch.from_numpy(S) @ rows.double(), rtol=0, atol=10 * atol
    )
    for i in range(m):
        assert torch.equal(basis.row(i), rows[i])
    if m:
        assert torch.equal(basis.stack(m), rows)


@pytest.mark.parametrize("start", [0, 1, 31, 32, 40])
@pytest.mark.parametrize("count", [0, 1, 2, 25])
def test_subtract_from_some_rows_only(start, count):
    """The coefficients belong to the rows from `start` on, across block borders."""
    basis, rows = filled(65, 70)
    w = torch.ones(70, dtype=torch.float64)
    h = torch.arange(1.0, count + 1.0, dtype=torch.float64)
    expected = w - h @ rows[start : start + count]
    basis.subtract(w, h, start)
    torch.testing.assert_close(w, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", SIZES)
def test_purge_at_hand(m):
    """All coefficients, then all rows: bit for bit the two by themselves."""
    basis, _ = filled(m, 70)
    w = torch.from_numpy(np.random.default_rng(99).standard_normal(70))
    left = w.clone()
    h = basis.purge(left)
    assert h.dtype == torch.float64
    assert torch.equal(h, basis.project(w))
    basis.subtract(w, h)
    assert torch.equal(left, w)


@pytest.mark.parametrize("m", [1, 5, 40])
def test_stack_takes_the_first_rows(m):
    """A copy: writing to it leaves the basis alone."""
    basis, rows = filled(65, 70)
    copy = basis.stack(m)
    assert torch.equal(copy, rows[:m])
    copy.zero_()
    assert torch.equal(basis.row(0), rows[0])


def test_append_copies():
    """What came in is not kept."""
    basis = Basis(LocalSpace(4, torch.float64, CPU))
    v = torch.ones(4, dtype=torch.float64)
    basis.append(v)
    v.zero_()
    assert torch.equal(basis.row(0), torch.ones(4, dtype=torch.float64))


def test_row_is_a_view():
    """What is written to a row is in the basis."""
    basis, _ = filled(40, 50)
    basis.row(35).fill_(7.0)
    assert torch.equal(basis.stack(36)[35], torch.full((50,), 7.0, dtype=torch.float64))


def test_growing_moves_nothing():
    """Rows stay where they are when the room doubles."""
    basis, rows = filled(32, 300)
    places = [basis.row(i).data_ptr() for i in range(32)]
    for _ in range(100):
        basis.append(rows[0])
    assert [basis.row(i).data_ptr() for i in range(32)] == places


@pytest.mark.parametrize("n", [1, 5, 33, 100])
def test_room_never_exceeds_what_can_be_orthogonal(n, monkeypatch):
    """A small space gets no block of 32 rows, and the room at most doubles."""
    taken = []
    empty = torch.empty

    def counted(size, **kwargs):
        taken.append(size[0])
        return empty(size, **kwargs)

    monkeypatch.setattr(torch, "empty", counted)
    filled(n, n)
    assert max(taken) <= n
    assert sum(taken) <= 2 * max(n, 32)


@pytest.mark.parametrize("i", [3, 10, 1000])
def test_no_such_row(i):
    """Beyond the room it is an error."""
    basis, _ = filled(3, 3)
    with pytest.raises(IndexError):
        basis.row(i)


@pytest.mark.parametrize("k", [1, 3, 40, 65])
@pytest.mark.parametrize("columns", [1, 7, 1 << 14])
def test_replace(k, columns, monkeypatch):
    """New rows from old ones in place, whatever the strips; appending goes on behind them."""
    monkeypatch.setattr(basis_module, "_COLUMNS", columns)
    basis, rows = filled(65, 70)
    S = np.random.default_rng(1).standard_normal((k, 65))
    basis.replace(S)
    assert len(basis) == k
    expected = torch.from_numpy(S) @ rows
    torch.testing.assert_close(basis.stack(k), expected, rtol=0, atol=1e-12)
    basis.append(rows[0])
    assert len(basis) == k + 1
    assert torch.equal(basis.row(k), rows[0])
    torch.testing.assert_close(basis.stack(k), expected, rtol=0, atol=1e-12)


def test_replace_takes_a_strided_array():
    """Rows of a transposed eigenvector matrix are what it is given."""
    basis, rows = filled(5, 9)
    S = np.random.default_rng(1).standard_normal((5, 5)).T[:3]
    basis.replace(S)
    torch.testing.assert_close(
        basis.stack(3), torch.from_numpy(S.copy()) @ rows, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("m", [1, 2, 3, 10])
def test_window_keeps_the_last_two(m):
    """They can be read and projected on; older ones are gone."""
    window, rows = filled(m, 20, kind=Window)
    assert len(window) == m
    last = range(max(0, m - 2), m)
    for i in last:
        assert torch.equal(window.row(i), rows[i])
    w = torch.ones(20, dtype=torch.float64)
    torch.testing.assert_close(window.project(w), rows[list(last)] @ w, rtol=0, atol=1e-13)
    for i in (m, m - 3):
        with pytest.raises(IndexError):
            window.row(i)
    window.subtract(w, torch.tensor([2.0], dtype=torch.float64), m - 1)
    torch.testing.assert_close(w, 1 - 2 * rows[m - 1], rtol=0, atol=1e-13)


def test_window_needs_two_rows_of_memory():
    """However long the sweep."""
    window, _ = filled(50, 20, kind=Window)
    assert len({window.row(i).data_ptr() for i in (48, 49)}) == 2
    places = {window.row(i).data_ptr() for i in (48, 49)}
    window.append(torch.zeros(20, dtype=torch.float64))
    assert {window.row(i).data_ptr() for i in (49, 50)} == places
