"""
Faults 12 to 15: enormous errors (12), hostile ones (13), endless chains and groups (14), one instance for ever (15).
"""

# ruff: noqa: N818 - the errors of these tests are named by what is wrong with them
from __future__ import annotations

import itertools
import time
import traceback

import pytest

from resilient import (
    Fallback,
    FallbackChainExhaustedError,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
)
from resilient.events import CallSucceeded
from resilient.testing import no_waits
from resilient.text import LIMIT
from tests.harness import caught, script, stack

# -- row 12: enormous errors --------------------------------------------------

SIZE = 50_000_000


class Text(str):
    __slots__ = ()


def enormous_cause():
    """
    Return a small error with a large cause.
    """
    error = ValueError("small")
    error.__cause__ = KeyError("x" * SIZE)
    return error


def enormous_notes():
    """
    Return a small error with large notes.
    """
    error = ValueError("small")
    error.__notes__ = ["x" * SIZE, *["mine"] * 10_000]
    return error


ENORMOUS = {
    "text": lambda: ValueError("x" * SIZE),
    "subclass of str": lambda: ValueError(Text("x" * SIZE)),
    "bytes": lambda: ValueError(b"x" * SIZE),
    "bytearray": lambda: ValueError(bytearray(SIZE)),
    "key": lambda: KeyError("x" * SIZE),
    "os": lambda: OSError(111, "x" * SIZE),
    "connection": lambda: ConnectionError("x" * SIZE),
    "import": lambda: ImportError("x" * SIZE),
    "decode": lambda: UnicodeDecodeError("utf-8", b"x" * SIZE, 0, 1, "x"),
    "group": lambda: ExceptionGroup("x" * SIZE, [ValueError("small")]),
    "members": lambda: ExceptionGroup("group", [ValueError("x" * SIZE)] * 10_000),
    "error in an error": lambda: RuntimeError(KeyError("x" * SIZE)),
    "arguments": lambda: ValueError(*range(1_000_000)),
    "arguments in an error": lambda: RuntimeError(ValueError(*range(1_000_000))),
    "lists": lambda: ConnectionError([[0] * 1_000_000] * 10),
    "error in a connection error": lambda: ConnectionError(KeyError("x" * SIZE)),
    "dict": lambda: ValueError(dict.fromkeys(range(1_000_000))),
    "cause": enormous_cause,
    "notes": enormous_notes,
    "name": type("E" * 5_000_000, (ConnectionError,), {}),
    "server's answer": lambda: ValueError('{"error": "' + "x" * SIZE + '"}'),
    "GPU": lambda: RuntimeError("x" * SIZE + " CUDA out of memory"),
}


@pytest.mark.parametrize("kind", ENORMOUS)
def test_row_12_enormous_errors_cost_nothing(colour, entries, registry, kind, untraced):
    """
    Recorded, logged, told and shown in at most 2 KiB, within 10 ms through all policies.
    """
    error = ENORMOUS[kind]()
    fn = stack(colour.of(script(error)), registry, script(error), attempts=2)
    took = []
    for _ in range(5):
        began = time.thread_time()
        with pytest.raises(FallbackChainExhaustedError) as raised:
            colour.drive(fn)
        took.append(time.thread_time() - began)
    assert raised.value.errors[0] is error
    # What pytest would show of it takes seconds.
    raised.value.__cause__ = None
    began = time.thread_time()
    outcome = colour.drive(fn.resilience.outcome)
    texts = [str(outcome), str(registry.health()), *(str(one) for one in entries)]
    texts += [info.error_message for info in registry.analytics.error_history]
    shown = time.thread_time() - began

    assert min(took) < 0.01
    assert max(map(len, texts)) < 10 * LIMIT
    assert all(len(info.error_message) <= LIMIT for info in registry.analytics.error_history)
    assert shown < 0.5
    for note in getattr(error, "__notes__", ()):
        assert len(note) < LIMIT or note == "x" * SIZE


@pytest.mark.parametrize("kind", ["text", "arguments", "server's answer"])
def test_row_12_enormous_errors_arrive_as_themselves(colour, registry, kind):
    """
    They are not copied or wrapped, and recorded in at most 2 KiB.
    """
    error = ENORMOUS[kind]()
    fn = circuit(registry=registry)(colour.of(script(error)))

    assert caught(colour.drive, fn) is error
    assert [len(info.error_message) for info in registry.analytics.error_history] == [LIMIT]


# -- row 13: hostile errors --------------------------------------------------


def refuse(*args, **kwargs):
    """
    Raise, whatever is asked.
    """
    raise RuntimeError("hostile")


class Texts(ConnectionError):
    __str__ = __repr__ = __format__ = refuse


class Endless(ConnectionError):
    def __str__(self):
        return str(self)

    __repr__ = __str__


class NoText(ConnectionError):
    def __str__(self):
        return 42  # noqa: PLE0307 - that is what is wrong with it

    __repr__ = __str__


class Copies(ConnectionError):
    __reduce__ = __reduce_ex__ = __copy__ = __deepcopy__ = __getstate__ = refuse


class Class(ConnectionError):
    __class__ = property(refuse)


class Liar(ConnectionError):
    @property
    def __class__(self):
        return KeyboardInterrupt


class Sets(ConnectionError):
    __setattr__ = __delattr__ = refuse


class Gets(ConnectionError):
    __getattribute__ = refuse


class Compares(ConnectionError):
    __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __contains__ = refuse
    __hash__ = refuse


class Attributes(ConnectionError):
    args = errno = response = retry_after = status_code = __notes__ = __cause__ = __context__ = property(refuse)
    add_note = with_traceback = refuse


class Traceback(ConnectionError):
    __traceback__ = property(refuse)


class Meta(type):
    __name__ = property(refuse)
    # No __subclasscheck__ that raises: with one, Python itself cannot raise its instances.
    __eq__ = __repr__ = refuse
    __hash__ = type.__hash__


class Metaclass(ConnectionError, metaclass=Meta):
    pass


class Memory(Compares, MemoryError):
    __str__ = __repr__ = refuse
    __traceback__ = __cause__ = property(refuse)


class Everything(Exception):
    __str__ = __repr__ = __reduce__ = __reduce_ex__ = refuse
    __class__ = retry_after = response = status_code = property(refuse)


class EndlessAlone(Exception):
    def __str__(self):
        return str(self)


HOSTILE = [
    Everything,
    EndlessAlone,
    Texts,
    Endless,
    NoText,
    Copies,
    Class,
    Liar,
    Sets,
    Gets,
    Compares,
    Attributes,
    Traceback,
    Metaclass,
    Memory,
]
HOSTILE_IDS = [type.__dict__["__name__"].__get__(kind) for kind in HOSTILE]


def ending(error, fn, *args):
    """
    Call *fn*, and tell as a text whether *error* came out of it: pytest could not show a hostile error.
    """
    try:
        fn(*args)
    except BaseException as raised:
        if raised is error:
            return "itself"
        *_, last = traceback.extract_tb(BaseException.__dict__["__traceback__"].__get__(raised))
        return f"{type.__dict__['__name__'].__get__(type(raised))} at {last.filename}:{last.lineno}"
    return "returned"


@pytest.mark.parametrize("caused", [False, True])
@pytest.mark.parametrize("kind", HOSTILE, ids=HOSTILE_IDS)
def test_row_13_hostile_errors_arrive_as_themselves(colour, entries, registry, kind, caused):
    """
    Through every policy, recorded, logged and told; alone or as the cause of another one.
    """
    hostile = error = kind()
    if caused:
        error = MemoryError("outer")
        error.__cause__ = hostile
    registry.on(lambda _: None)
    work = script(error)
    fn = stack(colour.of(work), registry, Fallback(script("done"), on=LookupError), attempts=2, on=lambda _: True)
    told = []

    def tell():
        outcome = colour.drive(fn.resilience.outcome)
        told.extend([str(outcome), outcome.error is error])

    raised, outcome = ending(error, colour.drive, fn), ending(error, tell)

    assert (raised, outcome) == ("itself", "returned")
    assert told[1]
    assert "attempt 1 raised" in told[0]
    assert work.calls >= 4
    assert work.calls == registry.analytics.total_errors
    texts = {info.error_message for info in registry.analytics.error_history}
    if kind in {Everything, EndlessAlone, Texts, Endless, NoText} and not caused:
        assert {f"<unprintable {kind.__name__}>"} == texts
    assert str(registry.health())
    assert {"resilient.operation.failed", "resilient.attempt.failed"} <= {entry["event"] for entry in entries}


@pytest.mark.parametrize("kind", [Everything, EndlessAlone])
def test_row_13_hostile_errors_without_waits(colour, registry, kind):
    """
    Of no kind that anything is done about, they are retried by the predicate alone: two attempts, without a wait.
    """
    registry.on(lambda _: None)
    error = kind()
    work = script(error)
    fn = circuit(registry=registry)(colour.of(work))
    fn = retry(on=lambda _: True, max_attempts=2, registry=registry)(fn)
    fn = recoverable(registry=registry)(fn)
    fn = degradable(rules={"x": lambda value, _level: value}, registry=registry)(fn)
    with no_waits():
        raised = ending(error, colour.drive, fn)

    assert raised == "itself"
    assert work.calls == 2
    assert f"<unprintable {kind.__name__}>" == registry.analytics.error_history[-1].error_message


@pytest.mark.parametrize("kind", HOSTILE, ids=HOSTILE_IDS)
def test_row_13_a_chain_that_is_exhausted_by_hostile_errors(colour, entries, registry, kind):
    """
    ``FallbackChainExhaustedError`` has them all, and can be shown.
    """
    first, second = kind(), kind()
    fn = stack(colour.of(script(first)), registry, script(second), attempts=1)
    told = []

    def tell():
        try:
            colour.drive(fn)
        except FallbackChainExhaustedError as error:
            told.append([one is own for one, own in zip(error.errors, (first, second), strict=True)])
            told.append(error.__cause__ is first)
            told.append(f"{error} {error!r}")

    assert ending(None, tell) == "returned"
    assert told[:2] == [[True, True], True]
    assert "2 offers failed" in told[2]


class Request:
    __repr__ = __str__ = refuse


@pytest.mark.parametrize("value", [Request(), "x" * SIZE, [0] * 1_000_000], ids=["hostile", "long", "many"])
def test_row_13_changed_arguments_can_be_told(colour, registry, value):
    """
    An argument that a service level has changed is told by as much of its ``repr`` as it gives.
    """
    fn = colour.of(lambda request: "done")
    fn = degradable(rules={"request": lambda value, _level: "small"}, registry=registry)(fn)
    registry.degradation.degrade("test")
    outcome = colour.drive(fn.resilience.outcome, value)

    assert "level high: request " in str(outcome)
    assert "-> 'small'" in str(outcome)
    assert len(str(outcome)) < LIMIT


# -- row 14: chains and groups --------------------------------------------------


def a_loop():
    """
    Return an error that is its own cause and context.
    """
    error = ValueError("loop")
    inner = KeyError("inner")
    # Not by `raise`, which breaks cycles.
    error.__context__, inner.__context__ = inner, error
    error.__cause__ = inner.__cause__ = error
    return error


def deep(link, deepest=ConnectionError):
    """
    Return what makes a chain of ten thousand errors.
    """

    def make():
        error = deepest("deepest")
        for _ in range(10_000):
            outer = ValueError("deep")
            setattr(outer, link, error)
            error = outer
        return error

    return make


def nested(leaf=ConnectionError):
    """
    Return a thousand groups within each other.
    """
    group = ExceptionGroup("nested", [leaf("leaf")])
    for _ in range(1000):
        group = ExceptionGroup("nested", [group])
    return group


def wide():
    """
    Return a group of a hundred thousand errors.
    """
    return ExceptionGroup("wide", [ConnectionError(str(number)) for number in range(100_000)])


def tangled():
    """
    Return a group that is the cause of its members.
    """
    group = ExceptionGroup("tangled", [ConnectionError("leaf"), ValueError("leaf")])
    for error in group.exceptions:
        error.__cause__ = error.__context__ = group
    return group


def in_itself():
    """
    Return an error that is its own argument.
    """
    error = ConnectionError()
    error.args = (error, [error])
    return error


def in_its_arguments():
    """
    Return ten thousand errors, each the argument of the next.
    """
    error = ConnectionError("innermost")
    for _ in range(10_000):
        error = RuntimeError(error)
    return error


def out_of_memory():
    """
    Return a memory error that is its own cause.
    """
    error = MemoryError("CUDA out of memory")
    error.__cause__ = error
    return error


CHAINS = {
    "loop": a_loop,
    "causes": deep("__cause__"),
    "contexts": deep("__context__"),
    "nested": nested,
    "wide": wide,
    "tangled": tangled,
    "in itself": in_itself,
    "in its arguments": in_its_arguments,
    "memory": out_of_memory,
}


def take_apart(error):
    """
    Break the chain of *error*: ten thousand errors are freed by recursion, and pytest cannot show them.
    """
    while error is not None:
        inner = error.__cause__ or error.__context__ or next(iter(error.args), None)
        error.__cause__ = error.__context__ = None
        error.args = ()
        error = inner if isinstance(inner, BaseException) else None


@pytest.mark.parametrize("chain", CHAINS)
def test_row_14_endless_chains_are_survived(colour, entries, registry, chain, untraced):
    """
    Classified, recorded, logged and told without a RecursionError, and raised as themselves.
    """
    error = CHAINS[chain]()
    fn = stack(colour.of(script(error)), registry, Fallback(script("done"), on=LookupError), attempts=2, on=Exception)
    began = time.thread_time()
    try:
        colour.drive(fn)
    except Exception as raised:
        arrived, what = raised is error, type(raised).__name__
    outcome = colour.drive(fn.resilience.outcome)
    told, same = str(outcome), outcome.error is error
    took = time.thread_time() - began
    del outcome
    messages = [info.error_message for info in registry.analytics.error_history]
    take_apart(error)

    assert arrived, what
    assert same
    assert "attempt 2 raised" in told
    assert len(messages) >= 4
    assert all(len(one) <= LIMIT for one in messages)
    assert took < 0.5


@pytest.mark.parametrize(
    "make", [a_loop, deep("__cause__", ValueError), lambda: nested(ValueError)], ids=["loop", "causes", "nested"]
)
def test_row_14_an_endless_chain_of_permanent_errors_is_not_retried(colour, registry, make):
    """
    It is classified by what it is made of, and leaves all policies after one attempt.
    """
    error = make()
    fn = circuit(registry=registry)(colour.of(script(error)))
    fn = recoverable(registry=registry)(retry(registry=registry)(fn))
    fn = fallback_chain(Fallback(script("done"), on=LookupError), registry=registry)(fn)
    raised = ending(error, colour.drive, fn)
    take_apart(error)

    assert raised == "itself"
    assert registry.analytics.total_errors == 1


# -- row 15: one instance --------------------------------------------------


def our_frames(error):
    """
    Return how many of the library's frames the error's traceback has.
    """
    return sum("/resilient/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))


def under(kind):
    """
    Return how to put one decorator, or all of them, on a function.
    """
    chain = Fallback(script("done"), on=LookupError)
    return {
        "retry": lambda fn, here: retry(max_attempts=3, initial_delay=0, **here)(fn),
        "circuit": lambda fn, here: circuit(failure_threshold=1000, **here)(fn),
        "recoverable": lambda fn, here: recoverable(**here)(fn),
        "fallback_chain": lambda fn, here: fallback_chain(chain, **here)(fn),
        "all": lambda fn, here: stack(fn, here["registry"], chain),
        "listened to": lambda fn, here: stack(fn, here["registry"], chain),
        "probing": lambda fn, here: circuit(failure_threshold=1, open_for=0.0, **here)(fn),
    }[kind]


@pytest.mark.parametrize("kind", ["retry", "circuit", "recoverable", "fallback_chain", "all", "listened to", "probing"])
def test_row_15_frames_of_ours_are_constant_per_raise(colour, registry, kind):
    """
    One instance, raised again and again, has two of our frames more for each call that raised it.
    """
    error = ConnectionError("always")
    fn = under(kind)(colour.of(script(error)), {"registry": registry})
    if kind == "listened to":
        registry.on(lambda _: None, CallSucceeded)
    sizes = []
    for _ in range(6):
        with pytest.raises(ConnectionError) as raised:
            colour.drive(fn)
        assert raised.value is error
        sizes.append(our_frames(error))
    grown = [after - before for before, after in itertools.pairwise(sizes)]

    assert sizes[0] == 2
    assert set(grown) == {2}


@pytest.mark.parametrize("through", ["all", "two functions"])
def test_row_15_our_note_is_replaced(colour, clock, registry, through):
    """
    The user's notes stay, in order, and ours stands once, with the latest counts.
    """
    error = ConnectionError("always")
    error.add_note("mine")
    fn = stack(colour.of(script(error)), registry, attempts=3, delay=1.0)
    if through == "two functions":
        inner = fn

        def call():
            return inner()

        async def acall():
            return await inner()

        fn = retry(max_attempts=2, initial_delay=2.0, jitter=False, registry=registry)(
            acall if colour.is_async else call
        )
    for round_ in range(4):
        with pytest.raises(ConnectionError):
            colour.call(fn)
        error.add_note(f"round {round_}")
    ours = [note for note in error.__notes__ if note.startswith("resilient: ")]

    assert ["mine", *(f"round {number}" for number in range(4))] == [one for one in error.__notes__ if one not in ours]
    attempts = "3 attempts, 3 s" if through == "all" else "2 attempts, 5 s"
    assert [f"resilient: gave up after {attempts} after the first failure"] == ours


class NoNotes(ConnectionError):
    __notes__ = property(refuse)


class FullOfNotes(ConnectionError):
    __notes__ = ("frozen",)


class OddNotes(ConnectionError):
    def __init__(self):
        self.__notes__ = 42


@pytest.mark.parametrize("kind", [NoNotes, OddNotes, Sets, Gets])
def test_row_15_a_note_that_cannot_be_set_is_dropped(colour, registry, kind):
    """
    The error arrives without it, as itself.
    """
    error = kind()
    fn = stack(colour.of(script(error)), registry, attempts=2, on=Exception)
    arrived = None
    try:
        colour.drive(fn)
    except Exception as raised:
        arrived = raised

    assert arrived is error
    assert registry.analytics.total_errors == 2


def test_row_15_notes_of_a_class_stay_the_classs(colour, registry):
    """
    Ours is put on the instance, beside what the class gives to all.
    """
    fn = stack(colour.of(script(FullOfNotes())), registry, attempts=2)
    with pytest.raises(FullOfNotes) as raised:
        colour.drive(fn)

    assert len(raised.value.__notes__) == 2
    assert FullOfNotes.__notes__ == ("frozen",)
