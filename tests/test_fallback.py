from __future__ import annotations

import asyncio
import copy
import functools
import logging
import pickle
import weakref

import pytest

from resilient import (
    CircuitBreakerOpenError,
    Fallback,
    FallbackChainExhaustedError,
    PolicyError,
    circuit,
    fallback_chain,
    retry,
)
from resilient.events import AttemptFailed, FallbackUsed, OperationFailed, OperationRecovered
from resilient.testing import capture_events
from tests.harness import Colour, Tensor


def failing(error, name="failing"):
    """
    Return a function that raises *error*, and counts.
    """

    def fail(*args, **kwargs):
        fail.calls += 1
        raise error

    fail.__name__ = name
    fail.calls = 0
    return fail


def returning(value, name="returning"):
    """
    Return a function that returns *value*, and notes its arguments.
    """

    def give(*args, **kwargs):
        give.calls.append((args, kwargs))
        return value

    give.__name__ = name
    give.calls = []
    return give


# -- what is offered ---------------------------------------------------------


def test_first_that_returns(colour, registry):
    """
    Entries are tried in order, with exactly the call's arguments, until one returns.
    """
    first, second, third = failing(KeyError()), returning("second"), returning("third")
    fn = fallback_chain(colour.of(first), colour.of(second), third, registry=registry)(
        colour.of(failing(ConnectionError()))
    )

    assert colour.call(fn, 1, b=2) == "second"
    assert (first.calls, second.calls, third.calls) == (1, [((1,), {"b": 2})], [])


def test_primary_that_returns(colour, registry):
    """
    Where the function itself returns, nothing is offered.
    """
    entry = returning("no")

    assert colour.call(fallback_chain(entry, registry=registry)(colour.of(returning("yes")))) == "yes"
    assert entry.calls == []


@pytest.mark.parametrize("value", [None, False, 0, "", ()])
def test_any_value_is_a_result(colour, registry, value):
    """
    Whatever an entry returns is the result, None too.
    """
    other = returning("other")
    fn = fallback_chain(colour.of(returning(value)), other, registry=registry)(colour.of(failing(OSError())))

    assert value is colour.call(fn)
    assert other.calls == []


def test_sync_entries_after_an_async_primary(registry):
    """
    A sync entry may follow an async primary, and a sync one may return what has to be awaited.
    """

    async def primary():
        raise ConnectionError

    async def later():
        return "later"

    assert asyncio.run(fallback_chain(returning("now"), registry=registry)(primary)()) == "now"
    assert asyncio.run(fallback_chain(lambda *_: later(), registry=registry)(primary)()) == "later"


class Engine:
    def preview(self, shot):
        return f"{self} previews {shot}"

    @fallback_chain(preview)
    def render(self, shot):
        raise ConnectionError

    def __str__(self):
        return "engine"


def test_methods():
    """
    Around a method, entries get `self` with the other arguments.
    """
    assert Engine().render("sunrise") == "engine previews sunrise"


# -- on ----------------------------------------------------------------------


def test_chain_on(colour, registry):
    """
    If the chain's `on` does not match, the primary's error is raised as itself.
    """
    error = ValueError("wrong")
    entry = returning("no")
    fn = fallback_chain(entry, on=OSError, registry=registry)(colour.of(failing(error)))
    with pytest.raises(ValueError, match="wrong") as caught:
        colour.call(fn)

    assert error is caught.value
    assert (error.__cause__, entry.calls, getattr(error, "__notes__", [])) == (None, [], [])


def test_entry_on_looks_at_the_latest_error(colour, registry):
    """
    An entry's `on` looks at the latest error; a mismatch skips that entry.
    """
    skipped, second = returning("skipped"), returning("second")
    fn = fallback_chain(
        Fallback(skipped, on=KeyError),
        Fallback(colour.of(failing(KeyError())), on="network"),
        Fallback(skipped, on="network"),
        Fallback(second, on=lambda error: isinstance(error, KeyError)),
        registry=registry,
    )(colour.of(failing(ConnectionError())))

    assert colour.call(fn) == "second"
    assert skipped.calls == []


@pytest.mark.parametrize("where", ["chain", "entry"])
def test_on_that_raises(colour, registry, reports, where):
    """
    A predicate that raises is reported, and does not match; the primary's error is raised as itself.
    """

    def on(error):
        raise AttributeError

    error = OSError("down")
    fn = fallback_chain(
        Fallback(returning("no"), on=on if where == "entry" else Exception),
        on=on if where == "chain" else Exception,
        registry=registry,
    )(colour.of(failing(error)))
    with pytest.raises(OSError, match="down") as caught:
        colour.call(fn)

    assert error is caught.value
    assert [AttributeError] == [kind for _, kind in reports]


# -- when --------------------------------------------------------------------


def test_when(colour, registry):
    """
    `when()` decides at call time whether an entry is offered.
    """
    offered = []
    fn = fallback_chain(
        Fallback(returning("first"), when=lambda: bool(offered)), returning("second"), registry=registry
    )(colour.of(failing(OSError())))

    assert colour.call(fn) == "second"
    offered.append(1)
    assert colour.call(fn) == "first"


async def test_when_async(registry):
    """
    After an async primary, `when` may be async.
    """

    async def no():
        return False

    fn = fallback_chain(Fallback(returning("first"), when=no), returning("second"), registry=registry)(
        Colour("async").of(failing(OSError()))
    )

    assert await fn() == "second"


def test_when_that_raises(colour, registry, reports):
    """
    A `when` that raises is reported, and the entry is passed over.
    """

    def when():
        raise AttributeError

    fn = fallback_chain(Fallback(returning("first", "a"), when=when), returning("second"), registry=registry)(
        colour.of(failing(OSError()))
    )

    assert colour.call(fn) == "second"
    assert [("when= of fallback 'a'", AttributeError)] == reports


# -- circuits of entries -----------------------------------------------------


def shut(name, registry, fn):
    """
    Return *fn* behind an open circuit.
    """
    fn = circuit(name, registry=registry)(fn)
    registry.circuits[name].isolate()
    return fn


def test_entry_with_an_open_circuit(colour, registry):
    """
    An entry whose own circuit is open is passed over.
    """
    preview = returning("no")
    fn = fallback_chain(
        shut("a", registry, colour.of(preview)),
        retry(registry=registry)(shut("b", registry, colour.of(preview))),
        returning("second"),
        registry=registry,
    )(colour.of(failing(OSError())))

    assert colour.call(fn) == "second"
    assert preview.calls == []
    assert {"failing", "returning"}.isdisjoint(registry.circuits)


def test_method_with_an_open_circuit(registry):
    """
    A bound method's own circuit is looked at, too.
    """

    class Service:
        @circuit("service", registry=registry)
        def preview(self):
            raise NotImplementedError

    fn = fallback_chain(Service().preview, returning("second"), registry=registry)(failing(OSError()))
    registry.circuits["service"].isolate()

    assert fn() == "second"


def test_entry_with_fallbacks_of_its_own(colour, registry):
    """
    An entry whose open circuit is below a chain of its own is called: that chain serves.
    """
    preview = fallback_chain(returning("its own"), registry=registry)(shut("a", registry, colour.of(returning("no"))))
    fn = fallback_chain(preview, registry=registry)(colour.of(failing(OSError())))

    assert colour.call(fn) == "its own"


def test_nothing_was_offered(colour, registry):
    """
    Where every entry is passed over, the primary's error is raised as itself.
    """
    error = OSError("down")
    fn = fallback_chain(
        Fallback(returning(1), when=lambda: False),
        Fallback(returning(2), on=KeyError),
        shut("a", registry, colour.of(returning(3))),
        registry=registry,
    )(colour.of(failing(error)))
    with pytest.raises(OSError, match="down") as caught:
        colour.call(fn)

    assert error is caught.value
    assert fn.resilience.stats().fallbacks == 0


def test_rejection_of_the_primary(colour, registry):
    """
    A chain stands in for a function whose circuit is open.
    """
    fn = fallback_chain(returning("card"), registry=registry)(shut("a", registry, colour.of(returning("no"))))

    assert colour.call(fn) == "card"
    assert registry.analytics.total_errors == 0


# -- exhausted ---------------------------------------------------------------


def exhausted(colour, registry):
    """
    Return what an exhausted chain raises, and what its functions raised.
    """
    errors = [ConnectionError("primary"), KeyError("first"), ValueError("second")]
    fn = fallback_chain(*(colour.of(failing(error)) for error in errors[1:]), name="cards", registry=registry)(
        colour.of(failing(errors[0]))
    )
    with pytest.raises(FallbackChainExhaustedError) as caught:
        colour.call(fn)
    return caught.value, errors


def test_exhausted(colour, registry):
    """
    When all that were offered fail, one error lists theirs in order, caused by the primary's.
    """
    error, errors = exhausted(colour, registry)

    assert ("cards", tuple(errors)) == (error.name, error.errors)
    assert errors[0] is error.__cause__
    assert str(error) == "fallback chain 'cards' is exhausted: 3 offers failed (ConnectionError, KeyError, ValueError)"


@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_exhausted_travels(colour, registry, travel):
    """
    Copies and pickles keep the name, the errors and the cause.
    """
    error, errors = exhausted(colour, registry)
    other = travel(error)

    assert (str(error), error.name) == (str(other), other.name)
    assert [type(one) for one in errors] == [type(one) for one in other.errors]
    assert other.errors[0] is other.__cause__


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("where", ["primary", "entry", "when", "on"])
def test_what_is_no_exception_passes(registry, kind, where):
    """
    Ctrl-C and its kind leave a chain at once, wherever they come from.
    """
    never, stop = returning("no"), failing(kind())
    hooks = {where: stop} if where in {"when", "on"} else {}
    fn = fallback_chain(Fallback(stop, **hooks), never, registry=registry)(
        stop if where == "primary" else failing(OSError())
    )
    with pytest.raises(kind):
        fn()

    assert stop.calls == 1
    assert never.calls == []


# -- what is told ------------------------------------------------------------


def test_events_and_stats(colour, registry):
    """
    Each entry that was called is told, and counted.
    """
    fn = fallback_chain(
        colour.of(failing(KeyError("x"), "first")), colour.of(returning(2, "second")), registry=registry
    )(colour.of(failing(OSError())))
    with capture_events(registry) as events:
        outcome = colour.outcome(fn)
    used = [
        (one.entry, one.success, one.error and one.error.error_type) for one in events if isinstance(one, FallbackUsed)
    ]
    stats = fn.resilience.stats()

    assert [AttemptFailed, FallbackUsed, FallbackUsed, OperationRecovered] == [type(one) for one in events]
    assert used == [("first", False, "KeyError"), ("second", True, None)]
    assert (outcome.route, outcome.value, outcome.error) == ("fallback:second", 2, None)
    assert (stats.calls, stats.attempts, stats.fallbacks, stats.failures, stats.recovered) == (1, 1, 2, 0, 1)
    assert registry.analytics.total_errors == 2
    assert registry.analytics.get_recovery_rate() == 1.0


def test_events_of_an_exhausted_chain(colour, registry):
    """
    An exhausted chain fails the operation once, and records each error once.
    """
    with capture_events(registry) as events:
        exhausted(colour, registry)

    assert [one.error.error_type for one in events if isinstance(one, OperationFailed)] == [
        "FallbackChainExhaustedError"
    ]
    assert registry.analytics.total_errors == 3
    assert registry.analytics.get_recovery_rate() == 0.0


def test_nobody_listens(colour, registry, caplog):
    """
    Without listeners, and with the log off, a failing entry works just as well.
    """
    caplog.set_level(logging.CRITICAL, "resilient")
    fn = fallback_chain(colour.of(failing(KeyError())), returning(1), registry=registry)(colour.of(failing(OSError())))

    assert colour.call(fn) == 1


def test_outcome_of_a_first_try(colour, registry):
    """
    A function that returns by itself has the route of a first try, and counts as the primary.
    """
    fn = fallback_chain(returning("no"), name="cards", registry=registry)(colour.of(returning("yes")))

    assert colour.outcome(fn).route == "first try"
    assert registry.chains["cards"].get_stats()["primary"] == {"attempts": 1, "successes": 1, "failures": 0}


# -- frames ------------------------------------------------------------------


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("link", [None, "cause", "context"])
def test_frames_of_memory_errors(colour, registry, link):
    """
    Before a fallback begins, the tensors of a call that ran out of memory are free, those of its causes too.
    """
    refs = []

    def allocate():
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        raise MemoryError

    def render():
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        try:
            allocate()
        except MemoryError as error:
            if link == "cause":
                raise RuntimeError("render") from error
            if link == "context":
                raise MemoryError("render")  # noqa: B904 - so that it is the context
            raise

    def preview():
        return [ref() for ref in refs]

    fn = fallback_chain(preview, registry=registry)(colour.of(render))

    assert colour.call(fn) == [None, None]


def test_frames_of_entries_that_ran_out_of_memory(colour, registry):
    """
    The frames of an entry's memory error are freed as well, and those of other errors are left alone.
    """
    refs = []

    def smaller():
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        raise MemoryError

    def primary():
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        raise ValueError

    fn = fallback_chain(colour.of(smaller), lambda: [ref() is None for ref in refs], registry=registry)(
        colour.of(primary)
    )

    assert colour.call(fn) == [False, True]


def test_endless_causes(colour, registry):
    """
    Errors that cause each other do not hold a chain up.
    """
    one, other = MemoryError(), MemoryError()
    one.__cause__, other.__cause__ = other, one

    assert colour.call(fallback_chain(returning(1), registry=registry)(colour.of(failing(one)))) == 1


# -- Fallback ----------------------------------------------------------------


def test_entry():
    """
    An entry has what it was given, by place or by name, and the function's name.
    """
    when = lambda: True  # noqa: E731 - compared below
    entry = Fallback(len, "size", KeyError, when, 0.5, {"a": 1})

    assert ("size", when, 0.5, {"a": 1}, False) == (entry.name, entry.when, entry.quality, entry.kwargs, entry.is_async)
    assert entry == Fallback(len, name="size", on=KeyError, when=when, quality=0.5, kwargs={"a": 1})
    assert hash(entry) == hash(Fallback(len, name="size", on=KeyError, when=when, quality=0.5, kwargs={"a": 1}))
    assert repr(entry) == "Fallback(func=<built-in function len>, name='size', quality=0.5)"
    assert entry.renamed("other").name == "other"


class Caller:
    def __call__(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (len, "len"),
        (functools.partial(functools.partial(len), ()), "len"),
        (Caller(), "Caller"),
        (Caller().__call__, "__call__"),
    ],
)
def test_entry_name(func, name):
    """
    An entry is called as its function is, or as its type.
    """
    assert name == Fallback(func).name


def test_entry_kwargs(colour, registry):
    """
    An entry's own keyword arguments win over the call's, for that entry alone.
    """
    first, second = returning(1), returning(2)
    fn = fallback_chain(
        Fallback(colour.of(failing(OSError())), kwargs={"size": 1}),
        Fallback(second, kwargs={"size": 2, "low": True}),
        first,
        registry=registry,
    )(colour.of(failing(OSError())))
    colour.call(fn, "x", size=9)

    assert second.calls == [(("x",), {"size": 2, "low": True})]


def test_entry_keeps_its_kwargs():
    """
    A dict that is changed later changes no entry.
    """
    given = {"a": 1}
    entry = Fallback(len, kwargs=given)
    given["a"] = 2

    assert entry.kwargs == {"a": 1}


def test_wrong_entry():
    """
    Everything that cannot be meant of an entry is told at once.
    """
    with pytest.raises(PolicyError) as caught:
        Fallback(5, "", "netwrok", 3, 7, ["x"])

    assert list(caught.value.problems) == [
        "func must be callable, got 5 (int)",
        "name must be a string that is not empty, got '' (str)",
        (
            "on must be a category, one of 'network', 'memory', 'validation', 'model', 'workflow', 'system', 'unknown',"
            " got 'netwrok' (str)"
        ),
        "when must be callable or None, got 3 (int)",
        "quality must be a number of at least 0 and at most 1, got 7 (int)",
        "kwargs must be a dict of keyword arguments, or None, got ['x'] (list)",
    ]


@pytest.mark.parametrize("kwargs", [{1: 2}, "x"])
def test_wrong_kwargs(kwargs):
    """
    Keyword arguments have names.
    """
    with pytest.raises(PolicyError, match="kwargs must be a dict of keyword arguments"):
        Fallback(len, kwargs=kwargs)


# -- colours -----------------------------------------------------------------


async def later():
    """
    Stand for an async entry.
    """
    raise NotImplementedError


@pytest.mark.parametrize("entry", [later, Fallback(later, "x"), Fallback(len, when=later), functools.partial(later)])
def test_async_entry_after_a_sync_primary(registry, entry):
    """
    An async entry, or `when`, after a sync primary is refused at decoration.
    """
    with pytest.raises(
        PolicyError, match=r"is async and .*render is not, so nobody would await it; make .*render async"
    ):

        @fallback_chain(entry, registry=registry)
        def render():
            raise NotImplementedError


def test_sync_function_of_an_async_chain(registry):
    """
    A named chain that has async entries already cannot be put on a sync function.
    """
    registry.chain("cards").add_fallback(later)
    with pytest.raises(PolicyError, match="'later' is async and"):
        fallback_chain(returning(1), name="cards", registry=registry)(failing(OSError()))

    assert len(registry.chains["cards"].entries) == 1


def test_async_entry_added_later(registry, reports):
    """
    One that is added later to the chain of a sync function is reported, and passed over.
    """
    fn = fallback_chain(returning("first", "a"), name="cards", registry=registry)(failing(OSError()))
    registry.chains["cards"].add_fallback(later)
    registry.chains["cards"].add_fallback(returning("third"))

    assert fn() == "first"

    fn = fallback_chain(Fallback(returning("x"), when=lambda: False), name="others", registry=registry)(
        failing(OSError())
    )
    registry.chains["others"].add_fallback(later)
    registry.chains["others"].add_fallback(returning("third"))

    assert fn() == "third"
    assert [("fallback 'later'", PolicyError)] == reports


def test_open_circuit_is_an_error_like_others(colour, registry):
    """
    A rejection that an entry meets is among the errors of an exhausted chain.
    """
    error = CircuitBreakerOpenError("inner")
    fn = fallback_chain(colour.of(failing(error)), registry=registry)(colour.of(failing(OSError())))
    with pytest.raises(FallbackChainExhaustedError) as caught:
        colour.call(fn)

    assert error is caught.value.errors[1]
    assert registry.analytics.total_errors == 1
