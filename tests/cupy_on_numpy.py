"""
A stand-in for CuPy over NumPy, on which the installed cupyx runs without a GPU.

The operators and solvers are cupyx's own, loaded from its files. What they stand on is made here:
streams, arrays (`cupy_arrays`: none turns into one of NumPy unasked, and none of NumPy is taken for
one) and the routines that see nothing but addresses (`cublas_on_numpy`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

import hessop.operators
from hessop import _cupy
from tests import cublas_on_numpy
from tests.cupy_arrays import Namespace, ndarray

FACE = "hessop.operators.cupy_face"
LINALG = "cupyx.scipy.sparse.linalg"
THEIRS = ("cupy", "cupyx", "cupy_backends")
_SOURCES = ("_interface", "_iterative", "_lobpcg", "_eigen", "_solve")
_PUBLIC = ("LinearOperator", "aslinearoperator", "cg", "gmres", "minres", "lobpcg", "eigsh", "svds")


class Device(contextlib.nullcontext):
    """A device that may be made current; the host's has no number."""

    def __init__(self, number=None):
        super().__init__()
        self.id = number


class Stream:
    """A stream of either library: a handle, and what it was told to wait for."""

    def __init__(self, handle):
        self.ptr = self.cuda_stream = handle
        self.waited_for = []

    def wait_stream(self, other):
        """As torch's."""
        self.waited_for.append(other.ptr)


class Memory:
    """Memory of somebody else's, who is kept."""

    def __init__(self, address, size, owner, number):
        assert (address, size) == (owner.array.data.ptr, owner.array.nbytes)
        self.owner = owner


class World:
    """
    The modules of the stand-in, and of cupyx's files over them.

    Attributes
    ----------
    cupy : module
        The stand-in.
    solvers : module
        ``cupyx.scipy.sparse.linalg`` with the installed operators and solvers.
    CupyOperator : type
        hessop's, with the installed LinearOperator as its base.
    theirs, ours : Stream
        The current stream of CuPy, and of torch.
    """

    def __init__(self, patch):
        root = Path(importlib.util.find_spec("cupyx").submodule_search_locations[0]).parent
        self.modules = {}
        self._patch = patch
        self.cupy = self._add("cupy", Namespace("cupy", np))
        for name, module in cublas_on_numpy.modules(ndarray).items():
            self._add(name, module)
        self._add("cupy.linalg", Namespace("cupy.linalg", np.linalg))
        self._add("cupy.linalg._util", ModuleType("_util"))
        self.cupy.ndarray = ndarray
        self.cupy.asnumpy = ndarray.get
        self.cupy.from_dlpack = lambda t: ndarray(t.numpy())
        self.cupy.ElementwiseKernel = functools.partial(cublas_on_numpy.Kernel, ndarray)
        self.cupy.cuda.Device = Device
        self.cupy.cuda.get_current_stream = lambda: self.theirs
        self.cupy.cuda.UnownedMemory = Memory
        self.cupy.cuda.MemoryPointer = lambda memory, offset: SimpleNamespace(memory=memory)
        self._add("cupyx.scipy.sparse", ModuleType("sparse")).issparse = lambda x: False
        self._add("cupyx.scipy.sparse._csr", ModuleType("_csr"))._is_csr = lambda x: False
        self.solvers = self._add(LINALG, ModuleType("linalg"))
        for name in ("cupy.cublas", "cupyx.scipy.sparse._util"):
            self._load(name, root)
        for name in _SOURCES:
            module = self._load(f"{LINALG}.{name}", root)
            found = {public: vars(module)[public] for public in _PUBLIC if public in vars(module)}
            vars(self.solvers).update(found)
        self.face = self._load(FACE, Path(hessop.__file__).parents[1])
        self.CupyOperator = self.face.CupyOperator

    def _add(self, name, module):
        self.modules[name] = module
        self._patch.setitem(sys.modules, name, module)
        parent, _, last = name.rpartition(".")
        if parent.partition(".")[0] in THEIRS:
            setattr(self.modules.get(parent) or self._add(parent, ModuleType(parent)), last, module)
        return module

    def _load(self, name, root):
        """Run an installed file over what is there."""
        path = root.joinpath(*name.split(".")).with_suffix(".py")
        spec = importlib.util.spec_from_file_location(name, path)
        module = self._add(name, importlib.util.module_from_spec(spec))
        spec.loader.exec_module(module)
        return module

    def torch(self):
        """What `hessop._cupy` needs of torch on a GPU."""
        cuda = SimpleNamespace(
            Stream=torch.cuda.Stream,
            device=lambda number: contextlib.nullcontext(),
            current_stream=lambda number: self.ours,
            default_stream=lambda number: Stream(0),
            ExternalStream=lambda handle, device: self.theirs,
        )
        host = torch.device("cpu")
        return SimpleNamespace(Tensor=torch.Tensor, device=lambda *place: host, cuda=cuda)


_made: list[World] = []


@contextlib.contextmanager
def installed():
    """The stand-in in the place of CuPy; afterwards everything is as it was."""
    if importlib.util.find_spec("cupy") is None:
        pytest.skip('needs the files of CuPy, which is not installed: pip install "hessop[gpu]"')
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in sys.modules if n.partition(".")[0] in THEIRS]:
            patch.delitem(sys.modules, name)
        if not _made:
            _made.append(World(patch))
        world = _made[0]
        for name, module in world.modules.items():
            patch.setitem(sys.modules, name, module)
        patch.setattr(hessop.operators, "cupy_face", world.face, raising=False)
        patch.setattr(_cupy, "torch", world.torch())
        world.cupy.random = Namespace("cupy.random", np.random.default_rng(0))
        world.theirs = world.ours = Stream(0)
        yield world
