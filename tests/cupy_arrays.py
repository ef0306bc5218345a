"""Arrays over NumPy that are as strict as CuPy's, and a module of functions of them."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import numpy as np

from tests import cublas_on_numpy


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that says it is CuPy's. The host's device has no number; another may be given."""

    __module__ = "cupy"

    def __init__(self, host, number=None, pointer=None):
        self.memory = pointer
        if pointer is not None:  # then these are a shape and a dtype, of memory that is there
            array = pointer.memory.owner.array
            assert (host, number) == (array.shape, array.dtype)
            host, number = array.host, array.device.id
        self.host = host
        self.device = SimpleNamespace(id=number)

    def __getattr__(self, name):
        if name.startswith("__") or name == "host":
            raise AttributeError(name)
        value = getattr(self.host, name)
        number = self.device.id
        return _wrapped(value, number) if callable(value) else _out(value, number)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        if out:
            kwargs["out"] = tuple(_in(x) for x in out)
        found = getattr(ufunc, method)(*(_in(x) for x in inputs), **kwargs)
        return out[0] if out else _out(found)

    def __array_function__(self, function, types, args, kwargs):
        return _wrapped(function)(*args, **kwargs)

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        whole = index if any(i is Ellipsis for i in index) else (*index, ...)  # a number is a view
        return ndarray(self.host[tuple(_index(i) for i in whole)], self.device.id)

    def __setitem__(self, index, value):
        index = index if isinstance(index, tuple) else (index,)
        self.host[tuple(_index(i) for i in index)] = _in(value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __len__(self):
        return len(self.host)

    def __bool__(self):
        return bool(self.host)

    def __int__(self):
        return int(self.host)

    def __float__(self):
        return float(self.host)

    def __dlpack__(self, **kwargs):
        return self.host.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.host.__dlpack_device__()

    def get(self):
        """A copy, as NumPy's."""
        return self.host.copy()

    @property
    def shape(self):
        """Can be set, as CuPy's."""
        return self.host.shape

    @shape.setter
    def shape(self, shape):
        self.host = self.host.reshape(shape)

    @property
    def data(self):
        """The address, which routines without types are handed."""
        return SimpleNamespace(ptr=cublas_on_numpy.Pointer.to(self.host))

    @property
    def _c_contiguous(self):
        return self.host.flags.c_contiguous

    @property
    def _f_contiguous(self):
        return self.host.flags.f_contiguous


def _in(x):
    """What NumPy sees of an argument; an array of NumPy's own is refused, as CuPy does."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, (list, tuple)):
        return type(x)(_in(item) for item in x)
    return x.host if isinstance(x, ndarray) else x


def _index(i):
    """An index, which may be NumPy's."""
    return i.host if isinstance(i, ndarray) else i


def _out(x, number=None):
    """What NumPy found as CuPy's: numbers too are arrays there, without an axis."""
    if isinstance(x, tuple) and any(isinstance(item, np.ndarray) for item in x):
        return tuple(_out(item, number) for item in x)
    return ndarray(np.asarray(x), number) if isinstance(x, (np.ndarray, np.generic)) else x


def _wrapped(function, number=None, explicit=False):
    """A function of NumPy's for the stand-in; an explicit one takes what is NumPy's, by a copy."""

    def call(*args, **kwargs):
        if explicit and isinstance(args[0], np.ndarray):
            args = (ndarray(args[0].copy()), *args[1:])
        kwargs = {name: _in(value) for name, value in kwargs.items()}
        return _out(function(*(_in(x) for x in args), **kwargs), number)

    return call


class Namespace(ModuleType):
    """A module whose functions are those of one of NumPy's."""

    def __init__(self, name, source):
        super().__init__(name)
        self._source = source

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._source, name)
        if isinstance(value, type) or not callable(value) or name in ("isscalar", "result_type"):
            return value
        return _wrapped(value, explicit=name in ("array", "asarray", "ascontiguousarray"))
