"""
Operations: ids, what surrounds them, and what is recorded of them once.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import sys
import threading
import weakref
from types import SimpleNamespace

import pytest

from resilient import CircuitBreakerOpenError, FallbackChain, circuit, fallback_chain, resilience_of, retry
from resilient.events import AttemptFailed, CallSucceeded, CircuitClosed, OperationFailed, OperationRecovered
from resilient.surroundings import carries, mark, marked, surroundings
from resilient.testing import no_waits
from tests.harness import Colour, Tensor


@pytest.fixture
def events(registry):
    """
    Collect what happens on the registry.
    """
    told = []
    registry.on(told.append)
    return told


def fails(error=ConnectionError):
    """
    Raise *error*.
    """
    raise error


def ids(events, kind=AttemptFailed):
    """
    Return function, id and parent of each event of *kind*.
    """
    return [
        (event.function.rpartition(".")[2], event.operation, event.parent) for event in events if type(event) is kind
    ]


# -- parents and incidents -------------------------------------------------------


def nest(registry, colour):
    """
    Return three decorated functions, each called by the next, the innermost failing once.
    """
    errors = [ConnectionError("once")]

    if colour.is_async:

        @retry(registry=registry)
        async def innermost():
            if errors:
                raise errors.pop()
            return "done"

        @circuit(registry=registry)
        async def middle():
            await asyncio.sleep(0)
            return await innermost()

        @retry(registry=registry)
        async def outermost():
            return await middle()

        return outermost

    @retry(registry=registry)
    def innermost():
        if errors:
            raise errors.pop()
        return "done"

    @circuit(registry=registry)
    def middle():
        return innermost()

    @retry(registry=registry)
    def outermost():
        return middle()

    return outermost


def test_an_operation_knows_the_one_around_it(registry, events, colour):
    """
    The parent of an operation is the nearest decorated call around it, quiet or not; one incident is the outermost's.
    """
    with no_waits():
        assert colour.call(nest(registry, colour)) == "done"

    ((_, own, parent),) = ids(events)
    assert own == ids(events, OperationRecovered)[0][1]
    assert parent not in {None, own}
    assert registry.analytics.total_errors == 1
    assert (registry.analytics.generate_report()["incidents"], registry.analytics.get_recovery_rate()) == (1, 1)


def test_an_error_that_leaves_three_functions_is_one_error_and_one_incident(registry, events, colour):
    """
    The innermost records it; each operation tells of its own failure, under its own id and its parent's.
    """
    if colour.is_async:

        @circuit(registry=registry)
        async def inner():
            fails()

        @circuit(registry=registry)
        async def middle():
            await inner()

        @circuit(registry=registry)
        async def outer():
            await middle()

    else:

        @circuit(registry=registry)
        def inner():
            fails()

        @circuit(registry=registry)
        def middle():
            inner()

        @circuit(registry=registry)
        def outer():
            middle()

    with pytest.raises(ConnectionError):
        colour.call(outer)

    told = ids(events, OperationFailed)
    assert [name for name, _, _ in told] == ["inner", "middle", "outer"]
    assert [told[1][1], told[2][1], None] == [parent for _, _, parent in told]
    assert told == ids(events)
    report = registry.analytics.generate_report()
    assert (report["total_errors"], report["incidents"], report["recovery_rate"]) == (1, 1, 0.0)


def test_a_recursive_function_is_one_incident(registry, events):
    """
    Each level is an operation of its own, the outermost decides about the incident.
    """

    @circuit(failure_threshold=1000, registry=registry)
    def count_down(number):
        if number == 0:
            fails()
        return count_down(number - 1)

    with pytest.raises(ConnectionError):
        count_down(20)

    told = ids(events)
    assert [parent for _, _, parent in told[:-1]] == [own for _, own, _ in told[1:]]
    assert told[-1][2] is None
    report = registry.analytics.generate_report()
    assert (report["total_errors"], report["incidents"]) == (1, 1)


def test_a_deep_recursion_is_still_one_incident(registry):
    """
    The outermost operation is found from as deep as Python recurses by default.
    """

    @circuit(failure_threshold=1000, registry=registry)
    def count_down(number):
        if number == 0:
            fails()
        return count_down(number - 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(2000)
    try:
        with pytest.raises(ConnectionError):
            count_down(300)
    finally:
        sys.setrecursionlimit(limit)

    report = registry.analytics.generate_report()
    assert (report["total_errors"], report["incidents"]) == (1, 1)


def test_a_recursion_without_end_stays_a_recursion_error(registry):
    """
    When the stack is used up, nothing hangs and the circuit still counts.
    """

    @circuit(failure_threshold=10_000, registry=registry)
    def for_ever(number):
        return for_ever(number + 1)

    with pytest.raises(RecursionError):
        for_ever(0)
    assert registry.circuits[for_ever.resilience.name].state.value == "closed"


def test_an_inner_recovery_belongs_to_the_outer_incident(registry):
    """
    Whatever inner operations resolved, the outermost decides.
    """

    @fallback_chain(lambda: "instead", registry=registry)
    def inner():
        fails()

    @retry(registry=registry)
    def outer():
        inner()
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - its type is what matters
        outer()

    report = registry.analytics.generate_report()
    assert (report["total_errors"], report["incidents"], report["recovery_rate"]) == (2, 1, 0.0)


def test_what_runs_in_another_thread_stands_alone(registry, events):
    """
    A thread's stack begins with the thread.
    """

    @circuit(registry=registry)
    def inner():
        fails()

    def inner_fails():
        with pytest.raises(ConnectionError):
            inner()

    @retry(registry=registry)
    def outer():
        thread = threading.Thread(target=inner_fails)
        thread.start()
        thread.join()

    outer()

    assert [parent for _, _, parent in ids(events)] == [None]


async def test_tasks_do_not_take_each_other_for_parents(registry, events):
    """
    A task that runs while another is suspended in a decorated call is not inside of it.
    """
    begun, over = asyncio.Event(), asyncio.Event()

    @retry(registry=registry)
    async def waits():
        begun.set()
        await over.wait()

    @circuit(registry=registry)
    async def alone():
        await begun.wait()
        fails()

    suspended = asyncio.create_task(waits())
    with pytest.raises(ConnectionError):
        await asyncio.create_task(alone())
    over.set()
    await suspended

    assert [parent for _, _, parent in ids(events)] == [None]


def test_a_generator_is_surrounded_by_whoever_advances_it(registry, events):
    """
    Where a generator was made does not matter, where it runs does.
    """

    @circuit(registry=registry)
    def inner():
        fails()

    def generator():
        yield 1
        yield inner()

    @retry(registry=registry)
    def makes():
        made = generator()
        next(made)
        return made

    @circuit(registry=registry)
    def advances(made):
        return next(made)

    with pytest.raises(ConnectionError):
        advances(makes())

    (_, _, parent), (name, own, _) = ids(events)
    assert ("advances", own) == (name, parent)


def test_outcomes_breakers_and_chains_are_parents_too(registry, events):
    """
    A call made by ``outcome``, a breaker or a chain surrounds what it calls.
    """

    @circuit(registry=registry)
    def inner():
        fails()

    outer = retry(on=LookupError, registry=registry)(lambda: inner())  # noqa: PLW0108 - a function of its own
    breaker = registry.circuit("direct")
    chain = FallbackChain("chain", [lambda: inner()], registry)  # noqa: PLW0108 - as above
    outcome = outer.resilience.outcome()
    for run in (lambda: breaker.call(inner), chain.call):
        with pytest.raises(ConnectionError):
            run()

    told = ids(events)
    assert [told[1][1], None, told[3][1], None, told[5][1], None] == [parent for _, _, parent in told]
    assert isinstance(outcome.error, ConnectionError)
    assert registry.analytics.total_errors == 3


# -- the look up the stack -----------------------------------------------------------


@pytest.mark.usefixtures("no_gc")
def test_a_look_up_the_stack_keeps_nothing_alive(registry):
    """
    What it copies of our frames goes with them, without the garbage collector.
    """

    @circuit("c", registry=registry)
    def inner():
        fails()

    @retry(registry=registry)
    def outer(tensor):
        with pytest.raises(ConnectionError):
            inner()
        return tensor

    tensor = Tensor()
    ref = weakref.ref(tensor)
    outer(tensor)
    del tensor

    assert ref() is None


@pytest.mark.usefixtures("no_gc")
def test_a_listener_may_fail_within_an_operation_that_ends(registry, events):
    """
    A failing decorated call made by a listener has the operation as its parent, and the error goes with its caller.
    """

    @circuit(registry=registry)
    def report():
        fails(ValueError)

    def listener(event):
        if event.function.endswith("work"):
            with pytest.raises(ValueError):  # noqa: PT011 - its type is what matters
                report()

    registry.on(listener, OperationFailed)
    refs = []

    @retry(on=LookupError, registry=registry)
    def work():
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        fails()

    with pytest.raises(ConnectionError):
        work()

    assert refs[0]() is None
    (_, own, _), (_, _, parent) = ids(events)
    assert own == parent


@pytest.mark.parametrize("reads", [True, False])
def test_a_tracer_changes_nothing(registry, events, reads):
    """
    Under a debugger or a coverage tool, parents are found and values stay what they are.
    """

    def tracer(frame, event, argument):
        if reads:
            dict(frame.f_locals)
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        with no_waits():
            assert nest(registry, Colour("sync"))() == "done"
    finally:
        sys.settrace(before)

    ((_, own, parent),) = ids(events)
    assert parent not in {None, own}


def test_a_failure_while_our_own_frame_is_traced_harms_nothing(registry):
    """
    A debugger that stands in a wrapper may call decorated functions that fail.
    """
    seen = []

    @circuit(registry=registry)
    def probe():
        fails(ValueError)

    def tracer(frame, event, argument):
        if frame.f_code.co_name in {"guard", "enter"} and not seen:
            seen.append(event)
            with pytest.raises(ValueError):  # noqa: PT011 - its type is what matters
                probe()
        return tracer

    work = retry(registry=registry)(lambda value: value)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert work(5) == 5
    finally:
        sys.settrace(before)
    assert seen == ["call"]


def test_without_a_decorated_call_around_there_is_no_parent():
    """
    Who asks from nowhere is its own outermost operation.
    """
    assert surroundings((7, 1), inspect.currentframe()) == (None, (7, 1))


def test_a_wrapper_that_has_not_counted_its_call_yet_is_passed_over(monkeypatch):
    """
    Where a signal handler hits a wrapper's first line, there is no operation around it.
    """
    monkeypatch.setattr("resilient.surroundings._carriers", {})

    def wrapper(self, count):
        before = surroundings((7, 1), inspect.currentframe())
        number = count()
        return before, surroundings((7, 1), inspect.currentframe()), number

    carries(wrapper)
    pipeline = SimpleNamespace(uid=8)

    assert wrapper(pipeline, lambda: 9) == ((None, (7, 1)), ((8, 9), (8, 9)), 9)


def test_a_look_up_the_stack_ends(registry):
    """
    Where somebody has raised the recursion limit, it goes no deeper than Python does by default.
    """

    def deeper(frames):
        return deeper(frames - 1) if frames else surroundings((7, 1), inspect.currentframe())

    outer = retry(registry=registry)(deeper)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(2000)
    try:
        near, far = outer(100), outer(1200)
    finally:
        sys.setrecursionlimit(limit)

    assert near[0] is not None
    assert far == (None, (7, 1))


# -- recorded once -----------------------------------------------------------------------


def test_an_instance_raised_again_and_again_is_a_failure_each_time(registry, colour):
    """
    One exception object that its function raises at every attempt counts at every attempt.
    """
    error = ConnectionError("always the same")

    def work():
        raise error

    fn = retry(max_attempts=3, registry=registry)(colour.of(work))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            colour.call(fn)

    assert registry.analytics.total_errors == 6


def test_retries_above_count_an_inner_error_once_per_attempt(registry):
    """
    Attempts of the outer function that fail by an error recorded below are failures, but no further errors.
    """

    @retry(max_attempts=2, registry=registry)
    def inner():
        raise ConnectionError

    @retry(max_attempts=3, registry=registry)
    def outer():
        inner()

    with pytest.raises(ConnectionError):
        outer()

    assert registry.analytics.total_errors == 6
    assert (outer.resilience.stats().attempts, inner.resilience.stats().attempts) == (3, 6)
    assert registry.analytics.generate_report()["incidents"] == 1


def test_a_rejection_by_an_inner_circuit_is_no_error(registry, events):
    """
    The outer operation fails, analytics hear nothing.
    """

    @circuit("c", registry=registry)
    def inner():
        return 1

    outer = retry(registry=registry)(lambda: inner())  # noqa: PLW0108 - a function of its own
    registry.circuits["c"].state = "open"
    with pytest.raises(CircuitBreakerOpenError):
        outer()

    assert registry.analytics.total_errors == 0
    assert len(ids(events, OperationFailed)) == 2


def test_a_mark_stays_in_its_process():
    """
    An error that comes from another process was recorded there, not here.
    """
    error = ConnectionError("from afar")
    mark(error, (1, 1), (1, 1))

    assert marked(error) == ((1, 1), (1, 1))
    assert marked(pickle.loads(pickle.dumps(error))) is None
    assert marked(copy.deepcopy(error)) is None


class StubbornError(Exception):
    """
    Takes no attributes and shows none.
    """

    __slots__ = ()

    def __setattr__(self, name, value):
        raise RuntimeError

    @property
    def __dict__(self):
        raise RuntimeError


def test_an_error_that_takes_no_attributes_is_recorded_all_the_same(registry):
    """
    A class that defends itself is still retried, recorded and raised as itself.
    """
    error = StubbornError()

    @retry(on=StubbornError, max_attempts=2, registry=registry)
    def work():
        raise error

    with no_waits(), pytest.raises(StubbornError) as raised:
        work()

    assert raised.value is error
    assert registry.analytics.total_errors == 2


def test_an_error_whose_dict_is_hidden_is_not_marked():
    """
    What cannot be read counts as unmarked.
    """

    class HiddenError(Exception):
        pass

    broken = HiddenError()

    class NoDictError(Exception):
        def __getattribute__(self, name):
            raise RuntimeError

    assert marked(broken) is None
    assert marked(NoDictError()) is None
    mark(object(), (1, 1), (1, 1))  # type: ignore[arg-type]
    assert marked(object()) is None  # type: ignore[arg-type]


# -- telling ---------------------------------------------------------------------------------


def test_success_is_told_to_those_who_ask(registry):
    """
    ``CallSucceeded`` goes to whoever names it, with the number of attempts.
    """
    told = []
    registry.on(told.append, CallSucceeded)
    errors = [ConnectionError(), None, None]

    @retry(registry=registry)
    def work():
        error = errors.pop(0)
        if error:
            raise error

    work()
    work()

    assert [event.attempts for event in told] == [2, 1]
    assert {work.resilience.name} == {event.function for event in told}


def test_a_hub_without_analytics_records_nothing():
    """
    A breaker that stands alone counts for itself.
    """
    from resilient import CircuitBreaker

    breaker = CircuitBreaker("alone")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            breaker.call(fails)

    assert breaker.failure_count == 2


def test_a_circuit_that_a_success_closes_tells_the_operation_it_belongs_to(registry, events):
    """
    A transition is told under the operation that brought it about.
    """

    @circuit("c", success_threshold=1, registry=registry)
    def inner():
        return 1

    @retry(on=LookupError, registry=registry)
    def outer():
        inner()
        fails()

    registry.circuits["c"].state = "half_open"
    with pytest.raises(ConnectionError):
        outer()

    closed = [event for event in events if type(event) is CircuitClosed]
    assert [own for _, own, _ in ids(events, OperationFailed)] == [event.parent for event in closed]


def test_the_outermost_failure_is_told_to_who_waits_for_it(registry):
    """
    ``hub.unresolved`` hears of each operation that failed in the end.
    """
    heard = []
    registry.hub.unresolved = lambda op, outcome: heard.append((op.function, type(outcome.error), op.parent))
    work = resilience_of(retry(registry=registry)(fails))
    work.outcome()
    work.outcome(ValueError)

    assert [(f"{__name__}:fails", ConnectionError, None), (f"{__name__}:fails", ValueError, None)] == heard
