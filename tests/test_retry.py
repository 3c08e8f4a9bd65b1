from __future__ import annotations

import asyncio
import random
import warnings
import weakref

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from resilient import (
    BlockingWaitWarning,
    CircuitBreakerOpenError,
    DecorationError,
    ErrorCategory,
    FallbackChainExhaustedError,
    PolicyError,
    Registry,
    ResilientError,
    circuit,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.events import AttemptFailed, OperationFailed, RetriesExhausted, RetryScheduled
from resilient.policies.retry import RETRY_OPTIONS, RetryPolicy, note
from resilient.testing import FakeClock, attempts, capture_events, no_waits
from tests.harness import Colour, Middle, Tensor, delays_of, script, shown


@pytest.fixture
def registry(clock):
    """
    Return a registry on that clock, whose chance is none.
    """
    return Registry(clock=clock, rng=Middle())


def notes_of(error):
    """
    Return our notes on *error*.
    """
    return [one for one in getattr(error, "__notes__", ()) if one.startswith("resilient: ")]


# -- attempts and delays -----------------------------------------------------


def test_bare(colour, registry, clock, monkeypatch):
    """
    Bare, a transient error gets two further attempts, after 1 and 2 seconds.
    """
    play = script(ConnectionError("a"), ConnectionError("b"), "done")
    fn = retry(registry=registry)(colour.of(play))

    assert colour.call(fn) == "done"
    assert (play.calls, clock.monotonic()) == (3, 3.0)


def test_gives_up_with_the_last_error(colour, registry, clock):
    """
    When attempts run out the last error itself is raised, with a note of how many there were.
    """
    errors = [ConnectionError("first"), ConnectionError("second"), ConnectionError("third")]
    fn = retry(registry=registry)(colour.of(script(*errors)))
    with pytest.raises(ConnectionError) as caught:
        colour.call(fn)

    assert errors[-1] is caught.value
    assert notes_of(caught.value) == ["resilient: gave up after 3 attempts, 3 s after the first failure"]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("number", [1, 2, 7])
def test_max_attempts(colour, registry, number):
    """
    `max_attempts` counts the calls in all, the first included.
    """
    play = script(ConnectionError())
    with pytest.raises(ConnectionError):
        colour.call(retry(max_attempts=number, registry=registry)(colour.of(play)))

    assert number == play.calls


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 4, 8, 16, 32, 60, 60]),
        ({"initial_delay": 0.5, "exponential_base": 3}, [0.5, 1.5, 4.5, 13.5, 40.5, 60, 60, 60]),
        ({"initial_delay": 5, "max_delay": 7}, [5, 7, 7, 7, 7, 7, 7, 7]),
        ({"initial_delay": 2, "exponential_base": 1}, [2] * 8),
        ({"initial_delay": 0}, [0] * 8),
        ({"max_delay": 0.25}, [0.25] * 8),
        ({"initial_delay": "500ms", "max_delay": "1s"}, [0.5, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_delays(colour, registry, clock, options, expected):
    """
    The delay before retry n is min(max_delay, initial_delay * base ** (n - 1)), and it is waited.
    """
    fn = retry(max_attempts=9, jitter=False, registry=registry, **options)(colour.of(script(ConnectionError())))

    assert expected == delays_of(colour, registry, fn)
    assert sum(expected) == clock.monotonic()


def policy(registry, **options):
    """
    Return a retry policy by itself.
    """
    return RetryPolicy({**RETRY_OPTIONS.defaults(), **options}, registry.hub)


@pytest.mark.parametrize("jitter", [True, False, "full", "decorrelated"])
def test_delays_of_ever_more_attempts(jitter):
    """
    However many attempts there were, the delay is the longest one; none stays none.
    """
    long = policy(Registry(rng=Middle()), max_delay=8.0, jitter=jitter)
    none = policy(Registry(), initial_delay=0.0, jitter=jitter)

    assert 0 < long.calculate_delay(100_000) <= 8
    assert none.calculate_delay(100_000) == 0


@given(
    jitter=st.sampled_from([True, "full", "decorrelated"]),
    initial=st.floats(0, 100),
    more=st.floats(0, 1000),
    base=st.floats(1, 10),
    seed=st.integers(),
)
def test_jitter_stays_in_its_bounds(jitter, initial, more, base, seed):
    """
    Jitter spreads a delay within its bounds, and never past `max_delay`.
    """
    registry = Registry(clock=FakeClock(), rng=random.Random(seed))
    maximum = initial + more
    options = {"initial_delay": initial, "max_delay": maximum, "exponential_base": base}
    fn = retry(max_attempts=6, jitter=jitter, registry=registry, **options)(script(ConnectionError()))
    previous = initial
    for number, delay in enumerate(delays_of(Colour("sync"), registry, fn)):
        plain = min(maximum, initial * base**number)
        low, high = {
            True: (0.75 * plain, 1.25 * plain),
            "full": (0, plain),
            "decorrelated": (initial, 3 * max(previous, initial)),
        }[jitter]
        previous = delay

        assert low <= delay <= min(maximum, high)


def test_jitter_draws_from_the_registry(registry, colour):
    """
    Chance comes from the registry: the same seed gives the same delays.
    """
    first, second = (
        delays_of(colour, registry, fn)
        for registry in (Registry(clock=FakeClock(), rng=random.Random(7)) for _ in range(2))
        for fn in [retry(max_attempts=5, registry=registry)(colour.of(script(ConnectionError())))]
    )

    assert first == second
    assert first != [1, 2, 4, 8]


# -- what is retried ---------------------------------------------------------


class Odd(Exception):  # noqa: N818 - what it does is all that matters
    pass


class Odder(Odd):
    pass


@pytest.mark.parametrize(
    ("on", "error", "retried"),
    [
        (None, ConnectionError(), True),
        (None, TimeoutError(), True),
        (None, ValueError(), False),
        (None, MemoryError(), False),
        (None, Odd(), False),
        (None, ExceptionGroup("all", [ConnectionError(), TimeoutError()]), True),
        (None, ExceptionGroup("one is not", [ConnectionError(), ValueError()]), False),
        (Odd, Odder(), True),
        (Odder, Odd(), False),
        ((Odd, KeyError), KeyError(), True),
        ({Odd, KeyError}, Odd(), True),
        ([Odd], ConnectionError(), False),
        (lambda error: "again" in str(error), Odd("once again"), True),
        (lambda error: "again" in str(error), ConnectionError("no"), False),
        ("network", ConnectionError(), True),
        ("network", Odd(), False),
        ("memory", MemoryError(), True),
        (ErrorCategory.MEMORY, MemoryError(), True),
        ("validation", ValueError(), False),
        (("validation", lambda _: True), ValueError(), True),
        (("validation", ValueError), ValueError(), True),
        (("memory", Odd, lambda error: isinstance(error, KeyError)), KeyError(), True),
        (("memory", Odd, lambda error: isinstance(error, KeyError)), TypeError(), False),
        (StopIteration, StopIteration(), True),
        ((), ConnectionError(), False),
    ],
)
def test_on(colour, registry, on, error, retried):
    """
    `on` names types, predicates and categories; a category stands for its errors that are not plainly permanent.
    """
    if colour.is_async and isinstance(error, StopIteration):
        pytest.skip("Python itself turns it into a RuntimeError there")
    play = script(error)
    fn = retry(on=on, max_attempts=2, initial_delay=0, registry=registry)(colour.of(play))
    with pytest.raises(type(error)) as caught:
        colour.call(fn)

    assert error is caught.value
    assert 1 + retried == play.calls
    assert retried is policy(registry, **RETRY_OPTIONS.validate("", {"on": on})).is_retryable(error)


def test_on_a_rule_of_the_users_own(colour, registry):
    """
    The default `on` follows what the registry's classifier was told.
    """
    registry.classifier.add(Odd, "workflow", transient=True)
    play = script(Odd(), 1)

    assert colour.call(retry(registry=registry)(colour.of(play))) == 1


def test_predicate_that_raises(colour, registry, reports):
    """
    A predicate that raises is reported, and the error is raised as it is.
    """

    def predicate(error):
        raise KeyError

    play = script(Odd())
    fn = retry(on=predicate, registry=registry)(colour.of(play))
    with pytest.raises(Odd):
        colour.call(fn)

    assert play.calls == 1
    assert [(f"on= of @retry on {resilience_of(fn).pipeline.name}", KeyError)] == reports


class Liar(ConnectionError):  # noqa: N818 - what it does is all that matters
    @property
    def __class__(self):
        raise RuntimeError


@pytest.mark.parametrize("on", [None, ConnectionError, "network", ValueError])
def test_error_that_lies_about_its_class(colour, registry, on):
    """
    An error whose `__class__` raises is judged by its real type.
    """
    play = script(Liar())
    fn = retry(on=on, max_attempts=2, initial_delay=0, registry=registry)(colour.of(play))
    # asyncio itself cannot bear one that leaves a task.
    outcome = colour.outcome(fn)

    assert Liar is type(outcome.error)
    assert (1 if on is ValueError else 2) == play.calls


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError()], ids=repr
)
@pytest.mark.parametrize(
    "options",
    [
        {"on": lambda _: True},
        {"retry": tenacity.retry_always},
        {"retry": tenacity.retry_if_not_exception_type(ValueError)},
        {"retry": tenacity.retry_if_exception_type(BaseException)},
    ],
    ids=["predicate", "always", "not", "base"],
)
def test_what_is_no_exception_passes(registry, error, options):
    """
    Ctrl-C, exit and cancellation leave at once, whatever is asked to be retried.
    """
    play = script(error)
    fn = retry(registry=registry, **options)(play)
    with pytest.raises(type(error)) as caught:
        fn()

    assert error is caught.value
    assert play.calls == 1
    assert fn.resilience.stats().failures == 0


@pytest.mark.parametrize("where", ["on", "on_result", "wait", "stop", "retry", "before_sleep", "sleep"])
def test_ctrl_c_in_a_hook(registry, clock, monkeypatch, where):
    """
    Ctrl-C in a predicate, a strategy or a wait leaves at once.
    """

    def interrupt(*_):
        raise KeyboardInterrupt

    play = script(1) if where == "on_result" else script(ConnectionError())
    if where == "sleep":
        monkeypatch.setattr(clock, "sleep", interrupt)
    fn = retry(registry=registry, **({} if where == "sleep" else {where: interrupt}))(play)
    with pytest.raises(KeyboardInterrupt):
        fn()

    assert play.calls == 1


async def test_cancelled_in_a_wait():
    """
    A task that is cancelled while it waits makes no further attempt.
    """
    play = script(ConnectionError())
    registry = Registry(clock=FakeClock(manual=True))
    task = asyncio.ensure_future(retry(registry=registry)(Colour("async").of(play))())
    while not play.calls:  # noqa: ASYNC110 - it is the very task that is waited for
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert play.calls == 1


# -- our own errors ----------------------------------------------------------


class Refused(CircuitBreakerOpenError):  # noqa: N818 - what it does is all that matters
    pass


@pytest.mark.parametrize(
    ("options", "retried"),
    [
        ({}, False),
        ({"on": Exception}, False),
        ({"on": ResilientError}, False),
        ({"on": "workflow"}, False),
        ({"on": lambda _: True}, False),
        ({"on": (Exception, CircuitBreakerOpenError)}, True),
        ({"retry": tenacity.retry_always}, False),
        ({"retry": tenacity.retry_if_exception_type()}, False),
        ({"retry": tenacity.retry_if_not_exception_type(ValueError)}, False),
        ({"retry": tenacity.retry_if_exception_type(CircuitBreakerOpenError)}, True),
        (
            {
                "retry": tenacity.retry_if_exception_type((KeyError, CircuitBreakerOpenError))
                | tenacity.retry_if_result(lambda _: False)
            },
            True,
        ),
    ],
)
@pytest.mark.parametrize("error", [CircuitBreakerOpenError("api", 5.0), Refused("api")], ids=["ours", "derived"])
def test_open_circuit(colour, registry, clock, options, retried, error):  # noqa: PLR0917 - a table
    """
    An open circuit is not retried unless that very type is named, and its `retry_after` is no server's wish.
    """
    play = script(error)
    fn = retry(max_attempts=2, initial_delay=0, registry=registry, **options)(colour.of(play))
    with pytest.raises(CircuitBreakerOpenError):
        colour.call(fn)

    assert (1 + retried, 0) == (play.calls, clock.monotonic())


def test_open_circuit_below(colour, registry):
    """
    A circuit that opens ends the retry series: whoever retries an open circuit hammers it.
    """
    play = script(ConnectionError())
    fn = retry(max_attempts=5, on=Exception, registry=registry)(circuit(failure_threshold=2)(colour.of(play)))
    with pytest.raises(CircuitBreakerOpenError) as caught:
        colour.call(fn)

    assert play.calls == 2
    assert notes_of(caught.value)[0].startswith("resilient: gave up after 3 attempts")


@pytest.mark.parametrize("error", [PolicyError("wrong"), DecorationError("wrong")], ids=repr)
def test_mistakes_in_the_program(colour, registry, error):
    """
    Our errors about mistakes in the program are not retried either.
    """
    play = script(error)
    with pytest.raises(type(error)):
        colour.call(retry(on=Exception, registry=registry)(colour.of(play)))

    assert play.calls == 1


def test_exhausted_chain(colour, registry):
    """
    An exhausted fallback chain is retried as its primary's error would be.
    """
    play = script(ConnectionError())

    @retry(max_attempts=2, initial_delay=0, registry=registry)
    @colour.of
    def outer():
        return chain()

    chain = fallback_chain(script(ValueError()), registry=registry)(play)
    with pytest.raises(FallbackChainExhaustedError):
        colour.call(outer)

    assert play.calls == 2


def test_try_again(colour, registry):
    """
    Tenacity's `TryAgain` asks for another attempt whatever `on` says, and is raised as itself at the end.
    """
    play = script(tenacity.TryAgain(), ValueError("x"))
    last = tenacity.TryAgain()
    fn = retry(on=KeyError, initial_delay=0, registry=registry)(colour.of(play))
    with pytest.raises(ValueError, match="x"):
        colour.call(fn)
    with pytest.raises(tenacity.TryAgain) as caught:
        colour.call(retry(on=KeyError, max_attempts=2, initial_delay=0, registry=registry)(colour.of(script(last))))

    assert play.calls == 2
    assert last is caught.value
    assert policy(registry).is_retryable(last)


def test_try_again_and_circuits(colour, registry):
    """
    `TryAgain` is neither failure nor success to a circuit.
    """
    fn = retry(max_attempts=9, initial_delay=0, registry=registry)(
        circuit("shy", failure_threshold=1)(colour.of(script(*[tenacity.TryAgain()] * 5, "done")))
    )

    assert colour.call(fn) == "done"
    assert registry.circuits["shy"].failure_count == 0


# -- Retry-After -------------------------------------------------------------


class Response:
    def __init__(self, headers):
        self.headers = headers


def error_with(**attributes):
    """
    Return a transient error with *attributes*.
    """
    error = ConnectionError("busy")
    vars(error).update(attributes)
    return error


@pytest.mark.parametrize(
    ("attributes", "delay"),
    [
        ({"retry_after": 7}, 7),
        ({"retry_after": 0.5}, 1),
        ({"response": Response({"Retry-After": "12"})}, 12),
        ({"headers": {"retry-after": "9"}}, 9),
        ({"response": Response({"Retry-After": "Wed, 01 Jan 2025 00:00:20 GMT"})}, 20),
        ({"retry_after": 3600}, 30),
        ({"retry_after": -1}, 1),
        ({"retry_after": float("nan")}, 1),
        ({"retry_after": 1e308}, 1),
        ({"retry_after": True}, 1),
        ({"response": Response({"Retry-After": "Wed, 01 Jan 2020 00:00:20 GMT"})}, 1),
        ({"response": Response({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"})}, 1),
        ({"response": Response({"Retry-After": "soon" * 250_000})}, 1),
        ({"response": object()}, 1),
    ],
)
def test_servers_wish(colour, registry, attributes, delay):
    """
    What a server asks to wait is waited at least, capped by `max_delay`; junk is ignored.
    """
    fn = retry(max_attempts=2, max_delay=30, registry=registry)(colour.of(script(error_with(**attributes))))

    assert [delay] == delays_of(colour, registry, fn)


def test_servers_wish_along_the_cause(colour, registry):
    """
    A wish is found on what an error was raised from, too.
    """
    error = ConnectionError()
    error.__cause__ = error_with(retry_after=4)
    fn = retry(max_attempts=2, registry=registry)(colour.of(script(error)))

    assert delays_of(colour, registry, fn) == [4]


def test_servers_wish_and_a_wait_strategy(colour, registry):
    """
    A `wait` strategy stands for the server's wish, too.
    """
    fn = retry(max_attempts=2, wait=tenacity.wait_fixed(2), registry=registry)(
        colour.of(script(error_with(retry_after=4)))
    )

    assert delays_of(colour, registry, fn) == [2]


# -- max_duration ------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(0.5, (1, 0)), (1, (1, 0)), (2, (2, 1)), (3.5, (3, 3)), ("1m", (6, 31)), (1000, (9, 183))],
)
def test_max_duration(colour, registry, clock, duration, expected):
    """
    No wait is begun that would overrun `max_duration`; the last error is raised as itself, with the note.
    """
    play = script(ConnectionError())
    fn = retry(max_attempts=9, max_duration=duration, jitter=False, registry=registry)(colour.of(play))
    with pytest.raises(ConnectionError) as caught:
        colour.call(fn)
    calls, waited = expected
    times = "1 attempt" if calls == 1 else f"{calls} attempts"

    assert expected == (play.calls, clock.monotonic())
    assert [f"resilient: gave up after {times}, {waited} s after the first failure"] == notes_of(caught.value)


def test_max_duration_beside_a_wait_strategy(colour, registry, clock):
    """
    `max_duration` also ends the waits that a strategy asks for.
    """
    play = script(ConnectionError())
    fn = retry(max_attempts=9, max_duration=5, wait=tenacity.wait_fixed(2), registry=registry)(colour.of(play))
    with pytest.raises(ConnectionError):
        colour.call(fn)

    assert (play.calls, clock.monotonic()) == (3, 4)


def test_attempt_longer_than_max_duration(colour, registry, clock):
    """
    An attempt that took longer than `max_duration` is the last one.
    """

    def slow():
        clock.advance(10)
        raise ConnectionError

    fn = retry(max_duration=5, initial_delay=0, registry=registry)(colour.of(slow))
    with pytest.raises(ConnectionError) as caught:
        colour.call(fn)

    assert clock.monotonic() == 10
    assert notes_of(caught.value) == ["resilient: gave up after 1 attempt, 0 s after the first failure"]


def test_max_duration_of_each_series(colour, registry, clock):
    """
    `max_duration` is for one series of attempts: the series after a recovery has its own.
    """
    registry.playbooks.step("network", name="mend", before="retry_connection")(lambda _: True)
    play = script(ConnectionError())
    fn = recoverable(max_runs=1, registry=registry)(
        retry(max_attempts=9, max_duration=5, jitter=False)(colour.of(play))
    )
    with pytest.raises(ConnectionError):
        colour.call(fn)

    assert (play.calls, clock.monotonic()) == (6, 6)


# -- on_result ---------------------------------------------------------------


def test_on_result(colour, registry, clock):
    """
    `on_result` asks for further attempts until it is content, with the same waits; that is no error.
    """
    play = script(None, None, "there")
    fn = retry(on_result=lambda value: value is None, registry=registry)(colour.of(play))

    assert colour.call(fn) == "there"
    assert (play.calls, clock.monotonic()) == (3, 3)
    assert registry.analytics.total_errors == 0
    assert tuple(
        getattr(fn.resilience.stats(), name) for name in ("calls", "attempts", "retries", "failures", "recovered")
    ) == (1, 3, 2, 0, 0)


@pytest.mark.parametrize(
    "options", [{"on_result": lambda value: value < 9}, {"retry": tenacity.retry_if_result(lambda value: value < 9)}]
)
def test_on_result_runs_out(colour, registry, options):
    """
    When attempts run out, the last value is returned.
    """
    fn = retry(max_attempts=3, initial_delay=0, registry=registry, **options)(colour.of(script(1, 2, 3)))
    with capture_events(registry) as events:
        value = colour.call(fn)

    assert value == 3
    assert [(one.attempts, one.error) for one in events if isinstance(one, RetriesExhausted)] == [(3, None)]


def test_on_result_beside_errors(colour, registry):
    """
    Errors are retried by `on` all the same, and the outcome tells of it.
    """
    fn = retry(on_result=lambda value: value == 1, on=KeyError, initial_delay=0, registry=registry)(
        colour.of(script(KeyError(), 1, 2))
    )
    outcome = colour.outcome(fn)

    assert (outcome.value, outcome.route, outcome.attempts) == (2, "retry", 3)


def test_on_result_content_at_once(colour, registry):
    """
    A value that `on_result` is content with at once came by the first try.
    """
    fn = retry(on_result=lambda value: False, registry=registry)(colour.of(script(5)))
    outcome = colour.outcome(fn)

    assert (outcome.value, outcome.route, outcome.attempts) == (5, "first try", 1)


def test_on_result_that_raises(colour, registry, reports):
    """
    An `on_result` that raises, or answers what is neither true nor false, is reported; the value is returned.
    """

    class Neither:
        def __bool__(self):
            raise TypeError

    raising = retry(on_result=lambda value: value.no, registry=registry)(colour.of(script(1)))
    neither = retry(on_result=lambda value: Neither(), registry=registry)(colour.of(script(2)))

    assert (colour.call(raising), colour.call(neither)) == (1, 2)
    assert [AttributeError, TypeError] == [kind for _, kind in reports]


async def test_on_result_async(registry):
    """
    On an `async def`, `on_result` may be async.
    """

    async def empty(value):
        return value is None

    fn = retry(on_result=empty, registry=registry)(Colour("async").of(script(None, 1)))

    assert await fn() == 1


# -- notes -------------------------------------------------------------------


def test_note_is_replaced(colour, registry):
    """
    One instance raised again and again carries one note of ours, the latest, and keeps those of others.
    """
    error = ConnectionError("the same")
    error.add_note("mine")
    for number in (2, 3):
        with pytest.raises(ConnectionError):
            colour.call(retry(max_attempts=number, registry=registry)(colour.of(script(error))))

    assert error.__notes__ == ["mine", "resilient: gave up after 3 attempts, 3 s after the first failure"]


class Frozen(ConnectionError):  # noqa: N818 - what it does is all that matters
    def __setattr__(self, name, value):
        raise AttributeError(name)


class Hidden(ConnectionError):  # noqa: N818 - what it does is all that matters
    __notes__ = 5


class Secretive(ConnectionError):  # noqa: N818 - what it does is all that matters
    @property
    def __notes__(self):
        raise RuntimeError


@pytest.mark.parametrize("kind", [Frozen, Hidden, Secretive])
def test_note_that_cannot_be_set(colour, registry, kind):
    """
    A note that cannot be set is dropped, and the error is raised as it is.
    """
    error = kind("down")
    with pytest.raises(kind) as caught:
        colour.call(retry(registry=registry)(colour.of(script(error))))

    assert error is caught.value


def test_note_on_what_is_not_an_exception_of_python():
    """
    A note is put even where the class forbids attributes in Python code.
    """
    error = Frozen("down")
    note(error, "told")

    assert error.__notes__ == ["resilient: told"]


def test_unknown_error(colour, registry):
    """
    Where the default `on` declines an error that nobody knows, the note says what to do.
    """
    with pytest.raises(Odd) as caught:
        colour.call(retry(registry=registry)(colour.of(script(Odd()))))

    assert notes_of(caught.value) == [
        (
            "resilient: not retried: Odd is not known as transient; name it in on=, or tell the registry with"
            " classifier.add(Odd, ...)"
        )
    ]


def test_unknown_error_later(colour, registry):
    """
    An unknown error after a retry has a note of both.
    """
    with pytest.raises(Odd) as caught:
        colour.call(retry(registry=registry)(colour.of(script(ConnectionError(), Odd()))))

    assert notes_of(caught.value)[0].startswith(
        "resilient: gave up after 2 attempts, 1 s after the first failure; not retried: Odd is not known"
    )


@pytest.mark.parametrize(
    ("options", "error"), [({}, ValueError()), ({"on": KeyError}, Odd()), ({"retry": tenacity.retry_never}, Odd())]
)
def test_no_note(colour, registry, options, error):
    """
    An error that is known, or that `on` was asked about, gets no note where nothing was tried again.
    """
    with pytest.raises(type(error)) as caught:
        colour.call(retry(registry=registry, **options)(colour.of(script(error))))

    assert notes_of(caught.value) == []


# -- what is told ------------------------------------------------------------


def test_events(colour, registry):
    """
    Each attempt, each retry and the end are told, with true numbers.
    """
    fn = retry(max_attempts=2, registry=registry)(colour.of(script(ConnectionError("down"))))
    with capture_events(registry) as events, pytest.raises(ConnectionError):
        colour.call(fn)

    assert [AttemptFailed, RetryScheduled, AttemptFailed, RetriesExhausted, OperationFailed] == [
        type(one) for one in events
    ]
    scheduled, exhausted = events[1], events[3]
    assert (scheduled.attempt, scheduled.delay, scheduled.error.error_type) == (1, 1.0, "ConnectionError")
    assert (exhausted.attempts, exhausted.elapsed, exhausted.error.error_message) == (2, 1.0, "down")


def test_nothing_to_give_up(colour, registry):
    """
    An error that is not retried does not exhaust anything.
    """
    fn = retry(registry=registry)(colour.of(script(ValueError("x"))))
    with capture_events(registry) as events, pytest.raises(ValueError, match="x"):
        colour.call(fn)

    assert not [one for one in events if isinstance(one, RetriesExhausted)]


def test_repr(registry):
    """
    A policy shows the options that were given, and its rules the strategies.
    """
    fn = retry(max_attempts=5, on=(Odd, "network"), registry=registry)(script(1))

    assert repr(fn.resilience.policies[0]) == "@retry(on=(Odd, 'network'), max_attempts=5)"
    assert repr(policy(registry)) == "@retry"


# -- frames ------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"on": Exception},
        {"on": lambda error: True},
        {"on_result": lambda value: False, "on": Exception},
        {"retry": tenacity.retry_if_exception_type()},
        {"before_sleep": lambda state: None},
        {"wait": lambda state: 0.001, "stop": lambda state: False},
    ],
    ids=shown,
)
@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("delay", [0, 1])
def test_frames_are_free_before_the_next_attempt(colour, registry, options, delay):
    """
    A failed attempt's frames, and the tensors in them, are free before the next attempt begins.
    """
    alive = []
    tensors = []

    def render():
        alive.append([tensor() for tensor in tensors])
        tensor = Tensor()
        tensors.append(weakref.ref(tensor))
        if len(tensors) < 3:
            raise ConnectionError
        return "done"

    if "wait" not in options:
        options = {"initial_delay": delay, **options}

    assert colour.call(retry(registry=registry, **options)(colour.of(render))) == "done"
    assert alive == [[], [None], [None, None]]


def test_attempts_are_not_in_each_others_context(colour, registry):
    """
    An attempt's error is not the context of the next one's.
    """
    with pytest.raises(ConnectionError) as caught:
        colour.call(
            retry(registry=registry)(colour.of(script(ConnectionError(1), ConnectionError(2), ConnectionError(3))))
        )

    assert caught.value.__context__ is None


def test_outcome_of_a_first_try(colour, registry):
    """
    What returns at once has the route of a first try.
    """
    fn = retry(registry=registry)(colour.of(script(5)))

    assert colour.outcome(fn).route == "first try"


# -- modes and warnings ------------------------------------------------------


def test_testing_modes(colour, registry, clock):
    """
    `no_waits` and `attempts` stand for waits and limits, whatever the options say.
    """
    play = script(ConnectionError())
    own = retry(registry=registry)(colour.of(play))
    foreign = retry(stop=tenacity.stop_never, wait=tenacity.wait_fixed(5), registry=registry)(colour.of(play))
    with no_waits(), attempts(2):
        for fn in (own, foreign):
            with pytest.raises(ConnectionError):
                colour.call(fn)

    assert (play.calls, clock.monotonic()) == (4, 0)


async def test_blocking_wait(registry):
    """
    A sync function that waits on a thread whose event loop is running warns once, by name.
    """
    fn = retry(registry=registry)(script(ConnectionError()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            with pytest.raises(ConnectionError):
                fn()

    assert [BlockingWaitWarning] == [one.category for one in caught]
    assert "play is sync and waits" in str(caught[0].message)


def test_blocking_wait_on_trio(registry):
    """
    The same holds for trio's loop.
    """
    trio = pytest.importorskip("trio")

    async def main():
        with pytest.warns(BlockingWaitWarning):
            retry(registry=registry)(script(ConnectionError(), 1))()

    trio.run(main)


@pytest.mark.parametrize("delay", [0, 1])
async def test_no_blocking_wait(registry, delay):
    """
    Nothing is said where nothing waits, or where the wait is async.
    """
    fn = script(ConnectionError(), "done")
    if delay:
        result = await retry(initial_delay=delay, registry=registry)(Colour("async").of(fn))()
    else:
        result = retry(initial_delay=delay, registry=registry)(fn)()

    assert result == "done"
