"""Each rule of rewriting alone: the same values before and after, and less work."""

from __future__ import annotations

import operator

import pytest
import torch

from hessop.curvature import rewrite, sharing
from hessop.curvature.rewrite import Form
from hessop.curvature.tape import Tape

_aten = torch.ops.aten
MUL = _aten.mul.Tensor


def drawn(*shape, seed=0, dtype=torch.float64):
    """Reproducible normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


@pytest.fixture
def recorded(monkeypatch):
    """Records a function as it is, without any rule."""

    def record(function, *examples):
        with monkeypatch.context() as patch:
            patch.setattr(rewrite, "simplify", rewrite.tidy)
            return Tape.record(lambda *v: [function(*v)], examples)._module

    return record


def targets(module):
    """The operations of a graph in order."""
    return [n.target for n in module.graph.nodes if n.op == "call_function"]


def constants(module):
    """The tensors it holds."""
    return list(module.buffers())


def each(module, rule, *more):
    """Apply one rule to all nodes."""
    for node in list(module.graph.nodes):
        rule(*more, node)
    rewrite.tidy(module)


def to_factors(module):
    """The rule for slopes alone."""
    made = {}
    for node in list(module.graph.nodes):
        rewrite._entrywise_to_factor(module, node, made)
    rewrite.tidy(module)


def join(module):
    """The rule for products of factors alone."""
    made = {}
    for node in list(module.graph.nodes):
        rewrite._join_factors(module, node, made)
    rewrite.tidy(module)


def assert_value(module, v, expected, **tolerances):
    """What a graph gives for an input."""
    (found,) = module(v)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    torch.testing.assert_close(found, expected, **tolerances)


class TestForm:
    def test_what_it_says(self):
        """Shape, dtype, strides, and whether memory is filled."""
        t = torch.zeros(3, 4)
        assert Form.of(t) == Form.of(torch.ones(3, 4))
        assert Form.of(t).contiguous
        assert Form.of(t).dense
        assert not Form.of(t.t()).contiguous
        assert Form.of(t.t()).dense
        assert not Form.of(t[:, ::2]).dense
        assert not Form.of(t[:1].expand(3, 4)).dense
        others = [t.t(), t.double(), torch.zeros(4, 3), t[:1].expand(3, 4)]
        assert all(Form.of(o) != Form.of(t) for o in others)

    def test_where_it_lies(self):
        """A copy to another device changes something."""
        assert Form.of(torch.zeros(2)) != Form.of(torch.zeros(2, device="meta"))

    @pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (2, 0, 3), (1, 5, 1)])
    def test_row_major(self, shape):
        """torch's own strides of a contiguous tensor."""
        assert rewrite.row_major(shape) == torch.zeros(shape).stride()


ZEROS, ONES = torch.zeros(3, 4).double(), torch.ones(3, 4).double()


class TestNeutral:
    @pytest.mark.parametrize(
        "function",
        [
            lambda v: v + ZEROS,
            lambda v: ZEROS + v,
            lambda v: v - ZEROS,
            lambda v: torch.add(v, ZEROS, alpha=3),
            lambda v: torch.where(ZEROS.bool(), ONES, v),
        ],
    )
    def test_what_changes_nothing_is_dropped(self, recorded, function):
        """Sums with zero, and choices that never fall."""
        module = recorded(lambda v: function(2.0 * v) * 3.0, ZEROS)
        assert len(targets(module)) == 3
        each(module, rewrite._drop_if_neutral, module)
        assert targets(module) == [MUL, MUL]
        v = drawn(3, 4)
        assert_value(module, v, 6.0 * v)

    @pytest.mark.parametrize(
        "function",
        [
            lambda v: ZEROS - v,
            lambda v: torch.add(ZEROS, v, alpha=3),
            lambda v: torch.where(ONES.bool(), ZEROS, v),
            lambda v: torch.where(ZEROS.bool(), v, ZEROS),
            lambda v: v[:1] + ZEROS,
            lambda v: v.float() + ZEROS,
            lambda v: v * ZEROS,
            lambda v: v + v,
            lambda v: v + torch.diag(ONES[0])[:3],
        ],
    )
    def test_what_changes_something_stays(self, recorded, function):
        """The sign, a factor, a shape, a dtype, a value."""
        module = recorded(lambda v: function(2.0 * v) * 3.0, ZEROS)
        before = targets(module)
        v = drawn(3, 4)
        each(module, rewrite._drop_if_neutral, module)
        assert targets(module) == before
        assert_value(module, v, function(2.0 * v) * 3.0)


class TestPassing:
    @pytest.mark.parametrize(
        "function",
        [
            lambda v: v.clone(),
            lambda v: v.detach(),
            lambda v: _aten.alias(v),
            lambda v: v.view(3, 4),
            lambda v: _aten._unsafe_view(v, [3, 4]),
            lambda v: v.expand(3, 4),
            lambda v: _aten._to_copy(v, dtype=torch.float64),
        ],
        ids=["clone", "detach", "alias", "view", "unsafe_view", "expand", "to_copy"],
    )
    def test_what_does_nothing_is_dropped(self, recorded, function):
        """One by one, and in a chain."""
        module = recorded(lambda v: function(function(2.0 * v)) * 3.0, torch.zeros(3, 4).double())
        v = drawn(3, 4)
        assert len(targets(module)) > 2
        each(module, rewrite._drop_if_passing)
        assert targets(module) == [MUL, MUL]
        assert_value(module, v, 6.0 * v)

    @pytest.mark.parametrize(
        "function",
        [
            lambda v: v.t().clone(memory_format=torch.contiguous_format),
            lambda v: v.view(4, 3),
            lambda v: v.view(1, 3, 4).expand(2, 3, 4),
            lambda v: v.float(),
        ],
        ids=["clone", "view", "expand", "to_copy"],
    )
    def test_what_changes_the_form_stays(self, recorded, function):
        """Another shape, layout or dtype."""
        module = recorded(function, torch.zeros(3, 4).double())
        before = targets(module)
        each(module, rewrite._drop_if_passing)
        assert targets(module) == before
        assert_value(module, drawn(3, 4), function(drawn(3, 4)))

    def test_who_shares_memory_is_still_known(self, recorded):
        """A view of a copy that was dropped is a view of the source."""
        module = recorded(lambda v: (2.0 * v).clone().t() * 3.0, torch.zeros(3, 4).double())
        each(module, rewrite._drop_if_passing)
        source, view, _ = (n for n in module.graph.nodes if n.op == "call_function")
        assert view.meta["shares"] is source


C = drawn(3, 4, seed=1)
SLOPES = {
    "gelu": lambda g: _aten.gelu_backward(g, C),
    "gelu_tanh": lambda g: _aten.gelu_backward(g, C, approximate="tanh"),
    "sigmoid": lambda g: _aten.sigmoid_backward(g, C.sigmoid()),
    "tanh": lambda g: _aten.tanh_backward(g, C.tanh()),
    "threshold": lambda g: _aten.threshold_backward(g, C, 0.1),
    "silu": lambda g: _aten.silu_backward(g, C),
    "elu": lambda g: _aten.elu_backward(g, 1.5, 1.0, 0.7, False, C),
    "leaky_relu": lambda g: _aten.leaky_relu_backward(g, C, 0.1, False),
    "hardtanh": lambda g: _aten.hardtanh_backward(g, C, -0.5, 0.5),
    "softplus": lambda g: _aten.softplus_backward(g, C, 2.0, 20.0),
    "hardsigmoid": lambda g: _aten.hardsigmoid_backward(g, 4 * C),
    "hardswish": lambda g: _aten.hardswish_backward(g, 4 * C),
    "mish": lambda g: _aten.mish_backward(g, C),
}


class TestSlopes:
    @pytest.mark.parametrize("name", SLOPES)
    def test_a_slope_is_a_factor(self, recorded, name):
        """A product instead of the slope's formula, for each kind."""
        slope = SLOPES[name]
        module = recorded(slope, torch.zeros(3, 4).double())
        assert len(targets(module)) == 1
        assert targets(module)[0] is not MUL
        assert targets(module)[0] in rewrite._ENTRYWISE
        to_factors(module)
        assert targets(module) == [MUL]
        assert len(constants(module)) == 1
        v = drawn(3, 4, seed=2)
        assert_value(module, v, slope(v))

    def test_every_known_slope_is_tested(self):
        """None is in the list without a test."""
        kinds = {f"{name.removesuffix('_tanh')}_backward" for name in SLOPES}
        assert kinds == {t._schema.name.removeprefix("aten::") for t in rewrite._ENTRYWISE}

    def test_computed_once(self, recorded):
        """The same slope for two tangents is one constant; another one is another."""
        c = C.tanh()
        module = recorded(
            lambda v: (
                _aten.tanh_backward(_aten.tanh_backward(v, c), c)
                + _aten.tanh_backward(2.0 * v, c.abs())
            ),
            torch.zeros(3, 4).double(),
        )
        to_factors(module)
        assert _aten.tanh_backward.default not in targets(module)
        assert len(constants(module)) == 2

    def test_other_arguments_are_another_slope(self, recorded):
        """Also when it is one of the same constant."""
        module = recorded(
            lambda v: (
                _aten.threshold_backward(v, C, 0.0)
                + _aten.threshold_backward(v, C, 0.5)
                + _aten.gelu_backward(v, C)
                + _aten.gelu_backward(v, C, approximate="tanh")
            ),
            torch.zeros(3, 4).double(),
        )
        v = drawn(3, 4, seed=2)
        expected = (
            _aten.threshold_backward(v, C, 0.0)
            + _aten.threshold_backward(v, C, 0.5)
            + _aten.gelu_backward(v, C)
            + _aten.gelu_backward(v, C, approximate="tanh")
        )
        to_factors(module)
        assert len(constants(module)) == 4
        assert_value(module, v, expected)

    def test_a_slope_that_varies_stays(self, recorded):
        """Linear in the place of the activation alone, it is no factor of a constant."""
        module = recorded(lambda v: _aten.tanh_backward(C, v), torch.zeros(3, 4).double())
        to_factors(module)
        assert targets(module) == [_aten.tanh_backward.default]


class TestFactors:
    @pytest.mark.parametrize(
        "function",
        [
            lambda v, c, d: (v * c) * d,
            lambda v, c, d: d * (c * v),
            lambda v, c, d: d * (v * c),
            lambda v, c, d: ((v * c) * d) * c.exp(),
            lambda v, c, d: (v * c) * d[:1],
        ],
    )
    def test_factors_are_joined(self, recorded, function):
        """In any order, as many as there are."""
        c, d = drawn(3, 4, seed=1), drawn(3, 4, seed=2)
        module = recorded(lambda v: function(v, c, d), torch.zeros(3, 4).double())
        assert len(targets(module)) >= 2
        join(module)
        assert targets(module) == [MUL]
        assert len(constants(module)) == 1
        v = drawn(3, 4)
        assert_value(module, v, function(v, c, d))

    def test_a_product_that_is_used_twice_stays(self, recorded):
        """It has to be computed anyway."""
        c, d = drawn(3, 4, seed=1), drawn(3, 4, seed=2)

        def function(v):
            u = v * c
            return u * d + u

        module = recorded(function, torch.zeros(3, 4).double())
        join(module)
        assert targets(module).count(MUL) == 2
        assert_value(module, drawn(3, 4), function(drawn(3, 4)))

    def test_two_that_are_needed_elsewhere_stay(self, recorded):
        """Three constants for two would be more memory to go through."""
        c, d = drawn(3, 4, seed=1), drawn(3, 4, seed=2)

        def function(v):
            return torch.stack([(v * c) * d, (v + 1.0 * v) * c, (v + 2.0 * v) * d])

        module = recorded(function, torch.zeros(3, 4).double())
        join(module)
        assert targets(module).count(MUL) == 4 + 2  # with the two scalars
        assert_value(module, drawn(3, 4), function(drawn(3, 4)))

    def test_a_product_is_computed_once(self, recorded):
        """The same two factors in two places, if one of them is not needed elsewhere."""
        c, d = drawn(3, 4, seed=1), drawn(3, 4, seed=2)

        def function(v):
            return (v * c) * d

        module = recorded(function, torch.zeros(3, 4).double())
        made = {}
        (outer,) = (
            n for n in module.graph.nodes if rewrite._factor(rewrite._factor(n) and n.args[0])
        )
        rewrite._join_factors(module, outer, made)
        assert len(made) == 1
        with module.graph.inserting_before(outer):
            again = rewrite._computed(module, lambda: pytest.fail("again"), *made, made)
        assert again.target == made[next(iter(made))]

    def test_broadcast_factors_stay_small(self, recorded):
        """A factor that widens the tensor is not joined to one that does not."""
        c, d = drawn(4, seed=1), drawn(5, 3, 4, seed=2)
        module = recorded(lambda v: (v * c) * d, torch.zeros(3, 4).double())
        join(module)
        assert targets(module) == [MUL, MUL]
        assert_value(module, drawn(3, 4), drawn(3, 4) * c * d)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.float16])
    def test_factors_of_a_small_dtype(self, recorded, dtype):
        """Their product is taken in the dtype of the result: it may not overflow on its own."""
        big = 60000.0 if dtype == torch.float16 else 100
        c = torch.full((3, 4), big, dtype=dtype)
        module = recorded(lambda v: (v * c) * c.clone(), torch.zeros(3, 4).double())
        join(module)
        v = drawn(3, 4)
        assert_value(module, v, (v * c) * c)

    def test_factors_of_lower_precision(self, recorded):
        """Nor may it be rounded on its own."""
        c, d = (drawn(3, 4, seed=s, dtype=torch.float32) for s in (1, 2))
        module = recorded(lambda v: (v * c) * d, torch.zeros(3, 4).double())
        join(module)
        v = drawn(3, 4)
        assert_value(module, v, (v * c) * d, rtol=1e-14, atol=0.0)


class TestSharedConstants:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_one_product_for_the_whole_batch(self, recorded, side):
        """What a batched product repeats is multiplied once."""
        c = drawn(4, 3, seed=1)
        if side == "left":
            example, shared = torch.zeros(5, 3, 2).double(), c.expand(5, 4, 3)
            function = lambda v: torch.bmm(shared, v)  # noqa: E731
        else:
            example, shared = torch.zeros(5, 2, 4).double(), c.expand(5, 4, 3)
            function = lambda v: torch.bmm(v, shared)  # noqa: E731
        module = recorded(function, example)
        assert targets(module) == [_aten.bmm.default]
        assert sharing.share_constants(module)
        assert _aten.mm.default in targets(module)
        assert _aten.bmm.default not in targets(module)
        assert [tuple(k.shape) for k in constants(module)] == [(4, 3)]
        v = drawn(*example.shape)
        assert_value(module, v, function(v))
        assert not sharing.share_constants(module)

    @pytest.mark.parametrize(
        "function",
        [
            lambda v: torch.bmm(drawn(5, 4, 3, seed=1), v),
            lambda v: torch.bmm(v, v.transpose(1, 2)),
            lambda v: 2.0 * v,
        ],
        ids=["batched", "variables", "none"],
    )
    def test_others_stay(self, recorded, function):
        """A constant of its own for each, and products of two variables."""
        module = recorded(function, torch.zeros(5, 3, 2).double())
        before = targets(module)
        assert not sharing.share_constants(module)
        assert targets(module) == before

    def test_views_of_what_is_no_longer_contiguous(self, recorded):
        """They become reshapes, and the whole can be recorded again."""
        shared = drawn(4, 3, seed=1).expand(5, 4, 3)

        def function(v):
            return torch.bmm(shared, v).view(20, 2) * 2.0

        module = recorded(function, torch.zeros(5, 3, 2).double())
        assert sharing.share_constants(module)
        v = drawn(5, 3, 2)
        assert_value(module, v, function(v))
        (found,) = Tape.record(module, [torch.zeros(5, 3, 2).double()])(v)
        torch.testing.assert_close(found, function(v))

    def test_wide_tapes_use_it(self):
        """A block of vectors through a layer, from either side, is one product."""
        A, B = drawn(4, 3, seed=1), drawn(2, 4, seed=2)
        tape = Tape.record(lambda v: [A @ v @ B], [torch.zeros(3, 2).double()])
        wide = tape.widened([torch.zeros(6, 3, 2).double()])
        assert _aten.bmm.default not in targets(wide._module)
        assert targets(wide._module).count(_aten.mm.default) == 2
        v = drawn(6, 3, 2)
        torch.testing.assert_close(wide(v)[0], A @ v @ B)


class TestAll:
    def test_in_one_go(self):
        """Copies dropped, then slopes made factors, then factors joined."""
        c, d = drawn(3, 4, seed=1), drawn(3, 4, seed=2)

        def function(v):
            return [_aten.gelu_backward((v * c).clone(), d).detach() * c.exp()]

        tape = Tape.record(function, [torch.zeros(3, 4).double()])
        assert targets(tape._module) == [MUL]
        v = drawn(3, 4)
        torch.testing.assert_close(tape(v)[0], function(v)[0])

    def test_constants_that_nobody_uses_go(self, recorded):
        """With the operations that did."""
        c = drawn(3, 4, seed=1)
        module = recorded(lambda v: (v * c).clone(), torch.zeros(3, 4).double())
        assert len(constants(module)) == 1
        (output,) = (n for n in module.graph.nodes if n.op == "output")
        (place,) = (n for n in module.graph.nodes if n.op == "placeholder")
        output.args = ((place,),)
        rewrite.tidy(module)
        assert constants(module) == []
        assert targets(module) == []

    def test_parts_of_an_operation_with_several_results(self, recorded):
        """They are taken out one by one."""
        module = recorded(lambda v: sum(p.sum() for p in v.split(2)), torch.zeros(3, 4).double())
        assert operator.getitem in targets(module)
        rewrite.simplify(module)
        v = drawn(3, 4)
        assert_value(module, v, v.sum())
