# ruff: noqa: SLF001 - what is kept, and which locks are held, can only be seen from within
import asyncio
import contextlib
import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from resilient.control import overrides
from resilient.control.degradation import GracefulDegradation
from resilient.control.overrides import at_level
from resilient.errors import PolicyError
from resilient.events import LevelChanged
from resilient.levels import DegradationLevel as Level
from tests.harness import held, in_fork, may_fork, needs_fork, shown


class Owner:
    def __init__(self, scope):
        self.scope = scope
        self.seen = []
        scope.attach(self)

    def refresh(self):
        self.seen.append(self.scope.is_full)


@pytest.fixture
def events():
    """
    Return the list that `degradation` emits to.
    """
    return []


@pytest.fixture
def degradation(clock, events):
    """
    Return levels on that clock.
    """
    return GracefulDegradation(clock=clock, emit=events.append)


def told(events):
    """
    Return what events tell, without what is common to all.
    """
    return [(event.scope, event.previous.label, event.level.label, event.reason, event.by) for event in events]


# -- by hand -------------------------------------------------------------------


def test_levels_by_hand(degradation):
    """
    By hand, degrade and restore go one level down and up, stop at the ends, and return the new name.
    """
    down = [degradation.degrade() for _ in range(6)]
    up = [degradation.restore() for _ in range(6)]

    assert down == ["high", "medium", "low", "minimal", "minimal", "minimal"]
    assert up == ["low", "medium", "high", "full", "full", "full"]


@pytest.mark.parametrize("level", ["medium", "MEDIUM", Level.MEDIUM])
def test_set_level(degradation, level):
    """
    A level is set by its name or itself, by method or attribute.
    """
    assert degradation.set_level(level) == "medium"
    assert degradation.level is Level.MEDIUM
    degradation.current_level = "low"
    assert degradation.current_level == "low"


def test_no_such_level(degradation):
    """
    What is no level is refused with the list of levels.
    """
    with pytest.raises(PolicyError, match=r"'best' is no service level.*'medium'"):
        degradation.set_level("best")
    with pytest.raises(PolicyError, match="no service level"):
        at_level(0.8)


def test_events(degradation, events, clock):
    """
    Every change is an event with its reason; where nothing changed there is none.
    """
    degradation.degrade("High error rate")
    degradation.set_level("high")
    degradation.scope("video").set_level("low", reason="busy")
    degradation.restore(ValueError("odd"))

    assert told(events) == [
        ("default", "full", "high", "High error rate", "hand"),
        ("video", "full", "low", "busy", "hand"),
        ("default", "high", "full", "odd", "hand"),
    ]
    assert events[0].at == clock.now()


def test_long_reason(degradation, events):
    """
    A reason is cut at 2 KiB.
    """
    degradation.degrade("x" * 10_000)

    assert len(events[0].reason) == 2048


def test_nobody_listens(clock, events):
    """
    Where nobody wants events, none are delivered.
    """
    degradation = GracefulDegradation(clock=clock, emit=events.append, wants=lambda: False)

    assert degradation.degrade() == "high"
    assert events == []


def test_stands_alone():
    """
    It works without a registry, on the machine's clock.
    """
    degradation = GracefulDegradation()

    assert degradation.degrade() == "high"
    assert repr(degradation) == "<GracefulDegradation at high; signals: none>"


def test_meaning(degradation):
    """
    A level tells its name, percentage, factor and features, by attribute, by key and as a dict.
    """
    degradation.register_feature("upscale", Level.HIGH)
    degradation.register_feature("motion", Level.LOW)
    degradation.set_level("medium")

    state, config = degradation.get_current_level(), degradation.get_config()
    assert (state.name, state.percentage, state["name"]) == ("medium", 60, "medium")
    assert state.to_dict() == {"name": "medium", "percentage": 60}
    assert config.to_dict() == {"quality": 0.6, "features": {"upscale": False, "motion": True}}
    assert config["quality"] == config.quality == 0.6


@pytest.mark.parametrize(("level", "percentage"), [("full", 100), ("high", 80), ("low", 40), ("minimal", 20)])
def test_percentage(degradation, level, percentage):
    """
    The percentage is a whole number.
    """
    degradation.set_level(level)

    assert degradation.get_current_level().percentage == percentage


def test_adjusting(degradation):
    """
    Parameters and resolutions follow the level in force, at_level included; a factor stands for the level's.
    """
    params = {"quality": 1.0, "resolution": "1080p", "steps": 50}
    assert degradation.adjust_parameters(params) == params
    degradation.degrade()

    assert degradation.adjust_parameters(params) == {"quality": 0.8, "resolution": "720p", "steps": 40}
    assert degradation.adjust_resolution("1080p") == "720p"
    assert degradation.adjust_resolution("1080p", 0.6) == "480p"
    with at_level("low"):
        assert degradation.adjust_parameters({"steps": 50}) == {"steps": 20}


# -- scopes --------------------------------------------------------------------


def test_scope_follows_the_lower(degradation):
    """
    A scope's effective level is the lower of its own and the registry's.
    """
    video = degradation.scope("video")
    assert video.effective() is Level.FULL
    video.degrade()
    assert (video.effective(), degradation.level) == (Level.HIGH, Level.FULL)
    degradation.set_level("low")
    assert video.effective() is Level.LOW
    video.set_level("minimal")
    assert video.effective() is Level.MINIMAL
    degradation.restore()
    video.restore()
    video.restore()

    assert video.effective() is Level.MEDIUM
    assert repr(video) == "<Scope 'video' at medium, registry at medium>"


def test_default_scope(degradation):
    """
    The registry's own level is a scope as well, under the name "default" or none.
    """
    assert degradation.scope() is degradation.scope("default")
    degradation.scope("default").degrade()

    assert degradation.current_level == "high"


def test_scope_names(degradation):
    """
    The same name is the same scope; what is no name is refused.
    """
    assert degradation.scope("a") is degradation.scope("a")
    with pytest.raises(PolicyError, match="name must be a string that is not empty"):
        degradation.scope(7)


def test_scopes_are_forgotten_when_full(degradation):
    """
    A scope that nobody holds keeps its level while lowered, and takes no memory when FULL.
    """
    for number in range(1000):
        degradation.scope(f"user {number}")
    degradation.scope("video").degrade()
    gc.collect()

    assert list(degradation._scopes) == ["video"]
    assert degradation.lowered_scopes() == {"video": Level.HIGH}
    assert repr(degradation) == "<GracefulDegradation at full, video high; signals: none>"
    degradation.scope("video").restore()
    gc.collect()
    assert list(degradation._scopes) == []
    assert degradation.lowered_scopes() == {}


def test_owners(degradation):
    """
    Owners are told of whatever may change is_full: their scope's level and the registry's, no other scope's.
    """
    video, image, root = (Owner(degradation.scope(name)) for name in ("video", "image", None))
    video.scope.degrade()
    assert (video.seen, image.seen, root.seen) == ([False], [], [])
    degradation.degrade()
    assert (video.seen, image.seen, root.seen) == ([False, False], [False], [False])
    video.scope.restore()
    degradation.restore()

    assert (video.seen[-1], image.seen[-1], root.seen[-1]) == (True, True, True)


def test_owners_are_held_weakly(degradation):
    """
    An owner that is gone is not kept.
    """
    scope = degradation.scope("video")
    Owner(scope)
    gc.collect()

    assert scope.owners.living() == []


def test_gate(degradation):
    """
    A scope is a gate: quiet while FULL, and not interested in single calls.
    """
    scope = degradation.scope("video")
    assert (scope.generation, scope.timed) == (0, False)
    scope.succeeded(0, None)
    degradation.degrade()

    assert scope.generation is None


# -- at_level ------------------------------------------------------------------


async def in_task(fn):
    """
    Call *fn* in a task.
    """
    return fn()


@pytest.mark.parametrize("run", [lambda fn: fn(), lambda fn: asyncio.run(in_task(fn))], ids=["sync", "async"])
def test_at_level(degradation, run):
    """
    A block runs at its own level, up or down, the innermost counts, and leaving restores what was.
    """

    def body():
        scope = degradation.scope("video")
        seen = [scope.effective()]
        with at_level(Level.LOW) as level:
            seen += [level, scope.effective()]
            with at_level("full"):
                seen += [scope.effective(), Level.LOW if scope.is_full else Level.FULL]
            seen.append(scope.effective())
        return [*seen, scope.effective()]

    degradation.degrade()
    assert run(body) == [Level.HIGH, Level.LOW, Level.LOW, Level.FULL, Level.FULL, Level.LOW, Level.HIGH]


def test_at_level_leaves_the_level_alone(degradation, events):
    """
    A block changes no level and makes no event.
    """
    with at_level("low"):
        assert degradation.current_level == "full"

    assert events == []


def test_at_level_after_an_error(degradation):
    """
    A block that is left by an error ends like any other.
    """
    with contextlib.suppress(KeyboardInterrupt), at_level("low"):
        raise KeyboardInterrupt

    assert degradation.scope().is_full


def test_at_level_tells_owners(degradation):
    """
    Owners are told when the first block in the process opens and when the last closes, not in between.
    """
    owner = Owner(degradation.scope("video"))
    with at_level("low"):
        with at_level("high"):
            assert owner.seen == [False]
        assert owner.seen == [False]

    assert owner.seen == [False, True]


def test_at_level_in_tasks(degradation):
    """
    Tasks have levels of their own, inherit the one they were begun in, and only until its block ends.
    """
    scope = degradation.scope()
    seen = {}

    async def work(name, level, entered, leave):
        with at_level(level):
            entered.set()
            await leave.wait()
            seen[name] = scope.effective()

    async def child(leave):
        seen["child within"] = scope.effective()
        await leave.wait()
        seen["child after"] = scope.effective()

    async def main():
        leave, entered = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
        tasks = [
            asyncio.create_task(work(name, level, one, leave))
            for name, level, one in zip("ab", ("low", "minimal"), entered, strict=True)
        ]
        for one in entered:
            await one.wait()
        seen["outside"] = scope.effective()
        with at_level("high"):
            later = asyncio.create_task(child(leave))
            await asyncio.sleep(0)
        leave.set()
        await asyncio.gather(*tasks, later)

    asyncio.run(main())
    assert seen == {
        "a": Level.LOW,
        "b": Level.MINIMAL,
        "outside": Level.FULL,
        "child within": Level.HIGH,
        "child after": Level.FULL,
    }
    assert scope.is_full


def test_at_level_across_contexts(degradation):
    """
    A block may be left in another task than it was entered in, and then holds no longer anywhere.
    """
    scope = degradation.scope()

    async def main():
        block, other = at_level("low"), at_level("medium")
        await asyncio.create_task(in_task(block.__enter__))
        with other:
            await asyncio.create_task(in_task(lambda: block.__exit__(None, None, None)))
            assert scope.effective() is Level.MEDIUM
        return scope.effective()

    assert asyncio.run(main()) is Level.FULL
    assert scope.is_full


def test_at_level_out_of_order(degradation):
    """
    Blocks that are left in the wrong order leave nothing behind.
    """
    first, second = at_level("low"), at_level("medium")
    scope = degradation.scope()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert scope.effective() is Level.MEDIUM
    second.__exit__(None, None, None)
    assert scope.effective() is Level.FULL
    with at_level("high") as level:
        assert scope.effective() is level
        # What has been left does not pile up behind a new block.
        assert overrides._current.get().outer is None


def test_at_level_once():
    """
    A block object is entered once, and says what to write instead.
    """
    block = at_level("low")
    with block:
        pass

    with pytest.raises(RuntimeError, match=r"write at_level\(...\) again"), block:
        pass
    assert repr(block) == "at_level(DegradationLevel.LOW)"


def test_at_level_interrupted_on_entering(degradation):
    """
    A Ctrl-C while a block is being entered leaves no open block.
    """

    class Interrupted(Owner):
        def refresh(self):
            super().refresh()
            if len(self.seen) == 1:
                raise KeyboardInterrupt

    owner = Interrupted(degradation.scope("video"))
    with pytest.raises(KeyboardInterrupt), at_level("low"):
        pass

    assert owner.seen == [False, True]
    assert degradation.scope().effective() is Level.FULL


def test_at_level_while_another_thread_tells(degradation):
    """
    Whoever enters while another thread still tells the owners goes on only when all owners know.
    """
    telling, go_on = threading.Event(), threading.Event()
    first = threading.current_thread()

    class Slow(Owner):
        def refresh(self):
            if threading.current_thread() is not first and not telling.is_set():
                telling.set()
                go_on.wait(10)
            super().refresh()

    owner = Slow(degradation.scope())

    def enter():
        with at_level("low"):
            pass

    thread = threading.Thread(target=enter)
    thread.start()
    assert telling.wait(10)
    with at_level("medium"):
        seen = list(owner.seen)
    go_on.set()
    thread.join(10)

    assert seen == [False]
    assert owner.seen[-1] is True


# -- by triggers ---------------------------------------------------------------


class Signal:
    value = 0.0

    def __call__(self):
        return self.value


@pytest.fixture
def depth(degradation):
    """
    Return the value of a signal that `degradation` watches, above 100.
    """
    signal = Signal()
    degradation.add_signal("depth", signal, 100)
    return signal


def lower(degradation, clock, depth):
    """
    Let the signal lower the level by one.
    """
    depth.value = 150
    before = degradation.level
    clock.advance(60)
    assert degradation.level < before


def test_down_and_up(degradation, clock, events, depth):
    """
    A signal lowers the level after hold_down and lets it rise after hold_up, each with an event.
    """
    depth.value = 150
    assert degradation.current_level == "full"
    clock.advance(30)
    assert degradation.current_level == "high"
    depth.value = 0
    assert degradation.current_level == "high"
    clock.advance(120)

    assert degradation.current_level == "full"
    assert told(events) == [
        ("default", "full", "high", "depth 150 above 100 for 30 s", "trigger"),
        ("default", "high", "full", "all signals below their recovery marks for 120 s", "trigger"),
    ]
    assert (events[0].changes, events[1].changes) == ({"depth": 150}, None)


@pytest.mark.parametrize(
    "configure",
    [
        lambda degradation: degradation.add_signal("depth", lambda: 101, 100),
        lambda degradation: degradation.configure_triggers({"error_rate_threshold": 10}),
    ],
    ids=["own", "built-in"],
)
def test_hold_begins_when_configured(clock, configure):
    """
    The hold begins when a signal is configured: the first read after it may find the level lowered.
    """
    degradation = GracefulDegradation(clock=clock, error_rate=lambda: 11.0)
    configure(degradation)
    clock.advance(30)

    assert degradation.level is Level.HIGH


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("error_rate", "error_rate"),
        ("failure_ratio", "failure_ratio"),
        ("response_time", "latency_p95"),
    ],
)
def test_built_in_signals(clock, key, source):
    """
    Error rate, failure ratio and latency come from where the registry says.
    """
    degradation = GracefulDegradation(clock=clock, **{source: lambda: 0.9})
    degradation.configure_triggers({f"{key}_threshold": 0.5} if key != "error_rate" else {"error_rate_threshold": 1})

    assert degradation.signals()[key]["value"] == 0.9
    clock.advance(30)
    assert degradation.current_level == ("full" if key == "error_rate" else "high")


def test_signal_that_nobody_feeds(degradation):
    """
    Without a registry the built-in signals read as unavailable.
    """
    degradation.configure_triggers({"error_rate_threshold": 10})

    assert degradation.signals() == {"error_rate": {"value": None, "threshold": 10.0, "state": "unavailable"}}


def test_configure_replaces(degradation, depth):
    """
    A new configuration stands in place of the old thresholds; signals of one's own stay.
    """
    degradation.configure_triggers({"error_rate_threshold": 10})
    degradation.configure_triggers({"failure_ratio_threshold": 0.1}, recover_at=0.5)

    assert list(degradation.signals()) == ["failure_ratio", "depth"]
    assert repr(degradation) == "<GracefulDegradation at full; signals: failure_ratio, depth>"


def test_set_by_hand_stays(degradation, clock, depth):
    """
    A level set by hand stays until it is set by hand, with triggers and without.
    """
    degradation.degrade()
    degradation.level  # noqa: B018 - a read looks at the signals
    clock.advance(100_000)

    assert degradation.current_level == "high"


def test_triggers_below_hand(degradation, clock, depth):
    """
    Triggers lower below a level set by hand, and rise up to that level only.
    """
    degradation.set_level("high")
    lower(degradation, clock, depth)
    assert degradation.current_level == "medium"
    depth.value = 0
    for _ in range(10):
        degradation.level  # noqa: B018 - a read looks at the signals
        clock.advance(120)

    assert degradation.current_level == "high"


def test_restore_by_hand_does_not_pin(degradation, clock):
    """
    Restoring by hand takes one automatic step back; what remains of them still rises by itself.
    """
    degradation.lower_for("out of memory")
    clock.advance(60)
    degradation.lower_for("out of memory")
    assert degradation.restore() == "high"
    clock.advance(300)

    assert degradation.current_level == "full"


def test_degrade_by_hand_pins(degradation, clock):
    """
    Degrading by hand what was lowered automatically sets the level by hand.
    """
    degradation.lower_for("out of memory")
    assert degradation.degrade() == "medium"
    clock.advance(100_000)

    assert degradation.current_level == "medium"


def test_by_hand_takes_due_steps_first(degradation, clock):
    """
    A step by hand starts from the level that is due, not from one that nobody has read yet.
    """
    degradation.lower_for("out of memory")
    clock.advance(300)

    assert degradation.degrade() == "high"


def test_lower_for(degradation, clock, events):
    """
    An automatic step for a failure is at most one a minute, and rises after restore_after.
    """
    assert degradation.lower_for("out of memory")
    assert not degradation.lower_for("out of memory")
    clock.advance(300)

    assert degradation.scope("video").effective() is Level.FULL
    assert told(events) == [
        ("default", "full", "high", "out of memory", "trigger"),
        ("default", "high", "full", "no cause for 300 s", "trigger"),
    ]


def test_clock_that_stands_still(degradation, depth):
    """
    While the clock does not move nothing is lowered, however often the level is read.
    """
    depth.value = 150

    assert {degradation.current_level for _ in range(100)} == {"full"}
    assert not [None for _ in range(100) if degradation.scope().effective() is not Level.FULL]


def test_few_looks(degradation, clock):
    """
    Events look at the signals once a second, and in between after 1, 2, 4, 8 ... of them.
    """
    looks = []
    degradation.add_signal("s", lambda: looks.append(clock.monotonic()), 1)
    looks.clear()
    for _ in range(1000):
        degradation.evaluate()

    assert len(looks) == 10
    clock.advance(1)
    degradation.evaluate()
    assert len(looks) == 11


def test_burst_within_a_second(degradation, clock, depth):
    """
    A burst that begins just after a look is seen all the same.
    """
    degradation.evaluate()
    for _ in range(10):
        depth.value += 50
        degradation.evaluate()
    clock.advance(30)
    degradation.evaluate()

    assert degradation.scope().level is Level.HIGH


def test_evaluate_costs_nothing_without_triggers(degradation, clock, monkeypatch):
    """
    Without signals, and with nothing lowered automatically, evaluating does not even read the clock.
    """
    degradation.degrade()
    monkeypatch.setattr(clock, "monotonic", None)

    degradation.evaluate()
    assert degradation.level is Level.HIGH


@pytest.mark.parametrize("wrong", [ZeroDivisionError, "many", float("nan"), object()], ids=shown)
def test_signal_that_fails(clock, wrong):
    """
    A signal that raises, or reads no number, is unavailable and harms nobody.
    """
    reports = []
    degradation = GracefulDegradation(clock=clock, report=lambda what, error: reports.append((what, type(error))))

    def read():
        if wrong is ZeroDivisionError:
            raise ZeroDivisionError
        return wrong

    degradation.add_signal("odd", read, 1)
    for _ in range(3):
        clock.advance(60)
        assert degradation.signals()["odd"]["state"] == "unavailable"

    assert degradation.current_level == "full"
    assert len(reports) == (0 if wrong != wrong else 1)  # noqa: PLR0124 - NaN
    assert {what for what, _ in reports} <= {"signal odd"}


def test_failing_signal_is_logged_once(degradation, caplog):
    """
    Standing alone, it logs once that a signal raises, and again when the signal is replaced.
    """

    def read():
        raise OSError

    for _ in range(2):
        degradation.add_signal("odd", read, 1)
        degradation.signals()

    assert [record.getMessage() for record in caplog.records] == ["signal odd raised OSError; told once"] * 2


def test_broken_log_handler(degradation):
    """
    A log handler that raises harms nobody either.
    """

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError

    handler = Broken()
    logging.getLogger("resilient").addHandler(handler)
    try:
        degradation.add_signal("odd", lambda: 1 / 0, 1)
    finally:
        logging.getLogger("resilient").removeHandler(handler)

    assert degradation.signals()["odd"]["state"] == "unavailable"


def test_interrupted_signal(degradation, clock):
    """
    A Ctrl-C while a signal is read leaves at once, and the next look works.
    """
    answers = [KeyboardInterrupt(), 5]

    def read():
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    with pytest.raises(KeyboardInterrupt):
        degradation.add_signal("s", read, 1)

    assert degradation.signals()["s"]["value"] == 5


def test_signal_that_reads_the_level(degradation):
    """
    A signal may read the level, and even set it: no recursion, no deadlock.
    """
    degradation.add_signal(
        "curious", lambda: degradation.degrade() and degradation.get_current_level().percentage, 1000
    )

    assert degradation.current_level == "medium"


def test_signal_is_read_outside_locks(degradation):
    """
    While a signal is being read, another thread can read and set the level.
    """

    def read():
        with ThreadPoolExecutor(1) as pool:
            return len(pool.submit(degradation.degrade).result(timeout=10))

    degradation.add_signal("slow", read, 1000)

    assert degradation.scope().level is Level.HIGH


def test_reconfigured_while_looking(degradation, clock):
    """
    A look that began before a signal was added is not taken for one at the new signals.
    """

    def read():
        degradation.add_signal("first", lambda: 1, 1)
        return 5

    degradation.add_signal("first", read, 1)

    assert {state["state"] for state in degradation._triggers.states().values()} == {"unavailable"}


def test_reset(degradation, clock, events, depth):
    """
    A reset sets every scope to FULL and forgets what was seen; signals, features and owners stay.
    """
    owner = Owner(degradation.scope("video"))
    degradation.scope("video").set_level("low")
    degradation.lower_for("out of memory")
    clock.advance(400)
    depth.value = 150
    degradation.register_feature("upscale", Level.HIGH)
    events.clear()
    degradation.reset()

    assert degradation.scope("video").effective() is Level.FULL
    assert owner.seen[-1] is True
    assert list(degradation.signals()) == ["depth"]
    assert list(degradation.get_config().features) == ["upscale"]
    assert degradation.lower_for("out of memory")


def test_reset_does_not_count_as_restored(degradation, events):
    """
    A reset says that it was one.
    """
    degradation.lower_for("out of memory")
    events.clear()
    degradation.reset()

    assert told(events) == [("default", "high", "full", "reset", "hand")]
    # Nor does the minute between two reported causes outlive it.
    assert degradation.lower_for("out of memory")


# -- events, threads and processes -----------------------------------------------


def test_listener_that_changes_the_level(clock):
    """
    A listener that itself changes the level is told of that after it has returned, in order.
    """
    seen = []

    def listen(event):
        seen.append(("begin", event.level))
        if event.level is not Level.MINIMAL:
            degradation.degrade()
        seen.append(("end", event.level))

    degradation = GracefulDegradation(clock=clock, emit=listen)
    degradation.degrade()

    steps = [Level.HIGH, Level.MEDIUM, Level.LOW, Level.MINIMAL]
    assert seen == [(when, level) for level in steps for when in ("begin", "end")]


def test_listener_that_raises(clock):
    """
    A listener that raises harms neither the change nor the next event, and is reported once.
    """
    seen, reports = [], []

    def listen(event):
        seen.append(event.level)
        raise ValueError

    degradation = GracefulDegradation(clock=clock, emit=listen, report=lambda what, _: reports.append(what))
    degradation.degrade()
    degradation.degrade()

    assert seen == [Level.HIGH, Level.MEDIUM]
    assert reports == ["listener of level changes"]


def test_interrupted_listener(clock):
    """
    A Ctrl-C in a listener leaves at once; later events are delivered all the same.
    """
    seen = []

    def listen(event):
        if not seen:
            seen.append(event.level)
            raise KeyboardInterrupt
        seen.append(event.level)

    degradation = GracefulDegradation(clock=clock, emit=listen)
    with pytest.raises(KeyboardInterrupt):
        degradation.degrade()
    degradation.degrade()

    assert seen == [Level.HIGH, Level.MEDIUM]


def test_slow_listener_delays_nobody_else(clock):
    """
    While a listener takes its time, others change the level; it is told by whoever delivers already.
    """
    seen = []

    def listen(event):
        seen.append(event.level)
        if event.level is Level.HIGH:
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(degradation.degrade).result(timeout=10) == "medium"
            assert seen == [Level.HIGH]

    degradation = GracefulDegradation(clock=clock, emit=listen)
    degradation.degrade()

    assert seen == [Level.HIGH, Level.MEDIUM]


def test_listener_sees_the_new_level(clock):
    """
    When an event is delivered, calls are made at the new level already.
    """
    seen = []
    degradation = GracefulDegradation(clock=clock, emit=lambda _: seen.append(owner.seen[-1]))
    owner = Owner(degradation.scope("video"))
    degradation.degrade()

    assert seen == [False]


def test_threads(degradation, events):
    """
    Sixteen threads that degrade and restore lose no step: each event begins where the one before ended.
    """
    start = threading.Barrier(16)

    def work(number):
        scope = degradation.scope()
        start.wait(10)
        for turn in range(100):
            (scope.degrade if (turn + number) % 2 else scope.restore)()
            with at_level("low"):
                assert scope.effective() is Level.LOW
            scope.effective()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))

    assert all(isinstance(event, LevelChanged) for event in events)
    chain = [(Level.FULL, Level.FULL), *((event.previous, event.level) for event in events)]
    assert all(before[1] is after[0] for before, after in pairwise(chain))
    assert degradation.level is chain[-1][1]
    assert not overrides.any_open()


def test_fresh_locks(degradation):
    """
    After a fork all locks of all levels are fresh, and nobody counts as delivering or looking.
    """
    before = (overrides._active.lock, degradation.lock, degradation._changes._draining)
    degradation._looking = True
    overrides._active._renew_locks()
    after = (overrides._active.lock, degradation.lock, degradation._changes._draining)

    assert not [old for old, new in zip(before, after, strict=True) if old is new]
    assert degradation._looking is False


@needs_fork
@may_fork
def test_fork_while_locked(clock):
    """
    A child forked while other threads held every lock, delivered and looked, keeps the level and can change it.
    """
    seen = []
    degradation = GracefulDegradation(clock=clock, emit=lambda event: seen.append(event.level))
    degradation.add_signal("s", lambda: 1, 2)
    degradation.degrade()

    def child():
        with at_level("low"):
            level = degradation.degrade()
        return level, seen, degradation.signals()["s"]["value"]

    with held(degradation.lock, degradation._changes._draining, overrides._active.lock):
        degradation._looking = True
        told = in_fork(child)
        degradation._looking = False

    assert told == str(("medium", [Level.HIGH, Level.MEDIUM], 1.0))
