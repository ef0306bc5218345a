"""A recorded function against the function itself: same values, no trace, less work."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hessop.curvature.tape import NotLinearError, Tape

_aten = torch.ops.aten
LARGEST = 40


def drawn(shape, seed, dtype=torch.float64):
    """Reproducible normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=dtype)


def zeros(*shape):
    """An example to record on."""
    return torch.zeros(shape, dtype=torch.float64)


def operations(tape, *, run=False):
    """The operations of a tape, as it was recorded or as it runs."""
    module = tape._run.__self__ if run else tape._module
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def constants(tape):
    """The tensors that a tape holds."""
    return list(tape._module.buffers())


def assert_same(found, expected, scale=1.0):
    """Equal to rounding; None is zero."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:
            rest = a if b is None else b
            assert rest is None or not rest.any()
        else:
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * scale)


def _pair(t, u):
    """Another tensor in the shape of the first, by way of its sum where shapes differ."""
    return u if u.shape == t.shape else u.sum().expand(t.shape)


def _matrix(t, rows):
    """A matrix of so many rows out of the first entries."""
    flat = t.reshape(-1)
    rows = min(rows, len(flat))
    columns = len(flat) // rows
    return flat[: rows * columns].reshape(rows, columns)


def _put(t, u):
    out = torch.zeros_like(t)
    out[...] = t
    out[..., 0] += _pair(t, u)[..., -1]
    return out


def _in_place(t, u, c):
    fresh = t.clone()
    fresh.mul_(c)
    fresh.add_(_pair(t, u), alpha=0.5)
    fresh[..., :1].mul_(2.0)
    fresh.view(-1)[0] += 1.5 * u.sum()
    return fresh


def _split(t):
    a, *rest = t.reshape(-1).split(2)
    return torch.stack([a.sum(), *(2.0 * piece.sum() for piece in rest)])


def _bmm(t, c, left):
    m = _matrix(t, 2)
    block = torch.stack([m, 0.5 * m])
    C = c(2, m.shape[1], m.shape[1]) if left else c(m.shape[1], 3).expand(2, -1, -1)
    return torch.bmm(block, C)


def _square(t):
    """A matrix as wide as it is high."""
    side = int(t.numel() ** 0.5)
    return t.reshape(-1)[: side * side].reshape(side, side)


def _residual(t, c):
    h = _square(t) * 3.0
    return h + h @ c(*h.shape)


def _conv2d(t, c):
    m = _matrix(t, 3)
    return F.conv2d(m[None, None], c(2, 1, 3, 3), padding=1)


def _rolled(t):
    return torch.roll(t.reshape(-1), 1).flip(0).cumsum(0)


# Linear in t and u together; c(*shape) is a constant.
OPERATIONS: list[Any] = [
    lambda t, u, c: t * c(*t.shape),
    lambda t, u, c: c(*t.shape) * t * c(*t.shape),
    lambda t, u, c: (t * c(*t.shape)) * c(1),
    lambda t, u, c: t / (c(*t.shape).abs() + 1.0),
    lambda t, u, c: -(t * 2.5) / 2.0,
    lambda t, u, c: t + _pair(t, u),
    lambda t, u, c: _pair(t, u) - t,
    lambda t, u, c: torch.add(t, _pair(t, u), alpha=-0.5),
    lambda t, u, c: torch.add(t * 2.0, t, alpha=3.0),
    lambda t, u, c: t.transpose(0, -1),
    lambda t, u, c: t.transpose(0, -1).contiguous().reshape(-1),
    lambda t, u, c: t.reshape(-1)[::2],
    lambda t, u, c: t.unsqueeze(0).expand(2, *t.shape),
    lambda t, u, c: t.sum(0, keepdim=True).expand(2, *t.shape[1:]).clone(),
    lambda t, u, c: t.mean(-1, keepdim=True) * c(*t.shape),
    lambda t, u, c: t.clone().detach(),
    lambda t, u, c: torch.stack([t, _pair(t, u), t]),
    lambda t, u, c: torch.cat([t, 2.0 * _pair(t, u)], dim=-1),
    lambda t, u, c: _split(t),
    lambda t, u, c: sum(t.unbind(0)),
    lambda t, u, c: torch.cat(t.reshape(-1).chunk(3)[::-1]),
    lambda t, u, c: _in_place(t, u, c(*t.shape)),
    lambda t, u, c: _put(t, u),
    lambda t, u, c: t.clone().zero_() + u.sum(),
    lambda t, u, c: _matrix(t, 3) @ c(_matrix(t, 3).shape[1], 4),
    lambda t, u, c: c(2, 3) @ _matrix(t, 3) if t.numel() >= 3 else t,
    lambda t, u, c: c(2, 4) * u.sum(),
    lambda t, u, c: (_square(t) @ c(*_square(t).shape)) + _square(t) * c(1),
    lambda t, u, c: _residual(t, c),
    lambda t, u, c: _matrix(t, 2).t() @ c(_matrix(t, 2).shape[0], 2),
    lambda t, u, c: F.linear(_matrix(t, 2)[None], c(3, _matrix(t, 2).shape[1])),
    lambda t, u, c: _bmm(t, c, True),
    lambda t, u, c: _bmm(t, c, False),
    lambda t, u, c: F.conv1d(t.reshape(1, 1, -1), c(2, 1, 3), padding=1),
    lambda t, u, c: _conv2d(t, c),
    lambda t, u, c: t * (c(*t.shape) > 0),
    lambda t, u, c: t.masked_fill(c(*t.shape) > 0, 0.0),
    lambda t, u, c: torch.where(c(*t.shape) > 0, t, _pair(t, u)),
    lambda t, u, c: t.reshape(-1)[c(5).mul(100).long().remainder(t.numel())],
    lambda t, u, c: zeros(4).index_add(0, torch.tensor([0, 2, 2]), t.sum() * c(3)),
    lambda t, u, c: F.pad(t, (1, 0)),
    lambda t, u, c: _rolled(t),
    lambda t, u, c: _aten.tanh_backward(t, c(*t.shape).tanh()),
    lambda t, u, c: _aten.gelu_backward(t, c(*t.shape)),
    lambda t, u, c: _aten.threshold_backward(t, c(*t.shape), 0.0),
]


@dataclass
class Program:
    """A random linear function, which keeps its constants and the size of what it computed."""

    inputs: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[int, int, int], ...]
    outputs: tuple[int | None, ...]
    held: dict[tuple[Any, ...], torch.Tensor] = field(default_factory=dict, repr=False)
    scale: float = field(default=1.0, repr=False)

    def examples(self, seed=None, lead=()):
        """Inputs: zeros, or numbers."""
        shapes = [(*lead, *shape) for shape in self.inputs]
        if seed is None:
            return [zeros(*shape) for shape in shapes]
        return [drawn(shape, 100 * seed + i) for i, shape in enumerate(shapes)]

    def constant(self, key, shape):
        """The same tensor at each call."""
        key = (*key, shape)
        if key not in self.held:
            self.held[key] = drawn(shape, len(self.held))
        return self.held[key]

    def __call__(self, *inputs):
        """Do the steps, each with two of what there is."""
        pool = list(inputs)
        for number, (operation, i, j) in enumerate(self.steps):
            t, u = pool[i % len(pool)], pool[j % len(pool)]
            t = t if t.ndim else t.reshape(1)
            count = itertools.count()

            def c(*shape, number=number, count=count):
                return self.constant((number, next(count)), shape)

            made = OPERATIONS[operation](t, u, c)
            pool.append(made if made.numel() <= LARGEST else made.reshape(-1)[:LARGEST])
        return [self._output(pool, place) for place in self.outputs]

    @staticmethod
    def _output(pool, place):
        if place is None:
            return None
        return zeros(3) if place < 0 else pool[-1 - place % len(pool)]

    def recorded(self):
        """A tape; constants are drawn before, for what is made on the way is not to be kept."""
        self(*self.examples())
        return Tape.record(self, self.examples())

    def evaluate(self, inputs):
        """The values, and how large anything on the way was."""
        watched = Program(self.inputs, self.steps, tuple(range(len(self.inputs + self.steps))))
        watched.held = self.held
        scale = max(float(t.abs().max()) for t in watched(*inputs) if t.numel())
        return self(*inputs), scale


shapes = st.lists(st.integers(1, 4), min_size=0, max_size=3).map(tuple)
programs = st.builds(
    Program,
    st.lists(shapes, min_size=1, max_size=3).map(tuple),
    st.lists(
        st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=9,
    ).map(tuple),
    st.lists(st.none() | st.integers(-1, 5), min_size=1, max_size=4).map(tuple),
)


class TestRandomPrograms:
    @settings(max_examples=50)
    @given(programs)
    def test_a_tape_is_the_function(self, program):
        """For several inputs, and the second time bitwise."""
        tape = program.recorded()
        for seed in range(1, 3):
            inputs = program.examples(seed)
            expected, scale = program.evaluate(inputs)
            found = tape(*inputs)
            assert_same(found, expected, scale)
            for a, b in zip(found, tape(*inputs), strict=True):
                assert a is b is None or torch.equal(a, b)

    @settings(max_examples=25)
    @given(programs)
    def test_nothing_is_written_over(self, program):
        """Neither inputs, nor constants, nor what an earlier call gave."""
        tape = program.recorded()
        first, second = program.examples(1), program.examples(2)
        watched = [*first, *second, *program.held.values(), *constants(tape)]
        before = [t.clone() for t in watched]
        found = tape(*first)
        copies = [None if t is None else t.clone() for t in found]
        tape(*second)
        assert all(torch.equal(a, b) for a, b in zip(watched, before, strict=True))
        for a, b in zip(found, copies, strict=True):
            assert a is b is None or torch.equal(a, b)

    @settings(max_examples=35)
    @given(programs, st.data())
    def test_a_restriction_is_the_block(self, program, data):
        """Other inputs are zero, other outputs are not computed, and it costs no more."""
        tape = program.recorded()
        keep_in, keep_out = (
            sorted(data.draw(st.sets(st.integers(0, len(all_) - 1), min_size=1)))
            for all_ in (program.inputs, program.outputs)
        )
        block = tape.restricted(keep_in, keep_out)
        inputs = program.examples(3)
        padded = [t if i in keep_in else torch.zeros_like(t) for i, t in enumerate(inputs)]
        expected, _ = program.evaluate(padded)
        _, scale = program.evaluate(inputs)
        found = block(*(inputs[i] for i in keep_in))
        assert_same(found, [expected[i] for i in keep_out], scale)
        assert len(operations(block)) <= len(operations(tape))
        whole, scale = program.evaluate(inputs)
        assert_same(tape(*inputs), whole, scale)  # which is as it was

    @settings(max_examples=15)
    @given(programs, st.integers(2, 3))
    def test_a_wide_tape_goes_row_by_row(self, program, k):
        """A block of k inputs gives the k outputs."""
        tape = program.recorded()
        wide = tape.widened(program.examples(lead=(k,)))
        blocks = program.examples(4, lead=(k,))
        before = [t.clone() for t in [*blocks, *constants(wide)]]
        found = wide(*blocks)
        for row in range(k):
            expected, scale = program.evaluate([b[row] for b in blocks])
            assert_same([None if t is None else t[row] for t in found], expected, scale)
        after = [*blocks, *constants(wide)]
        assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


class TestSmallFunctions:
    def test_a_residual_product_reads_what_it_writes(self):
        """``t + t W``: the sum may not be written over t while t is multiplied."""
        W = drawn((5, 5), 0)

        def function(v):
            t = v * 3.0
            return [t + t @ W]

        v = drawn((4, 5), 1)
        assert_same(Tape.record(function, [zeros(4, 5)])(v), function(v))

    def test_a_residual_batched_product(self):
        """The same for bmm."""
        W = drawn((3, 5, 5), 0)

        def function(v):
            t = v * 3.0
            return [t + torch.bmm(t, W)]

        v = drawn((3, 5, 5), 1)
        assert_same(Tape.record(function, [zeros(3, 5, 5)])(v), function(v))

    def test_a_residual_product_in_a_block(self):
        """Where it is the restriction that leaves nobody else reading t."""
        W = drawn((5, 5), 0)

        def function(v):
            t = v * 3.0
            return [t + t @ W, t.sum(0)]

        v = drawn((4, 5), 1)
        block = Tape.record(function, [zeros(4, 5)]).restricted([0], [0])
        assert_same(block(v), function(v)[:1])

    def test_a_sum_with_a_smaller_product(self):
        """A product that is broadcast is no `addmm`."""
        W = drawn((5, 5), 0)

        def function(v, w):
            return [v * 2.0 + w @ W, torch.ones(2, 1, 1).double() * v + (w @ W).view(1, 1, 5)]

        v, w = drawn((4, 5), 1), drawn((1, 5), 2)
        assert_same(Tape.record(function, [zeros(4, 5), zeros(1, 5)])(v, w), function(v, w))

    def test_a_sum_of_two_precisions(self):
        """A single-precision product added to a double: torch's `addmm` takes one dtype."""
        W = drawn((5, 5), 0, torch.float32)

        def function(v):
            return [v.double() * 2.0 + v @ W]

        v = drawn((4, 5), 1, torch.float32)
        (found,) = Tape.record(function, [torch.zeros(4, 5)])(v)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, function(v)[0])

    def test_outputs_that_alias_an_input(self):
        """The input itself and views of it."""

        def function(v):
            return [v, v.t(), v[1:], v]

        v = drawn((4, 5), 1)
        assert_same(Tape.record(function, [zeros(4, 5)])(v), function(v))

    def test_outputs_without_input(self):
        """None and what does not depend on the input are None, also in blocks."""
        tape = Tape.record(lambda v: [None, zeros(3), torch.zeros_like(v)], [zeros(2)])
        assert tape(drawn((2,), 0)) == [None, None, None]
        assert tape.widened([zeros(3, 2)])(drawn((3, 2), 0)) == [None, None, None]
        assert tape.restricted([0], [1])(drawn((2,), 0)) == [None]

    def test_an_unused_input(self):
        """It is taken, and does nothing."""
        tape = Tape.record(lambda v, w: [2.0 * w], [zeros(2), zeros(3)])
        v, w = drawn((2,), 0), drawn((3,), 1)
        assert_same(tape(v, w), [2.0 * w])
        assert tape.restricted([0], [0])(v) == [None]

    def test_one_tensor_for_two_inputs(self):
        """``f(v, v)``."""
        tape = Tape.record(lambda v, w: [2.0 * v - w], [zeros(3), zeros(3)])
        v = drawn((3,), 0)
        assert_same(tape(v, v), [v])

    def test_a_restriction_of_a_tape_without_constants(self):
        """What takes the place of an input that is zero needs a device."""
        tape = Tape.record(lambda v, w: [torch.cat([v, w])], [zeros(2), zeros(3)])
        v = drawn((2,), 0)
        assert_same(tape.restricted([0], [0])(v), [torch.cat([v, zeros(3)])])

    def test_a_restriction_of_a_sum_that_is_broadcast(self):
        """What is left of it still has the shape, and the dtype, of the sum."""
        A = drawn((5, 2), 0)

        def function(v, w):
            s = 2.0 * v + w.double()
            return [s, s @ A, s.sum()]

        tape = Tape.record(function, [zeros(4, 5), torch.zeros(5)])
        w = drawn((5,), 1, torch.float32)
        block = tape.restricted([1], [0, 1, 2])
        expected = function(zeros(4, 5), w)
        assert_same(block(w), expected)

    def test_a_restriction_is_cheaper(self):
        """What follows from zeros alone, or is not asked for, falls away."""
        A, B = drawn((3, 3), 0), drawn((3, 3), 1)

        def function(v, w):
            return [v @ A + w @ B, (v @ A) * 2.0]

        tape = Tape.record(function, [zeros(2, 3), zeros(2, 3)])
        block = tape.restricted([1], [0])
        assert operations(block) == [_aten.mm.default]
        assert block.nbytes == B.nbytes
        assert tape.nbytes == A.nbytes + B.nbytes

    def test_a_slope_of_a_strided_input(self):
        """Views of one long vector, as a layout gives them."""
        v = drawn((12,), 0)
        pieces = [v[:6].view(2, 3), v[6:].view(3, 2)]

        def function(a, b):
            return [a.t() + b, a.reshape(-1)]

        tape = Tape.record(function, [torch.zeros_like(p) for p in pieces])
        before = v.clone()
        assert_same(tape(*pieces), function(*pieces))
        assert torch.equal(v, before)

    def test_half_a_network(self):
        """A derivative by reverse mode, through graphs that are kept."""
        net = torch.nn.Sequential(
            torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 2)
        ).double()
        x = drawn((5, 3), 0)
        parameters = list(net.parameters())
        out = net(x)

        def function(u):
            return torch.autograd.grad(out, parameters, u, retain_graph=True)

        u = drawn((5, 2), 1)
        assert_same(Tape.record(function, [zeros(5, 2)])(u), function(u))

    def test_no_graph(self):
        """Neither inputs nor outputs are differentiated."""
        tape = Tape.record(lambda v: [2.0 * v], [zeros(3)])
        (found,) = tape(drawn((3,), 0).requires_grad_())
        assert not found.requires_grad


class TestSize:
    def test_constants_once(self):
        """A storage counts once, however many views of it are needed; inputs count nothing."""
        c = drawn((6, 6), 0)
        tape = Tape.record(lambda v: [v @ c, v @ c.t(), c @ v], [zeros(6, 6)])
        assert tape.nbytes == c.nbytes

    def test_no_constants(self):
        """Nothing."""
        assert Tape.record(lambda v: [2.0 * v], [zeros(1000)]).nbytes == 0

    def test_a_slice_of_the_data(self):
        """What it shows, as for graphs: the tensor behind it is the user's."""
        x = drawn((1000, 3), 0)
        (part,) = x[10:20].split(10)
        tape = Tape.record(lambda v: [v * part], [zeros(10, 3)])
        assert tape.nbytes == part.nbytes

    def test_shared_by_a_restriction(self):
        """A block has the same constants, not copies."""
        c = drawn((6, 6), 0)
        tape = Tape.record(lambda v, w: [v @ c, w], [zeros(6, 6), zeros(2)])
        (held,) = constants(tape.restricted([0], [0]))
        assert held.data_ptr() == c.data_ptr()


class TestPartialEvaluation:
    @pytest.mark.parametrize(
        ("function", "count"),
        [
            (lambda v, c: v * (c.exp() * c.sin() + c @ c), 1),
            (lambda v, c: (v * c) * c.exp(), 1),
            (lambda v, c: v @ (c @ c.t()).inverse(), 1),
            (lambda v, c: v.clone().detach().view(4, 4), 0),
            (lambda v, c: (v + v.detach()) @ c, 2),
        ],
    )
    def test_constants_are_folded(self, function, count):
        """Only what depends on the input is left."""
        c = drawn((4, 4), 0)
        tape = Tape.record(lambda v: [function(v, c)], [zeros(4, 4)])
        assert len(operations(tape)) == count
        assert len(constants(tape)) <= 1
        v = drawn((4, 4), 1)
        assert_same(tape(v), [function(v, c)])

    def test_fewer_operations_than_in_eager_mode(self):
        """The product with a Hessian, counted."""
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 2))
        parameters = list(net.parameters())
        loss = net(torch.ones(5, 3)).square().mean()
        gradient = torch.autograd.grad(loss, parameters, create_graph=True)

        def function(*pieces):
            return torch.autograd.grad(
                gradient, parameters, pieces, retain_graph=True, allow_unused=True
            )

        tape = Tape.record(function, parameters)
        with torch.profiler.profile() as profile:
            pieces = function(*[torch.ones_like(p) for p in parameters])
        eager = sum(
            e.count for e in profile.key_averages() if e.key.startswith("aten::") and pieces
        )
        assert len(operations(tape, run=True)) < eager / 2

    def test_a_value_that_is_written_twice(self):
        """In place on what is fresh: values in the recording."""

        def function(v):
            out = torch.zeros(4, dtype=v.dtype)
            for i, part in enumerate(v.unbind()):
                out[i] = part
                out += part
            return [out]

        v = drawn((4,), 0)
        assert_same(Tape.record(function, [zeros(4)])(v), function(v))


class TestNotLinear:
    @pytest.mark.parametrize(
        "function",
        [
            lambda v: v * float(v.sum()),
            lambda v: v if (v > 0).any() else -v,
            lambda v: v / v.max().item(),
            lambda v: v[int(v[0])],
            lambda v: v if torch.equal(v, zeros(4)) else -v,
            lambda v: v if torch.allclose(v, zeros(4)) else -v,
            lambda v: v[v > 0],
            lambda v: v[: len(v.nonzero())],
        ],
        ids=["float", "bool", "item", "index", "equal", "allclose", "mask", "nonzero"],
    )
    def test_values_that_are_read(self, function):
        """Whatever makes Python, or a shape, depend on a value of the input."""
        with pytest.raises(NotLinearError, match="a value of the input is read"):
            Tape.record(lambda v: [function(v)], [zeros(4)])

    def test_values_of_constants_may_be_read(self):
        """They are always the same."""
        c = drawn((4,), 0)

        def function(v):
            kept = v[c > 0] * c.max().item()
            return [kept if c.any() else v]

        v = drawn((4,), 1)
        assert_same(Tape.record(function, [zeros(4)])(v), function(v))

    def test_an_error_of_the_function_passes(self):
        """As it is, and the next recording is not the worse for it."""

        def function(v):
            raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine"):
            Tape.record(function, [zeros(4)])
        v = drawn((4,), 0)
        assert_same(Tape.record(lambda v: [2.0 * v], [zeros(4)])(v), [2.0 * v])
