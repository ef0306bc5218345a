"""Which parameters are chosen, and how they lie in one vector."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from hessop.curvature import ParameterSpace
from tests import models


def net():
    """Parameters 0.weight (2, 3), 0.bias (2,), 2.weight (1, 2), 2.bias (1,)."""
    return nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))


ALL = ("0.weight", "0.bias", "2.weight", "2.bias")


class TestChoice:
    @pytest.mark.parametrize(
        ("choice", "names"),
        [
            (None, ALL),
            ("0.weight", ("0.weight",)),
            ("2", ("2.weight", "2.bias")),
            ("*.bias", ("0.bias", "2.bias")),
            ("*", ALL),
            ("?.weight", ("0.weight", "2.weight")),
            ("[02].bias", ("0.bias", "2.bias")),
            (["2.bias", "0"], ("0.weight", "0.bias", "2.bias")),
            (("0.bias", "0.bias"), ("0.bias",)),
            (iter(["2.weight"]), ("2.weight",)),
            ({"2.weight": 1}, ("2.weight",)),
            (lambda name, p: p.ndim == 1, ("0.bias", "2.bias")),
            (lambda name, p: name.startswith("2"), ("2.weight", "2.bias")),
        ],
    )
    def test_by_name_module_glob_and_predicate(self, choice, names):
        """In the model's order, each once, whatever the order of the choice."""
        space = ParameterSpace(net(), choice)
        assert space.names == names
        shapes = dict(net().named_parameters())
        assert space.shapes == tuple(shapes[n].shape for n in names)
        assert space.n == sum(shapes[n].numel() for n in names)

    def test_a_module_name_ends_at_a_dot(self):
        """ "1" is not the beginning of "10"."""
        model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(11)))
        assert ParameterSpace(model, "1").names == ("1.weight",)

    def test_nested_modules(self):
        """By the name of any module on the way."""
        model = nn.ModuleDict({"a": net(), "b": nn.ModuleDict({"c": net()})})
        assert ParameterSpace(model, "b").names == tuple(f"b.c.{n}" for n in ALL)
        assert ParameterSpace(model, "b.c.0").names == ("b.c.0.weight", "b.c.0.bias")

    @pytest.mark.parametrize(
        ("choice", "names"),
        [
            (None, ("2.weight", "2.bias")),
            ("*", ("2.weight", "2.bias")),
            (["0", "2"], ("2.weight", "2.bias")),
            ("0.bias", ("0.bias",)),
            (["0.weight", "*.bias"], ("0.weight", "2.bias")),
            (lambda name, p: True, ALL),
            (lambda name, p: not p.requires_grad, ("0.weight", "0.bias")),
        ],
    )
    def test_frozen_only_in_full_or_by_predicate(self, choice, names):
        """A glob or a module name does not thaw."""
        model = net()
        model[0].requires_grad_(False)
        assert ParameterSpace(model, choice).names == names
        assert not model[0].weight.requires_grad

    @pytest.mark.parametrize(
        "choice", ["embedding.weight", "head.weight", "head", "embedding", "he*"]
    )
    def test_tied_counts_once_by_either_name(self, choice):
        """It goes by its first name."""
        model, _, _ = models.tied()
        space = ParameterSpace(model, choice)
        assert space.names == ("embedding.weight",)
        assert space.n == 24

    def test_tied_and_frozen_by_either_full_name(self):
        """The second name is a full name too."""
        model, _, _ = models.tied()
        model.embedding.weight.requires_grad_(False)
        assert ParameterSpace(model, "head.weight").names == ("embedding.weight",)

    def test_all_with_ties(self):
        """No number twice."""
        model, _, _ = models.tied()
        assert ParameterSpace(model, None).names == (
            "embedding.weight",
            "hidden.weight",
            "hidden.bias",
        )


class TestRefusals:
    @pytest.mark.parametrize("choice", ["1", "0.weigh", "", "weight", "*.gamma", ["0", "3"]])
    def test_unknown_name(self, choice):
        """The names that would do are in the message."""
        wrong = choice if isinstance(choice, str) else choice[1]
        text = (
            f"`params` must match a parameter by name, glob or module name; got {wrong!r}. "
            f"The parameters are {list(ALL)}."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            ParameterSpace(net(), choice)

    @pytest.mark.parametrize(
        ("choice", "got"),
        [([], r"\[\]"), (lambda name, p: False, "a predicate that accepts none")],
    )
    def test_nothing_chosen(self, choice, got):
        """An operator of size zero serves nobody."""
        with pytest.raises(ValueError, match=f"^`params` must choose at least one .*; got {got}"):
            ParameterSpace(net(), choice)

    def test_all_frozen(self):
        """The default chooses what requires a gradient."""
        with pytest.raises(ValueError, match=r"got none of 4 with requires_grad=True. Name frozen"):
            ParameterSpace(net().requires_grad_(False), None)

    @pytest.mark.parametrize("choice", ["*", "0"])
    def test_only_frozen_fit(self, choice):
        """The remedy is in the message."""
        with pytest.raises(ValueError, match="frozen ones must be named in full"):
            ParameterSpace(net().requires_grad_(False), choice)

    def test_model_without_parameters(self):
        """None of none."""
        with pytest.raises(ValueError, match="choose at least one parameter; got none of 0"):
            ParameterSpace(nn.Tanh(), None)

    @pytest.mark.parametrize("choice", [3, [3], [None], [nn.Parameter(torch.ones(2, 3))]])
    def test_choices_that_are_no_names(self, choice):
        """A natural slip: the parameters themselves instead of their names."""
        with pytest.raises(TypeError, match=r"^`params` must"):
            ParameterSpace(net(), choice)

    @pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int64])
    def test_not_real_and_floating(self, dtype):
        """The name and its dtype are in the message."""
        model = net()
        model.extra = nn.Parameter(torch.ones(2, dtype=dtype), requires_grad=False)
        text = f"`params` must be real and floating; got extra of {dtype}."
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            ParameterSpace(model, ["extra", "0"])

    def test_mixed_dtypes(self):
        """Each dtype with a parameter that has it."""
        model = net()
        model[2].double()
        text = r"share one dtype; got torch.float32 \(0.bias\), torch.float64 \(2.bias\)."
        with pytest.raises(ValueError, match=f"^`params` must {text} Move the model to one dtype"):
            ParameterSpace(model, None)
        assert ParameterSpace(model, "2").dtype == torch.float64

    def test_mixed_devices(self):
        """Each device with a parameter on it."""
        model = net()
        model[2].to("meta")
        text = r"share one device; got cpu \(0.bias\), meta \(2.bias\)."
        with pytest.raises(ValueError, match=f"^`params` must {text} Move the model to one device"):
            ParameterSpace(model, None)
        assert ParameterSpace(model, "0").device.type == "cpu"


class TestLayout:
    def test_split_gives_views(self):
        """Nothing is copied."""
        space = ParameterSpace(net(), None)
        v = torch.arange(11.0)
        pieces = space.split(v)
        assert [tuple(p.shape) for p in pieces] == [(2, 3), (2,), (1, 2), (1,)]
        assert all(p.untyped_storage().data_ptr() == v.data_ptr() for p in pieces)
        assert torch.equal(torch.cat([p.flatten() for p in pieces]), v)

    def test_none_adds_nothing(self):
        """A parameter that plays no part leaves what was there before."""
        space = ParameterSpace(net(), None)
        out = torch.full((11,), 7.0)
        pieces = [None, torch.ones(2), None, torch.ones(1)]
        space.add(pieces, out)
        assert out.tolist() == [7.0] * 6 + [8.0] * 2 + [7.0] * 2 + [8.0]


def tree(kind):
    """Values for each parameter of `net`, numbered in the order of the vector."""
    numbers = torch.arange(11.0).split([6, 2, 2, 1])
    shapes = [(2, 3), (2,), (1, 2), (1,)]
    values = [t.reshape(s) for t, s in zip(numbers, shapes, strict=True)]
    return [v.numpy() if kind is np.ndarray else v for v in values]


class TestFlatten:
    @pytest.mark.parametrize("kind", [np.ndarray, torch.Tensor])
    def test_array_type_in_is_array_type_out(self, kind):
        """A list, an iterator, a mapping in any order; torch or NumPy."""
        space = ParameterSpace(net(), None)
        values = tree(kind)
        by_name = dict(zip(ALL, values, strict=True))
        backwards = dict(reversed(by_name.items())) | {"not a parameter": None}
        for given in (values, iter(values), by_name, backwards):
            v = space.flatten(given)
            assert isinstance(v, kind)
            np.testing.assert_array_equal(v, np.arange(11.0))

    @pytest.mark.parametrize("kind", [np.ndarray, torch.Tensor])
    @pytest.mark.parametrize("shape", [(11,), (11, 1)])
    def test_round_trip(self, kind, shape):
        """Unflatten undoes flatten, in views of the vector."""
        space = ParameterSpace(net(), None)
        v = torch.arange(11.0).reshape(shape)
        v = v.numpy() if kind is np.ndarray else v
        pieces = space.unflatten(v)
        assert tuple(pieces) == ALL
        assert all(isinstance(p, kind) for p in pieces.values())
        for piece, expected in zip(pieces.values(), tree(kind), strict=True):
            np.testing.assert_array_equal(piece, expected)
            piece += 100
        np.testing.assert_array_equal(v.reshape(-1), np.arange(11.0) + 100)
        np.testing.assert_array_equal(space.flatten(pieces), v.reshape(-1))

    def test_unflatten_keeps_the_dtype(self):
        """It cuts, it does not compute."""
        space = ParameterSpace(net(), None)
        for v in (np.arange(11), np.arange(11.0)[::-1], torch.arange(11, dtype=torch.float16)):
            assert space.unflatten(v)["0.bias"].dtype == v.dtype

    def test_flatten_copies(self):
        """The vector is nobody else's memory, also when there is but one parameter."""
        space = ParameterSpace(net(), "0.bias")
        bias = torch.ones(2)
        v = space.flatten([bias])
        v += 1
        assert bias.tolist() == [1, 1]

    def test_flatten_takes_parameters(self):
        """The model's own parameters, which require a gradient."""
        model = net()
        v = ParameterSpace(model, None).flatten(dict(model.named_parameters()))
        assert not v.requires_grad
        assert torch.equal(v, nn.utils.parameters_to_vector(model.parameters()))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_has_a_single_precision_vector(self, dtype):
        """As its operator has."""
        space = ParameterSpace(net().to(dtype), None)
        assert space.flatten(tree(np.ndarray)).dtype == np.float32

    def test_missing_names(self):
        """Which are needed and which are missing."""
        values = dict(zip(ALL, tree(np.ndarray), strict=True))
        del values["0.bias"]
        text = f"`tree` must hold {list(ALL)}; got no ['0.bias']."
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            ParameterSpace(net(), None).flatten(values)

    @pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t[::-1], lambda t: []])
    def test_wrong_shapes(self, change):
        """What shapes are needed and what came."""
        with pytest.raises(ValueError, match=r"^`tree` must hold arrays of shapes \[\(2, 3\), "):
            ParameterSpace(net(), None).flatten(change(tree(np.ndarray)))

    def test_complex_values_are_refused(self):
        """The imaginary part is not dropped."""
        values = [x + 1j for x in tree(np.ndarray)]
        with pytest.raises(TypeError, match=r"`tree` must .*real"):
            ParameterSpace(net(), None).flatten(values)

    def test_wrong_vectors(self):
        """Length and finiteness."""
        space = ParameterSpace(net(), None)
        with pytest.raises(ValueError, match=r"`v` must have shape \(11,\); got shape \(10,\)"):
            space.unflatten(np.zeros(10))
        with pytest.raises(ValueError, match="`v` must be finite"):
            space.unflatten(np.full(11, np.nan))
