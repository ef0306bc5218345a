"""CuPy arrays as tensors and back: the same memory, whatever the layout, and the right numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hessop import _cupy, _exchange

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
PLACE = torch.device("cuda", 0)
LAYOUTS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.T,
    "Fortran": lambda a: cupy.asfortranarray(a),
    "column": lambda a: a[:, 1],
    "every other": lambda a: a[:, ::2],
    "broadcast": lambda a: cupy.broadcast_to(a[0], (5, 6)),
    "a number": lambda a: a[1, 2],
    "one entry": lambda a: a[1:2, 3],
}
BACKWARDS = {
    "rows": lambda a: a[::-1],
    "columns": lambda a: a[:, ::-1],
    "both": lambda a: a[::-1, ::-1],
    "a vector": lambda a: a[0, ::-1],
    "every other": lambda a: a[0, ::-2],
}


def block(dtype="f8"):
    """A small block of integers."""
    return cupy.arange(24).reshape(4, 6).astype(dtype)


class TestIn:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_same_memory(self, layout):
        """By address, for every positive stride."""
        x = LAYOUTS[layout](block())
        t = _cupy.take(x)
        assert t.data_ptr() == x.data.ptr
        assert t.device == PLACE
        assert tuple(t.shape) == x.shape
        np.testing.assert_array_equal(t.cpu().numpy(), x.get())

    @pytest.mark.parametrize("layout", BACKWARDS)
    def test_negative_strides(self, layout):
        """Are copied, for torch ends the process on them."""
        x = BACKWARDS[layout](block())
        assert min(x.strides) < 0
        np.testing.assert_array_equal(_cupy.take(x).cpu().numpy(), x.get())

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("out", [torch.float32, torch.float64])
    def test_every_dtype(self, dtype, out):
        """By value, in the dtype that is asked for."""
        x = block(dtype)
        t = _exchange.to_torch(x, dtype=out, device=PLACE)
        assert t.dtype == out
        np.testing.assert_array_equal(t.cpu().numpy(), x.get().astype(_exchange.numpy_dtype(out)))

    def test_no_copy_where_the_dtype_is_right(self):
        """What is float64 already is looked at where it lies."""
        x = block()
        t = _exchange.to_torch(x, dtype=torch.float64, device=PLACE)
        assert t.data_ptr() == x.data.ptr

    def test_to_the_host(self):
        """For what is computed there."""
        t = _exchange.to_torch(block(), dtype=torch.float64, device=torch.device("cpu"))
        np.testing.assert_array_equal(t.numpy(), block().get())
        np.testing.assert_array_equal(_exchange.on_host(block()), block().get())

    def test_the_memory_lives_as_long_as_the_tensor(self):
        """The array may be gone before."""
        x = cupy.full(1 << 20, 3.0)
        t = _cupy.take(x)
        del x
        others = [cupy.full(1 << 20, 9.0) for _ in range(4)]
        assert bool((t == 3.0).all())
        del others


class TestOut:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(7,), (7, 1), (3, 7)])
    def test_the_same_memory(self, dtype, shape):
        """By address, and what is written on one side is read on the other."""
        t = torch.ones(shape, dtype=dtype, device=PLACE)
        y = _cupy.give(t)
        assert type(y) is cupy.ndarray
        assert y.data.ptr == t.data_ptr()
        assert y.shape == shape
        assert y.dtype == _exchange.numpy_dtype(dtype)
        y += 1
        assert bool((t == 2).all())

    def test_what_is_not_contiguous_is_copied(self):
        """CuPy's solvers read unit strides."""
        t = torch.arange(12.0, device=PLACE).reshape(3, 4).T
        y = _cupy.give(t)
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(y.get(), t.cpu().numpy())

    def test_lazy_bits_are_resolved(self):
        """A negation that was put off, and a graph, stay behind."""
        z = torch.tensor([1 + 2j, 3 - 4j], device=PLACE)
        assert z.conj().imag.is_neg()
        np.testing.assert_array_equal(_cupy.give(z.conj().imag).get(), [-2, 4])
        t = torch.ones(2, device=PLACE, requires_grad=True) * 2
        np.testing.assert_array_equal(_cupy.give(t).get(), [2, 2])

    def test_the_memory_lives_as_long_as_the_array(self):
        """The tensor may be gone before."""
        t = torch.full((1 << 20,), 3.0, device=PLACE)
        y = _cupy.give(t)
        del t
        others = [torch.full((1 << 20,), 9.0, device=PLACE) for _ in range(4)]
        assert bool((y == 3.0).all())
        del others

    def test_as_what_came_in_is(self):
        """Arrays, sparse matrices and operators of CuPy's get arrays of CuPy's."""
        t = torch.ones(2, device=PLACE)
        sparse = pytest.importorskip("cupyx.scipy.sparse")
        for x in (cupy.ones(2), sparse.eye(2, format="csr")):
            assert type(_exchange.like(x, t)) is cupy.ndarray
        assert _exchange.like(t, t) is t
        assert isinstance(_exchange.like(np.ones(2), t), np.ndarray)

    def test_numbers_of_the_host(self):
        """Are put onto the device."""
        y = _cupy.put(np.arange(3.0), 0)
        assert type(y) is cupy.ndarray
        assert y.device.id == 0
        assert _cupy.put(y, 0) is y
