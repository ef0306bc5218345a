"""What the planner decides, from timings that are made up."""

from __future__ import annotations

import re

import pytest
import torch

from hessop.curvature.ways import (
    DIFFERENCE,
    FORWARD,
    KEPT,
    LINEARIZED,
    MAX_WIDTH,
    MODES,
    RECORDED,
    REVERSE,
    Planner,
    Settings,
    settings,
)

FRESH = (FORWARD, REVERSE, DIFFERENCE)
MODE_RULE = (
    "`mode` must be one of 'auto', 'kept', 'recorded', 'linearized', 'forward-over-reverse', "
    "'reverse-over-reverse', 'finite-difference'"
)


def planner(*, ahead=0, seconds=None, **how):
    """A planner that knows some timings and expects some products."""
    made = Planner(Settings(**how))
    made.expect(ahead)
    made.seconds.update(seconds or {})
    return made


def gate(device="cpu", **change):
    """The gate, with the defaults of what is not named."""
    how = {
        "mode": "auto",
        "block_size": "auto",
        "compile": False,
        "memory": "auto",
        "progress": False,
        "precision": "highest",
        "cuda_graphs": "auto",
    }
    return settings(torch.device(device), **(how | change))


class TestGate:
    @pytest.mark.parametrize("mode", MODES)
    def test_every_mode(self, mode):
        """With the defaults of the rest."""
        s = gate(mode=mode)
        assert s == Settings(mode, None, False, None, False, "highest", "auto")
        assert s.keeps == (mode not in FRESH)
        assert not gate(mode=mode, memory=0).keeps

    def test_the_rest(self):
        """As given."""
        how = {"block_size": 3, "compile": True, "memory": 10, "progress": True}
        found = gate(**how, precision="high", cuda_graphs=False)
        assert found == Settings("auto", 3, True, 10, True, "high", False)

    @pytest.mark.parametrize(
        ("change", "kind", "text"),
        [
            (
                {"mode": "fast"},
                ValueError,
                f"{MODE_RULE}; got 'fast'.",
            ),
            (
                {"mode": None},
                ValueError,
                f"{MODE_RULE}; got None.",
            ),
            (
                {"block_size": 0},
                ValueError,
                "`block_size` must be an integer >= 1; got 0.",
            ),
            (
                {"block_size": 1.5},
                TypeError,
                "`block_size` must be an integer >= 1; got 1.5.",
            ),
            (
                {"block_size": "all"},
                TypeError,
                "`block_size` must be an integer >= 1; got 'all'.",
            ),
            ({"memory": -1}, ValueError, "`memory` must be an integer >= 0; got -1."),
            ({"memory": 1e9}, TypeError, "`memory` must be an integer >= 0; got 1000000000.0."),
            ({"memory": "1GB"}, TypeError, "`memory` must be an integer >= 0; got '1GB'."),
            ({"compile": 1}, ValueError, "`compile` must be one of True, False; got 1."),
            ({"compile": "yes"}, ValueError, "`compile` must be one of True, False; got 'yes'."),
            ({"progress": None}, ValueError, "`progress` must be one of True, False; got None."),
            (
                {"precision": "tf32"},
                ValueError,
                "`precision` must be one of 'highest', 'high', 'medium'; got 'tf32'.",
            ),
            (
                {"cuda_graphs": "on"},
                ValueError,
                "`cuda_graphs` must be one of 'auto', True, False; got 'on'.",
            ),
            (
                {"cuda_graphs": True},
                ValueError,
                (
                    '`cuda_graphs` must be "auto" or False where the model is not on a CUDA '
                    "device; got True on cpu."
                ),
            ),
        ],
    )
    def test_messages(self, change, kind, text):
        """Name, rule and what came."""
        with pytest.raises(kind, match=f"^{re.escape(text)}$"):
            gate(**change)

    @pytest.mark.parametrize(
        ("mode", "memory"), [(KEPT, "auto"), *((m, "auto") for m in FRESH), ("auto", 0)]
    )
    @pytest.mark.parametrize("name", ["compile", "cuda_graphs"])
    def test_nothing_to_compile_or_capture(self, name, mode, memory):
        """Where nothing is recorded."""
        text = (
            f'`{name}` must be False where nothing is recorded (mode "recorded", "linearized" or '
            f'"auto", memory not 0); got True with mode={mode!r}, memory={memory!r}.'
        )
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            gate("cuda", mode=mode, memory=memory, **{name: True})

    @pytest.mark.parametrize("mode", ["auto", RECORDED, LINEARIZED])
    def test_something_to_compile_or_capture(self, mode):
        """Where something is."""
        found = gate("cuda", mode=mode, compile=True, memory=1, cuda_graphs=True)
        assert found.compile
        assert found.cuda_graphs is True


class TestGraphs:
    @pytest.mark.parametrize(
        ("on_gpu", "wanted", "seconds", "bound"),
        [
            (True, "auto", 1e-3, True),
            (True, "auto", 0.5, False),
            (True, True, 0.5, True),
            (True, False, 1e-3, False),
            (False, "auto", 1e-3, False),
        ],
    )
    def test_where_launches_take_the_time(self, on_gpu, wanted, seconds, bound):
        """On a GPU, where products are short, or always or never as the user has it."""
        known = Planner(Settings(cuda_graphs=wanted), on_gpu)
        assert known.launch_bound == (on_gpu and wanted is True)  # nothing is known yet
        known.seconds[KEPT] = seconds
        assert known.launch_bound == bound
        known.refuse_graphs("it waits for the host")
        assert not known.launch_bound
        assert known.notes == ["no CUDA graphs: it waits for the host"]

    def test_a_tape_is_earned_back_sooner(self):
        """For it can be captured."""
        chosen = []
        for on_gpu in (False, True):
            made = Planner(Settings(), on_gpu)
            made.expect(100)
            made.seconds[KEPT] = 1e-2
            chosen.append(made.next_stage(1000))
        assert chosen == [None, RECORDED]

    def test_the_host_waits_a_few_times_only(self):
        """Measuring a GPU makes it idle; on the CPU it costs nothing."""
        for on_gpu in (False, True):
            made = Planner(Settings(), on_gpu)
            for i in range(10):
                assert made.wants_time == (not on_gpu or i < 5)
                made.count(1, 1e-3)
            made.stage = RECORDED
            assert made.wants_time
            made.width = 4  # of its own choice: blocks are not compared with single vectors
            assert not made.wants_time
            assert planner(block_size=4).wants_time


class TestStart:
    @pytest.mark.parametrize("mode", ["auto", KEPT, RECORDED, LINEARIZED])
    def test_with_kept_graphs(self, mode):
        """Whatever is recorded later; or fresh ones, where nothing may be kept."""
        assert planner(mode=mode).stage == KEPT
        assert planner(mode=mode, budget=0).stage == REVERSE

    @pytest.mark.parametrize("mode", FRESH)
    def test_without(self, mode):
        """What was asked for."""
        assert planner(mode=mode).stage == mode
        assert planner(mode=mode, budget=0).stage == mode

    def test_again(self):
        """From the beginning when graphs are built anew; what was refused stays so."""
        p = planner()
        p.stage = LINEARIZED
        p.restart()
        assert p.stage == KEPT
        p = planner(mode=FORWARD)
        p.refuse(FORWARD, "no formula")
        p.restart()
        assert p.stage == REVERSE

    def test_a_width_that_was_asked_for(self):
        """From the first product on."""
        assert planner(block_size=5).width == 5
        assert planner().width == 1


class TestCounting:
    def test_the_shortest_time_by_way(self):
        """Per vector."""
        p = planner()
        p.count(4, 2.0)
        assert p.seconds == {KEPT: 0.5}
        p.count(1, 0.25)
        p.count(1, 0.75)
        p.count(10, None)
        assert p.seconds == {KEPT: 0.25}
        p.stage = RECORDED
        p.count(1, 0.1)
        assert p.seconds == {KEPT: 0.25, RECORDED: 0.1}

    def test_no_vectors_take_no_time(self):
        """A block of none says nothing about speed."""
        p = planner()
        p.count(0, 0.0)
        assert p.seconds == {}

    def test_what_is_ahead(self):
        """What was announced and not yet done, or else as much as was done."""
        p = planner()
        assert p._ahead == 0
        p.count(3, None)
        assert p._ahead == 3
        p.expect(100)
        assert p._ahead == 100
        p.expect(20)  # a solver within a solver
        assert p._ahead == 100
        p.count(60, None)
        assert p._ahead == 40
        p.count(50, None)
        assert p._ahead == 113

    def test_a_short_life_is_expected_of_graphs_that_did_not_live_long(self):
        """A model that is trained on: each of its states sees few products, as those before."""
        p = planner(seconds={KEPT: 1e-2})
        for _ in range(10**5):  # two products after each step, for ever
            p.restart()
            p.count(2, None)
        assert p.next_stage(1000) is None


class TestStages:
    def test_nothing_is_known_at_first(self):
        """Neither time nor number."""
        assert planner().next_stage(100) is None
        assert planner(ahead=10**6).next_stage(100) is None
        assert planner(seconds={KEPT: 1.0}).next_stage(100) is None

    def test_many_products_earn_it_back(self):
        """The dearest way first; why is noted."""
        p = planner(ahead=10**6, seconds={KEPT: 1e-2})
        assert p.next_stage(100) == LINEARIZED
        assert len(p.notes) == 1
        assert p.notes[0].startswith("linearized: 1000000 products expected of 0.01 s each; set-up")
        p.refuse(LINEARIZED, "slow")
        assert p.next_stage(100) == RECORDED
        p.refuse(RECORDED, "slow")
        assert p.next_stage(100) is None

    def test_few_do_not(self):
        """Set-up takes longer than all that can be saved."""
        assert planner(ahead=10, seconds={KEPT: 1e-2}).next_stage(100) is None

    def test_it_depends_on_number_time_and_size(self):
        """More of the first two are for it, more nodes against; recording begins earlier."""

        def least(**how):
            """The fewest products for which something is recorded."""
            found = {}
            for ahead in range(1, 20_000, 7):
                p = planner(ahead=ahead, seconds={KEPT: how["product"]})
                stage = p.next_stage(how["nodes"])
                if stage is not None:
                    found.setdefault(stage, ahead)
            return found

        usual = least(product=1e-2, nodes=1000)
        assert usual[RECORDED] < usual[LINEARIZED]
        slow, large = least(product=1e-1, nodes=1000), least(product=1e-2, nodes=3000)
        for stage in (RECORDED, LINEARIZED):
            assert slow[stage] < usual[stage] < large[stage]

    def test_convolutions_save_more(self):
        """What a few products without them do not earn back, they do."""
        how = {"ahead": 20, "seconds": {KEPT: 5e-2}}
        assert planner(**how).next_stage(100) is None
        assert planner(**how).next_stage(100, convolves=True) == LINEARIZED

    def test_from_recorded_to_linearized(self):
        """By what a recorded product takes; never back."""
        p = planner(ahead=10**6, seconds={KEPT: 1.0})
        p.stage = RECORDED
        assert p.next_stage(100) is None  # not yet measured
        p.seconds[RECORDED] = 0.5
        assert p.next_stage(100) == LINEARIZED
        p.stage = LINEARIZED
        p.seconds[LINEARIZED] = 0.4
        assert p.next_stage(100) is None

    @pytest.mark.parametrize("mode", [KEPT, *FRESH])
    def test_modes_that_stay(self, mode):
        """However many products there are."""
        p = planner(mode=mode, ahead=10**9, seconds={mode: 1.0})
        assert p.next_stage(1) is None
        assert not p.decided

    def test_nothing_kept(self):
        """Nothing to record."""
        assert planner(ahead=10**9, seconds={REVERSE: 1.0}, budget=0).next_stage(1) is None

    @pytest.mark.parametrize("mode", [RECORDED, LINEARIZED])
    def test_modes_that_are_decided(self, mode):
        """At once, without a measurement; linearised falls back to recorded, recorded to kept."""
        p = planner(mode=mode)
        assert p.decided
        assert p.next_stage(10**9) == mode
        p.refuse(mode, "cannot")
        assert p.next_stage(10**9) == (RECORDED if mode == LINEARIZED else None)
        p.stage = RECORDED
        assert p.next_stage(10**9) is None
        assert p.notes == [f"{mode} not used: cannot"]

    @pytest.mark.parametrize("how", [{"compile": True}, {"block_size": 2}])
    def test_what_needs_a_tape_decides(self, how):
        """The best one there is."""
        p = planner(**how)
        assert p.decided
        assert p.next_stage(1) == LINEARIZED
        p.stage = LINEARIZED
        assert p.next_stage(1) is None

    def test_a_width_of_one_decides_nothing(self):
        """It needs no tape."""
        assert not planner(block_size=1).decided
        assert not planner().decided


class TestWidths:
    def known(self, **how):
        """A planner with a tape that pays."""
        p = planner(ahead=10**6, seconds={RECORDED: 1e-2}, **how)
        p.stage = RECORDED
        p.setup[RECORDED] = 0.1
        return p

    @pytest.mark.parametrize(
        ("rows", "fits", "narrow", "width"),
        [
            (2, 99, 2, None),
            (3, 99, 3, None),
            (10, 99, 4, 10),
            (15, 99, 4, 15),
            (20, 99, 4, 10),
            (10**6, 99, 4, MAX_WIDTH),
            (99, 5, 4, None),
        ],
    )
    def test_even_parts_that_fit(self, rows, fits, narrow, width):
        """A narrow block first; then no more than there are rows, than fit, than the largest."""
        p = self.known()
        assert p.next_width(rows, fits) == narrow
        p.compare_width(narrow, 1.0, 0.5)
        assert p.next_width(rows, fits) == width

    def test_a_narrow_block_that_is_no_faster(self):
        """Ends it."""
        p = self.known()
        p.compare_width(p.next_width(10, 99), 1.0, 1.0)
        assert p.next_width(10, 99) is None

    @pytest.mark.parametrize(("rows", "fits"), [(1, 99), (99, 1)])
    def test_one_is_no_block(self, rows, fits):
        """Nothing to try."""
        assert self.known().next_width(rows, fits) is None

    def test_what_a_first_recording_took(self):
        """Does not count: torch was imported in it."""
        p = planner(ahead=1000, seconds={KEPT: 1e-2, RECORDED: 1e-2, LINEARIZED: 1e-2})
        assert p.next_stage(nodes=100) == LINEARIZED
        p.stage, p.setup = LINEARIZED, {LINEARIZED: 100.0}
        assert p.next_width(10, 99) == 4
        p = planner(ahead=1000, seconds={LINEARIZED: 1e-2}, mode=LINEARIZED)
        p.stage, p.setup = LINEARIZED, {LINEARIZED: 100.0}
        assert p.next_width(10, 99) is None

    def test_once(self):
        """A width is tried once, a larger one again."""
        p = self.known()
        assert p.next_width(4, 99) == 4
        assert p.next_width(4, 99) is None
        assert p.next_width(2, 99) is None
        p.compare_width(4, 1.0, 0.5)
        assert p.next_width(8, 99) == 8

    def test_only_with_a_tape(self):
        """Graphs take one row at a time."""
        p = self.known()
        p.stage = KEPT
        p.seconds[KEPT] = 1.0
        assert p.next_width(8, 99) is None

    def test_only_if_it_pays(self):
        """Few products, or a dear set-up, do not."""
        p = self.known()
        p._announced = 10
        assert p.next_width(8, 99) is None
        p = self.known()
        p.setup[RECORDED] = 1e9
        assert p.next_width(8, 99) is None
        p = self.known()
        del p.seconds[RECORDED]
        assert p.next_width(8, 99) is None

    def test_not_if_it_was_said(self):
        """An explicit width stays."""
        assert self.known(block_size=1).next_width(8, 99) is None

    @pytest.mark.parametrize(
        ("block", "width", "note"),
        [
            (0.5, 8, "blocks of 8 take 0.50 of single vectors: used"),
            (0.94, 8, "blocks of 8 take 0.94 of single vectors: used"),
            (0.96, 1, "blocks of 8 take 0.96 of single vectors: not used"),
            (2.0, 1, "blocks of 8 take 2.00 of single vectors: not used"),
        ],
    )
    def test_the_faster_is_used(self, block, width, note):
        """If it is faster by more than what a measurement is uncertain by."""
        p = self.known()
        p.compare_width(8, 1.0, block)
        assert p.width == width
        assert p.notes == [note]


def test_what_is_refused_is_noted():
    """With the reason."""
    p = planner()
    p.refuse(RECORDED, "RuntimeError: no")
    assert p.notes == ["recorded not used: RuntimeError: no"]
