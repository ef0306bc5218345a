"""Every argument check: what passes, what comes back, and the sentence for what does not."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch

from hessop import _validation as v


def says(text):
    """A pattern for exactly this text."""
    return f"^{re.escape(text)}$"


def test_message_has_one_form():
    """Name, rule, what came; then the remedy."""
    assert v.message("k", "be odd", 4) == "`k` must be odd; got 4."
    assert v.message("k", "be odd", 4, "Add 1.") == "`k` must be odd; got 4. Add 1."


class TestBlock:
    def check(self, V, n=3, dtype=torch.float64):
        v.check_block(V, n, dtype, torch.device("cpu"))

    @pytest.mark.parametrize("rows", [0, 1, 5])
    def test_any_number_of_rows_fits(self, rows):
        """No row is a block too."""
        self.check(torch.zeros(rows, 3, dtype=torch.float64))

    @pytest.mark.parametrize("shape", [(3,), (1, 4), (3, 1), (1, 1, 3), ()])
    def test_another_shape_is_refused(self, shape):
        """Rows of length n, and nothing else."""
        text = f"`V` must have shape (k, 3); got shape {shape}."
        with pytest.raises(ValueError, match=says(text)):
            self.check(torch.zeros(shape, dtype=torch.float64))

    def test_another_dtype_is_refused(self):
        """No silent cast inside."""
        text = "`V` must be torch.float64 on cpu; got torch.float32 on cpu. Use V.to(...)."
        with pytest.raises(ValueError, match=says(text)):
            self.check(torch.zeros(1, 3))

    def test_another_device_is_refused(self):
        """No silent transfer inside."""
        text = "`V` must be torch.float32 on cpu; got torch.float32 on meta. Use V.to(...)."
        with pytest.raises(ValueError, match=says(text)):
            self.check(torch.zeros(1, 3, device="meta"), dtype=torch.float32)


class TestInteger:
    @pytest.mark.parametrize("value", [2, np.int8(2), np.uint64(2), torch.tensor(2), np.array(2)])
    def test_integers_of_any_library_become_int(self, value):
        """Whatever Python can use as an index."""
        result = v.integer("m", value, 2, 2)
        assert type(result) is int
        assert result == 2

    @pytest.mark.parametrize(("value", "high"), [(1, None), (1, 5), (6, 5), (-(10**30), None)])
    def test_out_of_range_is_refused(self, value, high):
        """The closed range is in the message."""
        rule = "an integer >= 2" if high is None else "an integer in [2, 5]"
        with pytest.raises(ValueError, match=says(f"`m` must be {rule}; got {value}.")):
            v.integer("m", value, 2, high)

    @pytest.mark.parametrize("value", [2.0, "2", None, np.float64(2), [2]])
    def test_other_types_are_refused(self, value):
        """A float is no integer, not even 2.0."""
        text = f"`m` must be an integer >= 0; got {value!r}."
        with pytest.raises(TypeError, match=says(text)):
            v.integer("m", value, 0)


class TestNumber:
    @pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.array(1.0), torch.tensor(1.0)])
    def test_numbers_of_any_library_become_float(self, value):
        """Whatever Python can make a float of."""
        result = v.number("tol", value, 1.0)
        assert type(result) is float
        assert result == 1.0

    @pytest.mark.parametrize("value", [-1e-300, float("nan"), float("inf"), -float("inf")])
    def test_outside_is_refused(self, value):
        """NaN and infinity are outside of every range."""
        text = f"`tol` must be a finite number >= 0; got {value}."
        with pytest.raises(ValueError, match=says(text)):
            v.number("tol", value, 0.0)

    def test_strict_bound_excludes_itself(self):
        """Above means above."""
        text = "`sigma` must be a finite number > 0; got 0.0."
        with pytest.raises(ValueError, match=says(text)):
            v.number("sigma", 0.0, 0.0, strict=True)
        assert v.number("sigma", 5e-324, 0.0, strict=True) == 5e-324

    @pytest.mark.parametrize("value", ["a", None, [1.0, 2.0], 1j])
    def test_other_types_are_refused(self, value):
        """Nothing that is not one real number."""
        text = f"`tol` must be a finite number >= 0; got {value!r}."
        with pytest.raises(TypeError, match=says(text)):
            v.number("tol", value, 0.0)


class TestChoice:
    def test_one_of_the_values_passes(self):
        """Strings by value, everything else by identity."""
        assert v.choice("which", "".join(["L", "A"]), ("LA", "SA")) == "LA"
        assert v.choice("dtype", torch.float32, (torch.float32,)) is torch.float32
        assert v.choice("sigma", None, (None,)) is None

    @pytest.mark.parametrize("value", ["la", "", None, 1, np.ones(2), torch.ones(2)])
    def test_the_rest_is_refused(self, value):
        """Also what cannot be compared with a string, such as an array."""
        text = f"`which` must be one of 'LA', 'SA'; got {value!r}."
        with pytest.raises(ValueError, match=says(text)):
            v.choice("which", value, ("LA", "SA"))


class TestEigenvalueCount:
    @pytest.mark.parametrize("k", [1, 7, 8, np.int64(8)])
    def test_one_to_n(self, k):
        """All n are allowed."""
        assert v.eigenvalue_count(k, 8) == k

    @pytest.mark.parametrize("k", [0, -1, 9])
    def test_outside_is_refused(self, k):
        """SciPy's rule, with k = n."""
        text = f"`k` must satisfy 0 < k <= n; got k={k}, n=8."
        with pytest.raises(ValueError, match=says(text)):
            v.eigenvalue_count(k, 8)

    @pytest.mark.parametrize("k", [2.0, "2", None])
    def test_other_types_are_refused(self, k):
        """An integer only."""
        text = f"`k` must be an integer satisfying 0 < k <= n; got {k!r}."
        with pytest.raises(TypeError, match=says(text)):
            v.eigenvalue_count(k, 8)


class TestBasisSize:
    @pytest.mark.parametrize(("ncv", "k", "n"), [(3, 2, 8), (8, 2, 8), (8, 8, 8), (8, 7, 8)])
    def test_more_than_k_at_most_n(self, ncv, k, n):
        """A full basis serves k = n."""
        assert v.basis_size(ncv, k, n) == ncv

    @pytest.mark.parametrize(("ncv", "k", "n"), [(2, 2, 8), (9, 2, 8), (7, 8, 8), (7, 7, 8)])
    def test_outside_is_refused(self, ncv, k, n):
        """SciPy's rule."""
        text = f"`ncv` must satisfy k < ncv <= n; got ncv={ncv}, k={k}, n={n}."
        with pytest.raises(ValueError, match=says(text)):
            v.basis_size(ncv, k, n)

    @pytest.mark.parametrize("ncv", [0, -3])
    def test_not_positive_is_refused(self, ncv):
        """Whatever k is."""
        with pytest.raises(ValueError, match=says(f"`ncv` must be an integer >= 1; got {ncv}.")):
            v.basis_size(ncv, 1, 8)


MAKERS = [np.asarray, torch.as_tensor]


class TestVector:
    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    def test_column_counts_as_vector(self, make, shape):
        """Array type in, array type out, one axis."""
        x = make(np.arange(3.0).reshape(shape))
        out = v.vector("v0", x, 3)
        assert type(out) is type(x)
        assert tuple(out.shape) == (3,)

    @pytest.mark.parametrize("x", [[1, 2, 3], (1, 2, 3), np.ones(3, "i1"), np.ones(3, "?")])
    def test_other_real_numbers_pass(self, x):
        """Lists, integers and booleans."""
        assert v.vector("v0", x, 3).shape == (3,)

    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("shape", [(2,), (4,), (1, 3), (3, 2), (3, 1, 1), ()])
    def test_another_shape_is_refused(self, make, shape):
        """A row is no column."""
        text = f"`v0` must have shape (3,); got shape {shape}."
        with pytest.raises(ValueError, match=says(text)):
            v.vector("v0", make(np.zeros(shape)), 3)

    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite_is_refused(self, make, bad):
        """One bad entry is enough."""
        with pytest.raises(ValueError, match=says("`v0` must be finite; got NaN or Inf.")):
            v.vector("v0", make(np.array([1.0, bad, 0.0])), 3)

    @pytest.mark.parametrize(
        ("x", "dtype"),
        [
            (np.ones(3, "c16"), "complex128"),
            (torch.ones(3, dtype=torch.complex64), "torch.complex64"),
            (np.array(["a", "b", "c"]), "<U1"),
            (np.array([1, 2, None]), "object"),
        ],
    )
    def test_not_real_is_refused(self, x, dtype):
        """The dtype is in the message."""
        with pytest.raises(TypeError, match=says(f"`v0` must be real; got {dtype}.")):
            v.vector("v0", x, 3)

    @pytest.mark.parametrize("make", MAKERS)
    def test_nonzero_vector(self, make):
        """A start vector needs a direction."""
        assert v.nonzero_vector("v0", make(np.array([0.0, 0.0, 1e-300])), 3).shape == (3,)
        with pytest.raises(ValueError, match=says("`v0` must not be zero; got a zero vector.")):
            v.nonzero_vector("v0", make(np.zeros(3)), 3)


class TestColumns:
    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize(("shape", "k"), [((3,), 1), ((3, 1), 1), ((3, 3), 3), ((3, 0), 0)])
    def test_up_to_n_columns(self, make, shape, k):
        """One vector is one column; no column is fine."""
        out = v.columns("lock", make(np.zeros(shape)), 3)
        assert tuple(out.shape) == (3, k)

    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("shape", [(2, 1), (3, 4), (1, 3), (3, 1, 1)])
    def test_another_shape_is_refused(self, make, shape):
        """More than n columns cannot be independent."""
        text = f"`lock` must have shape (3, k) with k <= 3; got shape {shape}."
        with pytest.raises(ValueError, match=says(text)):
            v.columns("lock", make(np.zeros(shape)), 3)

    def test_scalar_is_refused(self):
        """A number has no columns."""
        text = "`lock` must have shape (3, k) with k <= 3; got shape ()."
        with pytest.raises(ValueError, match=says(text)):
            v.columns("lock", 1.0, 3)

    def test_not_finite_or_not_real_is_refused(self):
        """The rules of vectors hold for each column."""
        with pytest.raises(ValueError, match="`lock` must be finite"):
            v.columns("lock", np.full((3, 1), np.nan), 3)
        with pytest.raises(TypeError, match="`lock` must be real"):
            v.columns("lock", np.ones((3, 1), complex), 3)


class TestRng:
    def test_a_generator_is_used_itself(self):
        """Its state moves on for its owner."""
        g = np.random.default_rng(0)
        assert v.rng(g) is g

    def test_seeds_are_reproducible(self):
        """SPEC 7: an int, a sequence, a SeedSequence, a legacy state."""
        for seed in (3, [1, 2], np.random.SeedSequence(4)):
            assert v.rng(seed).integers(1 << 40) == np.random.default_rng(seed).integers(1 << 40)
        legacy = [v.rng(np.random.RandomState(0)).integers(1 << 40) for _ in range(2)]
        assert legacy[0] == legacy[1]

    def test_none_is_really_random(self):
        """No hidden seed."""
        assert v.rng(None).integers(1 << 62) != v.rng(None).integers(1 << 62)

    @pytest.mark.parametrize("value", ["seed", 1.5, -1, object])
    def test_the_rest_is_refused(self, value):
        """What NumPy refuses, in our form."""
        text = "`rng` must be None, an int, a SeedSequence or a numpy Generator; got "
        with pytest.raises(TypeError, match=f"^{re.escape(text)}"):
            v.rng(value)

    def test_the_global_state_is_left_alone(self):
        """Neither read nor moved."""
        legacy = np.random.mtrand._rand  # behind np.random.seed and all its functions
        before = pickle.dumps(legacy.get_state())
        v.rng(None).standard_normal(5)
        v.rng(3).standard_normal(5)
        assert pickle.dumps(legacy.get_state()) == before


def test_finite_product_is_an_error_to_raise():
    """It names where it was seen and what to do."""
    error = v.finite_product("A")
    assert isinstance(error, FloatingPointError)
    assert str(error) == (
        "`A` must give finite products; got NaN or Inf for a finite vector. "
        "Look for an overflow in the loss or its derivatives, or use a float64 model."
    )
