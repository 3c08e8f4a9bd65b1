"""
What functions share to be small, and that nobody can tell.
"""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import signal
import threading
import warnings

import pytest

from resilient import (
    BlockingWaitWarning,
    PolicyOrderWarning,
    Registry,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
)
from resilient.policies.arguments import Parameters
from resilient.testing import FakeClock, isolated_registry


@pytest.fixture
def registry():
    """
    Give a default registry of the test's own.
    """
    with isolated_registry(FakeClock()) as fresh:
        yield fresh


def work(quality=1.0):
    """
    Fail, as something that another attempt may mend.
    """
    raise ConnectionError("down")


def test_functions_that_are_retried_plainly_share_a_policy(registry):
    """
    Bare ``@retry`` and ``@retry()`` put the same policy on every function of a registry, options one of its own.
    """
    first, second = retry(lambda: 1), retry()(lambda: 2)
    other = retry(registry=Registry("other"))(lambda: 3)
    own = retry(max_attempts=3)(lambda: 4)
    policies = [fn.resilience.policies[0] for fn in (first, second, other, own)]

    assert policies[0] is policies[1]
    assert len(set(map(id, policies))) == 3


def test_two_bare_circuits_are_two_circuits(registry):
    """
    A bare decorator that stands twice on one function makes two policies.
    """
    with pytest.warns(PolicyOrderWarning):
        fn = circuit(circuit(work))
    outer, inner = (policy.breaker for policy in fn.resilience.policies)

    assert outer is not inner


def test_a_recovery_knows_its_own_place_where_there_are_two(registry):
    """
    Of two bare ``@recoverable`` on one function each is a policy of its own.
    """
    fn = recoverable(degradable(recoverable(work)))
    outer, _, inner = fn.resilience.policies

    assert outer is not inner


def test_each_function_is_warned_of_its_blocking_waits(registry):
    """
    The warning comes once for each function, though the functions share a policy.
    """

    def other():
        return work()

    first, second = retry(work), retry(other)
    policy = first.resilience.policies[0]
    assert policy is second.resilience.policies[0]

    async def main():
        for fn in (first, first, second):
            with pytest.raises(ConnectionError):
                fn()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())

    assert [one.category for one in caught] == [BlockingWaitWarning] * 2


@pytest.mark.parametrize("decorator", [retry, circuit, degradable, recoverable, fallback_chain(lambda quality: 0)])
def test_what_bare_decorators_leave_can_be_copied_and_pickled(registry, decorator):
    """
    Specs without options pickle and copy as others do, and the copy is not the shared one.
    """
    (spec,) = decorator(work).resilience.specs
    if spec.kind != "fallback_chain":
        (copied,) = (pickle.loads(pickle.dumps(spec)),)

        assert (type(copied), dict(copied.given)) == (type(spec), dict(spec.given))
    assert dict(copy.deepcopy(spec).given) == dict(spec.given)


def test_options_of_one_function_are_not_those_of_another(registry):
    """
    Options of one decorator do not get into the table that the others share.
    """
    plain, other = retry(work), retry(max_attempts=7)(work)

    assert plain.resilience.policies[0].options["max_attempts"] == 3
    assert other.resilience.policies[0].options["max_attempts"] == 7


def test_a_positional_parameter_before_it_has_to_have_a_value():
    """
    A positional-only argument cannot be put behind one that is neither given nor has a default.
    """

    def fn(first, second=2, /):
        return first, second

    parameters = Parameters.of(fn)

    assert parameters.replace("second", 5, (1,), {}) == ((1, 5), {})
    with pytest.raises(KeyError, match="second"):
        parameters.replace("second", 5, (), {})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_locks_that_are_held_while_a_process_forks_are_free_in_the_child(registry):
    """
    A child can call, count and read functions whose pipeline and chain another thread was busy with at the fork.
    """
    fn = fallback_chain(lambda quality=1.0: quality)(circuit(work))
    held, done = threading.Event(), threading.Event()

    def hold():
        pipeline = fn.resilience.pipeline
        with pipeline._lock, registry.hub._lock, pipeline.counts._lock:  # noqa: SLF001 - the locks themselves
            held.set()
            done.wait()

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    child = os.fork()
    if not child:
        # A child that waits for a lock is ended by the alarm.
        signal.alarm(10)
        told = [fn(), fn.resilience.stats().calls, fn.resilience.policies[0].chain.get_stats()["primary"]["failures"]]
        os._exit(0 if told == [1.0, 1, 1] else 1)
    done.set()
    other.join()

    assert os.waitpid(child, 0)[1] == 0
