"""Sums taken into products, and results written over operands that nobody reads any more."""

from __future__ import annotations

import pytest
import torch

from hessop.curvature.fuse import fuse
from hessop.curvature.tape import Tape, _copied

_aten = torch.ops.aten


def drawn(*shape, seed=0):
    """Reproducible normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fused(function, *inputs):
    """The operations of a function once it is fused, which gives the same as before, twice."""
    tape = Tape.record(lambda *v: function(*v), [torch.zeros_like(t) for t in inputs])
    module = _copied(tape._module)
    fuse(module)
    module.graph.lint()
    module.recompile()
    watched = [*inputs, *module.buffers()]
    before = [t.clone() for t in watched]
    plain = tape._module(*inputs)
    first, second = module(*inputs), module(*inputs)
    for a, b, c in zip(plain, first, second, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12)
        assert torch.equal(b, c)
    assert all(torch.equal(a, b) for a, b in zip(watched, before, strict=True))
    return [n.target for n in module.graph.nodes if n.op == "call_function"]


A, B = drawn(5, 4, seed=1), drawn(3, 5, 4, seed=2)


class TestSumsOfProducts:
    @pytest.mark.parametrize("swapped", [False, True])
    def test_a_matrix_product(self, swapped):
        """``p + a b`` is one operation, in either order."""
        found = fused(lambda p, a: [a @ A + p if swapped else p + a @ A], drawn(3, 4), drawn(3, 5))
        assert found == [_aten.addmm.default]

    def test_a_batched_product(self):
        """The same for a batch."""
        found = fused(lambda p, a: [p + torch.bmm(a, B)], drawn(3, 2, 4), drawn(3, 2, 5))
        assert found == [_aten.baddbmm.default]

    def test_through_a_view(self):
        """Where the product is reshaped before it is added."""
        found = fused(lambda p, a: [p + (a @ A).view(2, 3, 4)], drawn(2, 3, 4), drawn(6, 5))
        assert found == [_aten.reshape.default, _aten.addmm.default, _aten.reshape.default]

    def test_over_a_sum_that_is_done_with(self):
        """Two products in one place."""
        found = fused(lambda a, b: [a @ A + b @ A], drawn(3, 5), drawn(3, 5))
        assert found == [_aten.mm.default, _aten.addmm_.default]

    def test_batched_over_a_sum_that_is_done_with(self):
        """The same for a batch."""
        found = fused(
            lambda a, b: [torch.bmm(a, B) + torch.bmm(b, B)], drawn(3, 2, 5), drawn(3, 2, 5)
        )
        assert found == [_aten.bmm.default, _aten.baddbmm_.default]

    def test_a_product_that_is_read_elsewhere(self):
        """It has to be there by itself."""

        def function(p, a):
            m = a @ A
            return [p + m, m]

        found = fused(function, drawn(3, 4), drawn(3, 5))
        assert found == [_aten.mm.default, _aten.add.Tensor]

    def test_a_weighted_sum(self):
        """With a factor of its own it stays."""
        found = fused(lambda p, a: [torch.add(p, a @ A, alpha=2.0)], drawn(3, 4), drawn(3, 5))
        assert _aten.addmm.default not in found

    @pytest.mark.parametrize(
        ("p", "a"), [((3, 4), (1, 5)), ((1, 4), (3, 5)), ((4,), (3, 5)), ((2, 3, 4), (3, 5))]
    )
    def test_a_sum_that_is_broadcast(self, p, a):
        """Of either, to the shape of the other or of both."""
        found = fused(lambda p, a: [2.0 * p + a @ A], drawn(*p), drawn(*a))
        assert _aten.mm.default in found

    def test_a_product_viewed_and_broadcast(self):
        """``(1, 4)`` seen as ``(1, 1, 4)`` is not ``(2, 3, 4)``."""
        found = fused(lambda p, a: [p + (a @ A).view(1, 1, 4)], drawn(2, 3, 4), drawn(1, 5))
        assert _aten.mm.default in found

    def test_two_precisions(self):
        """torch's operation takes one dtype."""

        def function(a):
            return [a.double() * 2.0 + a @ torch.ones(3, 3)]

        found = fused(function, drawn(3, 3).float())
        assert _aten.mm.default in found

    def test_a_strided_sum(self):
        """A view is taken of what lies row by row alone."""
        found = fused(lambda p, a: [p.t() + (a @ A).view(6, 4)], drawn(4, 6), drawn(6, 5))
        assert len(found) >= 2

    def test_twice_the_same_product(self):
        """``m + m``."""
        fused(lambda a: [(lambda m: m + m)(a @ A)], drawn(3, 5))

    def test_a_residual(self):
        """``t + t W`` may be one operation, but not in place."""
        W = drawn(5, 5, seed=3)
        found = fused(lambda a: [(lambda t: t + t @ W)(3.0 * a)], drawn(4, 5))
        assert _aten.addmm_.default not in found

    def test_a_batched_residual(self):
        """The same for a batch, from the other side."""
        W = drawn(3, 4, 4, seed=3)
        found = fused(lambda a: [(lambda t: t + torch.bmm(W, t))(3.0 * a)], drawn(3, 4, 5))
        assert _aten.baddbmm_.default not in found

    def test_a_residual_of_views(self):
        """``t + t' W`` for two views of one tensor."""
        W = drawn(4, 4, seed=3)
        found = fused(lambda a: [(lambda t: t.view(4, 4) + t.t() @ W)(3.0 * a)], drawn(4, 4))
        assert _aten.addmm_.default not in found


PAIRS = {
    _aten.add_.Tensor: lambda t, u: t + u,
    _aten.sub_.Tensor: lambda t, u: t - u,
    _aten.mul_.Tensor: lambda t, u: t * A,
    _aten.div_.Tensor: lambda t, u: t / A,
    _aten.neg_.default: lambda t, u: -t,
    _aten.mul_.Scalar: lambda t, u: _aten.mul.Scalar(t, 2.0),
    _aten.div_.Scalar: lambda t, u: _aten.div.Scalar(t, 2.0),
}


class TestReuse:
    @pytest.mark.parametrize("target", PAIRS, ids=str)
    def test_over_what_is_done_with(self, target):
        """Each operation that can, over a value that nobody reads afterwards."""
        found = fused(
            lambda v, u: [PAIRS[target](v.cumsum(0), u)], drawn(5, 4), drawn(5, 4, seed=7)
        )
        assert found[-1] is target

    @pytest.mark.parametrize("target", PAIRS, ids=str)
    def test_not_over_an_input(self, target):
        """It is the caller's."""
        found = fused(lambda v, u: [PAIRS[target](v, u)], drawn(5, 4), drawn(5, 4, seed=7))
        assert found[-1] is not target

    @pytest.mark.parametrize(
        "view",
        [lambda v: v.t(), lambda v: v.view(5, 2, 2), lambda v: v[...], lambda v: v.unbind()[0]],
        ids=["t", "view", "slice", "unbind"],
    )
    def test_not_over_a_view_of_an_input(self, view):
        """Nor over part of it."""
        found = fused(lambda v: [-view(v), view(v) * 2.0], drawn(5, 4))
        assert not {_aten.neg_.default, _aten.mul_.Tensor} & set(found)

    def test_not_over_a_constant(self):
        """It is needed the next time."""
        found = fused(lambda v: [A * v.cumsum(0).sum(0)], drawn(5, 4))
        assert _aten.mul_.Tensor not in found

    def test_a_factor_from_the_left(self):
        """``c t`` is written over t."""
        found = fused(lambda v: [A * v.cumsum(0)], drawn(5, 4))
        assert found == [_aten.cumsum.default, _aten.mul_.Tensor]

    def test_a_sum_over_its_second_operand(self):
        """Where the first is still needed; a difference has no such choice."""

        def function(v):
            t, u = v.cumsum(0), v.cumsum(1)
            return [t + u, t]

        assert fused(function, drawn(5, 4))[-1] is _aten.add_.Tensor

        def difference(v):
            t, u = v.cumsum(0), v.cumsum(1)
            return [t - u, t]

        assert fused(difference, drawn(5, 4))[-1] is _aten.sub.Tensor

    def test_not_over_an_output(self):
        """Whatever was asked for is handed out whole."""

        def function(v):
            t = v.cumsum(0)
            return [t, t.t(), -t]

        assert _aten.neg_.default not in fused(function, drawn(5, 4))

    def test_not_over_what_is_read_later(self):
        """By an operation further down, or through a view made before or after."""

        def function(v):
            t = v.cumsum(0)
            seen = t.t()
            doubled = t * 2.0
            return [doubled.sum(), seen.cumsum(0)]

        assert _aten.mul_.Tensor not in fused(function, drawn(5, 4))

    def test_over_a_view_of_what_is_done_with(self):
        """A reshaped value is as good as the value."""
        found = fused(lambda v: [v.cumsum(0).view(4, 5) * 2.0], drawn(5, 4))
        assert found[-1] is _aten.mul_.Tensor

    def test_a_chain(self):
        """All in the memory of the first."""
        found = fused(lambda v: [-((v.cumsum(0) * 2.0) / A + v) - v], drawn(5, 4))
        assert found[1:] == [
            _aten.mul_.Tensor,
            _aten.div_.Tensor,
            _aten.add_.Tensor,
            _aten.neg_.default,
            _aten.sub_.Tensor,
        ]

    def test_a_merged_group_is_one(self):
        """What was written over an operand shares memory with its other views."""

        def function(v):
            t = v.cumsum(0)
            doubled = t.view(20) * 2.0  # over t
            again = doubled.view(5, 4)
            return [again.t() * 3.0, doubled + 1.0 * v.view(20)]

        fused(function, drawn(5, 4))

    def test_not_over_a_smaller_operand(self):
        """What is broadcast has no room for the result."""
        found = fused(lambda v: [v.sum(0) + v.cumsum(0).cumsum(1).sum(1)[:, None]], drawn(5, 4))
        assert _aten.add_.Tensor not in found

    def test_not_over_an_expanded_operand(self):
        """Several entries share one place."""
        found = fused(lambda v: [v.sum(0).expand(5, 4) * 2.0], drawn(5, 4))
        assert _aten.mul_.Tensor not in found

    def test_not_over_another_dtype(self):
        """The result has more digits."""
        found = fused(lambda v: [v.cumsum(0).float() + v], drawn(5, 4))
        assert _aten.add_.Tensor not in found

    def test_over_itself(self):
        """``t + t`` reads each entry before it is written."""
        found = fused(lambda v: [(lambda t: t + t)(v.cumsum(0))], drawn(5, 4))
        assert found[-1] in (_aten.add_.Tensor, _aten.add.Tensor)

    def test_not_over_memory_of_the_other_operand(self):
        """``t + t'`` reads entries that were written already."""
        found = fused(lambda v: [(lambda t: t + t.t())(v.cumsum(0))], drawn(4, 4))
        assert _aten.add_.Tensor not in found

    def test_a_weighted_sum_keeps_its_weight(self):
        """``t + 2 u`` in place."""
        found = fused(lambda v: [torch.add(v.cumsum(0), v, alpha=2.0)], drawn(5, 4))
        assert found[-1] is _aten.add_.Tensor
