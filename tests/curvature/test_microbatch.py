"""Batches that do not fit into memory: cut into pieces, with the same results."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import hessop
from hessop.curvature import microbatch
from tests import oracles
from tests.models import IGNORED, cut, mlp, transformer


class Small(nn.Module):
    """A network on a device with memory for so many examples."""

    def __init__(self, most, *layers):
        super().__init__()
        self.most = most
        self.net = nn.Sequential(*(layers or (nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))))
        self.double()

    def forward(self, x):
        """The output, if there is room."""
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.net(x)


def sizes(model):
    """A list to which each forward pass adds the number of examples it saw."""
    seen = []
    model.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    return seen


def matrix(model, loss_fn, data, **how):
    """The Hessian by kept graphs of whole batches, with all the memory there is."""
    most = getattr(model, "most", None)
    if most is not None:
        model.most = 10**9
    try:
        return oracles.matrix(
            hessop.HessianOperator(model, loss_fn, data, mode="kept", check=False, **how)
        )
    finally:
        if most is not None:
            model.most = most


def steps(record):
    """What was said about memory, one by one."""
    return [str(w.message) for w in record if issubclass(w.category, RuntimeWarning)]


NOTHING_KEPT = "Out of memory: nothing is kept between products from now on. memory= sets a limit."


def pieces(count):
    """The warning that batches are cut."""
    return (
        f"Out of memory: each batch is computed in {count} pieces from now on. "
        "memory= sets a limit."
    )


class TestBudget:
    @pytest.mark.parametrize("kind", [hessop.HessianOperator, hessop.GGNOperator])
    def test_a_batch_beyond_the_budget_is_cut(self, kind):
        """After the first product, which measures it, each goes in pieces that fit."""
        model, loss_fn, data = mlp()
        want = oracles.matrix(kind(model, loss_fn, data, mode="kept", check=False))
        H = kind(model, loss_fn, data, check=False)
        H @ np.ones(H.shape[0])
        nbytes = H.report().kept_bytes
        seen = sizes(model)
        H = kind(model, loss_fn, data, memory=nbytes // 3, check=False)
        v = np.ones(H.shape[0])
        np.testing.assert_allclose(H @ v, want @ v, atol=1e-14)
        assert seen == [11]
        seen.clear()
        np.testing.assert_allclose(H @ v, want @ v, atol=1e-14)
        assert sum(seen) == 11
        assert len(seen) in (3, 4)
        assert max(seen) - min(seen) <= 1
        seen.clear()
        np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-14)
        assert len(seen) in (3, 4)  # a block is one pass
        assert H.report().kept == 0

    def test_only_the_batches_that_need_it(self):
        """A smaller one is kept."""
        model, loss_fn, data = mlp()
        want = matrix(model, loss_fn, data)
        batches = cut(data, 9)
        H = hessop.HessianOperator(model, loss_fn, batches, check=False)
        H @ np.ones(H.shape[0])
        big, small = (held.nbytes for held in H.product._store.held.values())
        seen = sizes(model)
        H = hessop.HessianOperator(model, loss_fn, batches, memory=small, check=False)
        H @ np.ones(H.shape[0])
        assert seen == [9, 2]
        seen.clear()
        np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-14)
        assert sum(seen) == 9
        assert len(seen) == -(-big // small)
        assert H.report().kept == 1

    def test_not_into_more_pieces_than_examples(self):
        """Nor more than the most."""
        model, loss_fn, data = mlp()
        seen = sizes(model)
        H = hessop.HessianOperator(model, loss_fn, data, memory=1, check=False)
        for _ in range(2):
            seen.clear()
            H @ np.ones(H.shape[0])
        assert seen == [1] * 11
        x, y = (torch.cat([t] * 20) for t in data)
        H = hessop.HessianOperator(model, loss_fn, (x, y), memory=1, check=False)
        for _ in range(2):
            seen.clear()
            H @ np.ones(H.shape[0])
        assert len(seen) == microbatch.MOST == 64
        assert sum(seen) == 220

    @pytest.mark.parametrize("memory", ["auto", 0])
    def test_without_a_budget_nothing_is_cut(self, memory):
        """All the memory there is, or nothing kept anyway."""
        model, loss_fn, data = mlp()
        seen = sizes(model)
        H = hessop.HessianOperator(model, loss_fn, data, memory=memory, check=False)
        for _ in range(2):
            H @ np.ones(H.shape[0])
        assert set(seen) == {11}

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    @pytest.mark.parametrize("kind", [hessop.HessianOperator, hessop.GGNOperator])
    def test_weights_stay_exact(self, kind, reduction):
        """Ignored tokens and class weights: pieces count what torch divides by, some nothing."""
        model, _, (x, y) = transformer()
        y = y.clone()
        y[1] = IGNORED  # an example that counts nothing is a piece that counts nothing
        weight = torch.tensor([1.0, 0.2, 3.0, 0.5, 2.0]).double()
        loss_fn = nn.CrossEntropyLoss(weight=weight, ignore_index=IGNORED, reduction=reduction)
        whole = kind(model, loss_fn, (x, y), mode="kept", check=False)
        X = np.random.default_rng(0).standard_normal((whole.shape[0], 2))
        want = whole @ X
        seen = sizes(model)
        H = kind(model, loss_fn, (x, y), memory=1, check=False)
        np.testing.assert_allclose(H @ X, want, atol=1e-13)
        seen.clear()
        np.testing.assert_allclose(H @ X, want, atol=1e-13)
        assert seen == [1] * 4

    def test_weights_of_the_user(self):
        """``weight(batch)`` is asked for each piece."""
        model, _, data = mlp()
        loss_fn = lambda out, y: nn.functional.cross_entropy(out, y)  # noqa: E731
        given = {"weight": lambda batch: 2.0 * len(batch[1])}
        want = matrix(model, loss_fn, data, **given)
        H = hessop.HessianOperator(model, loss_fn, data, memory=1, **given)
        for _ in range(2):
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-14)

    def test_a_sampled_fisher_draws_the_same(self):
        """Each example has its place in the stream, in whatever piece it is."""
        model, loss_fn, data = mlp()
        how = {"kind": "mc", "rng": 0, "check": False}
        whole = hessop.FisherOperator(model, loss_fn, cut(data, 4), **how)
        want = oracles.matrix(whole)
        H = hessop.FisherOperator(model, loss_fn, cut(data, 4), memory=1, **how)
        for _ in range(2):
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-14)

    def test_after_the_model_has_changed(self):
        """It is measured again."""
        model, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data, memory=500, check=False)
        v = np.ones(H.shape[0])
        for _ in range(2):
            H @ v
            H @ v
            model[0].weight.data.mul_(1.5)
            np.testing.assert_allclose(H @ v, matrix(model, loss_fn, data) @ v, atol=1e-13)

    @pytest.mark.parametrize("train", [True, False])
    def test_batch_normalisation_is_cut_in_eval_mode_alone(self, train):
        """In train mode the statistics of the whole batch take part."""
        torch.manual_seed(0)
        layers = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)
        model = nn.Sequential(*layers).double().train(train)
        _, loss_fn, data = mlp()
        want = matrix(model, loss_fn, data)
        seen = sizes(model)
        H = hessop.HessianOperator(model, loss_fn, data, memory=1, check=False)
        for _ in range(2):
            seen.clear()
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
        assert seen == ([11] if train else [1] * 11)

    def test_a_loss_that_couples_examples(self):
        """A limit on memory changes no result: such a batch is not cut in silence."""
        model = nn.Linear(4, 3).double()
        data = mlp()[2]

        def spread(out, target):
            return (out - out.mean(0)).square().mean()

        want = matrix(model, spread, data)
        H = hessop.HessianOperator(model, spread, data, memory=1, check=False)
        for _ in range(4):  # an error that is raised once is raised again
            try:
                found = oracles.matrix(H)
            except (ValueError, MemoryError) as error:
                assert "memory" in str(error) or "data" in str(error)  # noqa: PT017
            else:
                np.testing.assert_allclose(found, want, atol=1e-13)


class TestOutOfMemory:
    """A network that refuses batches with more than so many examples."""

    @pytest.mark.parametrize("mode", ["auto", "kept", "recorded", "forward-over-reverse"])
    @pytest.mark.parametrize(
        ("most", "said"), [(11, []), (6, [2]), (3, [2, 4]), (1, [2, 4, 8, 16])]
    )
    def test_batches_that_are_too_large(self, mode, most, said):
        """They are halved until they fit, with a warning each, and stay so."""
        model, (_, loss_fn, data) = Small(most), mlp()
        want = matrix(model, loss_fn, data)
        seen = sizes(model)
        H = hessop.HessianOperator(model, loss_fn, data, mode=mode, check=False)
        v = np.ones(H.shape[0])
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)
        assert steps(record) == [pieces(count) for count in said]
        seen.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)
        assert max(seen, default=0) <= most

    @pytest.mark.parametrize("most", [11, 5, 1])
    def test_checks_look_at_what_fits(self, most):
        """At as much of the first batch as there is room for, without a word: nothing is lost."""
        model, (_, loss_fn, data) = Small(most), mlp()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            H = hessop.HessianOperator(model, loss_fn, data)
        assert 0 <= H.noise < 1e-13
        model.train().net.append(nn.Dropout())
        with pytest.raises(ValueError, match="dropout in train mode"):
            hessop.HessianOperator(model, loss_fn, data)

    def test_checks_that_cannot_be_cut(self):
        """The reason and the remedy."""
        model = Small(6, nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
        with pytest.raises(MemoryError, match=r"batch normalisation .* Call model\.eval\(\)"):
            hessop.HessianOperator(model, mlp()[1], mlp()[2])

    @pytest.mark.parametrize("fits", [True, False])
    def test_a_loss_that_couples_examples(self, fits):
        """It is not cut without a word where the loss of the whole batch still fits."""
        model, (_, _, data) = Small(6), mlp()

        def coupled(output, target):
            return output.var() + nn.functional.cross_entropy(output, target)

        def room(module, args):
            module.most = 6 if torch.is_grad_enabled() or not fits else 10**9

        model.register_forward_pre_hook(room)
        H = hessop.HessianOperator(model, coupled, data, check=False)
        v = np.ones(H.shape[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if fits:
                with pytest.raises(ValueError, match="be a mean over the examples of a batch"):
                    H @ v
            else:
                assert np.isfinite(H @ v).all()

    def test_what_is_kept_goes_first(self):
        """Graphs of the batches before are let go before any batch is cut."""
        model, (_, loss_fn, data) = Small(10**9), mlp()
        batches = cut(data, 4, 8)
        want = matrix(model, loss_fn, batches)
        H = hessop.HessianOperator(model, loss_fn, batches, mode="kept", check=False)
        store = H.product._store

        def check(*_):
            if len(store.held) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        model.register_forward_pre_hook(check)
        v = np.ones(H.shape[0])
        with pytest.warns(RuntimeWarning, match="^" + re.escape(NOTHING_KEPT)) as record:
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)
        assert steps(record) == [NOTHING_KEPT]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(oracles.matrix(H), want, atol=1e-13)
        assert H.report().kept == 0

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory."),
            MemoryError("Unable to allocate 1 GiB"),
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
            ),
        ],
        ids=["cuda", "python", "cpu"],
    )
    def test_every_way_to_say_so(self, error):
        """Of CUDA, of Python, of torch on CPUs."""
        model, (_, loss_fn, data) = Small(10**9), mlp()
        want = matrix(model, loss_fn, data)

        def check(module, args):
            if len(args[0]) > 6:
                raise error

        model.register_forward_pre_hook(check)
        H = hessop.HessianOperator(model, loss_fn, data, check=False)
        v = np.ones(H.shape[0])
        with pytest.warns(RuntimeWarning, match="^" + re.escape(pieces(2)) + "$"):
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)

    def test_other_errors_pass(self):
        """At once and as they are."""
        model, (_, loss_fn, data) = Small(10**9), mlp()

        def fail(*_):
            raise RuntimeError("shapes do not match")

        model.register_forward_pre_hook(fail)
        H = hessop.HessianOperator(model, loss_fn, data, check=False)
        with pytest.raises(RuntimeError, match=r"^shapes do not match$"):
            H @ np.ones(H.shape[0])

    def test_batches_of_unequal_size(self):
        """A small batch, as the last one of a data set often is, is cut as far as it goes."""
        model, (_, loss_fn, data) = Small(2), mlp()
        batches = cut(data, 6, 10)  # 6, 4 and 1 examples
        want = matrix(model, loss_fn, batches)
        H = hessop.HessianOperator(model, loss_fn, batches, check=False)
        v = np.ones(H.shape[0])
        with pytest.warns(RuntimeWarning) as record:
            np.testing.assert_allclose(H @ v, want @ v, atol=1e-13)
        assert steps(record) == [pieces(2), pieces(4)]

    @pytest.mark.parametrize("kept", [False, True])
    def test_batch_normalisation_cannot_be_cut(self, kept):
        """The error names the layer and the remedy; what cannot be done is not announced."""
        torch.manual_seed(0)
        model = Small(10**9, nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
        _, loss_fn, data = mlp()
        H = hessop.HessianOperator(model, loss_fn, data, mode="kept", check=False)
        v = np.ones(H.shape[0])
        if kept:
            H @ v
            with torch.no_grad():
                model.net[0].weight.mul_(1.1)
        model.most = 6
        text = (
            "`data` must have batches that fit into memory, or can be cut into pieces; got batch "
            "normalisation over the whole batch in net.1 (BatchNorm1d). Call model.eval(), or "
            "pass smaller batches."
        )
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            with pytest.raises(MemoryError, match=f"^{re.escape(text)}$"):
                H @ v
        assert not any("pieces" in step for step in steps(record))
        model.eval()  # the remedy
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = H @ v
        np.testing.assert_allclose(found, matrix(model, loss_fn, data) @ v, atol=1e-13)

    def test_one_example_that_does_not_fit(self):
        """When nothing is left to be cut: the error itself."""
        model, (_, loss_fn, data) = Small(0), mlp()
        H = hessop.HessianOperator(model, loss_fn, data, check=False)
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            with pytest.raises((torch.OutOfMemoryError, MemoryError)):
                H @ np.ones(H.shape[0])
        assert steps(record) == [pieces(2**i) for i in range(1, len(steps(record)) + 1)]

    def test_gradient_and_loss(self):
        """They go through the same pieces."""
        model, (_, loss_fn, data) = Small(3), mlp()
        H = hessop.HessianOperator(model, loss_fn, data, check=False)
        v = np.ones(H.shape[0])
        with pytest.warns(RuntimeWarning):
            H @ v
        found = H.gradient(), H.loss()
        model.most = 10**9
        np.testing.assert_allclose(found[0], oracles.gradient(model, loss_fn, data), atol=1e-14)
        assert found[1] == pytest.approx(oracles.loss(model, loss_fn, data), rel=1e-14)


class TestPieces:
    def test_about_equal_sizes(self):
        """All examples, in order, in mappings and nested tuples too."""
        batch = {"x": torch.arange(11), "more": (torch.arange(22).view(11, 2), "name")}
        made = microbatch.cut(nn.Linear(1, 1), batch, 4)
        assert [len(piece["x"]) for piece in made] == [2, 3, 3, 3]
        assert torch.equal(torch.cat([piece["x"] for piece in made]), batch["x"])
        assert torch.equal(torch.cat([piece["more"][0] for piece in made]), batch["more"][0])
        assert all(piece["more"][1] == "name" for piece in made)

    @pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 3), (10, 10), (64, 10)])
    def test_never_an_empty_piece(self, count, expected):
        """As many pieces as there are examples, at most."""
        made = microbatch.cut(nn.Linear(1, 1), (torch.arange(10),), count)
        assert len(made) == expected
        assert sum(len(piece[0]) for piece in made) == 10

    def test_tensors_that_share_no_dimension(self):
        """Nobody knows where to cut."""
        batch = torch.zeros(4, 2), torch.zeros(3)
        text = (
            "got tensors that share no first dimension. Call model.eval(), or pass smaller batches."
        )
        with pytest.raises(MemoryError, match=re.escape(text)):
            microbatch.cut(nn.Linear(1, 1), batch, 2)
        assert microbatch.count_for(nn.Linear(1, 1), batch, 100, 10) == 1

    def test_how_many(self):
        """Enough for each to fit, at most one for each example, at most 64."""
        model = nn.Linear(1, 1)
        batch = (torch.zeros(100, 2),)
        counts = [microbatch.count_for(model, batch, b, 10) for b in (1, 10, 11, 95, 10**4)]
        assert counts == [1, 1, 2, 10, 64]
        assert microbatch.count_for(model, (torch.zeros(3),), 1000, 10) == 3

    def test_which_layers_mix_examples(self):
        """Batch normalisation in train mode, or without running statistics."""
        batch = (torch.zeros(4, 2),)

        def count(layer, train):
            model = nn.Sequential(nn.Linear(2, 2), layer).train(train)
            return microbatch.count_for(model, batch, 100, 50)

        assert count(nn.BatchNorm1d(2), True) == 1
        assert count(nn.BatchNorm1d(2), False) == 2
        assert count(nn.BatchNorm1d(2, track_running_stats=False), False) == 1
        assert count(nn.LayerNorm(2), True) == 2


class TestSingleUse:
    @pytest.mark.parametrize("kind", [hessop.HessianOperator, hessop.GGNOperator])
    def test_graphs_are_freed_on_the_way(self, kind, monkeypatch):
        """Where nothing is kept and one vector is multiplied; a block keeps them to its end."""
        seen = []
        inner = torch.autograd.grad

        def grad(*args, **kwargs):
            seen.append(kwargs["retain_graph"])
            return inner(*args, **kwargs)

        model, loss_fn, data = mlp()
        want = matrix(model, loss_fn, data) if kind is hessop.HessianOperator else None
        A = kind(model, loss_fn, data, memory=0, check=False)
        monkeypatch.setattr(torch.autograd, "grad", grad)
        v = np.ones(A.shape[0])
        single = A @ v
        assert seen[-1] is False
        seen.clear()
        block = A @ np.stack([v, v, v], axis=1)
        assert all(seen)
        np.testing.assert_allclose(block, np.stack([single] * 3, axis=1), atol=1e-14)
        if want is not None:
            np.testing.assert_allclose(single, want @ v, atol=1e-13)
