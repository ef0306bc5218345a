"""
Rows cross to the device while it computes, and nothing is read too early or overwritten too soon.

No GPU is needed for that: stand-ins make each copy as late, or as early, as the order that was
asked for allows. What one stream does too early on a GPU, one of the two does wrong here, always.
"""

from __future__ import annotations

from collections import deque
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import hessop
from hessop import synthetic
from hessop._space import LocalSpace
from hessop.krylov import basis as basis_module
from hessop.krylov import streams as streams_module
from hessop.krylov.basis import Basis
from hessop.krylov.storage import OnDevice, OnDisk, OnHost
from hessop.krylov.streams import Streams
from hessop.krylov.sweep import Sweep
from hessop.krylov.transfer import Transfer

door = import_module("hessop.krylov.lanczos")  # the function has the module's name
CPU = torch.device("cpu")
N, PIECE = 64, 3  # rows of whole cache lines: sums are taken the same way wherever rows lie
SPACE = LocalSpace(N, torch.float64, CPU)
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def memory(t):
    """Where a tensor lies, whatever part of it is seen."""
    return t.untyped_storage().data_ptr()


class Computed(TorchDispatchMode):
    """When each memory was last used, and last written, by what is computed."""

    def __init__(self):
        super().__init__()
        self.now, self.used, self.written, self.paused = 0, {}, {}, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Do it, and note it."""
        out = func(*args, **(kwargs or {}))
        if not self.paused:
            self.now += 1
            for t in tree_leaves((args, kwargs)):
                if isinstance(t, torch.Tensor):
                    self.used[memory(t)] = self.now
            for argument, t in zip(func._schema.arguments, args, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    self.written[memory(t)] = self.now
        return out


class StandIn(Streams):
    """Copies as late or as early as they may be; each has to follow what used its memory."""

    def __init__(self, late):
        self.late, self.queue, self.computed = late, deque(), Computed()
        self.followed = self.asked = self.made = 0
        self.rows = []  # how many each copy has, in; None for one row that goes out

    def empty(self, *shape, dtype):
        """Full of what spoils any result."""
        return torch.full(shape, torch.nan, dtype=dtype)

    def follow(self):
        """What was computed until now."""
        self.followed = self.computed.now

    def copy(self, target, source):
        """Not over what may still be read or written, nor from what may still be written."""
        assert self.computed.used.get(memory(target), 0) <= self.followed
        assert self.computed.written.get(memory(source), 0) <= self.followed
        self.rows.append(len(target) if target.ndim == 2 else None)
        self.queue.append((target, source))
        self.asked += 1
        if not self.late:
            self.finish()

    def mark(self):
        """How many there are."""
        return self.asked

    def wait(self, mark):
        """Those before the mark, and no more."""
        self.computed.paused = True
        while self.made < mark:
            target, source = self.queue.popleft()
            target.copy_(source)
            self.made += 1
        self.computed.paused = False

    def finish(self):
        """All."""
        self.wait(self.asked)


class Behind(OnHost):
    """Memory of the host that rows cross from, on these streams."""

    def __init__(self, dtype, streams):
        super().__init__(dtype, CPU)
        self.beside = streams

    def streams(self, device):
        """The stand-in."""
        return self.beside


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """So that a basis of few rows has many pieces."""
    monkeypatch.setattr(basis_module, "_PIECE", PIECE * N)


@pytest.fixture(params=["late", "early"])
def streams(request):
    """Each of the two, watching what is computed."""
    made = StandIn(request.param == "late")
    with made.computed:
        yield made


def drawn(*shape, seed=0):
    """Reproducible normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def filled(storage, count, space=SPACE):
    """A basis with so many rows, the same ones each time."""
    basis = Basis(space, storage)
    for row in drawn(count, space.n):
        basis.append(row.to(space.dtype))
    return basis


def life(basis):
    """All that is done with a basis, in an order that leaves copies under way; what comes of it."""
    seen, w, appended = [], drawn(N, seed=1), torch.empty(N, dtype=torch.float64)
    for i, v in enumerate(drawn(40, N, seed=2)):
        basis.append(appended.copy_(v))
        appended.fill_(torch.nan)  # it is the caller's again
        if i % 3:
            basis.prefetch()
        seen += [basis.row(i).clone(), basis.row(max(i - 1, 0)).clone(), basis.row(i // 2).clone()]
        if i % 2:
            basis.subtract(w, torch.ones(2, dtype=torch.float64) / 7, i - 1)
            seen += [basis.purge(w), w.clone()]
            w += v
        if i % 5 == 1:
            seen += [basis.stack(i // 2), basis.project(w), basis.combine(np.eye(2, i + 1))]
    bits = [torch.from_numpy(piece.copy()) for piece in basis.bits()]
    basis.prefetch()
    basis.replace(drawn(20, 40, seed=3).numpy())
    seen += [basis.purge(w), basis.row(19).clone(), *bits]
    for v in drawn(3, N, seed=4):
        basis.append(v)
    basis.replace(drawn(5, 23, seed=3).numpy())
    seen += [basis.stack(5)]
    basis.prefetch()
    basis.load(bits)
    return [*seen, basis.row(38).clone(), basis.purge(w), w, basis.stack(40)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_life(dtype, streams):
    """Bit for bit what it is without streams, whenever copies are made."""
    mine = life(Basis(SPACE, Behind(dtype, streams)))
    plain = life(Basis(SPACE, OnHost(dtype, CPU)))
    assert len(mine) == len(plain)
    for a, b in zip(mine, plain, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("prefetched", [False, True])
@pytest.mark.parametrize("change", ["replace", "load"])
def test_nothing_of_rows_that_are_gone(change, prefetched, streams):
    """As many new ones in the same place are other rows."""
    basis = filled(Behind(torch.float64, streams), 9)
    bits = [torch.from_numpy(2 * piece.view(np.float64)) for piece in basis.bits()]
    if prefetched:
        basis.prefetch()
    if change == "load":
        basis.load(bits)
    else:
        basis.replace(2 * np.eye(9))
    assert torch.equal(basis.row(8), 2 * drawn(9, N)[8])
    assert torch.equal(basis.stack(9), 2 * drawn(9, N))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "how", [{"reorth": "full"}, {"reorth": "selective"}, {"block_size": 3}, {"ncv": 20}, {"k": 12}]
)
def test_a_search(dtype, how, streams, monkeypatch):
    """Restarts, audits, blocks, rows that wait, refinement: the same pairs to the last bit."""
    A, how = synthetic.operator("clustered", N, rng=0), {"k": 4, "ncv": 30, **how}
    results = []
    for storage in (Behind(dtype, streams), OnHost(dtype, CPU)):
        monkeypatch.setattr(door, "storage", lambda *_, there=storage: there)
        results.append(hessop.lanczos(A, rng=0, basis_dtype=dtype, **how))
    mine, plain = results
    assert streams.asked > 0
    np.testing.assert_array_equal(mine.eigenvalues, plain.eigenvalues)
    np.testing.assert_array_equal(mine.eigenvectors, plain.eigenvectors)
    assert mine.n_matvec == plain.n_matvec


class TestTransfers:
    """What crosses, and when."""

    @pytest.fixture
    def sweep(self, streams, monkeypatch):
        """A sweep of several steps that leaves out no pass, as on a GPU."""

        def made(reorth):
            start = drawn(N) / drawn(N).norm()
            sweep = Sweep(SPACE, start, reorth=reorth, storage=Behind(torch.float32, streams))
            monkeypatch.setattr(sweep._steps, "_is_rounding", lambda h, scale: False)
            for _ in range(10):
                self.step(sweep)
            return sweep

        return made

    @staticmethod
    def step(sweep):
        """One product."""
        sweep.absorb(sweep.vector() * torch.linspace(1, 2, N, dtype=torch.float64))

    @pytest.mark.parametrize(("reorth", "passes"), [("none", 0), ("full", 1), ("double", 2)])
    def test_one_for_each_row_and_pass(self, reorth, passes, sweep, streams, monkeypatch):
        """One row out; none for the recurrence."""
        fetched, fetch = [], Transfer._fetch
        monkeypatch.setattr(
            Transfer, "_fetch", lambda self, rows: fetched.append(rows) or fetch(self, rows)
        )
        swept = sweep(reorth)
        for _ in range(8):
            rows = len(swept.rows)
            streams.rows.clear()
            self.step(swept)
            assert streams.rows.count(None) == 1
            assert sum(r for r in streams.rows if r) == passes * rows
        assert not fetched

    def test_the_first_pieces_cross_during_the_product(self, sweep, streams):
        """They are asked for before it, if they are not on their way; after it the others are."""
        swept = sweep("full")
        for dropped in (False, True):
            if dropped:  # another use of the basis came between
                swept.basis.stack(1)
            streams.rows.clear()
            swept.vector()
            assert streams.rows == [PIECE, PIECE] * dropped
            streams.rows.clear()
            rows = len(swept.rows)
            self.step(swept)
            assert streams.rows[0] == PIECE
            assert sum(streams.rows[: streams.rows.index(None)]) == rows - 2 * PIECE

    def test_also_where_the_search_multiplies(self, streams, monkeypatch):
        """The last thing before each product that is followed by a pass over many rows."""
        product = synthetic.operator("gaussian", N, rng=0).product
        ahead, apply = [], type(product)._apply
        monkeypatch.setattr(
            type(product),
            "_apply",
            lambda self, V: ahead.append(streams.rows[-2:]) or apply(self, V),
        )
        monkeypatch.setattr(door, "storage", lambda *_: Behind(torch.float64, streams))
        A = synthetic.operator("gaussian", N, rng=0)
        hessop.lanczos(A, 3, rng=0, ncv=40)
        assert len(ahead) > 10
        assert all(rows == [PIECE, PIECE] for rows in ahead[2 * PIECE :])

    def test_the_next_piece_crosses_meanwhile(self, streams):
        """When one is handed out, the next one is on its way, and no further one."""
        pieces = drawn(5, PIECE, N)
        transfer = Transfer(streams, PIECE, N, torch.float64)
        for i, piece in enumerate(transfer.bring(pieces)):
            assert torch.equal(piece, pieces[i])
            assert streams.asked == min(i + 2, 5)

    def test_half_the_bytes(self, streams):
        """What crosses has the dtype of what is stored, both ways."""
        basis = filled(Behind(torch.bfloat16, streams), 10)
        seen, copy = set(), StandIn.copy
        streams.copy = lambda t, s: seen.update((t.dtype, s.dtype)) or copy(streams, t, s)
        basis.append(drawn(N))
        assert basis.stack(11).dtype == torch.float64
        assert seen == {torch.bfloat16}

    def test_the_last_rows_are_those_stored(self, streams):
        """Rounded the same way, and two of them however many there are."""
        basis = filled(Behind(torch.bfloat16, streams), 12)
        asked = streams.asked
        last = [basis.row(i) for i in (10, 11)]
        assert streams.asked == asked
        assert torch.equal(torch.stack(last), basis.stack(12)[10:])

    def test_two_pieces_of_the_device(self, streams):
        """However many rows: that, and the last two, is all that is taken of its memory."""
        taken, empty = [], StandIn.empty
        streams.empty = lambda *s, dtype: taken.append(s) or empty(streams, *s, dtype=dtype)
        life(Basis(SPACE, Behind(torch.float64, streams)))
        assert sorted(taken) == [(2, N), (PIECE, N), (PIECE, N)]


def test_where_there_is_nothing_to_cross(tmp_path, monkeypatch):
    """A CPU computes with the host's memory; a GPU with its own."""
    gpu, made = torch.device("cuda"), []
    monkeypatch.setattr(streams_module, "CudaStreams", made.append)
    for dtype in DTYPES:
        assert OnDevice(dtype, gpu).streams(gpu) is None
        assert OnHost(dtype, CPU).streams(CPU) is None
        assert OnDisk(dtype, tmp_path).streams(CPU) is None
    assert not made
    OnHost(torch.float32, CPU).streams(gpu)
    OnDisk(torch.float32, tmp_path).streams(gpu)
    assert made == [gpu, gpu]
