"""The vector space: reductions as exact as float64 sums, probes that every device shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hessop._space import LocalSpace, children

CPU = torch.device("cpu")
LONG = 100_003  # twelve chunks of 8192 and a ragged one
SINGLE = float(torch.finfo(torch.float32).eps)


def space(n, dtype=torch.float64):
    return LocalSpace(n, dtype, CPU)


def vectors(n, dtype, *, shift=0.0, rows=None):
    rng = np.random.default_rng(1)
    shape = (n,) if rows is None else (rows, n)
    return torch.from_numpy(rng.standard_normal(shape) + shift).to(dtype)


def exact(v, w):
    """The dot product of the numbers as they are stored, correctly rounded."""
    return math.fsum((v.double() * w.double()).tolist())


class TestReductions:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n", [1, 7, 8192, 8193, LONG])
    def test_dot_and_norm_are_float64(self, n, dtype):
        """The products of float32 numbers are exact in float64: no error of single precision."""
        s, v, w = space(n, dtype), vectors(n, dtype, shift=1.0), vectors(n, dtype, shift=-3.0)
        for result in (s.dot(v, w), s.norm(v)):
            assert result.dtype == torch.float64
            assert result.shape == ()
        assert float(s.dot(v, w)) == pytest.approx(exact(v, w), rel=1e-13)
        assert float(s.norm(v)) == pytest.approx(math.sqrt(exact(v, v)), rel=1e-13)

    @pytest.mark.parametrize("n", [1, 5, 8192, 8193, LONG, 1 << 20])
    def test_float32_project_has_the_error_of_a_short_sum(self, n):
        """
        The error stays below 4 eps32 |v| . |w| for random vectors, however long.

        One float32 product over all of them errs by 13 eps at 1e5 entries and 36 at a million.
        """
        s = space(n, torch.float32)
        V, w = vectors(n, torch.float32, shift=1.0, rows=2), vectors(n, torch.float32, shift=2.0)
        result = s.project(V, w)
        assert result.dtype == torch.float64
        for row, value in zip(V, result.tolist(), strict=True):
            assert abs(value - exact(row, w)) <= 4 * SINGLE * exact(row.abs(), w.abs())

    def test_float32_project_does_not_get_worse_with_length(self):
        """
        Where every rounding goes the same way, a million entries err like 8192.

        One float32 product over all of them errs ten times as much.
        """
        errors = []
        for n in (1 << 13, 1 << 20):
            w = torch.full((n,), 1.1)
            expected = n * float(w[0].double())
            result = float(space(n, torch.float32).project(torch.ones(1, n), w))
            errors.append(abs(result - expected) / expected)
        assert errors[1] <= 1.01 * errors[0] + SINGLE

    def test_float64_project(self):
        """To rounding of float64."""
        V, w = vectors(LONG, torch.float64, rows=3), vectors(LONG, torch.float64, shift=1.0)
        result = space(LONG).project(V, w)
        np.testing.assert_allclose(result, [exact(v, w) for v in V], atol=1e-9)

    @pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-200, 1e-160, 1.0, 1e160, 1e200, 1e300])
    def test_float64_norm_neither_over_nor_underflows(self, scale):
        """Where squares do."""
        v = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64) * scale
        expected = math.hypot(*v.tolist())
        assert float(space(3).norm(v)) == pytest.approx(expected, rel=1e-14)

    @pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e25, 3e37])
    def test_float32_norm_neither_over_nor_underflows(self, scale):
        """Where squares of float32 do."""
        v = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float32) * scale
        expected = math.hypot(*v.double().tolist())
        assert float(space(3, torch.float32).norm(v)) == pytest.approx(expected, rel=1e-14)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_float64_dot_of_float32_does_not_overflow(self, dtype):
        """1e30 squared is no float32 number."""
        v = torch.full((4,), 1e30, dtype=dtype)
        assert float(space(4, dtype).dot(v, v)) == pytest.approx(4e60, rel=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_zero_has_norm_zero(self, dtype):
        """Not NaN."""
        assert float(space(5, dtype).norm(torch.zeros(5, dtype=dtype))) == 0.0

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_norm_shows_what_is_not_finite(self, dtype, bad):
        """NaN and infinity are not hidden by the scaling."""
        v = torch.tensor([1.0, bad], dtype=dtype)
        assert not math.isfinite(float(space(2, dtype).norm(v)))

    @given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=8))
    def test_norm_of_anything(self, entries):
        """As `math.hypot` has it, which scales too."""
        result = float(space(len(entries)).norm(torch.tensor(entries, dtype=torch.float64)))
        assert result == pytest.approx(math.hypot(*entries), rel=1e-13, abs=5e-324)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_subtract_and_combine(self, dtype):
        """Plain matrix algebra, the first in place."""
        s, V, w = space(40, dtype), vectors(40, dtype, rows=3), vectors(40, dtype)
        h = s.project(V, w)
        expected = w - V.T @ h.to(dtype)
        s.subtract(w, V, h)
        torch.testing.assert_close(w, expected)
        S = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
        out = s.combine(S, V)
        assert out.dtype == dtype
        torch.testing.assert_close(out, S.to(dtype) @ V)

    def test_eps_is_that_of_the_vectors(self):
        """Not of the float64 results."""
        assert space(2, torch.float32).eps == SINGLE
        assert space(2).eps == 2.0**-52


class TestDraws:
    @pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
    @pytest.mark.parametrize("n", [1, 10, 8192, 8193, LONG])
    def test_both_precisions_see_the_same_probe(self, distribution, n):
        """The float32 probe is the float64 one, rounded."""
        single = space(n, torch.float32).draw(np.random.default_rng(5), distribution)
        full = space(n).draw(np.random.default_rng(5), distribution)
        assert (single.dtype, full.dtype) == (torch.float32, torch.float64)
        assert single.shape == full.shape == (n,)
        assert torch.equal(full.float(), single)

    def test_rademacher_is_signs(self):
        """Plus and minus one, about as often."""
        z = space(LONG).draw(np.random.default_rng(0), "rademacher")
        assert set(z.tolist()) == {-1.0, 1.0}
        assert abs(float(z.mean())) < 5 / math.sqrt(LONG)

    def test_gaussian_has_unit_variance(self):
        """Mean 0, variance 1, fourth moment 3, within five standard errors."""
        z = space(LONG).draw(np.random.default_rng(0), "gaussian")
        for moment, expected, variance in ((1, 0.0, 1.0), (2, 1.0, 2.0), (4, 3.0, 96.0)):
            assert abs(float((z**moment).mean()) - expected) < 5 * math.sqrt(variance / LONG)

    @pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
    def test_entries_of_different_chunks_differ(self, distribution):
        """The stream goes on from chunk to chunk."""
        z = space(LONG).draw(np.random.default_rng(0), distribution)
        assert not torch.equal(z[:1000], z[8192:9192])

    def test_torchs_generator_plays_no_part(self):
        """Drawn from NumPy: torch's global state is neither read nor moved."""
        before = torch.get_rng_state()
        a = space(9).draw(np.random.default_rng(0), "gaussian")
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(123)
        assert torch.equal(a, space(9).draw(np.random.default_rng(0), "gaussian"))


def legacy():
    """A generator around a legacy state, which NumPy cannot spawn from."""
    return np.random.default_rng(np.random.RandomState(3))


class TestChildren:
    @pytest.mark.parametrize("make", [lambda: np.random.default_rng(3), legacy])
    def test_probe_i_is_the_same_however_probes_are_grouped(self, make):
        """The first two children of two are those of five."""
        few = [g.integers(1 << 62) for g in children(make(), 2)]
        many = [g.integers(1 << 62) for g in children(make(), 5)]
        assert few == many[:2]
        assert len(set(many)) == 5

    @pytest.mark.parametrize("make", [lambda: np.random.default_rng(3), legacy])
    def test_a_second_call_gives_others(self, make):
        """More probes later are new probes."""
        rng = make()
        first, second = (children(rng, 1)[0].integers(1 << 62) for _ in range(2))
        assert first != second

    def test_spawning_in_parts_is_spawning_at_once(self):
        """Five probes, then five more, are the ten of one call."""
        rng = np.random.default_rng(3)
        parts = [g.integers(1 << 62) for g in children(rng, 2) + children(rng, 3)]
        whole = [g.integers(1 << 62) for g in children(np.random.default_rng(3), 5)]
        assert parts == whole

    def test_none(self):
        """No probe, no generator."""
        assert children(np.random.default_rng(0), 0) == []

    def test_draws_do_not_depend_on_who_draws_first(self):
        """Each child has a stream of its own."""
        forward = [space(4).draw(g, "gaussian") for g in children(np.random.default_rng(1), 3)]
        generators = children(np.random.default_rng(1), 3)
        backward = [space(4).draw(g, "gaussian") for g in generators[::-1]][::-1]
        assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
