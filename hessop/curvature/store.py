"""The batches of a data set: which are kept between products, which made for the occasion."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from hessop import _memory, _validation
from hessop._progress import shown
from hessop.curvature import microbatch
from hessop.curvature.data import Batches, tensors
from hessop.curvature.dropout import refuse_dropout
from hessop.curvature.graph import nodes
from hessop.curvature.kept import KeptMap
from hessop.curvature.local import Local
from hessop.curvature.objective import Objective
from hessop.curvature.state import Snapshot
from hessop.curvature.ways import Settings

Make = Callable[[Objective, Any, list[torch.Tensor], int], Local]
"""A batch's linear map: of objective, batch, stand-ins, place in the stream of random numbers."""


@dataclass
class Held:
    """
    A batch at hand.

    Attributes
    ----------
    local : Local
        Its linear map.
    number : int
        Its place among the batches.
    maps : dict of str to KeptMap
        What multiplies, by what a product calls it.
    nbytes, nodes : int
        Memory that is kept of it, and the size of its graph; 0 for a batch made for the occasion.
    convolves : bool
        Whether there are convolutions in that graph.
    """

    local: Local
    number: int
    maps: dict[str, KeptMap] = field(default_factory=dict)
    nbytes: int = 0
    nodes: int = 0
    convolves: bool = False


class Store:
    """
    All batches, of which those that fit into the budget are kept.

    When the model or the data of a kept batch has changed, everything is built anew.
    """

    def __init__(
        self,
        objective: Objective,
        data: Batches,
        make: Make,
        settings: Settings,
        checked: bool = False,
        *,
        divisible: bool = True,
    ) -> None:
        self._checked = checked
        self._divisible = divisible
        self.objective = objective
        self.data = data
        self.settings = settings
        self._make = make
        self._keep = settings.keeps
        self._cut_all = 1
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what was built from the model: graphs neither pickle nor copy."""
        state = self.__dict__.copy()
        for name in ("held", "_watched", "_leaves", "built_from", "_totals"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start without graphs."""
        self.__dict__.update(state)
        self.forget()

    def forget(self) -> None:
        """Drop everything that was built from the model."""
        self.held: dict[int, Held] = {}
        self._watched: list[torch.Tensor] = []  # tensors of the kept batches
        self._leaves: list[torch.Tensor] = []
        self.built_from: Snapshot | None = None
        self._cuts: dict[int, int] = {}
        self._totals: dict[int, torch.Tensor | None] = {}  # of batches that are to be cut
        self._starts: dict[int, int] = {0: 0}
        self._room = 0
        self.complete = False
        self.batches = 0
        self.count = 0.0
        self._counted = 0.0

    def refresh(self) -> Callable[[], bool]:
        """
        Forget what no longer holds.

        Values on a GPU are asked for, not waited for: the function that is given back says
        whether what is computed from now on was worth computing.
        """
        if self.built_from is not None and self.built_from.holds():
            return self.built_from.asked()
        self.forget()
        if self._checked:  # modules may be in another mode than when the model was checked
            refuse_dropout(self.objective.model)
        return lambda: True

    def leaves(self) -> list[torch.Tensor]:
        """The stand-ins for the parameters, the same as long as the model is."""
        if not self._leaves:
            self._leaves = self.objective.leaves()
        return self._leaves

    @property
    def nodes(self) -> int:
        """How many nodes the graphs that are kept have."""
        return sum(held.nodes for held in self.held.values())

    @property
    def convolves(self) -> bool:
        """Whether there are convolutions in them."""
        return any(held.convolves for held in self.held.values())

    @property
    def recorded(self) -> bool:
        """Whether all batches are kept, as tapes."""
        maps = [m for held in self.held.values() for m in held.maps.values()]
        return self.complete and bool(maps) and all(m.recorded for m in maps)

    @property
    def kept_bytes(self) -> int:
        """Memory that is held between products."""
        return sum(h.nbytes for h in self.held.values())

    @property
    def room(self) -> int:
        """Bytes that may still be held."""
        return max(0, self._room - self.kept_bytes)

    def visit(self, work: Callable[[Held], None]) -> None:
        """
        Do `work` on every batch: those kept, then those made for the occasion.

        The batches are handed to a function, not yielded, so that no loop variable holds on to
        one while the next is built.
        """
        count = 0.0
        for held in shown(list(self.held.values()), self.settings.progress):
            work(held)
            count += held.local.count
        if not self.complete:
            count += self._visit_missing(work)
        if count == 0:
            raise ValueError(_validation.message("data", "hold at least one example", "none"))
        self.count = count

    def _visit_missing(self, work: Callable[[Held], None]) -> float:
        """One pass over the batches that are not kept; the first pass decides which are."""
        first = self.built_from is None
        leaves = self.leaves()
        if first:
            self._room = self._budget()
        before, number = self._counted, -1
        for number, batch in shown(self.data.missing(self.held), self.settings.progress):
            held = self._work_on(number, batch, leaves, work)
            if first and self._keep and held is not None:
                self._keep_if_it_fits(number, batch, held)
            del held
        if first:
            self.batches = number + 1
            self.complete = len(self.held) == self.batches
            self.built_from = Snapshot(self.objective, self._watched)
        return self._counted - before

    def _keep_if_it_fits(self, number: int, batch: Any, held: Held) -> None:
        held.nbytes = held.local.nbytes()
        names = [node.name() for node in nodes(held.local.roots())]
        held.nodes = len(names)
        held.convolves = any("Convolution" in name for name in names)
        if held.nbytes <= self.room:
            self.held[number] = held
            self._watched += tensors(batch)
        elif self._divisible and self.settings.budget and held.nbytes > self.settings.budget:
            model, budget = self.objective.model, self.settings.budget
            self._cuts[number] = microbatch.count_for(model, batch, held.nbytes, budget)
            self._totals[number] = held.local.total

    def _work_on(
        self, number: int, batch: Any, leaves: list[torch.Tensor], work: Callable[[Held], None]
    ) -> Held | None:
        """Do `work` on one batch, in one piece, which is given back, or several."""
        start, held, totals = self._starts[number], None, []
        if self._cut_all > 1 and number not in self._totals:
            self._totals[number] = self._total(batch, leaves)
        for piece in self.pieces(number, batch):
            held = Held(self._make(self.objective, piece, leaves, start), number)
            work(held)
            self._counted += held.local.count
            start += held.local.drawn
            totals.append(held.local.total)
        self._starts[number + 1] = start
        if len(totals) > 1 and (whole := self._totals.get(number)) is not None:
            microbatch.check_sum(whole, totals)
            self._totals[number] = None  # once is enough
        return held if len(totals) == 1 else None

    def _total(self, batch: Any, leaves: list[torch.Tensor]) -> torch.Tensor | None:
        """The sum of losses of a whole batch, without its graph; None if even that does not fit."""
        try:
            with torch.no_grad():
                return self.objective.term(batch, leaves).total
        except (RuntimeError, MemoryError) as error:
            if not _memory.out_of_memory(error):
                raise
            return None

    def pieces(self, number: int, batch: Any) -> Iterator[Any]:
        """A batch as it is computed: in one piece, or several."""
        cuts = max(self._cuts.get(number, 1), self._cut_all)
        if cuts == 1:
            yield batch
        else:
            yield from microbatch.cut(self.objective.model, batch, cuts)

    def _budget(self) -> int:
        """Bytes that may be held between products."""
        if self.settings.budget is not None:
            return self.settings.budget
        return _memory.available_bytes(self.objective.space.device) // 2

    def step_down(self) -> bool:
        """After running out of memory: ask for less, and say so. False when nothing is left."""
        if self._keep and self.held:
            self._keep = False
            what = "nothing is kept between products from now on"
        elif self._divisible and self._cut_all < microbatch.MOST:
            microbatch.check_cuttable(self.objective.model)
            self._cut_all *= 2
            what = f"each batch is computed in {self._cut_all} pieces from now on"
        else:
            return False
        self.forget()
        warnings.warn(f"Out of memory: {what}. memory= sets a limit.", RuntimeWarning, 2)
        return True
