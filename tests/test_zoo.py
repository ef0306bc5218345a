"""The curvature of every network in the zoo, in every way that it can be computed."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
import torch
from torch import nn

import hessop
from hessop.curvature.substitutes import Substitutes
from tests import oracles
from tests.curvature.test_objective import Snapshot
from tests.models import cut
from tests.zoo import LOGITS, ZOO

# torch has no second derivative of _embedding_bag, and a wrong one of _weight_norm: it takes the
# norms for constants, on every device. Both are spelled out, for the oracle as well.
SPELLED_OUT = {"bag", "weight_normed"}

# Where torch lacks a formula for forward mode, and what is done instead. All else is done as
# asked: a row to be added here is a loss.
LINEARIZED_FALLS_BACK = {
    "spectral_train",  # power iteration writes by out=
}
FORWARD_FALLS_BACK = LINEARIZED_FALLS_BACK | {
    "gru",  # tangents that are lazy zeros, which torch writes into; tapes make them real
    "unet",  # the same in group_norm
}
# vmap has no rule for as_strided_scatter, which circular padding needs.
ROW_BY_ROW = {"convolutions"}
# The estimate of the norm counts as a constant in derivatives, as torch has it, but moves with the
# parameters when they are displaced.
NO_DIFFERENCE = {"spectral_train"}


def stage_of(name, mode, first_order=False):
    """The way that is in use for a network when `mode` is asked for."""
    if mode == "linearized" and name in LINEARIZED_FALLS_BACK:
        return "recorded"
    missing = LINEARIZED_FALLS_BACK if first_order else FORWARD_FALLS_BACK
    if mode == "forward-over-reverse" and name in missing:
        return "reverse-over-reverse"
    return mode


class OnlyLogits(nn.Module):
    """A network that returns more than logits, without the rest."""

    def __init__(self, model, logits):
        super().__init__()
        self.model, self.logits = model, logits

    def forward(self, x):
        return self.logits(self.model, x)


class Case:
    """A network, operators of it, and what they should be."""

    def __init__(self, name, dtype=torch.float64):
        self.name = name
        self.model, self.loss_fn, self.data = ZOO[name](dtype)
        self.logits = LOGITS.get(name)
        self.plain = OnlyLogits(self.model, self.logits) if self.logits else self.model

    def operator(self, kind, data=None, **options):
        """ "hessian", "ggn", a kind of Fisher matrix, or "ntk"."""
        data = self.data if data is None else data
        logits = self.logits
        if kind == "ntk":
            inputs = [x for x, _ in data] if isinstance(data, list) else data[0]
            if logits:
                options["forward"] = lambda model, batch: logits(model, batch[0])
            return hessop.NTKOperator(self.model, inputs, **options)
        if logits:
            options["forward"] = lambda model, batch: (logits(model, batch[0]), batch[1])
        if kind in ("type2", "empirical", "mc"):
            fisher = hessop.FisherOperator
            return fisher(self.model, self.loss_fn, data, kind=kind, rng=1, n_samples=3, **options)
        operator = hessop.HessianOperator if kind == "hessian" else hessop.GGNOperator
        return operator(self.model, self.loss_fn, data, **options)

    def dense(self, kind):
        """The same by a second, naive implementation."""
        if kind == "hessian":
            with Substitutes() if self.name in SPELLED_OUT else contextlib.nullcontext():
                return oracles.dense_hessian(self.plain, self.loss_fn, self.data)
        if kind == "ggn":
            return oracles.dense_ggn(self.plain, self.loss_fn, self.data)
        if kind == "ntk":
            J = oracles.dense_jacobian(self.plain, self.data[0])
            return J @ J.T
        if kind == "mc":  # for its draws another test is responsible: here, one way for all
            return oracles.matrix(self.operator(kind, mode="kept"))
        return oracles.dense_fisher(self.plain, self.loss_fn, self.data, kind)


@functools.cache
def dense(name, kind):
    """What an operator should be, computed once."""
    return Case(name).dense(kind)


def vectors(n, k):
    """Columns side by side as NumPy lays them out: the rows of the transpose do not lie in one."""
    return np.random.default_rng(0).standard_normal((n, k))


def error(found, expected):
    """The relative error."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", ZOO)
def test_the_hessian(name):
    """It is torch.func's, and symmetric."""
    H = Case(name).operator("hessian", mode="kept")
    D, found = dense(name, "hessian"), oracles.matrix(H)
    assert error(found, D) < 1e-12
    assert error(found, found.T) < 1e-13
    assert H.report().stage == "kept"
    assert H.report().notes == ()


@pytest.mark.parametrize("mode", ["recorded", "linearized"])
@pytest.mark.parametrize("name", ZOO)
def test_recorded_products(name, mode):
    """One vector after the other, and blocks of four, of which one is not full."""
    D, case = dense(name, "hessian"), Case(name)
    V = vectors(len(D), 7)
    for width in (1, 4):
        H = case.operator("hessian", mode=mode, block_size=width)
        assert error(H @ V, D @ V) < 1e-12  # by kept graphs, which are then recorded
        assert error(H @ V, D @ V) < 1e-12
        assert error(oracles.matrix(H), D) < 1e-12
        assert H.report().stage == stage_of(name, mode)
        assert H.report().block_size == width
        rows = [note for note in H.report().notes if "row by row" in note]
        assert bool(rows) == (name in ROW_BY_ROW and width > 1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["forward-over-reverse", "reverse-over-reverse"])
@pytest.mark.parametrize("name", ZOO)
def test_products_without_memory(name, mode):
    """The same when nothing is kept."""
    D = dense(name, "hessian")
    H = Case(name).operator("hessian", mode=mode)
    V = vectors(len(D), 2)
    assert error(H @ V, D @ V) < 1e-12
    assert H.report().stage == stage_of(name, mode)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ZOO if name not in NO_DIFFERENCE])
def test_finite_differences(name):
    """Close to it, also where torch has no second derivative."""
    case = Case(name)
    H = case.operator("hessian", mode="finite-difference")
    D = dense(name, "hessian")
    V = vectors(len(D), 2)
    assert error(H @ V, D @ V) < 1e-5
    assert H.report().stage == "finite-difference"


@pytest.mark.parametrize("name", sorted(SPELLED_OUT))
def test_the_oracle_of_what_is_spelled_out(name):
    """Differences of gradients by torch's own operations agree with it."""
    case = Case(name)
    D = oracles.difference_hessian(case.plain, case.loss_fn, case.data, 1e-5)
    assert error(dense(name, "hessian"), D) < 1e-7


KINDS = [
    "ggn",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("type2", "empirical", "mc")),
    "ntk",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ZOO)
def test_products_with_jacobians(name, kind):
    """Gauss-Newton, Fisher and tangent kernel in every way, symmetric and positive."""
    case, D = Case(name), dense(name, kind)
    V = vectors(len(D), 6)
    for mode in ("kept", "recorded", "linearized", "forward-over-reverse", "finite-difference"):
        A = case.operator(kind, mode=mode, block_size=4)
        bound = 1e-5 if mode == "finite-difference" else 1e-12
        if mode == "finite-difference" and name in NO_DIFFERENCE:
            continue
        for _ in range(2):  # first by kept graphs, then by what was recorded
            assert error(A @ V, D @ V) < bound, mode
        assert A.report().stage == stage_of(name, mode, first_order=True), mode
    found = oracles.matrix(case.operator(kind, mode="kept"))
    assert error(found, D) < 1e-12
    assert error(found, found.T) < 1e-13
    w = np.linalg.eigvalsh(found)
    assert w[0] > -1e-13 * w[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "width"), [("kept", 1), ("recorded", 1), ("linearized", 3)])
@pytest.mark.parametrize("name", ZOO)
def test_diagonal_blocks(name, mode, width):
    """Of each layer, of the first and last parameters, and of two together."""
    D = dense(name, "hessian")
    H = Case(name).operator("hessian", mode=mode, block_size=width)
    H @ np.ones(len(D))
    places, end = {}, 0
    for parameter, size in zip(H.names, H.product.objective.space.sizes, strict=True):
        places[parameter] = np.arange(end, end + size)
        end += size
    blocks = H.blocks()
    assert [p for block in blocks.values() for p in block.names] == list(H.names)
    ends = H.names[0], H.names[-1]
    for block in (*blocks.values(), *map(H.block, ends), H.block(ends)):
        own = np.concatenate([places[parameter] for parameter in block.names])
        V = vectors(len(own), 4)
        for X in (V, V[:, 0]):
            found, expected = block @ X, D[np.ix_(own, own)] @ X
            # a block may be zero, or cancel: its error is one of the whole
            assert np.linalg.norm(found - expected) < 1e-13 * np.linalg.norm(D) * len(own)
    assert H.report().stage == stage_of(name, mode)
    rows = [note for note in H.report().notes if "row by row" in note]
    assert bool(rows) == (name in ROW_BY_ROW and width > 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hessian", "ggn", "mc", "ntk"])
@pytest.mark.parametrize("name", ZOO)
def test_unequal_cuts(name, kind):
    """Examples count alike in batches of one, two and the rest, kept, recorded or not."""
    case, D = Case(name), dense(name, kind)
    batches = cut(case.data, 1, 3)
    V = vectors(len(D), 4)
    for options in ({"mode": "linearized", "block_size": 3}, {"memory": 0}):
        A = case.operator(kind, data=batches, **options)
        for _ in range(2):
            assert error(A @ V, D @ V) < 1e-12


@pytest.mark.parametrize("name", ZOO)
def test_single_precision(name):
    """As good as float32 can be, kept and recorded."""
    case, D = Case(name, torch.float32), dense(name, "hessian")
    for mode in ("kept", "linearized"):
        H = case.operator("hessian", mode=mode, block_size=1 if mode == "kept" else 4)
        H @ np.ones(len(D))
        found = oracles.matrix(H)
        assert found.dtype == np.float32
        assert error(found, D) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "linearized", "forward-over-reverse"])
@pytest.mark.parametrize("name", ZOO)
def test_no_trace(name, mode):
    """Parameters, buffers, .grad, modes, random state and flags are left alone."""
    case = Case(name)
    case.loss_fn(case.plain(case.data[0]), case.data[1]).backward()
    before = Snapshot(case.model)
    for kind in ("hessian", "mc", "ntk"):
        A = case.operator(kind, mode=mode, block_size=2 if mode == "linearized" else "auto")
        for _ in range(2):
            A @ np.ones((A.shape[0], 3))
        if kind == "hessian":
            A.gradient()
            A.block(A.names[0]) @ np.ones((case.model.get_parameter(A.names[0]).numel(), 2))
        before.check()
