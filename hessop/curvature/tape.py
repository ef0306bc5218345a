"""A linear function recorded once, with everything that does not depend on its input computed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from hessop.curvature import rewrite
from hessop.curvature.fuse import fuse
from hessop.curvature.restrict import restrict
from hessop.curvature.rewrite import Form
from hessop.curvature.sharing import share_constants

_aten = torch.ops.aten
Function = Callable[..., Sequence[torch.Tensor | None]]

# What these return depends on the shape of their input, not on its values.
_SHAPED = {
    _aten.zeros_like.default,
    _aten.ones_like.default,
    _aten.full_like.default,
    _aten.empty_like.default,
    _aten.new_zeros.default,
    _aten.new_ones.default,
    _aten.new_full.default,
    _aten.new_empty.default,
    _aten.new_empty_strided.default,
}


class Tape:
    """
    A linear function of some tensors, as the list of torch operations that depend on them.

    The derivative of a network at fixed parameters and data is such a function. All that can be
    computed beforehand (activations, slopes, masks) is a constant of the tape, so that running it
    costs the operations on the tangents alone: partial evaluation, as in `torch.func.linearize`,
    of any function whose operations torch dispatches, reverse mode included.

    Attributes
    ----------
    nbytes : int
        Memory that its constants hold.
    """

    def __init__(self, module: GraphModule) -> None:
        self._module = module
        self._run = _ready(module)
        # A graph that refers to its module is a cycle, that would hold the constants until the
        # garbage collector comes by.
        module.graph.owning_module = None

    @classmethod
    def record(cls, function: Function, examples: Sequence[torch.Tensor]) -> Tape:
        """
        Record `function`, which has to be linear, on tensors laid out like `examples`.

        Raises
        ------
        NotLinearError
            If the function reads a value of its input on the way.
        """
        recorder = _Recorder()
        inputs = [_zeros_laid_out_like(t) for t in examples]
        for i, t in enumerate(inputs):
            recorder.enter(t, f"v{i}")
        # Functionalisation turns what is written in place into values. The backward pass stays
        # on this thread, where the recorder is.
        with torch.no_grad(), torch.autograd.set_multithreading_enabled(False), recorder:
            found = torch.func.functionalize(function, remove="mutations")(*inputs)
        recorder.leave(found)
        module = GraphModule(recorder.constants, recorder.graph)
        rewrite.simplify(module)
        return cls(module)

    def __call__(self, *pieces: torch.Tensor) -> list[torch.Tensor | None]:
        """The function's values; None where they are zero whatever the input."""
        with torch.no_grad():
            return list(self._run(*pieces))

    @property
    def nbytes(self) -> int:
        """Memory that the constants hold, each storage once."""
        held: dict[int, int] = {}
        for t in self._module.buffers():  # of a view, such as a slice of the data, what it shows
            held[t.data_ptr()] = max(held.get(t.data_ptr(), 0), _extent(t))
        return sum(held.values())

    def restricted(self, inputs: Sequence[int], outputs: Sequence[int]) -> Tape:
        """
        The block of some inputs and some outputs.

        Other inputs are zero, and what is zero with them falls away, so that a block costs less
        than the whole. The constants are shared.
        """
        module = _copied(self._module)
        restrict(module, inputs, outputs)
        return Tape(module)

    def widened(self, examples: Sequence[torch.Tensor]) -> Tape:
        """The tape for blocks of k tensors each, laid out like `examples`, in one pass."""
        (output,) = (node for node in self._module.graph.nodes if node.op == "output")
        used = [i for i, node in enumerate(output.args[0]) if node is not None]

        def batched(*blocks: torch.Tensor) -> list[torch.Tensor | None]:
            def dense(*pieces: torch.Tensor) -> list[torch.Tensor]:
                found = self._module(*pieces)  # vmap takes no None
                return [found[i] for i in used]

            out: list[torch.Tensor | None] = [None] * len(output.args[0])
            for i, t in zip(used, torch.func.vmap(dense)(*blocks), strict=True):
                out[i] = t
            return out

        tape = Tape.record(batched, examples)
        # what was rewritten is recorded again, for the forms have changed
        if share_constants(tape._module):
            tape = Tape.record(tape._module, examples)
        return tape

    def compiled(self) -> Function:
        """What `torch.compile` makes of it."""
        run: Function = torch.compile(self._module, dynamic=False)
        return run


class NotLinearError(RuntimeError):
    """A function that was to be recorded as linear reads values of its input."""


class _Recorder(TorchDispatchMode):
    """Writes down each operation that depends on the inputs, and lets the others be."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.constants = torch.nn.Module()
        self._places: Any = WeakIdKeyDictionary()  # tensors that depend on the input
        self._known: Any = WeakIdKeyDictionary()  # constants that were needed
        self._count = 0

    def enter(self, t: torch.Tensor, name: str) -> None:
        """An input."""
        self._place(t, self.graph.placeholder(name), [])

    def leave(self, found: Sequence[torch.Tensor | None]) -> None:
        """The outputs, which end the recording."""
        # a constant is no linear function of the input unless it is zero
        self.graph.output(tuple(None if t is None else self._places.get(t) for t in found))
        self.graph.eliminate_dead_code()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do what was asked for; write it down if an input is involved."""
        if func is _aten._efficientzerotensor.default:
            # A tensor without memory, that no kernel may be given below this mode.
            return torch.zeros(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        operands: list[torch.Tensor] = []
        map_aggregate(
            (args, kwargs or {}),
            lambda a: operands.append(a) if isinstance(a, torch.Tensor) else None,
        )
        if func in _SHAPED or not any(t in self._places for t in operands):
            return out
        if self._reads_values(func, operands):
            raise NotLinearError(f"a value of the input is read, by {func}")
        arguments, keywords = map_aggregate(
            (args, kwargs or {}), lambda a: self._node(a) if isinstance(a, torch.Tensor) else a
        )
        # A view depends on how its source lies, which rewriting, vmap and compilers may change.
        target = _aten.reshape.default if func in rewrite.RESHAPES else func
        node = self.graph.call_function(target, arguments, keywords)
        if isinstance(out, torch.Tensor):
            self._place(out, node, operands)
        elif isinstance(out, (tuple, list)):
            for i, t in enumerate(out):
                if isinstance(t, torch.Tensor):
                    self._place(t, self.graph.call_function(operator.getitem, (node, i)), operands)
        return out

    def _reads_values(self, func: Any, operands: list[torch.Tensor]) -> bool:
        """Whether what comes out depends on the input otherwise than by arithmetic."""
        if func is _aten.allclose.default or torch.Tag.data_dependent_output in func.tags:
            return True
        # Which entries are taken may depend on constants: a mask of the data.
        choosing = operands[1:] or operands
        return torch.Tag.dynamic_output_shape in func.tags and any(
            t in self._places for t in choosing
        )

    def _place(self, t: torch.Tensor, node: Node, operands: list[torch.Tensor]) -> None:
        node.meta["form"] = Form.of(t)
        node.meta["shares"] = next(
            (self._node(x) for x in operands if _storage(x) == _storage(t) and t.numel()), None
        )
        self._places[t] = node

    def _node(self, t: torch.Tensor) -> Node:
        """Where a tensor is in the graph; a constant is added on first sight."""
        node = self._places.get(t)
        if node is None:
            node = self._known.get(t)
        if node is None:
            node = rewrite.add_constant(self.graph, self.constants, t.detach())
            self._known[t] = node
        return node  # type: ignore[no-any-return]


def _zeros_laid_out_like(t: torch.Tensor) -> torch.Tensor:
    zeros = torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device)
    return zeros.zero_()


def _extent(t: torch.Tensor) -> int:
    """Bytes from the first entry of a tensor to its last."""
    if not t.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
    return (last + 1) * t.element_size()


def _storage(t: torch.Tensor) -> int:
    return t.untyped_storage().data_ptr()


def _copied(module: GraphModule) -> GraphModule:
    """A module with a graph of its own and the same constants."""
    graph = Graph()
    places: dict[Node, Node] = {}
    graph.output(graph.graph_copy(module.graph, places))
    for old, new in places.items():
        new.meta = dict(old.meta)
        if (shares := old.meta.get("shares")) is not None:
            new.meta["shares"] = places.get(shares)
    return GraphModule(module, graph)


def _ready(module: GraphModule) -> Callable[..., Sequence[torch.Tensor | None]]:
    """The same function with operations fused, and done in place where nobody sees it."""
    twin = _copied(module)
    fuse(twin)
    twin.recompile()
    twin.graph.owning_module = None
    run: Callable[..., Any] = twin.forward
    return run
