"""The doors between NumPy and torch: every layout and dtype, no alias where none is allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hessop import _exchange

CPU = torch.device("cpu")
DTYPES = ["f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "O"]


def take(x, dtype=torch.float64):
    return _exchange.to_torch(x, dtype=dtype, device=CPU)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {
    "contiguous": lambda a: a.copy(),
    "fortran": lambda a: np.asfortranarray(a),
    "transposed": lambda a: a.T,
    "column": lambda a: a[:, 1],
    "every other": lambda a: a[:, ::2],
    "reversed": lambda a: a[::-1],
    "reversed twice": lambda a: a[::-1, ::-1],
    "one reversed row": lambda a: a[:1][::-1],
    "broadcast": lambda a: np.broadcast_to(a[0], (7, a.shape[1])),
    "broadcast scalar": lambda a: np.broadcast_to(a[0, 0], (7,)),
    "read-only": read_only,
    "read-only reversed": lambda a: read_only(a)[::-1],
    "read-only column": lambda a: read_only(a)[:, 1],
    "empty": lambda a: a[:, :0],
    "scalar": lambda a: a[0, 0],
    "subclass": lambda a: a.view(np.recarray),
}


@pytest.mark.parametrize("out", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout_comes_in(dtype, layout, out):
    """Values are those of NumPy's own conversion, and the source is not written."""
    a = LAYOUTS[layout](np.arange(24).reshape(4, 6).astype(dtype))
    before = np.array(a, copy=True)
    t = take(a, out)
    assert t.dtype == out
    assert t.shape == np.shape(a)
    np.testing.assert_array_equal(t.numpy(), np.asarray(a).astype(_exchange.numpy_dtype(out)))
    np.testing.assert_array_equal(a, before)


@pytest.mark.parametrize("dtype", [">f8", "<f8", ">f4", "<f4", ">i4", "<i4", ">u8"])
def test_either_byte_order_comes_in(dtype):
    """A foreign byte order is converted, not misread."""
    a = np.array([1.5, -2.0, 1e5]).astype(dtype) if "f" in dtype else np.array([1, 2, 3], dtype)
    np.testing.assert_array_equal(take(a).numpy(), a.astype(np.float64))


def test_strides_that_are_no_multiple_of_the_item_come_in():
    """A field of packed records has strides that DLPack cannot say."""
    records = np.zeros(5, dtype=[("flag", "i1"), ("value", "f8")])
    records["value"] = np.arange(5)
    np.testing.assert_array_equal(take(records["value"]).numpy(), np.arange(5.0))


def test_unaligned_memory_comes_in():
    """Numbers that start at an odd address."""
    raw = bytearray(1 + 8 * 3)
    raw[1:] = np.array([1.0, 2.0, 3.0]).tobytes()
    np.testing.assert_array_equal(take(np.frombuffer(raw, "f8", offset=1)).numpy(), [1, 2, 3])


@pytest.mark.parametrize("x", [[1, 2.5], (1, 2), 3.0, np.float32(2.0), np.array(4, "i2")])
def test_anything_array_like_comes_in(x):
    """Lists, tuples and scalars, as NumPy takes them."""
    np.testing.assert_array_equal(take(x).numpy(), np.asarray(x, dtype=np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_copy_where_dtype_and_layout_allow(dtype):
    """A vector of the right dtype is looked at where it lies, also with a positive stride."""
    a = np.arange(12, dtype=dtype).reshape(3, 4)
    for view in (a, a.T, a[:, 1], a[::2]):
        t = take(view, _exchange.torch_dtype(dtype))
        assert t.data_ptr() == view.__array_interface__["data"][0]


def test_tensors_come_in_without_graph():
    """A tensor is cast and detached."""
    t = torch.ones(3, dtype=torch.float32, requires_grad=True)
    out = take(t)
    assert out.dtype == torch.float64
    assert not out.requires_grad


def test_lazy_bits_are_resolved_on_the_way_out():
    """Lazy negation and conjugation, which `np.from_dlpack` drops, are carried out."""
    z = torch.tensor([1 + 2j, 3 - 4j])
    negated = z.conj().imag
    assert negated.is_neg()
    np.testing.assert_array_equal(_exchange.to_numpy(negated), [-2, 4])
    assert z.conj().is_conj()
    np.testing.assert_array_equal(_exchange.to_numpy(z.conj()), [1 - 2j, 3 + 4j])


def test_tensors_with_a_graph_go_out():
    """What requires a gradient is detached."""
    t = torch.ones(3, requires_grad=True) * 2
    np.testing.assert_array_equal(_exchange.to_numpy(t), [2, 2, 2])


def test_out_is_no_copy():
    """Host memory is handed out, not copied."""
    t = torch.ones(3)
    assert _exchange.to_numpy(t).__array_interface__["data"][0] == t.data_ptr()


def test_like_follows_the_array_type():
    """Torch for torch, NumPy for all else."""
    t = torch.ones(2)
    assert _exchange.like(torch.zeros(1), t) is t
    for x in (np.zeros(1), [0.0], 0.0, None):
        assert isinstance(_exchange.like(x, t), np.ndarray)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("f4", torch.float32),
        *((d, torch.float64) for d in ("f8", ">f8", "f2", "g", "i1", "u8", "?")),
    ],
)
def test_computing_dtype(dtype, expected):
    """float32 stays float32; all else computes in float64."""
    assert _exchange.torch_dtype(dtype) == expected


@pytest.mark.parametrize(
    ("dtype", "face"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_face_dtype(dtype, face):
    """Half precision shows as float32, which SciPy knows."""
    assert _exchange.face_dtype(dtype) == face
    assert _exchange.numpy_dtype(face) == (np.float64 if face == torch.float64 else np.float32)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.ones(1, "c8"), True),
        (np.ones(1), False),
        (np.dtype("c16"), True),
        (np.dtype("i4"), False),
        (torch.ones(1, dtype=torch.complex64), True),
        (torch.ones(1), False),
        (torch.complex128, True),
        (torch.int8, False),
        (None, False),
    ],
)
def test_is_complex(x, expected):
    """Arrays and dtypes of either library are told apart."""
    assert _exchange.is_complex(x) is expected
