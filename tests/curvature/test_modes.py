"""The ways to multiply: what each costs, when one gives way to another, and what never changes."""

from __future__ import annotations

import copy
import gc
import weakref
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from torch import nn

import hessop
from hessop.curvature import store as store_module
from hessop.curvature import upgrade as upgrade_module
from hessop.curvature.kept import KeptMap
from hessop.curvature.local import HessianLocal
from hessop.curvature.tape import Tape
from hessop.curvature.ways import (
    DIFFERENCE,
    FORWARD,
    KEPT,
    LINEARIZED,
    MODES,
    RECORDED,
    REVERSE,
)
from tests import oracles
from tests.models import PROBLEMS, cut, mlp

KEEPING = (KEPT, RECORDED, LINEARIZED)


class Served:
    """Batches that can be read again and again, each time counted."""

    def __init__(self, batches):
        self.batches = batches
        self.count = 0

    def __iter__(self):
        for batch in self.batches:
            self.count += 1
            yield batch


def problem(*points):
    """Model, loss, counted batches and a list that grows by one at each forward pass."""
    model, loss_fn, data = mlp()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    return model, loss_fn, Served(cut(data, *(points or (4, 9)))), calls


def expected(model, loss_fn, batches, **how):
    """The matrix by kept graphs."""
    H = hessop.HessianOperator(model, loss_fn, list(batches), mode=KEPT, check=False, **how)
    return oracles.matrix(H)


@pytest.fixture
def speeds(monkeypatch):
    """How many seconds ways take, as the planner sees them: for a vector, or one run of a tape."""
    speeds = SimpleNamespace(now=0.0, graph=10.0, tape=1.0)
    clock = SimpleNamespace(perf_counter=lambda: speeds.now)
    monkeypatch.setattr(upgrade_module, "time", clock)
    reverse, run = HessianLocal.reverse, Tape.__call__

    def timed_reverse(self, *args):
        speeds.now += speeds.graph
        return reverse(self, *args)

    def timed_run(self, *pieces):
        speeds.now += speeds.tape
        return run(self, *pieces)

    monkeypatch.setattr(HessianLocal, "reverse", timed_reverse)
    monkeypatch.setattr(Tape, "__call__", timed_run)
    return speeds


class TestCosts:
    @pytest.mark.parametrize("mode", MODES)
    def test_construction_costs_nothing(self, mode):
        """Without checks: no forward pass, no look at the data."""
        model, loss_fn, data, calls = problem()
        hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False)
        assert (len(calls), data.count) == (0, 0)

    @pytest.mark.parametrize("mode", KEEPING)
    def test_what_is_kept_needs_neither_model_nor_data(self, mode):
        """After the set-up: vectors, blocks of them, and parts of the matrix."""
        model, loss_fn, data, calls = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False)
        n = H.shape[0]
        H @ np.ones(n)
        assert H.report().stage == mode
        passes = {KEPT: 3, RECORDED: 3, LINEARIZED: 6}[mode]  # once more, to be linearised
        assert len(calls) == H.product.n_forward == passes
        for _ in range(2):
            H @ np.ones(n)
            H @ np.ones((n, 3))
            part = H.block("0")
            part @ np.ones(part.shape[0])
        assert (len(calls), data.count) == (passes, 3)

    @pytest.mark.parametrize("mode", ["auto", REVERSE])
    def test_without_memory_a_block_is_one_pass(self, mode):
        """Each batch is read once and computed once, for one vector or seven."""
        model, loss_fn, data, calls = problem()
        how = {"auto": {"memory": 0}, REVERSE: {}}[mode]
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False, **how)
        n, part = H.shape[0], H.block("2")
        for number, work in enumerate(
            [
                lambda: H @ np.ones(n),
                lambda: H @ np.ones((n, 7)),
                lambda: part @ np.ones((part.shape[0], 2)),
                H.gradient,
                H.loss,
            ]
        ):
            work()
            assert len(calls) == data.count == H.product.n_forward == 3 * (number + 1)

    @pytest.mark.parametrize(("mode", "passes", "tuning"), [(FORWARD, 1, 0), (DIFFERENCE, 2, 12)])
    def test_ways_without_graphs_pay_for_each_vector(self, mode, passes, tuning):
        """The data are read once for a block all the same; a step is tuned once, on one batch."""
        model, loss_fn, data, calls = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False)
        H @ np.ones((H.shape[0], 4))
        assert len(calls) == 3 * 4 * passes + tuning
        assert data.count == 3
        H @ np.ones((H.shape[0], 4))
        assert len(calls) == 2 * 3 * 4 * passes + tuning

    @pytest.mark.parametrize("mode", ["auto", RECORDED])
    def test_gradients_are_products_of_their_own(self, mode):
        """They cost nothing while the graphs of gradients are there, and count as no product."""
        model, loss_fn, data, calls = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False)
        H @ np.ones(H.shape[0])
        before = len(calls)
        g = H.gradient()
        assert len(calls) == before + (0 if mode == "auto" else 3)
        np.testing.assert_allclose(g, oracles.gradient(model, loss_fn, mlp()[2]), atol=1e-14)
        assert H.product.n_matvec == 1


class TestResults:
    @pytest.mark.parametrize("mode", MODES)
    def test_every_mode_gives_the_hessian(self, mode):
        """Over batches of unequal size, twice, in vectors and blocks in either order in memory."""
        model, loss_fn, data, _ = problem()
        want = oracles.dense_hessian(model, loss_fn, mlp()[2])
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        n, close = H.shape[0], {"atol": 1e-7 if mode == DIFFERENCE else 1e-13}
        X = np.random.default_rng(0).standard_normal((n, 3))
        for _ in range(2):
            np.testing.assert_allclose(H @ X[:, 0], want @ X[:, 0], **close)
            np.testing.assert_allclose(H @ X, want @ X, **close)
            np.testing.assert_allclose(H @ np.asfortranarray(X), want @ X, **close)

    @pytest.mark.parametrize(
        ("name", "mode"),
        [("mlp", LINEARIZED), ("transformer", RECORDED), ("cnn", LINEARIZED), ("tied", RECORDED)],
    )
    def test_blocks_of_vectors(self, name, mode, capfd):
        """Four and one more, in either order in memory, the whole and a part; no complaints."""
        model, loss_fn, data = PROBLEMS[name]()
        want = expected(model, loss_fn, [data])
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, block_size=4, check=False)
        n = H.shape[0]
        H @ np.ones(n)
        assert (H.report().stage, H.report().block_size) == (mode, 4)
        X = np.random.default_rng(0).standard_normal((n, 5))
        np.testing.assert_allclose(H @ np.asfortranarray(X), want @ X, atol=1e-13)
        np.testing.assert_allclose(H @ X, want @ X, atol=1e-13)
        part = H.block(H.names[0])
        m = part.shape[0]
        np.testing.assert_allclose(part @ X[:m], want[:m, :m] @ X[:m], atol=1e-13)
        assert "Warning" not in capfd.readouterr().err

    def test_a_recurrent_block_without_complaints(self, capfd):
        """No operation falls back to a loop, of which torch would warn on stderr."""
        model, loss_fn, data = PROBLEMS["lstm"]()
        H = hessop.HessianOperator(
            model, loss_fn, data, mode=RECORDED, block_size=2, check=False, params="head"
        )
        X = np.random.default_rng(0).standard_normal((H.shape[0], 2))
        want = expected(model, loss_fn, [data], params="head") @ X
        for _ in range(2):
            np.testing.assert_allclose(H @ X, want, atol=1e-13)
        assert H.report().stage == RECORDED
        assert "Warning" not in capfd.readouterr().err

    @pytest.mark.parametrize("mode", KEEPING)
    def test_a_residual_layer(self, mode):
        """``h + W h``: in the whole and in each diagonal block."""

        class Residual(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Linear(4, 6)
                self.w = nn.Linear(6, 6, bias=False)
                self.o = nn.Linear(6, 3)

            def forward(self, x):
                h = torch.tanh(self.a(x))
                return self.o(h + self.w(h))

        model, (_, loss_fn, data) = Residual().double(), mlp()
        want = expected(model, loss_fn, [data])
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        H @ np.ones(H.shape[0])
        assert H.report().stage == mode
        np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
        start = 0
        for block in H.blocks().values():
            stop = start + block.shape[0]
            here = want[start:stop, start:stop]
            np.testing.assert_allclose(oracles.matrix(block), here, atol=1e-13)
            start = stop

    def test_a_quadratic_has_no_constants(self):
        """Nothing to hold, and blocks all the same."""

        class Plain(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Parameter(torch.ones(2).double())
                self.b = nn.Parameter(torch.ones(2).double())

        def product(model, batch):
            return (torch.stack([model.a, model.b]).sum(0) ** 2).sum()

        model = Plain()
        batch = (torch.ones(3),)
        H = hessop.HessianOperator(model, None, batch, objective=product, mode=RECORDED)
        H @ np.ones(4)
        for X in (np.eye(4), np.eye(4)[:, :1]):
            np.testing.assert_allclose(H @ X, 2 * np.tile(np.eye(2), (2, 2)) @ X)
        np.testing.assert_allclose(oracles.matrix(H.block("a")), 2 * np.eye(2))

    @pytest.mark.parametrize("mode", MODES)
    def test_no_vectors(self, mode):
        """A block of none, before the first product and after."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False)
        n = H.shape[0]
        for _ in range(2):
            assert (H @ np.zeros((n, 0))).shape == (n, 0)
            H @ np.ones(n)
        assert (H @ np.zeros((n, 0))).shape == (n, 0)

    @pytest.mark.parametrize("mode", MODES)
    def test_the_random_state_is_left_alone(self, mode, speeds):
        """By every product, also by those that try something out."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        before = torch.get_rng_state()
        for _ in range(3):
            H @ np.ones(H.shape[0])
            H @ np.ones((H.shape[0], 4))
            H.product.expect(10**9)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")
    def test_compiled(self):
        """What `torch.compile` makes of a tape is the same matrix, in whole and in parts."""
        model, loss_fn, data, calls = problem(5)
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, mode=RECORDED, compile=True, block_size=2)
        n = H.shape[0]
        H @ np.ones(n)
        assert H.report().stage == RECORDED
        calls.clear()
        X = np.random.default_rng(0).standard_normal((n, 3))
        np.testing.assert_allclose(H @ X, want @ X, atol=1e-13)
        np.testing.assert_allclose(H.block("0") @ X[:30], want[:30, :30] @ X[:30], atol=1e-13)
        assert not calls


class TestReport:
    @pytest.mark.parametrize("mode", MODES)
    def test_before_and_after(self, mode):
        """The mode, the way in use, and what is kept."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False)
        keeps = mode in ("auto", *KEEPING)
        r = H.report()
        assert (r.mode, r.stage, r.block_size) == (mode, KEPT if keeps else mode, 1)
        assert (r.batches, r.kept, r.kept_bytes, r.seconds, r.setup, r.notes) == (
            *(0, 0, 0),
            *({}, {}, ()),
        )
        for _ in range(2):
            H @ np.ones(H.shape[0])
        r = H.report()
        stage = KEPT if mode == "auto" else mode
        assert (r.stage, r.batches, r.kept) == (stage, 3, 3 if keeps else 0)
        assert (r.kept_bytes > 0) == keeps
        assert set(r.seconds) == ({stage} if keeps else set())
        assert set(r.setup) == ({mode} if mode in (RECORDED, LINEARIZED) else set())
        notes = 1 if mode == DIFFERENCE else 0  # on the step and its error
        assert len(r.notes) == notes
        text = str(r).splitlines()
        held = f"{r.kept} of 3 batches kept, {r.kept_bytes / 1e6:.1f} MB"
        assert text[0] == f"mode={mode!r}: {stage}, 1 vector(s) at once; {held}"
        assert len(text) == 1 + len(r.seconds) + notes
        lines = text[1 : 1 + len(r.seconds)]
        assert all("ms per vector" in line for line in lines)
        assert all(("set-up" in line) == (mode in r.setup) for line in lines)

    def test_without_memory(self):
        """Nothing is kept."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, memory=0)
        H @ np.ones(H.shape[0])
        r = H.report()
        assert (r.mode, r.stage, r.batches, r.kept, r.kept_bytes) == ("auto", REVERSE, 3, 0, 0)

    def test_it_is_a_copy(self):
        """What happens later does not change it."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data)
        r = H.report()
        for _ in range(2):
            H @ np.ones(H.shape[0])
        assert (r.seconds, r.batches) == ({}, 0)

    def test_an_explicit_width(self):
        """It is used where there is a tape."""
        model, loss_fn, data, _ = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, block_size=3)
        H @ np.ones(H.shape[0])
        assert (H.report().stage, H.report().block_size) == (LINEARIZED, 3)
        X = np.random.default_rng(0).standard_normal((H.shape[0], 7))
        np.testing.assert_allclose(H @ X, want @ X, atol=1e-13)


class TestUpgrade:
    def auto(self, *points, **how):
        """An operator that has been used and is told of many products, and the matrix."""
        model, loss_fn, data, calls = problem(*points)
        H = hessop.HessianOperator(model, loss_fn, data, check=False, **how)
        v = np.ones(H.shape[0])
        H @ v
        H @ v
        want = expected(model, loss_fn, data.batches)
        calls.clear()
        H.product.expect(10**6)
        return H, want, v, calls

    def test_when_it_is_earned_back(self, speeds):
        """From kept graphs to linearised tapes, of all batches, for good."""
        H, want, v, calls = self.auto()
        assert H.report().stage == KEPT
        calls.clear()
        np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)
        r = H.report()
        assert (r.stage, r.kept) == (LINEARIZED, 3)
        assert r.seconds == {KEPT: 30.0, LINEARIZED: 3.0}
        assert r.setup[LINEARIZED] > 0
        assert r.notes[0].startswith("linearized: 1000000 products expected of 30 s each; set-up")
        assert len(calls) == 3
        np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
        assert len(calls) == 3

    def test_not_before(self, speeds):
        """Few products do not."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data)
        for _ in range(20):
            H @ np.ones(H.shape[0])
        assert H.report().stage == KEPT

    def test_blocks_when_they_are_faster(self, speeds):
        """As many rows as come, if the tape takes less time for them."""
        H, want, v, _ = self.auto()
        H @ v
        H @ v
        X = np.random.default_rng(0).standard_normal((H.shape[0], 11))
        for width, share in ((4, 0.25), (11, 0.09)):
            np.testing.assert_allclose(H @ X, want @ X, atol=1e-13)
            assert H.report().block_size == width
            assert H.report().notes[-1] == f"blocks of {width} take {share} of single vectors: used"

    def test_blocks_when_they_are_not(self, speeds, monkeypatch):
        """They are tried once."""
        run = Tape.__call__

        def slow(self, *pieces):
            speeds.now += 10.0 * (pieces[0].ndim == 3)
            return run(self, *pieces)

        H, want, v, _ = self.auto()
        H @ v
        H @ v
        monkeypatch.setattr(Tape, "__call__", slow)
        X = np.random.default_rng(0).standard_normal((H.shape[0], 4))
        for _ in range(2):
            np.testing.assert_allclose(H @ X, want @ X, atol=1e-13)
        assert H.report().block_size == 1
        assert [n for n in H.report().notes if n.startswith("blocks")] == [
            "blocks of 4 take 2.75 of single vectors: not used"
        ]

    def test_blocks_that_cannot_be_recorded(self, speeds, monkeypatch):
        """What was not asked for may fail without harm."""

        def fail(self, examples):
            raise RuntimeError("no batching rule")

        H, want, v, _ = self.auto()
        H @ v
        H @ v
        monkeypatch.setattr(Tape, "widened", fail)
        X = np.random.default_rng(0).standard_normal((H.shape[0], 4))
        for _ in range(2):
            np.testing.assert_allclose(H @ X, want @ X, atol=1e-13)
        assert H.report().block_size == 1
        assert any("no batching rule" in note for note in H.report().notes)

    def test_a_tape_that_is_slower(self, speeds):
        """Graphs stay, and nothing is tried again."""
        speeds.tape = 20.0
        H, want, v, calls = self.auto()
        for _ in range(3):
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)
        r = H.report()
        assert r.stage == KEPT
        refused = [note for note in r.notes if "takes 2.00 of the time" in note]
        assert [note.split()[0] for note in refused] == [LINEARIZED, RECORDED]
        assert len(calls) == 1  # the first batch speaks for all

    @pytest.mark.parametrize("mode", [RECORDED, LINEARIZED])
    @pytest.mark.parametrize("error", [1e-3, float("nan")])
    def test_a_tape_that_disagrees(self, monkeypatch, mode, error):
        """It is not used; graphs are, and the results are right."""
        run = Tape.__call__

        def wrong(self, *pieces):
            return [None if t is None else (1.0 + error) * t for t in run(self, *pieces)]

        monkeypatch.setattr(Tape, "__call__", wrong)
        model, loss_fn, data, _ = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        for _ in range(2):
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-14)
        r = H.report()
        assert r.stage == KEPT
        said = "nan" if np.isnan(error) else "1.0e-03"
        assert f"{mode} not used: the tape differs by {said}, relatively" in r.notes

    def test_a_tape_of_the_second_batch_that_disagrees(self, monkeypatch):
        """Those that agree may stay."""
        run, wrong = Tape.__call__, []
        record = Tape.record.__func__

        def second(cls, *args):
            tape = record(cls, *args)
            wrong.append(tape)
            return tape

        def perturbed(self, *pieces):
            found = run(self, *pieces)
            bad = len(wrong) > 1 and self is wrong[1]
            return [None if t is None else t + float(bad) for t in found]

        monkeypatch.setattr(Tape, "record", classmethod(second))
        monkeypatch.setattr(Tape, "__call__", perturbed)
        model, loss_fn, data, _ = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, mode=RECORDED)
        for _ in range(3):
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)

    @pytest.mark.parametrize("mode", [RECORDED, LINEARIZED])
    def test_what_cannot_be_recorded(self, monkeypatch, mode):
        """Whatever torch raises, the graphs are still there; the reason is noted."""

        def fail(*_):
            raise RuntimeError("no formula for this")

        monkeypatch.setattr(Tape, "record", fail)
        model, loss_fn, data, _ = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        for _ in range(2):
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-14)
        assert H.report().stage == KEPT
        assert f"{mode} not used: RuntimeError: no formula for this" in H.report().notes

    def test_linearised_falls_back_half_way(self, monkeypatch):
        """Also of the batches that were linearised, and let their graphs go, before one failed."""
        forward = HessianLocal.forward

        def sometimes(self, pieces):
            if len(self.batch[0]) == 2:
                raise NotImplementedError("no forward mode for this batch")
            return forward(self, pieces)

        monkeypatch.setattr(HessianLocal, "forward", sometimes)
        model, loss_fn, data, calls = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, mode=LINEARIZED)
        H @ np.ones(H.shape[0])
        calls.clear()
        np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
        assert not calls
        assert H.report().stage == LINEARIZED  # those that agree may stay

    @pytest.mark.parametrize("kind", [hessop.HessianOperator, hessop.GGNOperator])
    def test_from_one_tape_to_the_other(self, kind):
        """Graphs that were let go are built again, outside of the recording."""
        model, loss_fn, data, _ = problem()
        want = oracles.matrix(kind(model, loss_fn, data.batches, mode=KEPT, check=False))
        H = kind(model, loss_fn, data, mode=RECORDED)
        H @ np.ones(H.shape[0])
        store, planner = H.product._store, H.product._planner
        for stage in (LINEARIZED, RECORDED):
            with torch.enable_grad():
                upgrade_module.upgrade(store, planner, stage)
            assert (planner.stage, planner.notes) == (stage, [])
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)

    def test_linearised_falls_back_to_recorded(self, monkeypatch):
        """Where torch has no formula for forward mode."""

        def fail(*_):
            raise NotImplementedError("no forward mode")

        monkeypatch.setattr(HessianLocal, "forward", fail)
        model, loss_fn, data, calls = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, mode=LINEARIZED)
        H @ np.ones(H.shape[0])
        assert H.report().stage == RECORDED
        calls.clear()
        np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
        assert not calls

    def test_a_value_that_is_read_on_the_way(self):
        """A custom derivative that leaves torch cannot be recorded, and is right all the same."""

        class Cube(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, g):
                return Slope.apply(g, ctx.saved_tensors[0])

        class Slope(torch.autograd.Function):
            @staticmethod
            def forward(ctx, g, x):
                ctx.save_for_backward(g, x)
                return torch.from_numpy(3.0 * (g.detach().numpy() * x.detach().numpy() ** 2))

            @staticmethod
            def backward(ctx, h):
                g, x = ctx.saved_tensors
                product = torch.from_numpy(h.detach().numpy() * 3.0)
                return product * x**2, 2.0 * product * g * x

        class Cubed(nn.Module):
            def forward(self, x):
                return Cube.apply(x)

        class Plain(nn.Module):
            def forward(self, x):
                return x**3

        _, loss_fn, data = mlp()

        def network(middle):
            torch.manual_seed(3)
            return nn.Sequential(nn.Linear(4, 5), middle, nn.Linear(5, 3)).double()

        want = expected(network(Plain()), loss_fn, [data])
        H = hessop.HessianOperator(network(Cubed()), loss_fn, data, mode=RECORDED)
        for _ in range(2):
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
        assert H.report().stage == KEPT

    def test_tapes_that_do_not_fit(self):
        """The budget holds for tapes too: as many as fit."""
        model, loss_fn, data, calls = problem()
        want = expected(model, loss_fn, data)

        def used(memory):
            H = hessop.HessianOperator(model, loss_fn, data, mode=LINEARIZED, memory=memory)
            for _ in range(2):
                np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
            return H

        H = used("auto")
        tapes = [held.nbytes for held in H.product._store.held.values()]
        H = hessop.HessianOperator(model, loss_fn, data, mode=KEPT)
        H @ np.ones(H.shape[0])
        graphs = [held.nbytes for held in H.product._store.held.values()]
        assert sum(graphs) < sum(tapes)
        assert all(a < b for a, b in zip(graphs, tapes, strict=True))
        H = used(sum(graphs))
        assert H.report().stage == KEPT
        assert H.report().kept_bytes <= sum(graphs)
        note = "linearized not used: the tape of no batch fits into memory"
        assert note in H.report().notes
        H = used(sum(graphs) + tapes[0] - graphs[0])
        assert H.report().stage == LINEARIZED
        assert H.report().kept_bytes <= sum(graphs) + tapes[0] - graphs[0]
        assert sum(h.local.has_graph for h in H.product._store.held.values()) == 2
        calls.clear()
        H @ np.ones(H.shape[0])
        assert not calls

    def test_slices_of_one_tensor_fit(self):
        """A tape counts of the data what its batch shows, and parameters not once for each."""
        model, loss_fn, (x, y) = mlp()
        x, y = torch.cat([x] * 40), torch.cat([y] * 40)
        slices = list(zip(x.split(44), y.split(44), strict=True))
        copies = [(a.clone(), b.clone()) for a, b in slices]
        H = hessop.HessianOperator(model, loss_fn, copies, mode=RECORDED, check=False)
        H @ np.ones(H.shape[0])
        budget = H.report().kept_bytes
        H = hessop.HessianOperator(model, loss_fn, slices, mode=RECORDED, memory=budget)
        H @ np.ones(H.shape[0])
        assert H.report().notes == ()

    @pytest.mark.parametrize("mode", [RECORDED, LINEARIZED])
    def test_a_model_that_is_trained_on(self, mode):
        """New results after an optimiser's step, from new tapes; the old ones are gone."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        v = np.ones(H.shape[0])
        for _ in range(3):
            H @ v
            assert H.report().stage == mode
            old = [weakref.ref(h.maps["curvature"]._tape) for h in H.product._store.held.values()]
            before = H @ v
            loss_fn(model(data.batches[0][0]), data.batches[0][1]).backward()
            optimizer.step()
            want = expected(model, loss_fn, data.batches) @ v
            np.testing.assert_allclose(H @ v, want, atol=1e-13)
            assert np.abs(want - before).max() > 1e-6
            gc.collect()
            assert all(tape() is None for tape in old)
            np.testing.assert_allclose(H @ v, want, atol=1e-13)

    def test_data_that_are_written_to(self):
        """The same for a batch."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=RECORDED)
        v = np.ones(H.shape[0])
        H @ v
        data.batches[1][0].mul_(2.0)
        for _ in range(2):
            want = expected(model, loss_fn, data.batches) @ v
            np.testing.assert_allclose(H @ v, want, atol=1e-13)

    def test_a_copy_begins_anew(self):
        """Tapes are not copied; a copy is right, and the original goes on with its own."""
        model, loss_fn, data, calls = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data.batches, mode=RECORDED)
        v = np.ones(H.shape[0])
        H @ v
        twin = copy.deepcopy(H)
        for _ in range(2):
            np.testing.assert_allclose(twin @ v, want @ v, atol=1e-13)
        calls.clear()
        H @ v
        assert not calls


def live_tensors():
    """How many tensors Python holds."""
    gc.collect()
    # type(), not isinstance: torch has lazy objects that warn when they are looked at.
    return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())


class TestMemory:
    @pytest.mark.parametrize("how", [{"mode": RECORDED}, {"memory": 0}], ids=str)
    def test_a_thousand_products(self, how):
        """Neither tensors nor memory pile up."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data, **how)
        x = np.ones(H.shape[0])

        def multiply(times):
            nonlocal x
            for _ in range(times):
                x = H @ (x / np.linalg.norm(x))
            return live_tensors(), psutil.Process().memory_info().rss

        tensors, before = multiply(50)
        now, after = multiply(1000)
        assert now <= tensors
        assert after - before < 4e6

    @pytest.mark.parametrize("mode", [RECORDED, LINEARIZED])
    def test_tapes_live_as_long_as_the_operator(self, mode):
        """No longer, without the garbage collector: device memory comes back at once."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, block_size=2)
        X = np.asfortranarray(np.ones((H.shape[0], 2)))
        H @ X
        H @ X
        H.block("0") @ X[:30]
        assert H.report().stage == mode
        gc.collect()  # torch's own imports, at the first recording, leave cycles
        gc.disable()
        try:
            own = {p.data_ptr() for p in model.parameters()}
            maps = [held.maps["curvature"] for held in H.product._store.held.values()]
            runs = [m._tape for m in maps] + [run for m in maps for run in m._runs.values()]
            constants = [t for run in runs for t in run._module.buffers()]
            graphs = [weakref.ref(h.local) for h in H.product._store.held.values()]
            watched = [weakref.ref(run) for run in runs]
            watched += [weakref.ref(t) for t in constants if t.data_ptr() not in own]
            del H, maps, runs, constants
            assert all(graph() is None for graph in graphs)
            assert all(t() is None for t in watched)
        finally:
            gc.enable()

    @pytest.mark.parametrize("kind", [hessop.HessianOperator, hessop.GGNOperator])
    def test_graphs_go_with_the_operator(self, kind):
        """At once, without the garbage collector."""
        model, loss_fn, data = mlp()
        seen = []
        model.register_forward_hook(lambda m, args, out: seen.append(weakref.ref(out)))
        H = kind(model, loss_fn, data, mode=KEPT, check=False)
        H @ np.ones(H.shape[0])
        gc.collect()
        assert any(out() is not None for out in seen) or kind is hessop.HessianOperator
        gc.disable()
        try:
            graphs = [weakref.ref(h.local) for h in H.product._store.held.values()]
            del H
            assert all(graph() is None for graph in graphs)
            assert all(out() is None for out in seen)
        finally:
            gc.enable()

    @pytest.mark.parametrize("mode", [RECORDED, LINEARIZED])
    def test_gradients_beside_a_tape_leave_no_graph(self, mode):
        """They are made for the occasion."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode)
        H @ np.ones(H.shape[0])
        before = live_tensors()
        H.gradient()
        H.loss()
        assert live_tensors() <= before
        assert not any(held.local.has_graph for held in H.product._store.held.values())

    def test_graphs_are_let_go_for_tapes(self):
        """What a tape replaces is not kept beside it."""
        model, loss_fn, data, _ = problem()
        H = hessop.HessianOperator(model, loss_fn, data, mode=RECORDED)
        H @ np.ones(H.shape[0])
        assert not any(held.local.has_graph for held in H.product._store.held.values())


def traces(model):
    """Everything of the world that a product might have changed."""
    return [
        [p.detach().clone() for p in (*model.parameters(), *model.buffers())],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [p.requires_grad for p in model.parameters()],
        [id(p) for p in model.parameters()],
        [m.training for m in model.modules()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        torch.autograd.forward_ad._current_level,
        torch._C._len_torch_dispatch_stack(),
        torch._C._functorch.peek_interpreter_stack() is None,
    ]


def same(a, b):
    """Whether two such lists are the same."""
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


class Interrupting(nn.Module):
    """Raises something in the forward pass with a given number, counted from now."""

    def __init__(self):
        super().__init__()
        self.left = -1
        self.error = None

    def arm(self, left, error):
        """After so many passes more."""
        self.left, self.error = left, error

    def forward(self, x):
        """The input, or an end to it."""
        self.left -= 1
        if self.left == -1:
            raise self.error
        return x


class TestInterruptions:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("mine")], ids=str)
    @pytest.mark.parametrize(
        "how",
        [*({"mode": mode} for mode in MODES), {"memory": 0}, {"memory": 800}],
        ids=str,
    )
    def test_nothing_is_left_of_a_product_that_was_broken_off(self, how, error):
        """In the first pass, or while recording or in a later pass: the next product is right."""
        model, loss_fn, data, _ = problem()
        model = nn.Sequential(nn.Linear(4, 3), Interrupting(), nn.Linear(3, 3)).double()
        model[0].weight.grad = torch.ones_like(model[0].weight)
        want = expected(model, loss_fn, data)
        v = np.ones(len(want))
        close = {"atol": 1e-7 if how.get("mode") == DIFFERENCE else 1e-13}
        for left in (0, 1, 3, 4):
            H = hessop.HessianOperator(model, loss_fn, data, check=False, **how)
            before = traces(model)
            model[1].arm(left, error)
            caught = 0
            for _ in range(3):
                try:
                    got = H @ v
                except type(error):
                    caught += 1
                    assert same(traces(model), before)
                else:
                    np.testing.assert_allclose(got, want @ v, **close)
            # what is only tried may fail in silence, but for an interruption
            tried = left > 2 and how.get("mode") in ("auto", *KEEPING)
            assert "memory" not in how or len(H.product._store.held) < 3
            assert caught == 1 or tried
            np.testing.assert_allclose(H @ v, want @ v, **close)
            np.testing.assert_allclose(H @ v, want @ v, **close)
            assert same(traces(model), before)
            model[1].arm(-1, None)

    def test_an_interruption_while_recording_passes(self, monkeypatch):
        """It is not taken for a way that does not work; recording goes on with the next product."""
        record, calls = KeptMap.record, []

        def interrupted(self, forward):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return record(self, forward)

        monkeypatch.setattr(KeptMap, "record", interrupted)
        model, loss_fn, data, _ = problem()
        want = expected(model, loss_fn, data)
        H = hessop.HessianOperator(model, loss_fn, data, mode=RECORDED, check=False)
        v = np.ones(H.shape[0])
        before = traces(model)
        with pytest.raises(KeyboardInterrupt):
            H @ v
        assert same(traces(model), before)
        for _ in range(2):
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)
        assert H.report().stage == RECORDED

    def test_an_interruption_in_the_data(self):
        """The same where a batch is being read."""

        class Broken(Served):
            armed = True

            def __iter__(self):
                for number, batch in enumerate(super().__iter__()):
                    if self.armed and number == 1:
                        raise KeyboardInterrupt
                    yield batch

        model, loss_fn, served, _ = problem()
        data = Broken(served.batches)
        H = hessop.HessianOperator(model, loss_fn, data, check=False)
        v = np.ones(H.shape[0])
        before = traces(model)
        with pytest.raises(KeyboardInterrupt):
            H @ v
        assert same(traces(model), before)
        data.armed = False
        want = expected(model, loss_fn, served.batches)
        for _ in range(2):
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)


class TestProgress:
    @pytest.mark.parametrize("how", [{"mode": KEPT}, {"memory": 0}, {"mode": RECORDED}], ids=str)
    def test_a_bar(self, how, capsys):
        """On stderr, for passes over batches, with the same results."""
        model, loss_fn, data, _ = problem()
        want = expected(model, loss_fn, data)
        shown, silent = (
            hessop.HessianOperator(model, loss_fn, data, progress=p, check=False, **how)
            for p in (True, False)
        )
        X = np.random.default_rng(0).standard_normal((len(want), 2))
        silent @ X
        assert capsys.readouterr() == ("", "")
        for _ in range(2):
            np.testing.assert_allclose(shown @ X, want @ X, atol=1e-13)
            out, err = capsys.readouterr()
            assert out == ""
            assert "batches" in err

    def test_the_items_as_they_are(self):
        """Without a bar nothing is wrapped."""
        items = iter([1, 2])
        assert store_module.shown(items, False) is items
