"""
What CuPy's solvers call beneath the arrays: routines that see an address, a length and no more.

A routine of cuBLAS reads unit strides, in the precision of its name. Here it refuses what lies
otherwise; there it would read past it.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np


class Pointer(int):
    """An address on the device that knows whose it is."""

    owner: np.ndarray

    @classmethod
    def to(cls, owner, offset=0):
        """The address of an array, or a place in it."""
        pointer = cls(owner.ctypes.data + offset)
        pointer.owner, pointer.offset = owner, offset
        return pointer

    def __add__(self, offset):
        return Pointer.to(self.owner, self.offset + int(offset))


def _at(address, count, code):
    """The numbers that a routine of this precision sees at an address; those of the host too."""
    kind = np.dtype(code)
    if isinstance(address, Pointer):
        owner = address.owner
        assert owner.dtype == kind, f"a routine for {kind} was handed {owner.dtype}"
        assert owner.flags.c_contiguous or owner.flags.f_contiguous, "strides are not one"
        assert address.offset + count * kind.itemsize <= owner.nbytes, "beyond the end"
    return np.ctypeslib.as_array((np.ctypeslib.as_ctypes_type(kind) * count).from_address(address))


def _dot(code):
    def dot(handle, n, x, step_x, y, step_y, out):
        assert (step_x, step_y) == (1, 1)
        _at(out, 1, code)[0] = _at(x, n, code) @ _at(y, n, code)

    return dot


def _nrm2(code):
    def nrm2(handle, n, x, step, out):
        assert step == 1
        _at(out, 1, code)[0] = np.linalg.norm(_at(x, n, code))

    return nrm2


def _axpy(code):
    def axpy(handle, n, alpha, x, step_x, y, step_y):
        assert (step_x, step_y) == (1, 1)
        factor = _at(alpha, 1, code)[0]
        if factor:  # as in BLAS: times zero, x is not even read, be it NaN
            target = _at(y, n, code)
            target += factor * _at(x, n, code)

    return axpy


def _gemv(code):
    def gemv(handle, operation, m, n, alpha, a, lead, x, step_x, beta, y, step_y):
        assert (step_x, step_y, lead) == (1, 1, m)
        matrix = _at(a, m * n, code).reshape(n, m)  # column by column
        if operation == 0:
            matrix = matrix.T
        target = _at(y, matrix.shape[0], code)
        image = _at(alpha, 1, code)[0] * (matrix @ _at(x, matrix.shape[1], code))
        # likewise for what was in y
        scale = _at(beta, 1, code)[0]
        target[:] = image + scale * target if scale else image

    return gemv


class Kernel:
    """
    An elementwise kernel, whose body is taken for the Python that a simple one also is.

    Parameters
    ----------
    array : type
        That of the arrays it is called with.
    inputs, outputs, body : str
        As CuPy has them.
    name : str, optional
        Unused.
    """

    def __init__(self, array, inputs, outputs, body, name=""):
        declared = [text.split() for text in f"{inputs}, {outputs}".split(",")]
        self._array = array
        self._names = [words[-1] for words in declared]
        self._raw = {words[-1] for words in declared if words[0] == "raw"}
        self._written = [text.split()[-1] for text in outputs.split(",")]
        self._body = body

    def __call__(self, *arguments):
        """Element by element."""
        code = compile(self._body.strip(), "kernel", "exec")
        given = dict(zip(self._names, arguments, strict=True))
        flat = {n: x.host.reshape(-1) for n, x in given.items() if isinstance(x, self._array)}
        each = [n for n in flat if n not in self._raw]
        for i in range(len(flat[each[0]])):
            scope = {**given, **flat, **{n: flat[n][i] for n in each}, "i": i}
            exec(code, {}, scope)
            for n in self._written:
                if n in each:
                    flat[n][i] = scope[n]


def modules(array):
    """The modules of CuPy that hold such things, by name; `array` is the type of its arrays."""

    def module(name, **content):
        made = ModuleType(name)
        vars(made).update(content)
        return name, made

    makers = {"dot": _dot, "nrm2": _nrm2, "axpy": _axpy, "gemv": _gemv}
    routines = {p + n: f(code) for n, f in makers.items() for p, code in (("s", "f"), ("d", "d"))}
    return dict(
        (
            module("cupy._core", elementwise_copy=lambda x, out: np.copyto(out.host, x.host)),
            module("cupy._core._dtype"),
            module("cupy._core.core", ndarray=array),
            module("cupy.cuda"),
            module("cupy.cuda.device", get_cublas_handle=lambda: None),
            module("cupy.cuda.runtime"),
            module(
                "cupy_backends.cuda.libs.cublas",
                CUBLAS_OP_N=0,
                CUBLAS_OP_T=1,
                CUBLAS_OP_C=2,
                CUBLAS_POINTER_MODE_HOST=0,
                CUBLAS_POINTER_MODE_DEVICE=1,
                getPointerMode=lambda handle: 0,
                setPointerMode=lambda handle, mode: None,
                **routines,
            ),
            module("cupy_backends.cuda.libs.cusparse"),
            module("cupyx.cusparse", check_availability=lambda name: False),
        )
    )
