"""
The benchmarks' harness: what it times, how it compares, and what it makes of misses.
"""

from __future__ import annotations

import gc
import itertools
import math
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.__main__ import main
from benchmarks.bounds import BOUNDS, REFERENCE_UNIT, Bound, target
from benchmarks.chart import chart
from benchmarks.machine import machine, versions
from benchmarks.report import closing, page, table
from benchmarks.results import HELD, MET, MISSED, Result, duration, overhead, whole
from benchmarks.runner import QUESTIONS, QUICK, REPEATS, ask_all, missed
from benchmarks.stopwatch import Case, Stopwatch


class Hand:
    """
    A clock's hand that only calls move.
    """

    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at

    def call(self, *costs, is_async=False, error=None):
        """
        Return a function whose calls take *costs* seconds, in turns, and then raise *error* if one is given.
        """
        turns = itertools.cycle(costs)

        def take(_):
            self.at += next(turns)
            if error is not None:
                raise error

        async def atake(_):
            take(_)

        return atake if is_async else take


@pytest.fixture
def hand():
    """
    Return a clock's hand at 0.
    """
    return Hand()


def references(hand):
    """
    Return a bare call of 10 seconds and a closure that adds 2, and of 20 and 5 for async ones.
    """
    costs = {False: (10.0, 12.0), True: (20.0, 25.0)}
    return {
        is_async: tuple(
            Case(name, hand.call(cost, is_async=is_async), is_async, count=1, samples=1)
            for name, cost in zip(("bare", "closure"), pair, strict=True)
        )
        for is_async, pair in costs.items()
    }


@pytest.fixture
def watch(hand):
    """
    Return a stopwatch of three rounds that reads the hand.
    """
    watch = Stopwatch(3, timer=hand, references=references(hand))
    yield watch
    watch.close()


@pytest.mark.parametrize("error", [None, KeyError("x")])
def test_time_is_per_call(watch, hand, colour, error):
    """
    A race tells the seconds of one call, whatever its colour, returning or raising.
    """
    raises = None if error is None else KeyError
    call = hand.call(0.5, is_async=colour.is_async, error=error)
    case = Case("one", call, colour.is_async, raises, count=8, samples=1)

    assert watch.race("r", [case]).seconds == {"one": 0.5}


def test_an_error_that_was_not_announced_ends_the_race(watch, hand):
    """
    A case that raises something else is broken, and is not timed as if it were not.
    """
    case = Case("broken", hand.call(1.0, error=KeyError("x")), raises=ValueError, count=1, samples=1)

    with pytest.raises(KeyError):
        watch.race("r", [case])


def test_best_round_counts(watch, hand):
    """
    Of several rounds the fastest is kept: other programs only make a sample slower.
    """
    case = Case("one", hand.call(9.0, 3.0, 7.0), count=1, samples=1)

    assert watch.race("r", [case]).seconds == {"one": 3.0}


def test_further_rounds_improve_a_race_and_never_worsen_it(watch, hand):
    """
    A race run again under its name goes on; a case of that name in another race is another one.
    """
    first = watch.race("r", [Case("one", hand.call(4.0), count=1, samples=1)]).seconds["one"]
    slower = watch.race("r", [Case("one", hand.call(6.0), count=1, samples=1)]).seconds["one"]
    faster = watch.race("r", [Case("one", hand.call(2.0), count=1, samples=1)]).seconds["one"]
    other = watch.race("s", [Case("one", hand.call(6.0), count=1, samples=1)]).seconds["one"]

    assert (first, slower, faster, other) == (4.0, 4.0, 2.0, 6.0)


def test_cases_take_turns(hand):
    """
    In each round every case runs once, the references first.
    """
    order = []
    watch = Stopwatch(2, timer=hand, references=references(hand))
    watch.race("r", [Case(name, lambda _, name=name: order.append(name), count=1, samples=1) for name in "ab"])
    watch.close()

    assert order == ["a", "b", "a", "b"]


def test_a_round_takes_as_many_samples_as_a_case_asks_for(hand):
    """
    Short cases are sampled several times a round, long ones need not be.
    """
    order = []
    watch = Stopwatch(1, timer=hand, references=references(hand))
    watch.race(
        "r",
        [Case(name, lambda _, name=name: order.append(name), count=1, samples=n) for name, n in (("a", 3), ("b", 1))],
    )
    watch.close()

    assert order == ["a", "b", "a", "a"]


def test_unit_is_what_a_closure_adds_by_colour(watch, hand):
    """
    The unit is the closure's time less the bare call's, for each colour that takes part.
    """
    cases = [
        Case("one", hand.call(1.0), count=1, samples=1),
        Case("two", hand.call(1.0, is_async=True), True, count=1, samples=1),
    ]
    race = watch.race("r", cases)

    assert race.unit == {False: 2.0, True: 5.0}
    assert (watch.unit(is_async=False), watch.unit(is_async=True)) == (2.0, 5.0)


def test_unit_is_unknown_before_a_race(watch):
    """
    There is no unit of a colour that nothing was timed in.
    """
    assert math.isnan(watch.unit(is_async=False))


def test_collector_is_off_while_times_are_taken_and_on_again_after(watch, hand):
    """
    The garbage collector runs between rounds, never in a sample.
    """
    seen = []
    watch.race("r", [Case("one", lambda _: seen.append(gc.isenabled()), count=1, samples=1)])

    assert (seen, gc.isenabled()) == ([False] * 3, True)


def test_preparation_is_not_timed(watch, hand):
    """
    What has to be done before a sample takes none of its time.
    """
    case = Case("one", hand.call(1.0), count=1, prepare=lambda: hand.call(100.0)(1))

    assert watch.race("r", [case]).seconds == {"one": 1.0}


def test_overhead_is_over_the_bare_call_and_whole_is_not(watch, hand):
    """
    An overhead leaves the bare call out; a whole call does not; both are in units of its colour.
    """
    sync, coloured = (
        Case(f"{colour}", hand.call(30.0, is_async=colour), colour, count=1, samples=1) for colour in (False, True)
    )
    race = watch.race("r", [sync, coloured])

    assert [overhead(race, one).value for one in (sync, coloured)] == [10.0, 2.0]
    assert [whole(race, one).value for one in (sync, coloured)] == [15.0, 6.0]
    assert [whole(race, one).seconds for one in (sync, coloured)] == [30.0, 30.0]


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.0, MET), (2.0, MET), (2.1, HELD), (3.0, HELD), (3.1, MISSED), (math.nan, MISSED)]
)
def test_verdict_stands_by_target_and_held_bound(monkeypatch, value, verdict):
    """
    Up to the target is met, up to the held bound is held, and above, or nothing at all, is missed.
    """
    monkeypatch.setitem(BOUNDS, "x", Bound(2.0, held=3.0))

    assert Result("subject", value, bound="x").verdict == verdict


def test_without_a_held_bound_everything_over_the_target_is_missed(monkeypatch):
    """
    A target that is met today has no other bound.
    """
    monkeypatch.setitem(BOUNDS, "x", Bound(2.0))

    assert Result("subject", 2.1, bound="x").verdict == MISSED


def test_times_are_bounded_as_multiples_of_the_unit():
    """
    A target of 6.8 us is 100 units of 68 ns: on a machine half as fast it is 13.6 us.
    """
    assert target(REFERENCE_UNIT[False] * 1e6 * 100).at_most == pytest.approx(100.0)
    assert target(REFERENCE_UNIT[True] * 1e6 * 100, is_async=True).at_most == pytest.approx(100.0)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_held_bounds_are_above_their_targets(name):
    """
    A held bound is for a missed target only.
    """
    bound = BOUNDS[name]

    assert bound.held is None or bound.held > bound.at_most


def test_every_bound_is_asked_for():
    """
    Each bound of the table is named by some question, so that none is checked by nobody.
    """
    source = "".join(Path(question.__file__).read_text(encoding="utf-8") for question in QUICK)
    stems = {name.removesuffix(", sync").removesuffix(", async") for name in BOUNDS}

    assert [stem for stem in sorted(stems) if f'"{stem}' not in source] == []


class FakeQuestion:
    """
    A question whose answers get better with every asking.
    """

    QUESTION = "fake"

    def __init__(self, *values, measure="units"):
        self.values = list(values)
        self.measure = measure
        self.asked = []

    def ask(self, watch, *, with_peers):
        self.asked.append(with_peers)
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        results = [Result("ours", value, self.measure, bound="x")]
        return [*results, Result("theirs", 9.0, who="peer")] if with_peers else results


@pytest.fixture
def bound_x(monkeypatch):
    """
    Bound what is called x at 2.
    """
    monkeypatch.setitem(BOUNDS, "x", Bound(2.0))


@pytest.mark.usefixtures("bound_x")
def test_a_question_is_asked_again_until_its_bounds_are_met():
    """
    A busy machine is given more rounds; peers are asked once.
    """
    question = FakeQuestion(5.0, 3.0, 1.5)
    answers = ask_all([question], None, with_peers=True, tell=list)

    assert question.asked == [True, False, False]
    assert [(one.subject, one.value) for one in answers["fake"]] == [("ours", 1.5), ("theirs", 9.0)]
    assert missed(answers) == []


@pytest.mark.usefixtures("bound_x")
def test_a_bound_that_is_missed_again_and_again_is_named():
    """
    After so many repeats a miss is a miss, and its question and subject are told.
    """
    question = FakeQuestion(5.0)
    answers = ask_all([question], None, with_peers=False, tell=list)

    assert len(question.asked) == 1 + REPEATS
    assert missed(answers) == ["fake: ours"]


@pytest.mark.usefixtures("bound_x")
def test_sizes_are_measured_once():
    """
    More rounds make no size smaller.
    """
    question = FakeQuestion(5.0, measure="KiB")
    ask_all([question], None, with_peers=False, tell=list)

    assert question.asked == [False]


def test_report_tells_met_held_and_missed(monkeypatch):
    """
    Table and closing lines name each bound's standing, the target beside what is held.
    """
    monkeypatch.setitem(BOUNDS, "x", Bound(2.0, told="3 us", held=4.0))
    answers = {"q": [Result(name, value, bound="x") for name, value in (("good", 1.0), ("so-so", 3.0), ("bad", 5.0))]}
    lines = [line.split() for line in table("q", answers["q"])]
    told = list(closing(answers))

    assert " ".join(lines[2]) == "so-so 3.00 units at most 2.00 (3 us) target missed, held at 4.00"
    assert " ".join(lines[1]).endswith("met: bounds.py need not hold it any more")
    assert told[1] == "1 of 3 bounds met, 1 targets missed but held, 1 missed"
    assert told[2:] == [
        "target missed, held: q: so-so: 3.00 units, at most 2.00 (3 us)",
        "MISSED: q: bad: 5.00 units, at most 2.00 (3 us)",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (2.5, "2.50 s"),
        (0.0123, "12.3 ms"),
        (1.5e-6, "1.50 us"),
        (104e-9, "104 ns"),
        (-0.2e-9, "0 ns"),
        (150.0, "150 s"),
    ],
)
def test_times_are_shown_in_the_unit_that_suits_them(seconds, shown):
    """
    People read 12.3 ms and 104 ns, not 0.0123 and 1.04e-07.
    """
    assert duration(seconds) == shown


@pytest.mark.usefixtures("bound_x")
def test_page_holds_every_question(watch, hand):
    """
    The results page has the machine, the versions, and a table for each question that was asked.
    """
    watch.race("r", [Case("one", hand.call(1.0), count=1, samples=1)])
    asked = QUESTIONS[:2]
    text = page(asked, {one.QUESTION: [Result("a | b", 1.0, bound="x")] for one in asked}, watch)

    assert machine() in text
    assert f"resilient-aspects {version('resilient-aspects')}" in text
    assert versions()["tenacity"] == version("tenacity")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [f"## {one.QUESTION}" for one in asked]
    assert "| a \\| b | resilient | 1.00 units |  | 2.00 | met |" in text


def test_chart_is_xml_with_a_bar_for_each_row():
    """
    The chart shows the dearest of ours for each bound and colour, and every peer, cheap ones first.
    """
    results = [
        Result("@retry, sync", 1.5, bound="one policy"),
        Result("@circuit, sync", 1.6, bound="one policy"),
        Result("all five, async", 1.4, bound="five policies"),
        Result("dear & slow", 150.0, who="peer"),
        Result("cheap", 6.0, who="peer"),
    ]
    root = ET.fromstring(chart(results))  # noqa: S314 - text that this very line has made
    svg = "{http://www.w3.org/2000/svg}"
    labels = [text.text for text in root.iter(f"{svg}text") if text.get("text-anchor") == "end"]

    assert labels == ["resilient: @circuit, sync", "resilient: all five, async", "cheap", "dear & slow"]
    assert len(list(root.iter(f"{svg}rect"))) == len(labels)


def test_main_returns_1_and_names_what_is_missed(monkeypatch, capsys):
    """
    A missed bound makes the run fail, and the last lines say which.
    """
    monkeypatch.setitem(BOUNDS, "x", Bound(2.0))
    monkeypatch.setattr("benchmarks.__main__.QUICK", (FakeQuestion(5.0),))

    assert main(["--quick"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "MISSED: fake: ours: 5.00 units, at most 2.00"


def test_main_returns_0_when_all_bounds_are_met(monkeypatch, tmp_path):
    """
    A quick run that meets its bounds succeeds, and writes nothing.
    """
    monkeypatch.setitem(BOUNDS, "x", Bound(2.0))
    monkeypatch.setattr("benchmarks.__main__.QUICK", (FakeQuestion(1.0),))
    monkeypatch.setattr("benchmarks.__main__.PAGE", tmp_path / "RESULTS.md")

    assert main(["--quick"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_main_writes_page_and_chart_after_a_full_run(monkeypatch, tmp_path):
    """
    A full run leaves the results page and the chart.
    """
    question = FakeQuestion(1.0)
    question.QUESTION = "success"
    monkeypatch.setitem(BOUNDS, "x", Bound(2.0))
    monkeypatch.setattr("benchmarks.__main__.QUESTIONS", (question,))
    monkeypatch.setattr("benchmarks.__main__.PAGE", tmp_path / "RESULTS.md")
    monkeypatch.setattr("benchmarks.__main__.CHART", tmp_path / "assets" / "overhead.svg")

    assert main([]) == 0
    assert "## success" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert (tmp_path / "assets" / "overhead.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.QUESTION)
def test_questions_are_named_after_their_files(question):
    """
    One file per question, and its name is the question's.
    """
    assert question.__name__ == f"benchmarks.{question.QUESTION}"


def test_peers_that_are_not_installed_are_passed_over(monkeypatch):
    """
    The benchmarks run with the core's dependencies alone.
    """
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name not in {"tenacity", "pybreaker"} else name)

    assert set(peers.installed()) == {"tenacity", "pybreaker"}
    assert {who for who, _ in peers.success(is_async=False)} == {"tenacity", "pybreaker", "tenacity + pybreaker"}
    assert {who for who, _ in peers.success(is_async=True)} == {"tenacity"}


def test_reference_machine_is_stated_for_both_colours():
    """
    Targets that are times can be turned into units for sync and async calls.
    """
    assert sorted(REFERENCE_UNIT) == [False, True]
