"""
`resilient.testing`: the fake clock, and blocks of code under test conditions.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import random
import threading
from datetime import timedelta

import pytest
import trio

from resilient import PolicyError, Registry, circuit, default_registry, fallback_chain, modes, retry
from resilient.events import CallSucceeded, OperationFailed
from resilient.registry import swap_default
from resilient.resilience import Resilience
from resilient.testing import (
    FakeClock,
    attempts,
    capture_events,
    disabled,
    inject,
    isolated_registry,
    no_waits,
    ok,
    returns,
)


def run_asyncio(main):
    """
    Run *main* on an event loop of asyncio.
    """
    return asyncio.run(main())


def run_trio(main):
    """
    Run *main* on an event loop of trio.
    """
    return trio.run(main)


loops = pytest.mark.parametrize("run", [run_asyncio, run_trio], ids=["asyncio", "trio"])


async def side_by_side(*functions):
    """
    Run async functions at once, on whichever loop.
    """
    if trio.lowlevel.in_trio_task():
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)
    else:
        await asyncio.gather(*(function() for function in functions))


def wakers(clock, log, *plans):
    """
    Return one async function for each plan of waits, which notes when it wakes.
    """

    def waker(name, plan):
        async def wake():
            for seconds in plan:
                await clock.asleep(seconds)
                log.append((name, clock.monotonic()))

        return wake

    return [waker(name, plan) for name, plan in plans]


@pytest.fixture
def registry():
    """
    A default registry for the test alone, that `isolated_registry` finds in place.
    """
    mine = Registry("mine")
    previous = swap_default(mine)
    yield mine
    swap_default(previous)


# -- FakeClock -------------------------------------------------------------------


def test_a_fake_clock_stands_still():
    """
    Nothing but waits and hands move the clock.
    """
    clock = FakeClock(100.0)
    start = clock.now()

    assert (100.0, 100.0, start) == (clock.monotonic(), clock.monotonic(), clock.now())


@pytest.mark.parametrize("manual", [False, True])
def test_a_sync_wait_moves_the_clock(manual):
    """
    A sync wait returns at once and moves the clock, by hand or not; the time of day moves along.
    """
    clock = FakeClock(10.0, manual=manual)
    start = clock.now()
    clock.sleep(2.5)

    assert (12.5, timedelta(seconds=2.5)) == (clock.monotonic(), clock.now() - start)


def test_the_wall_clock_jumps_alone():
    """
    A step of the time of day, back too, is not seen by `monotonic`.
    """
    clock = FakeClock()
    start = clock.now()
    clock.jump_wall(-3600.0)

    assert (0.0, timedelta(hours=-1)) == (clock.monotonic(), clock.now() - start)


@loops
def test_an_async_wait_moves_the_clock(run):
    """
    An async wait takes no time and moves the clock.
    """
    clock = FakeClock()

    async def main():
        await clock.asleep(60.0)
        return clock.monotonic()

    assert run(main) == 60.0


@loops
def test_sleepers_wake_in_the_order_of_their_times(run):
    """
    Tasks that are asleep at once share the time that passes, in order.
    """
    clock = FakeClock()
    log = []
    run(lambda: side_by_side(*wakers(clock, log, ("a", [5]), ("b", [1, 1, 2]), ("c", [3, 3]))))

    assert log == [("b", 1.0), ("b", 2.0), ("c", 3.0), ("b", 4.0), ("a", 5.0), ("c", 6.0)]


@loops
def test_time_waits_for_tasks_that_have_something_to_do(run):
    """
    Between two of its waits a task may await other things, and time does not run ahead.
    """
    clock = FakeClock()
    log = []

    async def busy():
        for _ in range(3):
            await clock.asleep(1.0)
            for _ in range(3):
                await clock.asleep(0)
            log.append(clock.monotonic())

    run(lambda: side_by_side(*wakers(clock, log, ("long", [10.0])), busy))

    assert log == [1.0, 2.0, 3.0, ("long", 10.0)]


@loops
def test_a_wait_of_no_time_yields_once(run):
    """
    Zero seconds, and less than the clock can tell, let others run and move nothing.
    """
    clock = FakeClock(1e9)
    log = []

    async def first():
        await clock.asleep(0.0)
        await clock.asleep(1e-12)
        log.append("first")

    async def second():
        log.append("second")

    run(lambda: side_by_side(first, second))

    assert (sorted(log, reverse=True), clock.monotonic()) == (["second", "first"], 1e9)


def test_many_sleepers_are_no_trouble():
    """
    A thousand tasks wake in order within a moment.
    """
    clock = FakeClock()
    log = []
    asyncio.run(side_by_side(*wakers(clock, log, *((n, [1000 - n]) for n in range(1000)))))

    assert [(n, 1000.0 - n) for n in reversed(range(1000))] == log


@pytest.mark.parametrize("manual", [False, True])
def test_a_cancelled_sleeper_is_forgotten(manual):
    """
    Cancellation leaves a wait at once, and those that are left wake at their own times.
    """
    clock = FakeClock(manual=manual)

    async def main():
        short = asyncio.create_task(clock.asleep(1.0))
        long = asyncio.create_task(clock.asleep(9.0))
        await asyncio.sleep(0)
        before = repr(clock)
        short.cancel()
        if manual:
            await clock.aadvance(9.0)
        await long
        return before, short.cancelled(), clock.monotonic(), repr(clock)

    kind = ", manual" if manual else ""
    expected = (f"<FakeClock at 0 s{kind}, 2 asleep>", True, 9.0, f"<FakeClock at 9 s{kind}, 0 asleep>")
    assert expected == asyncio.run(main())


@loops
def test_manual_sleepers_stay_until_the_clock_is_moved(run):
    """
    `aadvance` stops at each sleeper's time and lets its task go on, into its next wait too.
    """
    clock = FakeClock(manual=True)
    log = []

    async def hand():
        await clock.aadvance(0.5)
        log.append(("hand", clock.monotonic()))
        await clock.aadvance(2.0)
        log.append(("hand", clock.monotonic()))
        await clock.aadvance(7.5)

    run(lambda: side_by_side(*wakers(clock, log, ("a", [5]), ("b", [1, 1, 2])), hand))

    assert log == [("hand", 0.5), ("b", 1.0), ("b", 2.0), ("hand", 2.5), ("b", 4.0), ("a", 5.0)]
    assert clock.monotonic() == 10.0


@loops
def test_another_thread_may_move_the_clock(run):
    """
    `advance` wakes tasks of an event loop that runs elsewhere.
    """
    clock = FakeClock(manual=True)
    asleep = threading.Event()

    async def main():
        async def announce():
            asleep.set()

        await side_by_side(*wakers(clock, log, ("a", [5])), announce)

    log = []
    thread = threading.Thread(target=run, args=(main,))
    thread.start()
    asleep.wait(5.0)
    while not log:
        clock.advance(5.0)
        thread.join(0.01)
    thread.join(5.0)

    assert (thread.is_alive(), log[0][0]) == (False, "a")


def test_two_loops_do_not_wait_for_each_other():
    """
    A loop that is blocked by another one's work does not keep that from moving the clock.
    """
    clock = FakeClock()

    async def outer():
        waits = asyncio.create_task(clock.asleep(1.0))
        await asyncio.sleep(0)
        thread = threading.Thread(target=lambda: asyncio.run(clock.asleep(5.0)))
        thread.start()
        thread.join(5.0)
        elsewhere = thread.is_alive(), clock.monotonic()
        await waits
        return elsewhere

    assert asyncio.run(outer()) == (False, 5.0)


def test_a_sleeper_whose_loop_is_closed_is_let_go():
    """
    The clock goes on when a loop was closed over a sleeping task.
    """
    clock = FakeClock(manual=True)
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(clock.asleep(seconds)) for seconds in (1.0, 2.0)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    clock.advance(1.0)
    clock.manual = False
    asyncio.run(clock.asleep(4.0))

    assert clock.monotonic() == 5.0
    for task in tasks:
        # Nobody will ever see them end, and asyncio would say so.
        task._log_destroy_pending = False  # noqa: SLF001 - the only way to say that this is meant
    del task, tasks, clock
    gc.collect()


MOVES = ["sleep", "advance", "jump_wall", "asleep", "aadvance"]
NO_SPANS = [-1.0, float("nan"), float("inf"), "1", None, True]


# The wall clock may be set back.
@pytest.mark.parametrize(
    ("move", "seconds"), [one for one in itertools.product(MOVES, NO_SPANS) if one != ("jump_wall", -1.0)]
)
def test_a_clock_moves_by_finite_seconds_only(move, seconds):
    """
    Anything but a finite number, and a negative one but for the wall clock, is refused with its value.
    """
    clock = FakeClock()

    def act():
        moved = getattr(clock, move)(seconds)
        if inspect.iscoroutine(moved):
            asyncio.run(moved)

    with pytest.raises(PolicyError, match=r"seconds must be a finite number of seconds.*got"):
        act()
    assert clock.monotonic() == 0.0


def test_a_clock_starts_at_a_number():
    """
    A start that is no number is refused.
    """
    with pytest.raises(PolicyError, match=r"start must be a finite number of seconds, got 'now'"):
        FakeClock("now")


# -- switches --------------------------------------------------------------------

BLOCKS = [(no_waits, "no_waits", True), (disabled, "disabled", True), (lambda: attempts(7), "attempts", 7)]


@pytest.mark.parametrize(("make", "name", "value"), BLOCKS, ids=["no_waits", "disabled", "attempts"])
async def test_a_block_works_with_async_with_and_as_decorator(make, name, value):
    """
    ``with``, ``async with`` and both colours of decorated functions see the switch set, and nobody else does.
    """
    before = getattr(modes, name)
    seen = []
    with make():
        seen.append(getattr(modes, name))
    async with make():
        seen.append(getattr(modes, name))

    @make()
    def function(one, *, two):
        """Keep its docstring."""
        return getattr(modes, name), one, two

    @make()
    async def coroutine(one):
        await asyncio.sleep(0)
        return getattr(modes, name), one

    assert [value, value] == seen
    assert ((value, 1, 2), (value, 3)) == (function(1, two=2), await coroutine(3))
    assert list(inspect.signature(function).parameters) == ["one", "two"]
    assert before == getattr(modes, name)


def test_a_block_may_be_entered_again():
    """
    One block object may be entered once more, within itself too, and tells whether it is.
    """
    block = no_waits()
    texts = [repr(block)]
    with block:
        with block:
            pass
        inside = modes.no_waits
        texts.append(repr(block))

    assert (inside, modes.no_waits) == (True, False)
    assert texts == ["<no_waits()>", "<no_waits(), entered>"]


def failing(**options):
    """
    Return a function that is retried, and the list of its calls.
    """
    calls = []

    @retry(**options)
    def render():
        calls.append(1)
        raise ConnectionError("down")

    return render, calls


def test_no_waits_lets_retries_follow_at_once(registry):
    """
    Attempts are made as configured, without a wait between them.
    """
    clock = FakeClock()
    with isolated_registry(clock), no_waits():
        render, calls = failing(max_attempts=4)
        with pytest.raises(ConnectionError):
            render()

    assert (len(calls), clock.monotonic()) == (4, 0.0)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_attempts_stand_for_max_attempts(registry, n):
    """
    Every retry makes that many attempts, more or fewer than it was given.
    """
    with no_waits(), attempts(n):
        render, calls = failing(max_attempts=3)
        with pytest.raises(ConnectionError):
            render()

    assert n == len(calls)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "3", None])
def test_attempts_are_a_whole_number(n):
    """
    Anything but a whole number from 1 on is refused, with its value.
    """
    with pytest.raises(PolicyError, match=r"attempts\(\): n must be"):
        attempts(n)


def test_disabled_calls_raw_functions(registry):
    """
    While policies are switched off the function is called once, and its error arrives as itself.
    """
    render, calls = failing()
    with disabled(), pytest.raises(ConnectionError, match="down"):
        render()

    assert len(calls) == 1


# -- isolated_registry -------------------------------------------------------------


def test_an_isolated_registry_is_the_default_one_within(registry):
    """
    The block hands over the fresh default registry, with the clock, chance and name it was given.
    """
    clock, rng = FakeClock(), random.Random(1)
    with isolated_registry(clock, rng, name="fresh") as fresh:
        within = default_registry()

    assert (fresh, registry) == (within, default_registry())
    assert (clock, rng, "fresh") == (fresh.hub.clock, fresh.hub.rng, fresh.name)


def test_functions_decorated_before_use_the_fresh_registry(registry):
    """
    Within the block they have closed circuits and zero counts there; afterwards they go on where they were.
    """

    @circuit("renderer", failure_threshold=2)
    def render():
        raise ConnectionError("down")

    def call():
        with contextlib.suppress(ConnectionError):
            render()

    call()
    policies = render.resilience.policies
    with isolated_registry() as fresh:
        call()
        call()
        within = fresh.circuits["renderer"].state.value, render.resilience.stats().calls, fresh.analytics.total_errors
        home = render.resilience.registry
    before = registry.circuits["renderer"]

    assert (("open", 2, 2), fresh) == (within, home)
    assert (("closed", 1, 1), registry) == (
        (before.state.value, before.failure_count, registry.analytics.total_errors),
        render.resilience.registry,
    )
    assert (render.resilience.stats().calls, render.resilience.stats().attempts) == (1, 1)
    assert policies == render.resilience.policies
    call()
    assert (before.state.value, fresh.circuits["renderer"].state.value) == ("open", "open")
    assert [render.resilience] == list(registry.functions.values())
    assert list(fresh.functions) == []


def test_functions_decorated_within_stay_with_the_fresh_registry(registry):
    """
    A function that was decorated in the block belongs to its registry for good.
    """
    with isolated_registry() as fresh:
        render, _ = failing()

    assert fresh is render.resilience.registry
    assert list(registry.functions) == []


def test_isolated_registries_nest(registry):
    """
    Each block takes over what the one around it has, and gives it back.
    """
    render, _ = failing()
    homes = []
    with isolated_registry(name="outer"):
        other, _ = failing()
        with isolated_registry(name="inner"):
            homes.append((render.resilience.registry.name, other.resilience.registry.name))
        homes.append((render.resilience.registry.name, other.resilience.registry.name))
    homes.append((render.resilience.registry.name, other.resilience.registry.name))

    assert homes == [("inner", "inner"), ("outer", "outer"), ("mine", "outer")]


def test_functions_on_a_registry_of_their_own_are_left_alone(registry):
    """
    A function that was put on another registry stays there.
    """
    own = Registry("own")
    render, _ = failing(registry=own)
    with isolated_registry():
        within = render.resilience.registry

    assert own is within


async def test_a_call_in_flight_is_counted_once(registry):
    """
    A call that was under way when the block began fails as itself, and for one of the two circuits.
    """
    go = asyncio.Event()

    @circuit("renderer")
    async def render():
        await go.wait()
        raise ConnectionError("down")

    call = asyncio.create_task(render())
    await asyncio.sleep(0)
    async with isolated_registry() as fresh:
        go.set()
        await asyncio.wait([call])
        counts = fresh.circuits["renderer"].failure_count, registry.circuits["renderer"].failure_count

    assert type(call.exception()) is ConnectionError
    assert counts in {(0, 1), (1, 0)}


def test_a_function_that_cannot_be_moved_leaves_nothing_moved(registry, monkeypatch):
    """
    When one function's policies do not fit the fresh registry, all are back where they were.
    """
    first, _ = failing()
    second, _ = failing()

    bind = Resilience.bind

    def refuse(self, registry):
        if self is second.resilience:
            raise PolicyError("no")
        bind(self, registry)

    monkeypatch.setattr(Resilience, "bind", refuse)
    with pytest.raises(PolicyError, match="no"), isolated_registry():
        pass

    assert registry is default_registry()
    assert [registry, registry] == [first.resilience.registry, second.resilience.registry]
    assert {first.resilience, second.resilience} == set(registry.functions.values())


def test_stats_of_planned_calls_come_back_as_they_were(registry):
    """
    What was counted before the block is counted after it, whatever happened within.
    """
    render, _ = failing(initial_delay=0.0)
    with contextlib.suppress(ConnectionError):
        render()
    before = render.resilience.stats()
    with isolated_registry(), contextlib.suppress(ConnectionError), attempts(1):
        render()
        render()

    assert before == render.resilience.stats()
    assert (before.calls, before.attempts, before.retries, before.failures) == (1, 3, 2, 1)


# -- capture_events ------------------------------------------------------------------


def names(events):
    """
    Return the names of *events*.
    """
    return [event.name for event in events]


def test_events_are_captured_within_the_block_only(registry):
    """
    The list has what happened on the default registry within the block, in order.
    """
    render, _ = failing(max_attempts=2, initial_delay=0.0)
    with capture_events() as events, contextlib.suppress(ConnectionError):
        render()
    with contextlib.suppress(ConnectionError):
        render()

    expected = ["attempt.failed", "retry.scheduled", "attempt.failed", "retry.exhausted", "operation.failed"]
    assert expected == names(events)


def test_events_of_one_registry_and_kind_are_captured(registry):
    """
    A registry and event types may be chosen; successes are told only to those who ask.
    """
    own = Registry("own")
    render, _ = failing(registry=own, max_attempts=1)

    @retry(registry=own)
    def good():
        return 1

    with (
        capture_events(own, OperationFailed) as failed,
        capture_events(own, [CallSucceeded]) as succeeded,
        capture_events() as elsewhere,
        contextlib.suppress(ConnectionError),
    ):
        good()
        render()

    assert (names(failed), names(succeeded), elsewhere) == (["operation.failed"], ["call.succeeded"], [])


# -- inject ------------------------------------------------------------------------------


def test_injected_outcomes_come_first(registry, colour):
    """
    Errors, values, stand-ins and the real function follow each other, then the real function is left alone.
    """
    render = retry(max_attempts=5, initial_delay=0.0)(colour.of(lambda shot: f"real {shot}"))
    script = [ConnectionError, TimeoutError("slow"), ok, returns(3), lambda shot: f"fake {shot}", ConnectionError]
    with inject(render, script) as left:
        within = [colour.call(render, "a") for _ in range(3)]
        remaining = len(left)
        within += [colour.call(render, "b"), colour.call(render, "c")]
        exhausted = len(left)
    after = colour.call(render, "d")

    assert (within, after) == (["real a", 3, "fake a", "real b", "real c"], "real d")
    assert (remaining, exhausted) == (1, 0)
    assert tuple(getattr(render.resilience.stats(), name) for name in ("calls", "attempts", "retries")) == (6, 9, 3)


def test_an_injected_value_may_be_awaitable(registry):
    """
    What `returns` holds is handed on as it is; what a stand-in returns is awaited like the real function's.
    """

    @retry
    async def render():
        raise AssertionError

    async def stand_in():
        return "awaited"

    async def main():
        future = asyncio.get_running_loop().create_future()
        with inject(render, [returns(future), stand_in]):
            first = await render()
            return first is future, await render()

    assert asyncio.run(main()) == (True, "awaited")


def test_methods_are_injected_for_all_instances(registry, colour):
    """
    A bound method, a plain one and a class method take outcomes; stand-ins get ``self``.
    """

    class Engine:
        render = retry(colour.of(lambda self, shot: f"real {shot}"))
        make = classmethod(retry(colour.of(lambda cls: cls)))

    engine = Engine()
    with inject(engine.render, [lambda self, shot: (self, shot)]):
        first = colour.call(engine.render, 1)
    with inject(Engine.render, [returns(2)]):
        second = colour.call(Engine().render, 1)
    with inject(Engine.make, [returns(3)]):
        third = colour.call(Engine.make)

    assert ((engine, 1), 2, 3, Engine) == (first, second, third, colour.call(Engine.make))


def test_injection_reaches_callable_objects(registry):
    """
    Objects that are called take outcomes like functions.
    """

    class Renderer:
        def __call__(self, shot):
            return f"real {shot}"

    render = retry(initial_delay=0.0)(Renderer())
    with inject(render, [ConnectionError, returns(1)]):
        within = render("a")

    assert (within, render("a")) == (1, "real a")


def test_injection_reaches_below_a_foreign_decorator(registry):
    """
    All policies of a stack see the outcomes, also where somebody else's decorator divides it.
    """
    import functools

    def foreign(fn):
        @functools.wraps(fn)
        def wrapper():
            return fn()

        return wrapper

    @retry(initial_delay=0.0)
    @foreign
    @circuit("renderer", failure_threshold=9)
    def render():
        return "real"

    with inject(render, [ConnectionError, ConnectionError, returns(1)]), capture_events() as events:
        result = render()

    assert result == 1
    assert names(events).count("attempt.failed") == 4


def test_injections_nest(registry):
    """
    Outcomes of the inner block come first, then those of the outer one, then the real function.
    """
    render = retry(lambda: "real")
    with inject(render, [returns("outer 1"), returns("outer 2")]):
        with inject(render, [returns("inner")]):
            seen = [render(), render()]
        seen.append(render())

    assert [*seen, render()] == ["inner", "outer 1", "outer 2", "real"]


def test_injection_holds_for_disabled_policies_and_isolated_registries(registry, colour):
    """
    Outcomes stand for the function itself, whatever is around it.
    """
    render = retry(colour.of(lambda: "real"))
    with inject(render, [returns(1), returns(2)]):
        with disabled():
            first = colour.call(render)
        with isolated_registry():
            second = colour.call(render)

    assert (first, second, colour.call(render)) == (1, 2, "real")


def test_injected_failures_reach_fallbacks(registry):
    """
    What policies do about an injected failure is what they do about a real one.
    """
    render = fallback_chain(lambda shot: f"card {shot}")(lambda shot: f"real {shot}")
    with inject(render, [ConnectionError]):
        results = [render("a"), render("b")]

    assert results == ["card a", "real b"]


def test_a_base_exception_may_be_injected(registry):
    """
    An injected Ctrl-C passes through at once, like a real one.
    """
    render, calls = failing()
    with pytest.raises(KeyboardInterrupt), inject(render, [KeyboardInterrupt]):
        render()

    assert calls == []


def test_nothing_is_injected_into_a_bare_function():
    """
    A function without policies is named, with what to do.
    """

    def bare():
        return 1

    with pytest.raises(PolicyError, match=r"bare.* carries no policies; decorate it"):
        inject(bare, [ok])


def test_all_outcomes_that_cannot_be_meant_are_reported(registry):
    """
    Values that stand bare, and classes that cannot be raised bare, are told at once with the remedy.
    """
    render, _ = failing()
    with pytest.raises(PolicyError) as caught:
        inject(render, [3, ConnectionError, UnicodeDecodeError, None])

    assert list(caught.value.problems) == [
        (
            "outcome 1 must be an exception, ok, returns(value) or a function, got 3 (int);"
            " to have it returned, write returns(3)"
        ),
        "outcome 3: UnicodeDecodeError cannot be made without arguments; give an exception object",
        (
            "outcome 4 must be an exception, ok, returns(value) or a function, got None (NoneType);"
            " to have it returned, write returns(None)"
        ),
    ]


def test_outcomes_show_what_they_are():
    """
    Outcomes have a readable repr.
    """
    assert (repr(ok), repr(returns("x"))) == ("ok", "returns('x')")


def test_what_the_module_lacks_is_told_as_python_does():
    """
    The battery is loaded when it is asked for; nothing else is.
    """
    import resilient.testing

    with pytest.raises(AttributeError, match=r"module 'resilient\.testing' has no attribute 'polcy_battery'"):
        resilient.testing.polcy_battery  # noqa: B018 - it is asked for
