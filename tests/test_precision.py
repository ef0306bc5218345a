"""How exactly float32 is multiplied, whatever the process has set; and what it has set stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import hessop
from hessop import _precision
from hessop._precision import LEVELS, float32_precision
from hessop._space import LocalSpace

NEWER = [place for place, _ in _precision._FLAGS]


def matmul(level):
    return lambda: torch.set_float32_matmul_precision(level)


def cudnn(allowed):
    return lambda: setattr(torch.backends.cudnn, "allow_tf32", allowed)


def newer(i, value):
    return lambda: setattr(NEWER[i], "fp32_precision", value)


def everything(value):
    return lambda: setattr(torch.backends, "fp32_precision", value)


# What a process may have set, by either generation of flags, or by both.
SETTINGS = {
    "nothing": [],
    "older": [matmul("medium"), cudnn(False)],
    "newer": [newer(0, "tf32"), newer(1, "bf16"), newer(2, "ieee")],
    "some newer": [newer(2, "ieee"), newer(4, "bf16")],
    "everything": [everything("tf32")],
    "everything, then some": [everything("tf32"), newer(0, "ieee"), newer(3, "ieee")],
    "both": [matmul("high"), newer(0, "ieee"), newer(3, "ieee")],
}


def flags():
    """All that can be asked; a flag that torch refuses to tell is one value more."""
    found = []
    for ask in (
        torch.get_float32_matmul_precision,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.backends.cudnn.allow_tf32,
        *(lambda place=place: place.fp32_precision for place in NEWER),
        *([lambda: torch.backends.fp32_precision] if NEWER else []),
    ):
        try:
            found.append(ask())
        except RuntimeError:
            found.append("refused")
    return found


@pytest.fixture(autouse=True)
def as_they_were():
    """No test leaves a flag behind."""
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    if NEWER:
        torch.backends.fp32_precision = "none"
        for place in (0, 1, 4, 5):
            NEWER[place].fp32_precision = "none"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("before", SETTINGS)
def test_flags_are_held_and_put_back(level, before):
    """All of them, also when the computation fails."""
    if before not in ("nothing", "older") and not NEWER:
        pytest.skip("this torch has the older flags only")
    for step in SETTINGS[before]:
        step()
    seen, held = flags(), []

    def fails():
        with float32_precision(level, torch.float32):
            held.extend(flags())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    rounded = level != "highest"
    newer = [by_level[level] for _, by_level in _precision._FLAGS]
    assert held[: 3 + len(newer)] == [level, rounded, rounded, *newer]
    assert flags() == seen


@pytest.mark.skipif(not NEWER, reason="this torch has the older flags only")
def test_a_flag_that_follows_the_one_for_everything_goes_on_following():
    """It is not nailed to the value that it had."""
    torch.backends.fp32_precision = "tf32"
    with float32_precision("highest", torch.float32):
        pass
    torch.backends.fp32_precision = "ieee"
    assert torch.backends.mkldnn.conv.fp32_precision == "ieee"


def test_float64_has_no_flags():
    """Nothing is looked at, and nothing set."""
    torch.set_float32_matmul_precision("medium")
    with float32_precision("highest", torch.float64):
        assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.skipif(not NEWER, reason="this torch has the older flags only")
def test_a_flag_that_follows_its_librarys_goes_on_following():
    """Between one operation and everything there is a library."""
    before = torch.backends.cudnn.fp32_precision
    try:
        for value in ("ieee", "tf32"):
            torch.backends.cudnn.fp32_precision = value
            NEWER[2].fp32_precision = "none"
            assert NEWER[2].fp32_precision == value
            with float32_precision("highest", torch.float32):
                pass
            assert NEWER[2].fp32_precision == value
        NEWER[2].fp32_precision = "ieee"  # of its own
        with float32_precision("high", torch.float32):
            pass
        assert NEWER[2].fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.fp32_precision = before


class Looks(nn.Module):
    """A layer that says what holds while it runs."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.seen = set()

    def forward(self, x):
        self.seen.add((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return self.inner(x).square()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["Hessian", "GGN", "Fisher", "NTK"])
def test_operators_compute_as_they_were_told(kind, level):
    """From the checks at construction on, in whatever they compute; in full by default."""
    model, x, y = Looks(), torch.ones(4, 3), torch.zeros(4, dtype=torch.long)
    torch.set_float32_matmul_precision("high")
    how = {} if level == "highest" else {"precision": level}
    if kind == "NTK":
        A = hessop.NTKOperator(model, x, **how)
    else:
        make = getattr(hessop, f"{kind}Operator")
        A = make(model, nn.CrossEntropyLoss(), (x, y), memory=0, **how)
        A.loss()
        A.gradient()
    A @ np.ones(A.shape[0])
    assert model.seen == {(level, level != "highest")}
    assert torch.get_float32_matmul_precision() == "high"


def test_vectors_are_combined_in_full(monkeypatch):
    """A basis that is combined with rounded factors is not orthonormal any more."""
    seen = []
    plain = torch.mm

    def mm(*args):
        seen.append(torch.get_float32_matmul_precision())
        return plain(*args)

    monkeypatch.setattr(torch, "mm", mm)
    torch.set_float32_matmul_precision("medium")
    space = LocalSpace(5, torch.float32, torch.device("cpu"))
    space.combine(torch.eye(2), torch.ones(2, 5))
    assert seen == ["highest"]


def test_a_matrix_is_multiplied_in_full():
    """A tensor that is handed over is a matrix, not a network."""
    A = hessop.aslinearoperator(torch.eye(4))
    seen = []
    matrix = A.product._matrix

    class Matrix:
        def __matmul__(self, X):
            seen.append(torch.get_float32_matmul_precision())
            return matrix @ X

    A.product._matrix = Matrix()
    torch.set_float32_matmul_precision("medium")
    A @ np.ones(4)
    assert seen == ["highest"]
