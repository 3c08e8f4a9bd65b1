from __future__ import annotations

import pickle
import threading
import warnings

import pytest

from resilient import (
    Fallback,
    FallbackChain,
    FallbackChainExhaustedError,
    PolicyError,
    ResilientWarning,
    circuit,
    fallback_chain,
)
from resilient.events import FallbackUsed, OperationFailed
from resilient.testing import capture_events, disabled
from tests.harness import PATIENCE, Colour, run_threads


def call(colour, chain, *args, **kwargs):
    """
    Call *chain* in the way of its colour.
    """
    return colour.call(chain.execute if colour.is_async else chain.call, *args, **kwargs)


def best(*args, **kwargs):
    """
    Fail.
    """
    raise ConnectionError("best")


def worse(*args, **kwargs):
    """
    Fail otherwise.
    """
    raise KeyError("worse")


def plain(*args, **kwargs):
    """
    Return the arguments.
    """
    return args, kwargs


# -- calling -----------------------------------------------------------------


def test_call(colour, registry):
    """
    The first entry is called, then each in order until one returns, with the call's arguments.
    """
    chain = FallbackChain("cards", [colour.of(best), colour.of(worse), colour.of(plain)], registry)

    assert call(colour, chain, 1, b=2) == ((1,), {"b": 2})


def test_config(colour, registry):
    """
    An entry's config is keyword arguments of its own, the first one's too.
    """
    chain = FallbackChain("cards", registry=registry)
    assert chain is chain.add_fallback(colour.of(plain), {"steps": 5}, expected_quality=0.5)

    assert call(colour, chain, steps=9, low=True) == ((), {"steps": 5, "low": True})
    assert chain.entries[0].quality == 0.5


def test_exhausted(colour, registry):
    """
    When all fail, the error lists theirs, caused by the first one's, under the chain's name.
    """
    chain = FallbackChain("cards", [colour.of(best), colour.of(worse)], registry)
    with capture_events(registry) as events, pytest.raises(FallbackChainExhaustedError) as caught:
        call(colour, chain)

    assert caught.value.name == "cards"
    assert [ConnectionError, KeyError] == [type(one) for one in caught.value.errors]
    assert caught.value.errors[0] is caught.value.__cause__
    assert {"cards"} == {one.function for one in events if isinstance(one, OperationFailed)}


def test_only_one(colour, registry):
    """
    Where the first one fails and nothing else is offered, its error is raised as itself.
    """
    chain = FallbackChain("cards", [colour.of(best), Fallback(plain, on=KeyError)], registry)
    with pytest.raises(ConnectionError, match="best"):
        call(colour, chain)


def test_first_is_passed_over(colour, registry):
    """
    A first entry that is not offered leaves its place to the next; its `on` has nothing to look at.
    """
    shut = circuit("shut", registry=registry)(colour.of(best))
    registry.circuits["shut"].isolate()
    chain = FallbackChain(
        "cards", [Fallback(best, when=lambda: False), shut, Fallback(colour.of(plain), on=MemoryError), worse], registry
    )

    assert call(colour, chain, 7) == ((7,), {})
    assert {name: one["attempts"] for name, one in chain.get_stats().items()} == {
        "best": 0,
        "best#2": 0,
        "plain": 1,
        "worse": 0,
    }


def test_nothing_to_offer(colour, registry):
    """
    A chain whose entries are all passed over is exhausted, without errors.
    """
    chain = FallbackChain("cards", [Fallback(best, when=lambda: False)], registry)
    with pytest.raises(FallbackChainExhaustedError, match="'cards' had nothing to offer") as caught:
        call(colour, chain)

    assert (caught.value.errors, caught.value.__cause__) == ((), None)
    assert chain.get_statistics()["overall_success_rate"] == 0.0


def test_empty(colour, registry):
    """
    An empty chain says what to do.
    """
    with pytest.raises(PolicyError, match=r"fallback chain 'cards' is empty; add an entry with add_fallback"):
        call(colour, FallbackChain("cards", registry=registry))


def test_async_entry_in_a_sync_call():
    """
    A sync call of a chain with an async entry is refused before anything is called.
    """
    chain = FallbackChain("cards", [best, Colour("async").of(plain)])
    with pytest.raises(PolicyError, match=r"entry 'plain' is async; use `await chain\.execute"):
        chain.call()

    assert chain.get_stats()["best"]["attempts"] == 0


async def test_execute_takes_both_colours():
    """
    `execute` awaits what can be awaited, and calls the rest.
    """
    chain = FallbackChain("cards", [best, Colour("async").of(worse), plain])

    assert await chain.execute(5) == ((5,), {})


def test_stands_alone(colour):
    """
    A chain needs no registry.
    """
    assert call(colour, FallbackChain("cards", [colour.of(best), plain])) == ((), {})


def test_disabled(colour, registry):
    """
    Switching policies off does not reach a chain that is called itself.
    """
    chain = FallbackChain("cards", [colour.of(best), plain], registry)
    with disabled():
        assert call(colour, chain) == ((), {})


def test_incidents(colour, registry):
    """
    A call is an incident under the chain's name, with the route that it took.
    """
    chain = FallbackChain("cards", [colour.of(best), colour.of(plain)], registry)
    with capture_events(registry) as events:
        call(colour, chain)
    used = [one for one in events if isinstance(one, FallbackUsed)]

    assert [(one.entry, one.success, one.function) for one in used] == [("plain", True, "cards")]
    assert (registry.analytics.total_errors, registry.analytics.get_recovery_rate()) == (1, 1.0)


def test_one_pipeline(colour, registry):
    """
    However often a chain is called, the registry hears of one pipeline.
    """
    chain = FallbackChain("cards", [colour.of(plain)], registry)
    for _ in range(5):
        call(colour, chain)

    assert [one.name for one in registry.hub.pipelines()] == ["cards"]


def test_traceback(colour, registry):
    """
    An error arrives with at most two frames of ours.
    """
    chain = FallbackChain("cards", [colour.of(best)], registry)
    with pytest.raises(ConnectionError) as caught:
        call(colour, chain)
    ours = [one for one in caught.traceback if "/resilient/" in str(one.path)]

    assert len(ours) <= 2


def test_threads():
    """
    Calls from many threads are all counted.
    """
    chain = FallbackChain("cards", [best, plain])

    def work():
        for _ in range(50):
            chain.call()

    run_threads(*[work] * 8)

    assert chain.get_stats()["best"] == {"attempts": 400, "successes": 0, "failures": 400}
    assert chain.get_stats()["plain"] == {"attempts": 400, "successes": 400, "failures": 0}


# -- building ----------------------------------------------------------------


def test_equal_entries():
    """
    Adding an equal entry again changes nothing; one that differs in anything is another entry.
    """
    chain = FallbackChain("cards", [best])
    chain.add_fallback(best)
    chain.add_fallback(Fallback(best))
    chain.add_fallback(best, on=Exception)
    chain.add_fallback(best, on=KeyError)
    chain.add_fallback(best, on=KeyError)

    assert [one.name for one in chain.entries] == ["best", "best#2"]


def test_entries_that_cannot_be_compared():
    """
    An entry whose function raises on comparison is added.
    """

    class Odd:
        def __call__(self):
            raise NotImplementedError

        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    chain = FallbackChain("cards", [best])
    chain.add_fallback(Odd())

    assert [one.name for one in chain.entries] == ["best", "Odd"]


def test_entries_from_many_threads():
    """
    Entries that threads add at once are all there, each once.
    """
    chain = FallbackChain("cards")
    functions = [lambda: None for _ in range(30)]
    barrier = threading.Barrier(6, timeout=PATIENCE)

    def add():
        barrier.wait()
        for function in functions:
            chain.add_fallback(function)

    run_threads(*[add] * 6)

    assert {entry.func for entry in chain.entries} == set(functions)
    assert len(chain.entries) == 30


def test_entry_added_while_another_one_is_compared():
    """
    What is added while entries are being compared is seen by that comparison's owner.
    """
    chain = FallbackChain("cards")

    class Nosy:
        def __call__(self):
            raise NotImplementedError

        def __eq__(self, other):
            if len(chain.entries) == 1:
                asked.append(other)
                if asked == [best]:
                    chain.add_fallback(plain)
            return False

        __hash__ = None

    asked = []
    chain.add_fallback(Nosy())
    chain.add_fallback(best)

    assert [entry.name for entry in chain.entries] == ["Nosy", "plain", "best"]


def test_names_are_unique():
    """
    Entries that share a name are numbered, for they are counted by name; "primary" is taken.
    """
    chain = FallbackChain(
        "cards", [lambda: 1, lambda: 2, Fallback(lambda: 3, "<lambda>#2"), Fallback(lambda: 4, "primary")]
    )

    assert [one.name for one in chain.entries] == ["<lambda>", "<lambda>#2", "<lambda>#2#2", "primary#2"]


def test_many_entries():
    """
    Over 32 entries give one warning, with the chain's name.
    """
    chain = FallbackChain("cards")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(40):
            chain.add_fallback(lambda: None, name=str(number))

    assert [ResilientWarning] == [one.category for one in caught]
    assert "fallback chain 'cards' has more than 32 entries" in str(caught[0].message)
    assert __file__ == caught[0].filename


@pytest.mark.parametrize("name", ["", None, 5])
def test_wrong_name(name):
    """
    A chain has a name.
    """
    with pytest.raises(PolicyError, match="name must be a string that is not empty"):
        FallbackChain(name)


def test_wrong_entries():
    """
    All entries that cannot be one are told at once.
    """
    with pytest.raises(PolicyError) as caught:
        FallbackChain("cards", [best, 5, [best]])

    assert len(caught.value.problems) == 2
    assert caught.value.problems[0] == "a fallback must be a function or Fallback(function, ...), got 5 (int)"


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (("cards", (), 3), ["registry must be a Registry or None, got 3 (int)"]),
        (("cards", 5), ["entries must be a list of functions or Fallback objects, got 5 (int)"]),
        ((None, [5], "default"), ["name must be ", "a fallback must be ", "registry must be a Registry or None"]),
    ],
    ids=str,
)
def test_all_that_no_chain_can_be_made_with_is_told_at_once(given, problems):
    """
    A wrong registry, wrong entries and a wrong name are one error, as for a circuit.
    """
    with pytest.raises(PolicyError) as caught:
        FallbackChain(*given)

    assert len(problems) == len(caught.value.problems)
    assert all(told.startswith(problem) for told, problem in zip(caught.value.problems, problems, strict=True))


def test_wrong_fallback():
    """
    `add_fallback` tells everything that is wrong at once.
    """
    with pytest.raises(PolicyError) as caught:
        FallbackChain("cards").add_fallback(5, ["x"], on="netwrok", expected_quality=2)

    assert len(caught.value.problems) == 4


# -- counting ----------------------------------------------------------------


def test_stats_of_a_decorated_function(colour, registry):
    """
    A chain counts what it stands in for as "primary", once a call, and each entry that was called.
    """
    outcomes = [None, ConnectionError(), ConnectionError()]

    def primary():
        if error := outcomes.pop(0):
            raise error

    fn = fallback_chain(colour.of(worse), colour.of(plain), name="cards", registry=registry)(colour.of(primary))
    chain = registry.chains["cards"]

    assert {name: one["attempts"] for name, one in chain.get_stats().items()} == {"worse": 0, "plain": 0}
    for _ in range(3):
        colour.call(fn)
    assert chain.get_stats() == {
        "primary": {"attempts": 3, "successes": 1, "failures": 2},
        "worse": {"attempts": 2, "successes": 0, "failures": 2},
        "plain": {"attempts": 2, "successes": 2, "failures": 0},
    }
    assert chain.get_statistics() == {"last_successful_fallback": "plain", "overall_success_rate": 1.0}


def test_statistics(colour, registry):
    """
    The success rate is by run, however many entries a run takes.
    """
    outcomes = [1, 0, 0, 0]
    chain = FallbackChain("cards", registry=registry)

    assert chain.get_statistics() == {"last_successful_fallback": None, "overall_success_rate": 1.0}

    def sometimes():
        if not outcomes.pop(0):
            raise OSError

    chain.add_fallback(colour.of(best)).add_fallback(colour.of(worse)).add_fallback(colour.of(sometimes))
    call(colour, chain)
    for _ in range(3):
        with pytest.raises(FallbackChainExhaustedError):
            call(colour, chain)

    assert chain.get_statistics() == {"last_successful_fallback": "sometimes", "overall_success_rate": 0.25}
    assert chain.get_stats()["best"] == {"attempts": 4, "successes": 0, "failures": 4}


def test_calls_that_return_at_once(colour, registry):
    """
    Calls of a decorated function that return at once are runs that succeeded; a reset of the registry zeroes them.
    """
    outcomes = [None] * 9 + [ConnectionError()]

    def primary():
        if error := outcomes.pop(0):
            raise error

    fn = fallback_chain(colour.of(worse), name="cards", registry=registry)(colour.of(primary))
    fallback_chain(worse, name="others", registry=registry)(plain)()
    for _ in range(9):
        colour.call(fn)
    with pytest.raises(FallbackChainExhaustedError):
        colour.call(fn)
    chain = registry.chains["cards"]

    assert chain.get_statistics()["overall_success_rate"] == 0.9
    assert chain.get_stats()["primary"] == {"attempts": 10, "successes": 9, "failures": 1}
    registry.reset()
    assert chain.get_stats() == {"worse": {"attempts": 0, "successes": 0, "failures": 0}}


def test_first_entry_counts_once(colour, registry):
    """
    The first entry of a chain that is called itself counts as the entry that it is.
    """
    chain = FallbackChain("cards", [colour.of(plain)], registry)
    call(colour, chain)

    assert chain.get_stats() == {"plain": {"attempts": 1, "successes": 1, "failures": 0}}
    assert chain.get_statistics() == {"last_successful_fallback": "plain", "overall_success_rate": 1.0}


def test_on_that_does_not_match_is_a_run(colour, registry):
    """
    A run that the chain does not stand in for is one that failed.
    """
    fn = fallback_chain(plain, name="cards", on=KeyError, registry=registry)(colour.of(best))
    with pytest.raises(ConnectionError):
        colour.call(fn)

    assert registry.chains["cards"].get_statistics()["overall_success_rate"] == 0.0


def test_reset(registry):
    """
    A reset zeroes the counts, the registry's too; entries stay.
    """
    chain = registry.chain("cards").add_fallback(plain)
    chain.call()
    registry.reset()

    assert chain.get_stats() == {"plain": {"attempts": 0, "successes": 0, "failures": 0}}
    assert chain.get_statistics() == {"last_successful_fallback": None, "overall_success_rate": 1.0}


# -- named chains ------------------------------------------------------------


def test_named(registry):
    """
    A chain with a name is the registry's, one for all functions that name it; others are nobody's.
    """
    decorated = fallback_chain(plain, name="cards", registry=registry)(best)
    fallback_chain(plain, name="cards", registry=registry)(worse)
    fallback_chain(plain, registry=registry)(lambda: None)

    assert list(registry.chains) == ["cards"]
    assert registry.chain("cards") is registry.chains["cards"]
    assert [one.name for one in registry.chains["cards"].entries] == ["plain"]
    assert decorated() == ((), {})


def test_entries_added_later(registry):
    """
    Entries that are added to a named chain count at once for the functions that it is on.
    """
    fn = fallback_chain(worse, name="cards", registry=registry)(best)
    with pytest.raises(FallbackChainExhaustedError):
        fn()
    registry.chains["cards"].add_fallback(plain)

    assert fn() == ((), {})


# -- the object --------------------------------------------------------------


def test_repr():
    """
    A chain shows its entries in order.
    """
    assert repr(FallbackChain("cards", [best, plain])) == "<FallbackChain 'cards': best -> plain>"
    assert repr(FallbackChain("cards")) == "<FallbackChain 'cards': empty>"


def test_pickle():
    """
    A chain travels with its entries, and counts afresh there.
    """
    chain = FallbackChain("cards", [best, plain, Fallback(plain, "more", KeyError)])
    chain.call()
    other = pickle.loads(pickle.dumps(chain))

    assert ("cards", chain.entries) == (other.name, other.entries)
    assert other.get_stats()["best"]["attempts"] == 0
    assert other.call() == ((), {})
