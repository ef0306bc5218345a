"""The ways to compute a product, and the choice among them by measured cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from hessop import _graphs, _precision, _validation

KEPT, RECORDED, LINEARIZED = "kept", "recorded", "linearized"
FORWARD, REVERSE, DIFFERENCE = (
    "forward-over-reverse",
    "reverse-over-reverse",
    "finite-difference",
)
MODES = ("auto", KEPT, RECORDED, LINEARIZED, FORWARD, REVERSE, DIFFERENCE)

_STAGES = (KEPT, RECORDED, LINEARIZED)
# What a dearer way is expected to save before it was tried, of the time of a product. Measured:
# 35 to 50 percent with convolutions, whose second derivatives compute what nobody needs; 5 to 15
# without. A low guess waits longer where there is more to gain, and never pays for what is not
# earned back.
_HOPED = {RECORDED: 0.07, LINEARIZED: 0.05}
_HOPED_OF_CONVOLUTIONS = {RECORDED: 0.25, LINEARIZED: 0.3}
_HOPED_OF_BLOCKS = 0.2
# Below so many seconds a product on a GPU is mostly launches, which a CUDA graph does away with;
# what is captured is a tape.
_LAUNCHES, _HOPED_OF_GRAPHS = 0.02, {RECORDED: 0.5, LINEARIZED: 0.5}
# Seconds that recording takes, and for each node of the graph, found to be 1e-4 to 3e-4 on CPUs;
# by forward mode, which goes through more operations, three to four times that.
_SET_UP = {RECORDED: 0.03, LINEARIZED: 0.1}
_PER_NODE = {RECORDED: 2e-4, LINEARIZED: 8e-4}
MAX_WIDTH = 16
_TIMED = 5  # measurements of each way on a GPU
# The block that is tried first: wide ones take long to try, and are seldom faster where it is not.
_NARROW = 4


@dataclass
class Settings:
    """What the user asked for."""

    mode: str = "auto"
    block_size: int | None = None  # None: by measurement
    compile: bool = False
    budget: int | None = None  # None: by what is free
    progress: bool = False
    precision: str = "highest"
    cuda_graphs: bool | str = "auto"

    @property
    def keeps(self) -> bool:
        """Whether anything is kept between products."""
        return self.mode in ("auto", *_STAGES) and self.budget != 0


def settings(
    device: torch.device,
    *,
    mode: str,
    block_size: int | str,
    compile: bool,
    memory: int | str,
    progress: bool,
    precision: str,
    cuda_graphs: bool | str,
) -> Settings:
    """The gate of these arguments, for a model on some device."""
    _validation.choice("mode", mode, MODES)
    _validation.choice("compile", compile, (True, False))
    _validation.choice("progress", progress, (True, False))
    _validation.choice("precision", precision, _precision.LEVELS)
    _validation.choice("cuda_graphs", cuda_graphs, _graphs.SWITCH)
    width = None if block_size == "auto" else _validation.integer("block_size", block_size, 1)
    budget = None if memory == "auto" else _validation.integer("memory", memory, 0)
    for name, value in (("compile", compile), ("cuda_graphs", cuda_graphs)):
        if value is True and (mode not in ("auto", RECORDED, LINEARIZED) or budget == 0):
            raise ValueError(
                _validation.message(
                    name,
                    'be False where nothing is recorded (mode "recorded", "linearized" or "auto", '
                    "memory not 0)",
                    f"True with mode={mode!r}, memory={memory!r}",
                )
            )
    if cuda_graphs is True and not _graphs.possible(device):
        rule = 'be "auto" or False where the model is not on a CUDA device'
        raise ValueError(_validation.message("cuda_graphs", rule, f"True on {device}"))
    return Settings(mode, width, compile, budget, progress, precision, cuda_graphs)


@dataclass
class Planner:
    """
    Decides when a dearer way to multiply is earned back.

    A way that is not yet known is guessed to save a small part of a product; what it takes to set
    up is guessed from the size of the graph. Expected are as many products as a solver has
    announced, or as there have been so far.
    """

    settings: Settings
    on_gpu: bool = False  # where launches take time, and the host does not wait for what they do
    stage: str = KEPT
    width: int = 1
    seconds: dict[str, float] = field(default_factory=dict)  # per vector, by way
    setup: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    step: float | None = None  # of finite differences, once tuned
    error: float = 0.0  # and what they are wrong by
    _announced: int = 0
    _done: int = 0
    _refused: set[str] = field(default_factory=set)
    _guessed: dict[str, float] = field(default_factory=dict)  # seconds of set-up, by way
    _widths_tried: int = 1
    _uncapturable: bool = False
    _timed: dict[str, int] = field(default_factory=dict)  # measurements, by way

    def __post_init__(self) -> None:
        """An explicit mode or width needs no measurement."""
        self.restart()
        if self.settings.block_size is not None:
            self.width = self.settings.block_size

    def restart(self) -> None:
        """Begin with graphs that have just been built."""
        self._done = 0
        if self.settings.mode in (FORWARD, REVERSE, DIFFERENCE) and FORWARD not in self._refused:
            self.stage = self.settings.mode
        elif not self.settings.keeps:
            self.stage = REVERSE
        else:
            self.stage = KEPT

    def expect(self, vectors: int) -> None:
        """A solver will ask for so many products from now on."""
        self._announced = max(self._announced, vectors)

    def count(self, vectors: int, seconds: float | None) -> None:
        """So many vectors were multiplied, in so many seconds where everything was at hand."""
        self._done += vectors
        self._announced = max(0, self._announced - vectors)
        if seconds is not None and vectors:
            each = seconds / vectors
            self.seconds[self.stage] = min(each, self.seconds.get(self.stage, each))
            self._timed[self.stage] = self._timed.get(self.stage, 0) + 1

    @property
    def decided(self) -> bool:
        """Whether what to use was said beforehand."""
        s = self.settings
        captured = s.cuda_graphs is True
        return s.mode in (RECORDED, LINEARIZED) or s.compile or captured or (s.block_size or 1) > 1

    @property
    def launch_bound(self) -> bool:
        """Whether launches are to be captured in CUDA graphs."""
        wanted = self.settings.cuda_graphs
        if wanted == "auto":
            wanted = self.seconds.get(self.stage, _LAUNCHES) < _LAUNCHES
        return self.on_gpu and bool(wanted) and not self._uncapturable

    def refuse_graphs(self, why: str) -> None:
        """Do not try to capture again."""
        self._uncapturable = True
        self.notes.append(f"no CUDA graphs: {why}")

    @property
    def wants_time(self) -> bool:
        """
        Whether another measurement may change a decision.

        Of single vectors, or of blocks where the user has them; of a GPU, for which the host has
        to wait, a few times.
        """
        comparable = self.width == 1 or self.settings.block_size is not None
        return comparable and (not self.on_gpu or self._timed.get(self.stage, 0) < _TIMED)

    @property
    def _ahead(self) -> int:
        return self._announced or self._done

    def next_stage(self, nodes: int, convolves: bool = False) -> str | None:
        """The way to change to now, for graphs of so many nodes; None to stay."""
        hoped = _HOPED_OF_CONVOLUTIONS if convolves else _HOPED
        if self.launch_bound:
            hoped = _HOPED_OF_GRAPHS
        if self.stage not in _STAGES or self.settings.mode == KEPT:
            return None
        if self.decided:
            target = LINEARIZED if self.settings.mode == "auto" else self.settings.mode
            if target in self._refused:
                target = RECORDED
            return target if target not in (self.stage, *self._refused) else None
        for stage in reversed(_STAGES[_STAGES.index(self.stage) + 1 :]):
            if stage in self._refused or self.stage not in self.seconds:
                continue
            product = self.seconds[self.stage]
            # one product more to compare with, and one to warm up
            self._guessed[stage] = _SET_UP[stage] + _PER_NODE[stage] * nodes
            cost = self._guessed[stage] + 2 * product
            if self._ahead * product * hoped[stage] > cost:
                self.notes.append(
                    f"{stage}: {self._ahead} products expected of {product:.2g} s each; "
                    f"set-up guessed at {cost:.2g} s"
                )
                return stage
        return None

    def refuse(self, stage: str, why: str) -> None:
        """Do not try a way again."""
        self._refused.add(stage)
        self.notes.append(f"{stage} not used: {why}")

    def next_width(self, rows: int, fits: int) -> int | None:
        """The width of block to try now, for so many rows of which so many fit; None for none."""
        if self.stage == KEPT or self.settings.block_size is not None:
            return None
        # evenly, for what is left over goes row by row
        width = rows // max(1, -(-rows // min(fits, MAX_WIDTH)))
        if self._widths_tried == 1:
            width = min(width, _NARROW)
        elif self.width == 1:
            return None  # a narrow block was no faster
        if width <= self._widths_tried or self.stage not in self.seconds:
            return None
        product = self.seconds[self.stage]
        # what the first recording of a process took was mostly torch being imported
        setup = self.setup.get(self.stage, 0.0)
        cost = 2 * min(setup, self._guessed.get(self.stage, setup)) + 2 * width * product
        if self._ahead * product * _HOPED_OF_BLOCKS < cost:
            return None
        self._widths_tried = width
        return width

    def compare_width(self, width: int, single: float, block: float) -> None:
        """Choose a width by measured seconds per vector."""
        if block < 0.95 * single:
            self.width = width
        self.notes.append(
            f"blocks of {width} take {block / single:.2f} of single vectors: "
            + ("used" if self.width == width else "not used")
        )
