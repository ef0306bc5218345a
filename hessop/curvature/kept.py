"""A linear map of one batch that is kept between products, as a graph or as a tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from hessop._memory import out_of_memory
from hessop.curvature.agreement import disagreement
from hessop.curvature.compiled import compiled_if_right
from hessop.curvature.layout import Layout, Pieces, Subset
from hessop.curvature.local import Found
from hessop.curvature.tape import Tape

Reverse = Callable[[Pieces, Sequence[int] | None], Found]
Forward = Callable[[Sequence[torch.Tensor]], Found]


class KeptMap:
    """
    ``V -> V A^T`` for blocks of rows, by way of pieces.

    It begins as a function through kept graphs, row by row. Once a tape is adopted, those for
    wider blocks and for parts of the map are derived from it as they are needed.

    Parameters
    ----------
    reverse : callable
        ``reverse(pieces, wanted)`` gives the pieces of the product that are wanted.
    forward : callable
        ``forward(pieces)`` gives all of them in another way, for a tape to record.
    inputs, outputs : Layout
        The shapes of the pieces.
    notes : list of str
        Where to say what could not be done.
    """

    def __init__(
        self,
        reverse: Reverse,
        forward: Forward,
        inputs: Layout,
        outputs: Layout,
        notes: list[str],
    ) -> None:
        self._reverse = reverse
        self._forward = forward
        self._notes = notes
        self.inputs = inputs.everything()
        self.outputs = outputs.everything()
        self._tape: Tape | None = None
        self._runs: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._compile = False

    def record(self, forward: bool) -> Tape:
        """A tape of the whole map, by way of `forward` or of `reverse`."""

        def function(*pieces: torch.Tensor) -> Found:
            return self._forward(pieces) if forward else self._reverse(pieces, None)

        return Tape.record(function, self._examples(self.inputs, ()))

    @property
    def recorded(self) -> bool:
        """Whether a tape is in use."""
        return self._tape is not None

    def adopt(self, tape: Tape, compile: bool) -> None:
        """Use a tape from now on."""
        self._tape, self._compile, self._runs = tape, compile, {}

    def forget_blocks(self, width: int) -> None:
        """Drop what was derived for blocks of so many rows."""
        self._runs = {key: run for key, run in self._runs.items() if key[-1] != (width,)}

    def add(
        self, V: torch.Tensor, out: torch.Tensor, inputs: Subset, outputs: Subset, width: int
    ) -> None:
        """Add the products of rows to `out`; `width` rows go together where there is a tape."""
        V, done = V.contiguous(), 0
        while self._tape is not None and 1 < width <= len(V) - done:
            rows = slice(done, done + width)
            run = self._run(self._tape, inputs, outputs, (width,))
            outputs.add(run(*inputs.split(V[rows])), out[rows])
            done += width
        for v, row in zip(V[done:], out[done:], strict=True):
            if self._tape is None:
                outputs.add(self._reverse(inputs.place(v), outputs.indices), row)
            else:
                outputs.add(self._run(self._tape, inputs, outputs, ())(*inputs.split(v)), row)

    def _run(
        self, tape: Tape, inputs: Subset, outputs: Subset, lead: tuple[int, ...]
    ) -> Callable[..., Any]:
        """What multiplies a vector, or a block, over these parts."""
        key = (inputs.indices, outputs.indices, lead)
        if key not in self._runs:
            if not (inputs.whole and outputs.whole):
                tape = tape.restricted(inputs.indices, outputs.indices)
            like = self._examples(inputs, lead)
            wide = self._widened(tape, like) if lead else tape
            if wide is None:
                self._runs[key] = partial(_row_by_row, tape)
            else:
                self._runs[key] = compiled_if_right(wide, like) if self._compile else wide
        return self._runs[key]

    def _widened(self, tape: Tape, like: list[torch.Tensor]) -> Tape | None:
        """The tape for blocks, if torch can make it and it gives what single rows give."""
        try:
            wide = tape.widened(like)
            generator = torch.Generator().manual_seed(0)
            pieces = [torch.randn(t.shape, generator=generator).to(t) for t in like]
            problem = disagreement(wide(*pieces), _row_by_row(tape, *pieces))
        except (RuntimeError, NotImplementedError) as error:
            if out_of_memory(error):
                raise
            problem = f"{type(error).__name__}: {str(error)[:200]}"
        if problem:
            self._notes.append(f"blocks go row by row: {problem}")
            return None
        return wide

    @staticmethod
    def _examples(layout: Layout, lead: tuple[int, ...]) -> list[torch.Tensor]:
        """Pieces as `split` gives them."""
        return layout.split(torch.zeros(*lead, layout.n, dtype=layout.dtype, device=layout.device))


def _row_by_row(tape: Tape, *blocks: torch.Tensor) -> list[torch.Tensor | None]:
    """What a tape gives for blocks, one row after the other."""
    found = zip(*(tape(*row) for row in zip(*blocks, strict=True)), strict=True)
    return [None if rows[0] is None else torch.stack(rows) for rows in found]
