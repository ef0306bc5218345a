"""Data as people have it, read as often as needed, and refused where that cannot be."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from hessop.curvature.data import Batches, tensors, to_device

X, Y = torch.arange(14.0).reshape(7, 2), torch.arange(7)


class Again:
    """Something that can be read again and again, and is no sequence."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        yield from self.batches


class Lazy(Sequence):
    """A sequence that loads a batch when it is asked for one, and notes it."""

    def __init__(self, batches):
        self.batches = batches
        self.loaded = []

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        batch = self.batches[index]
        self.loaded.append(index)
        return batch


class Stream(IterableDataset):
    """Examples without a length."""

    def __iter__(self):
        yield from zip(X, Y, strict=True)


def examples(batches):
    """All targets in the order of the batches."""
    return torch.cat([y for _, y in batches]).tolist()


HALVES = [(X[:3], Y[:3]), (X[3:], Y[3:])]
WAYS = {
    "pair": lambda: (X, Y),
    "list": lambda: HALVES,
    "tuple of batches": lambda: tuple(HALVES),
    "list of lists": lambda: [list(batch) for batch in HALVES],
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=3),
    "loader of a stream": lambda: DataLoader(Stream(), batch_size=2),
    "loader with a batch sampler": lambda: DataLoader(
        TensorDataset(X, Y), batch_sampler=[[0, 1], [2], [3, 4, 5, 6]]
    ),
    "loader with its own sequential sampler": lambda: DataLoader(
        TensorDataset(X, Y), batch_sampler=BatchSampler(SequentialSampler(Y), 4, False)
    ),
    "re-iterable": lambda: Again(HALVES),
    "lazy sequence": lambda: Lazy(HALVES),
    "deque": lambda: collections.deque(HALVES),
}


class TestReading:
    @pytest.mark.parametrize("way", WAYS)
    def test_every_form_is_read_again_and_again(self, way):
        """All examples, in order, at every pass."""
        batches = Batches(WAYS[way]())
        for _ in range(3):
            assert examples(batches) == list(range(7))

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("held", [{}, {0: None}, {1: None}])
    def test_missing_batches_are_numbered(self, way, held):
        """What is held is left out; the numbers are those of a whole pass."""
        whole = list(enumerate(Batches(WAYS[way]())))
        missing = list(Batches(WAYS[way]()).missing(held))
        assert [i for i, _ in missing] == [i for i, _ in whole if i not in held]
        for i, batch in missing:
            assert torch.equal(batch[1], whole[i][1][1])

    def test_a_sequence_loads_no_others(self):
        """A kept batch is not read from disk again."""
        lazy = Lazy([*HALVES, (X, Y)])
        batches = Batches(lazy)
        lazy.loaded.clear()
        assert [i for i, _ in batches.missing({0: None, 2: None})] == [1]
        assert lazy.loaded == [1]

    def test_a_mapping_is_one_batch(self):
        """As tokenizers give them."""
        batch = {"x": X, "y": Y}
        assert list(Batches(batch)) == [batch]

    def test_a_longer_tuple_of_tensors_is_one_batch(self):
        """For ``forward=`` to take apart."""
        assert len(list(Batches((X, X, Y)))) == 1

    def test_a_named_tuple_of_tensors_is_one_batch(self):
        """It is a tuple too."""
        batch = collections.namedtuple("Batch", "x y")(X, Y)
        assert list(Batches(batch)) == [batch]

    @pytest.mark.parametrize("stop", [False, True])
    def test_a_loader_leaves_torchs_random_state_alone(self, stop):
        """It draws a seed at each pass, also at one that is given up half way."""
        batches = Batches(WAYS["loader"]())
        before = torch.get_rng_state()
        for _ in batches:
            if stop:
                break
        assert torch.equal(torch.get_rng_state(), before)


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "name"),
        [(iter(HALVES), "list_iterator"), ((b for b in HALVES), "generator"), (map(id, Y), "map")],
    )
    def test_what_can_be_read_once(self, data, name):
        """The remedy is in the message."""
        text = f"be readable more than once; got a {name}, which can be read once"
        with pytest.raises(TypeError, match=rf"^`data` must {text}. Pass list\(data\).$"):
            Batches(data)

    @pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Stream()])
    def test_a_dataset_has_no_batches(self, dataset):
        """It wants a loader."""
        with pytest.raises(TypeError, match=r"got a \w+. Wrap it in DataLoader\(dataset, ...\).$"):
            Batches(dataset)

    @pytest.mark.parametrize("data", [X, "cifar10", 3, None, object()])
    def test_other_types(self, data):
        """The forms that would do are in the message."""
        text = r"^`data` must be an \(x, y\) pair of tensors, a list of batches, a DataLoader or "
        with pytest.raises(TypeError, match=f"{text}.*; got a {type(data).__name__}.$"):
            Batches(data)

    def test_a_list_of_tensors(self):
        """[x, y] might be one batch or two: it is not guessed."""
        text = r"be a tuple \(x, y\) or a list of batches; got a list of tensors.$"
        with pytest.raises(TypeError, match=f"^`data` must {text}"):
            Batches([X, Y])

    @pytest.mark.parametrize("data", [[], (), collections.deque()])
    def test_an_empty_sequence(self, data):
        """Seen at once."""
        with pytest.raises(ValueError, match=r"^`data` must hold at least one batch; got none.$"):
            Batches(data)

    @pytest.mark.parametrize("data", [Again([]), DataLoader(TensorDataset(X[:0], Y[:0]))])
    def test_an_empty_re_iterable(self, data):
        """Seen when it is read."""
        with pytest.raises(ValueError, match=r"^`data` must hold at least one batch; got none.$"):
            list(Batches(data))

    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({"shuffle": True}, "RandomSampler"),
            ({"shuffle": True, "batch_size": None}, "RandomSampler"),
            ({"sampler": RandomSampler(Y)}, "RandomSampler"),
            ({"sampler": WeightedRandomSampler([1.0] * 7, 7)}, "WeightedRandomSampler"),
            ({"batch_sampler": BatchSampler(RandomSampler(Y), 2, False)}, "RandomSampler"),
        ],
    )
    def test_a_loader_in_random_order(self, options, name):
        """Each pass would see other batches."""
        loader = DataLoader(TensorDataset(X, Y), **options)
        text = f"got a DataLoader with a {name}. Use shuffle=False, or pass"
        with pytest.raises(ValueError, match=f"^`data` must visit the same batches .*; {text}"):
            Batches(loader)


class TestTensors:
    def test_to_device_follows_containers(self):
        """Tuples, named tuples, lists and mappings keep their types; the rest stays as it is."""
        Pair = collections.namedtuple("Pair", "x note")
        batch = {"a": (X, [Y, Pair(X, "text")]), "b": None, "c": np.ones(1)}
        moved = to_device(collections.OrderedDict(batch), torch.device("meta"))
        assert type(moved) is collections.OrderedDict
        assert moved["a"][0].device.type == moved["a"][1][0].device.type == "meta"
        assert type(moved["a"][1][1]) is Pair
        assert moved["a"][1][1].note == "text"
        assert moved["b"] is None
        assert moved["c"] is batch["c"]

    def test_on_its_device_a_tensor_stays_itself(self):
        """No copy."""
        assert to_device((X,), torch.device("cpu"))[0] is X

    def test_tensors_are_found_in_order(self):
        """Anything else is left out."""
        found = tensors({"a": (X, [Y]), "b": None, "c": "text", "d": X})
        assert [id(t) for t in found] == [id(X), id(Y), id(X)]


def test_a_map_style_dataset_class_is_a_dataset():
    """Also without being a TensorDataset."""

    class Mine(Dataset):
        def __len__(self):
            return 7

        def __getitem__(self, i):
            return X[i], Y[i]

    with pytest.raises(TypeError, match=r"got a Mine. Wrap it in DataLoader"):
        Batches(Mine())
