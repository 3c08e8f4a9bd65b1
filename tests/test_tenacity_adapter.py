from __future__ import annotations

import asyncio
import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tenacity

from resilient import PolicyError, resilience_of, retry
from resilient.adapters.retrying import looks_at_values, named_types
from resilient.adapters.tenacity import Backoff, Settled, StopBefore, as_delay
from resilient.policies.base import Raised, Returned
from resilient.policies.retry import RETRY_OPTIONS, RetryPolicy
from tests.harness import Colour, delays_of, script

try:
    import tenacity.asyncio as of_async
except ImportError:  # older than 9
    of_async = None

HAS_STOP_BEFORE_DELAY = hasattr(tenacity, "stop_before_delay")


# -- wait --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (tenacity.wait_fixed(3), [3, 3, 3, 3]),
        (tenacity.wait_none(), [0, 0, 0, 0]),
        (tenacity.wait_incrementing(start=1, increment=2), [1, 3, 5, 7]),
        (tenacity.wait_exponential(multiplier=2, max=9), [2, 4, 8, 9]),
        (tenacity.wait_exponential_jitter(max=6, jitter=0), [1, 2, 4, 6]),
        (tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(5)), [1, 5, 5, 5]),
        (tenacity.wait_fixed(1) + tenacity.wait_incrementing(start=1, increment=1), [2, 3, 4, 5]),
        (sum([tenacity.wait_fixed(1), tenacity.wait_fixed(2)]), [3, 3, 3, 3]),
        (lambda state: state.attempt_number / 4, [0.25, 0.5, 0.75, 1]),
        (lambda state: "2.5", [2.5] * 4),
        (lambda state: -1, [0] * 4),
        (lambda state: float("nan"), [0] * 4),
    ],
)
def test_wait(colour, registry, clock, wait, expected):
    """
    A wait strategy decides each delay alone, and it is waited.
    """
    fn = retry(wait=wait, max_attempts=5, registry=registry)(colour.of(script(ConnectionError())))

    assert expected == delays_of(colour, registry, fn)
    assert sum(expected) == clock.monotonic()


@pytest.mark.parametrize(
    ("wait", "bounds"),
    [
        (tenacity.wait_random(1, 2), [(1, 2)] * 4),
        (tenacity.wait_random_exponential(multiplier=2, max=9), [(0, 2), (0, 4), (0, 8), (0, 9)]),
        (tenacity.wait_exponential_jitter(max=60, jitter=3), [(1, 4), (2, 5), (4, 7), (8, 11)]),
        (tenacity.wait_fixed(3) + tenacity.wait_random(0, 2), [(3, 5)] * 4),
    ],
)
def test_wait_by_chance(colour, registry, wait, bounds):
    """
    Strategies that draw lots draw them.
    """
    fn = retry(wait=wait, max_attempts=5, registry=registry)(colour.of(script(ConnectionError())))
    delays = delays_of(colour, registry, fn)

    assert all(low <= delay <= high for delay, (low, high) in zip(delays, bounds, strict=True))


def test_wait_that_reads_the_error(colour, registry):
    """
    A wait strategy may read the outcome, as one that waits for what an error says.
    """

    def wait(state):
        return state.outcome.exception().args[0]

    fn = retry(wait=wait, registry=registry)(colour.of(script(ConnectionError(4), ConnectionError(2), 1)))

    assert delays_of(colour, registry, fn) == [4, 2]


@pytest.mark.parametrize(
    "answer", [None, "soon", [], float("inf"), KeyError()], ids=["None", "text", "list", "inf", "raises"]
)
def test_wait_that_cannot_say(colour, registry, reports, answer):
    """
    A wait strategy that raises, or answers what is no time, ends the series: the error is raised as itself.
    """
    error = ConnectionError("down")
    play = script(error)
    fn = retry(wait=script(answer), registry=registry)(colour.of(play))
    with pytest.raises(ConnectionError) as caught:
        colour.call(fn)

    assert error is caught.value
    assert play.calls == 1
    assert error.__notes__ == ["resilient: gave up after 1 attempt, 0 s after the first failure"]
    assert (answer == float("inf")) is (reports == [])


# -- stop --------------------------------------------------------------------


def set_event():
    """
    Return an event that is set.
    """
    event = threading.Event()
    event.set()
    return event


@pytest.mark.parametrize(
    ("stop", "calls"),
    [
        (tenacity.stop_after_attempt(4), 4),
        (tenacity.stop_after_delay(2.5), 4),
        (tenacity.stop_after_delay(3) | tenacity.stop_after_attempt(2), 2),
        (tenacity.stop_any(tenacity.stop_after_delay(3), tenacity.stop_after_attempt(9)), 4),
        (tenacity.stop_after_delay(3) & tenacity.stop_after_attempt(6), 6),
        (tenacity.stop_all(tenacity.stop_after_delay(7), tenacity.stop_after_attempt(2)), 8),
        (tenacity.stop_when_event_set(set_event()), 1),
        (tenacity.stop_when_event_set(threading.Event()) | tenacity.stop_after_attempt(3), 3),
        (lambda state: state.idle_for >= 2, 3),
        (lambda state: state.seconds_since_start >= 2, 3),
        *([(tenacity.stop_before_delay(2.5), 3)] if HAS_STOP_BEFORE_DELAY else []),
    ],
)
def test_stop(colour, registry, stop, calls):
    """
    A stop strategy decides alone when to give up, on the registry's clock.
    """
    play = script(ConnectionError())
    fn = retry(stop=stop, initial_delay=1, exponential_base=1, jitter=False, registry=registry)(colour.of(play))
    with pytest.raises(ConnectionError):
        colour.call(fn)

    assert calls == play.calls


def test_stop_at_an_event_that_comes(colour, registry):
    """
    An event that is set while a call runs ends its series.
    """
    event = threading.Event()
    play = script(ConnectionError())

    def down():
        if play.calls == 2:
            event.set()
        play()

    with pytest.raises(ConnectionError):
        colour.call(retry(stop=tenacity.stop_when_event_set(event), registry=registry)(colour.of(down)))

    assert play.calls == 3


@pytest.mark.parametrize("name", ["stop", "retry", "before_sleep"])
def test_strategy_that_raises(colour, registry, reports, name):
    """
    A strategy that raises is reported and replaces nothing: the error is raised, or the next attempt is made.
    """

    def strategy(state):
        raise KeyError

    error = ConnectionError("down")
    play = script(error)
    fn = retry(registry=registry, **{name: strategy})(colour.of(play))
    with pytest.raises(ConnectionError) as caught:
        colour.call(fn)

    assert error is caught.value
    assert (3 if name == "before_sleep" else 1) == play.calls
    assert {(f"{name}= of @retry on {resilience_of(fn).pipeline.name}", KeyError)} == set(reports)


# -- retry -------------------------------------------------------------------


class Odd(Exception):  # noqa: N818 - what it does is all that matters
    pass


@pytest.mark.parametrize(
    ("strategy", "outcomes", "calls"),
    [
        (tenacity.retry_if_exception_type(Odd), (Odd(), Odd(), 1), 3),
        (tenacity.retry_if_exception_type((Odd, KeyError)), (KeyError(), 1), 2),
        (tenacity.retry_if_exception_type(Odd), (KeyError(),), 1),
        (tenacity.retry_if_not_exception_type(Odd), (KeyError(), Odd()), 2),
        (tenacity.retry_if_not_exception_type((KeyboardInterrupt, SystemExit)), (KeyError(), 1), 2),
        (tenacity.retry_unless_exception_type(Odd), (1, KeyError(), Odd()), 3),
        (tenacity.retry_if_exception_message(message="again"), (Odd("again"), Odd("enough")), 2),
        (tenacity.retry_if_exception_message(match="ag.*"), (Odd("again"), 1), 2),
        (tenacity.retry_if_not_exception_message(message="enough"), (Odd("again"), Odd("enough")), 2),
        (tenacity.retry_if_exception(lambda error: error.args == (1,)), (Odd(1), Odd(2)), 2),
        (tenacity.retry_if_result(lambda value: value < 3), (1, 2, 3), 3),
        (tenacity.retry_if_not_result(lambda value: value == 3), (1, 2, 3), 3),
        (tenacity.retry_if_exception_type(Odd) | tenacity.retry_if_result(lambda value: value == 0), (Odd(), 0, 1), 3),
        (
            tenacity.retry_any(
                tenacity.retry_if_exception_type(Odd), tenacity.retry_if_exception_message(message="again")
            ),
            (Odd(), KeyError(), 1),
            2,
        ),
        (
            tenacity.retry_if_exception_type(Odd) & tenacity.retry_if_exception_message(message="again"),
            (Odd("again"), Odd("enough")),
            2,
        ),
        (tenacity.retry_always, (1,), 5),
        (tenacity.retry_never, (Odd(),), 1),
        (lambda state: state.outcome.failed, (Odd(), 1), 2),
        (lambda state: not state.outcome.failed and state.outcome.result() < 2, (0, 1, 2), 3),
    ],
)
def test_retry_strategy(colour, registry, strategy, outcomes, calls):
    """
    A retry strategy decides alone, about errors and values.
    """
    play = script(*outcomes)
    fn = retry(retry=strategy, max_attempts=5, initial_delay=0, registry=registry)(colour.of(play))
    outcome = colour.outcome(fn)
    last = outcomes[min(calls, len(outcomes)) - 1]

    assert calls == play.calls
    assert last is (outcome.error if isinstance(last, Exception) else outcome.value)


@pytest.mark.parametrize(
    ("strategy", "looks"),
    [
        (tenacity.retry_if_exception_type(Odd), False),
        (tenacity.retry_if_not_exception_type(Odd), False),
        (tenacity.retry_if_exception_message(match="x"), False),
        (tenacity.retry_if_exception_type(Odd) | tenacity.retry_if_exception_type(KeyError), False),
        (tenacity.retry_if_not_exception_message(match="x"), True),
        (tenacity.retry_unless_exception_type(Odd), True),
        (tenacity.retry_if_exception_type(Odd) | tenacity.retry_if_result(bool), True),
        (tenacity.retry_always, True),
        (lambda state: False, True),
    ],
)
def test_looks_at_values(registry, strategy, looks):
    """
    Calls that return stay quiet, but for the clock, under a strategy that only tests exceptions.
    """
    fn = retry(retry=strategy, registry=registry)(script(1))

    assert looks is looks_at_values(strategy)
    assert looks is (fn.resilience.pipeline.ticket is None)


def test_named_types():
    """
    Types are read from strategies that name them, also within others; nonsense is passed over.
    """
    one, two = tenacity.retry_if_exception_type(Odd), tenacity.retry_if_exception_type((KeyError, OSError))
    broken = tenacity.retry_if_exception_type(Odd)
    broken.exception_types = None

    assert (Odd,) == named_types(one)
    assert (Odd, KeyError, OSError) == named_types(one | tenacity.retry_if_result(bool) | two)
    assert named_types(tenacity.retry_if_not_exception_type(Odd)) == ()
    assert named_types(broken) == ()
    assert named_types(None) == ()


# -- the state ---------------------------------------------------------------


def test_state_is_true(colour, registry, clock):
    """
    Strategies see the attempt's number, the outcome, the arguments and the seconds since the start.
    """
    seen = []

    def look(state):
        assert state.outcome.attempt_number == state.attempt_number
        assert state.outcome.done()
        seen.append(
            (
                state.attempt_number,
                state.outcome.failed,
                state.outcome.exception(),
                state.args,
                state.kwargs,
                state.seconds_since_start,
                state.idle_for,
                state.fn.__name__,
            )
        )
        return False

    errors = [ConnectionError(1), ConnectionError(2)]
    play = script(*errors, "done")

    def render(*args, **kwargs):
        clock.advance(10)
        return play()

    fn = retry(stop=look, wait=tenacity.wait_fixed(3), registry=registry)(colour.of(render))

    assert colour.call(fn, 1, b=2) == "done"
    assert [
        (1, True, errors[0], (1,), {"b": 2}, 10, 0, "render"),
        (2, True, errors[1], (1,), {"b": 2}, 23, 3, "render"),
    ] == seen


def test_state_of_a_value(colour, registry):
    """
    A value is the outcome's result, and an error its raised one.
    """
    seen = []

    def look(state):
        if state.outcome.failed:
            with pytest.raises(Odd):
                state.outcome.result()
            seen.append(repr(state.outcome))
        else:
            assert state.outcome.exception() is None
            seen.append((state.outcome.result(), repr(state.outcome)))
        assert str(state.attempt_number) in repr(state)
        return True

    colour.call(retry(retry=look, max_attempts=2, initial_delay=0, registry=registry)(colour.of(script(Odd(), 5))))

    assert seen == ["<attempt #1: failed>", (5, "<attempt #2: returned>")]


def test_state_has_the_policy(colour, registry):
    """
    Strategies that look at `retry_object` find a real Retrying with the strategies in force.
    """
    stop = tenacity.stop_after_attempt(2)
    seen = []

    def look(state):
        seen.append(state.retry_object)
        return state.retry_object.retry(state)

    fn = retry(stop=stop, before_sleep=look, wait=tenacity.wait_none(), registry=registry)(
        colour.of(script(ConnectionError()))
    )
    with pytest.raises(ConnectionError):
        colour.call(fn)

    assert isinstance(seen[0], tenacity.Retrying)
    assert stop is seen[0].stop
    assert look is seen[0].before_sleep


def test_before_sleep(colour, registry, clock):
    """
    `before_sleep` is told before each wait, with the next action.
    """
    seen = []

    def tell(state):
        seen.append((state.attempt_number, state.next_action.sleep, state.idle_for, clock.monotonic()))

    fn = retry(before_sleep=tell, jitter=False, registry=registry)(
        colour.of(script(ConnectionError(), OSError(11, ""), 1))
    )

    assert colour.call(fn) == 1
    assert seen == [(1, 1, 1, 0), (2, 2, 3, 1)]


def test_before_sleep_log(colour, registry, caplog):
    """
    Tenacity's own `before_sleep_log` works.
    """
    log = tenacity.before_sleep_log(logging.getLogger("mine"), logging.WARNING)
    fn = retry(before_sleep=log, initial_delay=2, jitter=False, registry=registry)(
        colour.of(script(ConnectionError("down"), 1))
    )
    with caplog.at_level(logging.WARNING, "mine"):
        colour.call(fn)
    (record,) = [one for one in caplog.records if one.name == "mine"]

    assert "in 2" in record.message
    assert "as it raised ConnectionError: down" in record.message


# -- async strategies --------------------------------------------------------


@pytest.mark.parametrize("name", ["wait", "stop", "retry", "before_sleep"])
async def test_async_callables(registry, name):
    """
    On an `async def`, strategies may be async callables.
    """
    answers = {"wait": 0, "stop": False, "retry": True, "before_sleep": None}
    seen = []

    async def strategy(state):
        await asyncio.sleep(0)
        seen.append(state.attempt_number)
        return answers[name]

    play = script(ConnectionError(), ConnectionError(), ConnectionError())
    fn = retry(registry=registry, **{name: strategy})(Colour("async").of(play))
    task = asyncio.ensure_future(fn())
    for _ in range(2000):
        await asyncio.sleep(0)
        if task.done() or play.calls > 3:
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert seen[:2] == [1, 2]


@pytest.mark.skipif(of_async is None, reason="this tenacity has none")
@pytest.mark.parametrize("combined", [False, True])
async def test_async_strategies(registry, combined):
    """
    Tenacity's async strategies work as they are, alone and combined.
    """

    async def odd(error):
        return isinstance(error, Odd)

    async def zero(value):
        return value == 0

    strategy = of_async.retry_if_exception(odd)
    play = script(Odd(), 0, Odd(), 1)
    if combined:
        strategy |= of_async.retry_if_result(zero)
    fn = retry(retry=strategy, max_attempts=9, initial_delay=0, registry=registry)(Colour("async").of(play))

    assert (1 if combined else 0) == await fn()
    assert (4 if combined else 2) == play.calls


@pytest.mark.parametrize("name", ["wait", "stop", "retry", "before_sleep", "on_result"])
def test_async_strategy_on_a_sync_function(registry, name):
    """
    An async strategy around a sync function is refused: nobody would await it.
    """

    class Strategy:
        async def __call__(self, state):
            raise NotImplementedError

    with pytest.raises(PolicyError, match=f"{name}= is async and .*sleepy is not, so nobody would await it"):

        @retry(registry=registry, **{name: Strategy()})
        def sleepy():
            raise NotImplementedError


# -- Retrying objects --------------------------------------------------------


@pytest.mark.parametrize("kind", [tenacity.Retrying, tenacity.AsyncRetrying])
def test_retrying_object(colour, registry, clock, kind):
    """
    A Retrying object gives its strategies.
    """
    seen = []
    config = kind(
        wait=tenacity.wait_fixed(2),
        stop=tenacity.stop_after_attempt(4),
        retry=tenacity.retry_if_exception_type(Odd),
        before_sleep=lambda state: seen.append(state.attempt_number),
        reraise=True,
    )
    play = script(Odd())
    with pytest.raises(Odd):
        colour.call(retry(config, registry=registry)(colour.of(play)))

    assert (play.calls, clock.monotonic(), seen) == (4, 6, [1, 2, 3])


def test_retrying_object_as_it_is_made(colour, registry, clock):
    """
    A plain Retrying tries again at once and for ever, as it does with tenacity.
    """
    play = script(*[Odd()] * 50, "done")

    assert colour.call(retry(tenacity.Retrying(), registry=registry)(colour.of(play))) == "done"
    assert clock.monotonic() == 0


def test_retrying_object_without_wait(colour, registry, clock):
    """
    No wait means no wait, and not our backoff.
    """
    config = tenacity.Retrying(stop=tenacity.stop_after_attempt(2))
    config.wait = None
    with pytest.raises(Odd):
        colour.call(retry(config, registry=registry)(colour.of(script(Odd()))))

    assert clock.monotonic() == 0


def test_keywords_beside_a_retrying_object(colour, registry, clock):
    """
    Keywords win over a Retrying object's strategies, one for one.
    """
    config = tenacity.Retrying(
        wait=tenacity.wait_fixed(2), stop=tenacity.stop_after_attempt(9), retry=tenacity.retry_if_exception_type(Odd)
    )
    play = script(KeyError())
    fn = retry(config, max_attempts=3, on=KeyError, registry=registry)(colour.of(play))
    with pytest.raises(KeyError):
        colour.call(fn)

    assert (play.calls, clock.monotonic()) == (3, 4)


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("sleep", lambda seconds: None, "give the registry a clock"),
        ("before", lambda state: None, "listen with registry.on"),
        ("after", lambda state: None, "listen with registry.on"),
        ("retry_error_callback", lambda state: None, "write @fallback_chain above @retry"),
        ("retry_error_cls", type("Mine", (tenacity.RetryError,), {}), "the last error is raised as itself"),
    ],
)
@pytest.mark.parametrize("kind", [tenacity.Retrying, tenacity.AsyncRetrying])
def test_what_a_retrying_object_cannot_bring(kind, option, value, remedy):
    """
    What would be ignored of a Retrying object is refused, with what to do instead.
    """
    with pytest.raises(PolicyError, match=rf"{option}= of a \w+ has no place here; {remedy}"):
        retry(kind(**{option: value}))(script(1))


# -- many at once ------------------------------------------------------------

# Rows of a table of what each call is to see: its argument, and its attempt number.


def watched(colour, registry, rounds):
    """
    Return a function that fails *rounds* times for each argument, with what its strategies saw of each call.
    """
    seen = {}
    calls = {}

    def look(state):
        (key,) = state.args
        assert state.outcome.exception().args == (key, state.attempt_number)
        assert state.seconds_since_start is not None
        seen.setdefault(key, []).append(state.attempt_number)
        return False

    def work(key):
        calls[key] = calls.get(key, 0) + 1
        if calls[key] <= rounds:
            raise Odd(key, calls[key])
        return key

    config = tenacity.Retrying(
        stop=look, wait=tenacity.wait_random(0, 0.001), retry=tenacity.retry_if_exception_type(Odd)
    )
    return retry(config, registry=registry)(colour.of(work)), seen


def test_threads(registry):
    """
    Sixteen threads in one function: each call has a state of its own.
    """
    fn, seen = watched(Colour("sync"), registry, rounds=5)
    barrier = threading.Barrier(16)

    def run(key):
        if key < 16:
            barrier.wait()
        return fn(key)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(run, range(160)))

    assert list(range(160)) == results
    assert {key: [1, 2, 3, 4, 5] for key in range(160)} == seen


async def test_tasks(registry):
    """
    Two hundred tasks in one function: each call has a state of its own.
    """
    fn, seen = watched(Colour("async"), registry, rounds=5)
    results = await asyncio.gather(*(fn(key) for key in range(200)))

    assert list(range(200)) == results
    assert {key: [1, 2, 3, 4, 5] for key in range(200)} == seen


async def test_tasks_with_our_own_strategies(registry):
    """
    The same with our backoff, whose decorrelated jitter remembers the previous delay of each call.
    """
    fns = script(*[ConnectionError()] * 400, "done")
    fn = retry(max_attempts=1000, jitter="decorrelated", max_delay=5, registry=registry)(Colour("async").of(fns))
    results = await asyncio.gather(*(fn() for _ in range(200)))

    assert results == ["done"] * 200


# -- from outside ------------------------------------------------------------


@pytest.mark.parametrize("strategy", [tenacity.retry_if_exception_type(Odd), lambda state: state.outcome.failed])
def test_is_retryable(registry, strategy):
    """
    A policy tells what it would retry, by its strategy too.
    """
    policy = RetryPolicy({**RETRY_OPTIONS.defaults(), "retry": strategy}, registry.hub)

    assert policy.is_retryable(Odd())
    assert policy.is_retryable(tenacity.TryAgain())
    assert not policy.is_retryable(PolicyError("wrong"))


def test_calculate_delay(registry):
    """
    A policy tells its delays, by its strategy too.
    """
    policy = RetryPolicy({**RETRY_OPTIONS.defaults(), "wait": tenacity.wait_incrementing(1, 2)}, registry.hub)

    assert [policy.calculate_delay(attempt) for attempt in range(3)] == [1, 3, 5]


def test_reprs(registry):
    """
    Strategies of ours and the rules show themselves.
    """
    policy = RetryPolicy({**RETRY_OPTIONS.defaults(), "max_duration": 30.0}, registry.hub)

    assert repr(Backoff(1.0, 60.0, 2.0, jitter=True, rng=random)) == "Backoff(1, 60, 2, jitter=True)"
    assert repr(StopBefore(30.0)) == "StopBefore(30)"
    assert "Backoff(1, 60, 2, jitter=True)" in repr(policy.retrying)


def test_settled():
    """
    An outcome reads as a Future does.
    """
    error = Odd()
    raised, returned = Settled(3, Raised(error)), Settled(1, Returned(5))

    assert (raised.failed, raised.exception(), raised.attempt_number) == (True, error, 3)
    assert (returned.failed, returned.exception(), returned.result(timeout=1)) == (False, None, 5)


@pytest.mark.parametrize(("value", "delay"), [(1, 1.0), ("0.5", 0.5), (-3, 0.0), (float("nan"), 0.0), (True, 1.0)])
def test_as_delay(value, delay):
    """
    What a strategy answers becomes seconds, never negative and never NaN.
    """
    assert delay == as_delay(value)
