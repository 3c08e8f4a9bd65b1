# ruff: noqa: SLF001 - what is kept can only be seen from within
"""
The facade: every line of its contract, and what its sentences promise.
"""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from datetime import datetime

import pytest
import tenacity

from resilient import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitState,
    DecorationError,
    DegradationLevel,
    ErrorCategory,
    ErrorHandlingSystem,
    ErrorSeverity,
    FallbackChainExhaustedError,
    PolicyError,
    Registry,
    ResilientWarning,
    RetryConfig,
    RetryMechanism,
    default_registry,
    fallback_chain,
    modes,
    resilience_of,
    retry,
)
from resilient.events import FallbackUsed, LevelChanged, OperationFailed
from resilient.testing import capture_events, isolated_registry

NO_JITTER = RetryConfig(jitter=False)


@pytest.fixture
def registry(clock):
    """
    Return a registry on that clock.
    """
    return Registry("own", clock=clock)


@pytest.fixture
def system(registry):
    """
    Return a system on that registry.
    """
    return ErrorHandlingSystem(registry)


@pytest.fixture(params=["sync", "async", "sync inline"])
def execute(request, system):
    """
    Return a function that calls a sync function through the system, in each of the ways there are.
    """

    def call(func, /, *args, **kwargs):
        if request.param == "sync":
            return system.execute_with_resilience_sync(func, *args, **kwargs)
        if request.param == "sync inline":
            return asyncio.run(system.execute_with_resilience(func, *args, **kwargs))

        async def afunc(*args, **kwargs):
            return func(*args, **kwargs)

        afunc.__name__, afunc.__qualname__ = func.__name__, func.__qualname__
        return asyncio.run(system.execute_with_resilience(afunc, *args, **kwargs))

    return call


class Flaky:
    """
    A function that raises these errors first, and then returns its arguments.
    """

    def __init__(self, *errors):
        self.__name__ = self.__qualname__ = "flaky"
        self.errors = list(errors)
        self.calls = []

    def __call__(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if self.errors:
            raise self.errors.pop(0)
        return args, kwargs


def name_of(func):
    """
    Return the name that *func* has in the registry.
    """
    return f"{func.__module__}:{func.__qualname__}"


# -- the contract's example -------------------------------------------------------


async def test_the_contract_line_by_line(clock):
    """
    The example of the contract runs as it stands, and each line does what its comment says.
    """

    async def generate(request):
        return f"video of {request}"

    async def generate_video():
        raise ConnectionError("renderer is down")

    def use_cached_video():
        return "cached"

    def generate_high_quality_image(request):
        raise MemoryError(request)

    async def generate_standard_image(request):
        return f"standard {request}"

    request = "a chase"
    with isolated_registry(clock=clock) as shared:
        system = ErrorHandlingSystem()
        assert system.registry is shared

        result = await system.execute_with_resilience(
            generate,
            request,
            circuit_breaker_name="my_service",
            fallback_chain_name="my_chain",
            enable_retry=True,
            enable_recovery=True,
            retry_config=None,
        )
        assert result == "video of a chase"

        breaker = system.get_circuit_breaker("video_generation")
        assert breaker is system.get_circuit_breaker("video_generation")
        for _ in range(5):
            with pytest.raises(ConnectionError):
                await breaker.execute(generate_video)
        try:
            video = await breaker.execute(generate_video)
        except CircuitBreakerOpenError:
            video = use_cached_video()
        assert video == "cached"
        breaker.reset()
        assert breaker.call(use_cached_video) == "cached"
        with breaker:
            pass
        async with breaker:
            pass

        chain = system.get_fallback_chain("image_generation")
        chain.add_fallback(generate_high_quality_image)
        chain.add_fallback(generate_standard_image)
        image = await chain.execute(request)
        assert image == "standard a chase"

        degradation = system.graceful_degradation
        assert degradation.degrade("High error rate") == "high"
        assert degradation.current_level == "high"
        params = degradation.adjust_parameters({"quality": 1.0, "resolution": "1080p", "steps": 50})
        assert params == {"quality": 0.8, "resolution": "720p", "steps": 40}
        degradation.configure_triggers(
            {
                "error_rate_threshold": 10,
                "failure_ratio_threshold": 0.1,
                "response_time_threshold": 30.0,
                "memory_usage_threshold": 0.9,
                "cpu_usage_threshold": 0.95,
            }
        )
        assert degradation.restore() == "full"

        report = system.error_analytics.generate_report()
        assert report["total_errors"] == 6
        health = system.get_system_health()
        assert health.keys() >= {
            "degradation_level",
            "error_rate",
            "failure_ratio",
            "recovery_rate",
            "circuit_breakers",
            "retry_stats",
            "fallback_stats",
            "status",
            "functions",
        }
        resilience_report = system.generate_resilience_report()
        assert resilience_report.keys() >= {"system_health", "error_analytics", "recovery_history", "timestamp"}
        system.retry_mechanism = RetryMechanism(
            RetryConfig(
                max_attempts=3,
                initial_delay=1.0,
                max_delay=60.0,
                exponential_base=2.0,
                jitter=True,
                retryable_exceptions={ConnectionError, TimeoutError},
            )
        )
        breaker = CircuitBreaker(
            "my_service",
            CircuitBreakerConfig(failure_threshold=5, success_threshold=2, timeout=60.0, half_open_max_calls=1),
        )
        assert breaker.state is CircuitState.CLOSED


# -- which registry ---------------------------------------------------------------


def test_a_registry_is_wrapped_and_none_is_the_default_one(registry):
    """
    A system wraps the registry that it is given, and without one the default registry of that moment.
    """
    with isolated_registry() as isolated:
        system = ErrorHandlingSystem()

    assert ErrorHandlingSystem(registry).registry is registry
    assert system.registry is isolated
    assert default_registry() is not isolated


def test_the_parts_are_the_registrys(system, registry):
    """
    The system's parts are the registry's own objects.
    """
    breaker, chain = system.get_circuit_breaker("api"), system.get_fallback_chain("images")

    assert system.graceful_degradation is registry.degradation
    assert system.error_analytics is registry.analytics
    assert system.recovery_procedure is registry.playbooks
    assert dict(system.circuit_breakers) == {"api": breaker} == dict(registry.circuits)
    assert dict(system.fallback_chains) == {"images": chain} == dict(registry.chains)
    assert system.get_fallback_chain("images") is chain
    assert "own" in repr(system)


def test_a_mapping_configures_an_own_registry():
    """
    A mapping makes an own registry: its name, how it retries, what circuits begin with, and its triggers.
    """
    system = ErrorHandlingSystem(
        {
            "name": "render farm",
            "retry": {"max_attempts": 5, "on": ["network"], "initial_delay": "500ms"},
            "circuit": {"failure_threshold": 2, "timeout": 5},
            "triggers": {"error_rate_threshold": 10, "hold_down": 5},
        }
    )
    breaker = system.get_circuit_breaker("api")

    assert system.registry is not default_registry()
    assert system.registry.name == "render farm"
    assert system.retry_mechanism.config == RetryConfig(
        max_attempts=5, retryable_exceptions=["network"], initial_delay=0.5
    )
    assert breaker.options["failure_threshold"] == 2
    assert breaker.options["open_for"] == 5.0
    assert list(system.graceful_degradation.signals()) == ["error_rate"]


def test_an_empty_mapping_makes_an_own_registry_with_the_defaults():
    """
    An empty mapping makes an own registry in which all is as by default.
    """
    system = ErrorHandlingSystem({})

    assert system.registry is not default_registry()
    assert system.retry_mechanism.config == RetryConfig()
    assert system.get_circuit_breaker("api").options["failure_threshold"] == 5
    assert system.graceful_degradation.signals() == {}


def test_a_mapping_takes_config_objects():
    """
    Options in a mapping may be config objects.
    """
    config = RetryConfig(max_attempts=7)
    system = ErrorHandlingSystem({"retry": config, "circuit": CircuitBreakerConfig(failure_threshold=1)})

    assert system.retry_mechanism.config is config
    assert system.get_circuit_breaker("api").options["failure_threshold"] == 1


def test_options_that_are_given_win_over_those_of_the_mapping():
    """
    What a mapping says of circuits holds for those that nobody gives options, and contradicts nobody.
    """
    system = ErrorHandlingSystem({"circuit": {"failure_threshold": 2}})
    first = system.get_circuit_breaker("a")
    same = system.get_circuit_breaker("a", CircuitBreakerConfig(failure_threshold=9))
    other = system.get_circuit_breaker("b", CircuitBreakerConfig(success_threshold=1))

    assert same is first
    assert first.options["failure_threshold"] == 9
    assert other.options["failure_threshold"] == 5


def test_all_problems_of_a_mapping_come_at_once():
    """
    One error names everything in a mapping that cannot be meant, with what was probably meant.
    """
    with pytest.raises(PolicyError) as caught:
        ErrorHandlingSystem(
            {
                "nam": "x",
                "name": "",
                "sorts": 1,
                "retry": {"max_attemts": 3, "jitter": 7},
                "circuit": {"failure_threshold": 0},
                "triggers": {"error_rate_treshold": 3, "hold_down": -1},
            },
            auto_degrade="no",
        )
    text = str(caught.value)

    assert len(caught.value.problems) == 9
    assert "auto_degrade must be True or False, got 'no' (str)" in text
    assert "unknown key 'nam'; did you mean 'name'?" in text
    assert "unknown key 'sorts'; there are name, retry, circuit, triggers" in text
    assert "name must be a string that is not empty, got '' (str)" in text
    assert "retry: unknown option 'max_attemts'; did you mean 'max_attempts'?" in text
    assert "circuit: failure_threshold must be" in text
    assert "did you mean 'error_rate_threshold'?" in text
    assert "triggers: hold_down must be" in text


def test_options_that_exclude_each_other_are_refused_in_a_mapping():
    """
    A mapping is checked as decorators are: options that contradict each other are a problem.
    """
    with pytest.raises(PolicyError, match=r"retry: .*max_delay must be at least initial_delay"):
        ErrorHandlingSystem({"retry": {"initial_delay": 9, "max_delay": 1}})


@pytest.mark.parametrize("key", ["retry", "circuit", "triggers"])
def test_a_mapping_with_something_else_in_it_is_refused(key):
    """
    What is neither options nor a config object is refused, by its key.
    """
    with pytest.raises(PolicyError, match=rf"{key} must be a mapping .* got 3 \(int\)"):
        ErrorHandlingSystem({key: 3})


def test_neither_registry_nor_mapping_is_refused():
    """
    Anything else than a registry, a mapping or None is refused.
    """
    with pytest.raises(PolicyError, match=r"registry must be a Registry, a mapping or None, got 'x' \(str\)"):
        ErrorHandlingSystem("x")


# -- decorators -------------------------------------------------------------------


def one(quality=1.0):
    """
    Stand for any function.
    """
    return quality


@pytest.mark.parametrize("kind", ["retry", "circuit", "degradable", "recoverable"])
@pytest.mark.parametrize("called", [False, True])
def test_decorators_put_functions_on_the_systems_registry(system, kind, called):
    """
    The system's decorators work bare and called, and put functions on its registry.
    """
    decorator = getattr(system, kind)
    decorated = decorator()(one) if called else decorator(one)

    assert resilience_of(decorated).registry is system.registry
    assert [policy.kind for policy in resilience_of(decorated).policies] == [kind]
    assert decorated() == 1.0


def test_decorators_take_options(system):
    """
    The system's decorators take what the decorators take: options, names and config objects.
    """

    @system.fallback_chain(one, name="ones")
    @system.retry(RetryConfig(max_attempts=2), initial_delay=0.1)
    @system.circuit("api", failure_threshold=2)
    def broken(quality=1.0):
        raise ConnectionError

    policies = resilience_of(broken).policies
    retrying = system.retry(tenacity.Retrying(stop=tenacity.stop_after_attempt(4)))(one)

    assert broken(0.5) == 0.5
    assert list(system.circuit_breakers) == ["api"]
    assert list(system.fallback_chains) == ["ones"]
    assert [policy.kind for policy in policies] == ["fallback_chain", "retry", "circuit"]
    assert policies[1].options["max_attempts"] == 2
    assert resilience_of(retrying).registry is system.registry
    assert system.retry.__doc__ == retry.__doc__


def test_decorators_bind_methods(system):
    """
    The system's decorators take apart what they are put on as the plain ones do.
    """

    class Engine:
        @system.retry
        @classmethod
        def made(cls):
            return cls

    assert Engine.made() is Engine


def test_a_property_under_a_systems_decorator_is_refused(system):
    """
    A property gets the plain decorators' error.
    """
    with pytest.raises(DecorationError, match="decorate the getter"):
        system.retry(property(one))


def test_a_bare_fallback_chain_of_a_system_is_told_at_the_first_call(system):
    """
    A bare fallback chain takes its function for a fallback, and says so.
    """
    decorated = system.fallback_chain(one)

    with pytest.raises(DecorationError, match="bare @fallback_chain"):
        decorated(0.5)


def test_another_registry_at_a_systems_decorator_is_refused(system):
    """
    A system's decorators put functions on its own registry; another one is refused.
    """
    assert system.retry(registry=system.registry)(one)() == 1.0
    with pytest.raises(PolicyError, match=r"system\.retry: registry=.*'other'.* is not the system's"):
        system.retry(registry=Registry("other"))


# -- execute_with_resilience --------------------------------------------------------


def test_other_arguments_go_to_the_function(execute):
    """
    All arguments but the system's own go to the function.
    """
    assert execute(Flaky(), 1, size=2, func=3) == ((1,), {"size": 2, "func": 3})


def test_by_default_it_is_retried(execute, system, clock):
    """
    Without options a function is retried as the retry mechanism says, without a circuit or a chain.
    """
    system.retry_mechanism = RetryMechanism(NO_JITTER)
    flaky = Flaky(ConnectionError("1"), TimeoutError("2"))

    assert execute(flaky, 1) == ((1,), {})
    assert clock.monotonic() == 3.0
    assert not system.circuit_breakers
    assert not system.fallback_chains


def test_without_retry_and_recovery_it_is_called_once(execute, system):
    """
    With retry and recovery off, the first error is raised as itself.
    """
    error = ConnectionError("down")
    flaky = Flaky(error)

    with pytest.raises(ConnectionError) as caught:
        execute(flaky, enable_retry=False, enable_recovery=False)
    assert caught.value is error
    assert len(flaky.calls) == 1
    assert not hasattr(error, "__notes__")
    assert system.retry_mechanism.get_stats() == {}


def test_a_config_of_the_call_wins(execute, system, clock):
    """
    A call's own retry config stands for the mechanism's, and is counted there.
    """
    flaky = Flaky(*[ValueError()] * 4)
    config = RetryConfig(max_attempts=5, retryable_exceptions=ValueError, initial_delay=0)
    execute(flaky, retry_config=config)
    stats = list(system.retry_mechanism.get_stats().values())

    assert stats == [{"attempts": 5, "successes": 1, "failures": 0, "retries": 4}]


def test_a_circuit_sees_every_attempt_and_is_the_innermost(execute, system):
    """
    The circuit is inside the retry: every attempt counts, and an open circuit is not retried.
    """
    system.get_circuit_breaker("api", CircuitBreakerConfig(failure_threshold=2))
    flaky = Flaky(*[ConnectionError("down")] * 9)

    with pytest.raises(CircuitBreakerOpenError):
        execute(flaky, circuit_breaker_name="api")
    assert len(flaky.calls) == 2
    assert system.circuit_breakers["api"].state is CircuitState.OPEN


def test_the_chain_is_outermost(execute, system):
    """
    The chain stands in only when all attempts have failed, and the route tells which entry did.
    """
    chain = system.get_fallback_chain("images").add_fallback(one)
    flaky = Flaky(*[ConnectionError("down")] * 3)
    with capture_events(system.registry, FallbackUsed) as events:
        result = execute(flaky, 0.25, fallback_chain_name="images")

    assert result == 0.25
    assert len(flaky.calls) == 3
    assert [event.entry for event in events] == ["one"]
    assert chain.get_stats()["one"] == {"attempts": 1, "successes": 1, "failures": 0}
    assert chain.get_statistics() == {"last_successful_fallback": "one", "overall_success_rate": 1.0}


def test_recovery_is_between_the_chain_and_the_retry(execute, system):
    """
    A recovery step runs when a whole series of attempts has failed, and is followed by another series.
    """
    log = []
    registry = system.registry

    @registry.playbooks.step("network", before="retry_connection")
    def reconnect(ctx):
        log.append(len(flaky.calls))
        return True

    flaky = Flaky(*[ConnectionError("down")] * 4)
    execute(flaky, fallback_chain_name="images")

    assert log == [3]
    assert len(flaky.calls) == 5
    assert [run["success"] for run in registry.playbooks.get_recovery_history()] == [True]


def test_recovery_can_be_switched_off(execute, system):
    """
    Without recovery no step runs.
    """
    log = []
    system.registry.playbooks.step("network", name="note")(lambda ctx: log.append(1))

    with pytest.raises(ConnectionError):
        execute(Flaky(*[ConnectionError("down")] * 3), enable_recovery=False)
    assert log == []


def test_an_empty_chain_changes_nothing(execute, system):
    """
    The name of a chain without entries makes the chain, and the error is raised as itself.
    """
    error = ValueError("wrong")

    with pytest.raises(ValueError, match="wrong") as caught:
        execute(Flaky(error), fallback_chain_name="empty")
    assert caught.value is error
    assert system.fallback_chains["empty"].get_stats() == {}


def test_entries_that_come_later_count(execute, system):
    """
    A chain that gets its entries after the first call has them at the next one.
    """
    execute(Flaky(), fallback_chain_name="images")
    system.get_fallback_chain("images").add_fallback(one)

    assert execute(Flaky(ValueError()), 0.5, fallback_chain_name="images") == 0.5


def test_an_exhausted_chain_lists_all_errors(execute, system):
    """
    When everything has failed, the chain's error has the function's first.
    """
    first, second = ValueError("first"), KeyError("second")
    system.get_fallback_chain("images").add_fallback(Flaky(second))

    with pytest.raises(FallbackChainExhaustedError) as caught:
        execute(Flaky(first), fallback_chain_name="images")
    assert caught.value.errors == (first, second)
    assert caught.value.__cause__ is first


@pytest.mark.parametrize("fails", [False, True])
def test_a_function_that_is_in_the_chain_already_is_not_called_twice(system, fails):
    """
    The function is the chain's first entry: where the chain has it, it is that entry.
    """
    flaky = Flaky(*[ValueError()] * fails)
    chain = system.get_fallback_chain("images").add_fallback(flaky).add_fallback(one)
    result = system.execute_with_resilience_sync(flaky, 0.5, fallback_chain_name="images")

    assert result == (0.5 if fails else ((0.5,), {}))
    assert len(flaky.calls) == 1
    assert chain.get_stats()["flaky"] == {"attempts": 1, "successes": not fails, "failures": fails}
    assert chain.get_statistics()["last_successful_fallback"] == ("one" if fails else "flaky")


def test_the_function_with_other_arguments_is_another_entry(system):
    """
    An entry that calls the function with arguments of its own is not the function.
    """
    flaky = Flaky(ValueError())
    system.get_fallback_chain("images").add_fallback(flaky, {"steps": 4})
    result = system.execute_with_resilience_sync(flaky, fallback_chain_name="images")

    assert result == ((), {"steps": 4})


def test_incidents_are_told_under_the_functions_name(system):
    """
    Errors and operations of a call are told under the name of the function that it brought.
    """
    with capture_events(system.registry, OperationFailed) as events, pytest.raises(TypeError):
        system.execute_with_resilience_sync(one, 1, 2)

    assert [event.function for event in events] == [name_of(one)]
    assert system.error_analytics.generate_report()["errors_by_function"] == {name_of(one): 1}
    assert system.get_system_health()["retry_stats"].keys() == {name_of(one)}


def test_a_decorated_function_inside_is_one_incident(system):
    """
    A decorated function that fails inside of the system's call is recorded once.
    """

    @system.retry(max_attempts=1)
    def broken():
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        system.execute_with_resilience_sync(broken)
    report = system.error_analytics.generate_report()

    assert report["total_errors"] == 1
    assert report["incidents"] == 1


async def test_cancellation_passes_through(system):
    """
    A cancelled call is neither retried nor counted as a failure.
    """
    started = asyncio.Event()

    async def slow():
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(system.execute_with_resilience(slow, circuit_breaker_name="api"))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert system.get_circuit_breaker("api").failure_count == 0
    assert list(system.retry_mechanism.get_stats().values()) == [
        {"attempts": 1, "successes": 0, "failures": 0, "retries": 0}
    ]


def test_few_frames_of_ours(system):
    """
    A user's error comes with two frames of ours.
    """

    def broken():
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong") as caught:
        system.execute_with_resilience_sync(broken)
    ours = [entry for entry in caught.traceback if "/resilient/" in str(entry.path)]

    assert len(ours) == 2


def test_a_sync_call_refuses_what_would_have_to_be_awaited(system):
    """
    An async function or entry in a sync call is refused before anything is called, all at once.
    """

    async def later(quality=1.0):
        raise AssertionError

    chain = system.get_fallback_chain("images").add_fallback(later)
    chain.add_fallback(one)

    with pytest.raises(PolicyError) as caught:
        system.execute_with_resilience_sync(later, fallback_chain_name="images", circuit_breaker_name="api")
    assert len(caught.value.problems) == 2
    assert "use `await system.execute_with_resilience(...)`" in str(caught.value)
    assert system.execute_with_resilience_sync(one, 0.5, circuit_breaker_name="api") == 0.5


def test_all_wrong_arguments_are_told_at_once(system):
    """
    One error names every argument that cannot be meant.
    """
    with pytest.raises(PolicyError) as caught:
        system.execute_with_resilience_sync(
            "one",
            circuit_breaker_name=3,
            fallback_chain_name="",
            enable_retry="yes",
            enable_recovery=None,
            retry_config={"max_attempts": 3},
        )
    text = str(caught.value)

    assert len(caught.value.problems) == 6
    assert "as in execute_with_resilience(generate, request)" in text
    assert "retry_config must be a RetryConfig or None, got {'max_attempts': 3} (dict)" in text


async def test_something_that_cannot_be_called_is_refused_in_a_known_way(system):
    """
    What cannot be called is refused at every call, not only at the first.
    """
    await system.execute_with_resilience(one)

    with pytest.raises(PolicyError, match="the first argument must be callable, got 5"):
        await system.execute_with_resilience(5)


def test_pipelines_are_bounded(system):
    """
    However many ways to call there are, a bounded number of pipelines is kept, and each way works.
    """
    for number in range(300):
        config = RetryConfig(max_attempts=number + 1)
        system.execute_with_resilience_sync(one, retry_config=config)

    assert len(system._execution._pipelines) == 128
    assert "128 ways to call" in repr(system._execution)
    assert system.execute_with_resilience_sync(one, 0.5, retry_config=RetryConfig(max_attempts=1)) == 0.5


def test_the_facade_works_while_policies_are_disabled(system, monkeypatch):
    """
    The switch that turns decorated functions raw does not affect the facade.
    """
    monkeypatch.setattr(modes, "disabled", True)
    flaky = Flaky(ConnectionError())

    assert system.execute_with_resilience_sync(flaky) == ((), {})
    assert len(flaky.calls) == 2


# -- the retry mechanism --------------------------------------------------------------


def test_setting_the_mechanism_affects_later_calls_of_this_system_only(system, registry):
    """
    Another mechanism is for later calls of this system: not for other systems, not for decorated functions.
    """
    other = ErrorHandlingSystem(registry)
    decorated_calls, flaky = Flaky(*[ConnectionError()] * 2), Flaky(*[ConnectionError()] * 2)

    @retry(initial_delay=0, registry=registry)
    def decorated():
        return decorated_calls()

    system.execute_with_resilience_sync(Flaky(ConnectionError()))
    system.retry_mechanism = RetryMechanism(RetryConfig(max_attempts=1))
    with pytest.raises(ConnectionError):
        system.execute_with_resilience_sync(Flaky(ConnectionError()))
    other.execute_with_resilience_sync(flaky)
    decorated()

    assert len(flaky.calls) == len(decorated_calls.calls) == 3


def test_a_mechanism_of_ones_own_waits_on_the_registrys_clock(system, clock):
    """
    A mechanism made without a registry retries on the system's clock, and counts for itself.
    """
    mechanism = RetryMechanism(NO_JITTER)
    system.retry_mechanism = mechanism
    system.execute_with_resilience_sync(Flaky(ConnectionError()))

    assert system.retry_mechanism is mechanism
    assert clock.monotonic() == 1.0
    assert [stats["retries"] for stats in mechanism.get_stats().values()] == [1]


def test_something_else_is_no_mechanism(system):
    """
    Only a `RetryMechanism` can be set.
    """
    with pytest.raises(PolicyError, match=r"retry_mechanism must be a RetryMechanism, got RetryConfig\(\)"):
        system.retry_mechanism = RetryConfig()


# -- memory failures --------------------------------------------------------------------


def broken():
    """
    Run out of memory.
    """
    raise MemoryError("no memory")


def run_out(system):
    """
    Let a call of *system* fail for want of memory.
    """
    with pytest.raises(MemoryError):
        system.execute_with_resilience_sync(broken)


def test_an_unresolved_memory_failure_lowers_the_level(system, clock):
    """
    A memory failure that nothing resolved lowers the level one step, at most once a minute.
    """
    with capture_events(system.registry, LevelChanged) as events:
        run_out(system)
        first = system.graceful_degradation.level
        run_out(system)
        second = system.graceful_degradation.level
        clock.advance(61)
        run_out(system)

    assert (first, second) == (DegradationLevel.HIGH, DegradationLevel.HIGH)
    assert system.graceful_degradation.level is DegradationLevel.MEDIUM
    assert events[0].reason == f"{name_of(broken)} ran out of memory, and nothing resolved it"
    assert events[0].by == "trigger"


def test_decorated_functions_lower_the_level_too(system):
    """
    The memory failure of a decorated function counts as one of a call.
    """
    with pytest.raises(MemoryError):
        system.retry(broken)()

    assert system.graceful_degradation.current_level == "high"


def test_a_resolved_memory_failure_lowers_nothing(system):
    """
    What a fallback has resolved lowers nothing, not even when an operation within has failed.
    """
    inner = system.retry(broken)

    @fallback_chain(lambda: "small", registry=system.registry)
    def outer():
        return inner()

    assert outer() == "small"
    assert system.graceful_degradation.current_level == "full"


@pytest.mark.parametrize("error", [ConnectionError, ValueError])
def test_other_failures_lower_nothing(system, error):
    """
    Only memory failures lower the level.
    """
    with pytest.raises(error):
        system.execute_with_resilience_sync(Flaky(*[error()] * 3))

    assert system.graceful_degradation.current_level == "full"


def test_auto_degrade_can_be_switched_off(registry):
    """
    With ``auto_degrade=False`` nothing follows memory failures.
    """
    system = ErrorHandlingSystem(registry, auto_degrade=False)
    run_out(system)

    assert system.graceful_degradation.current_level == "full"


def test_several_systems_on_one_registry_take_one_step(registry, clock):
    """
    However many systems there are on a registry, one failure is one step; the last one that goes ends it.
    """
    systems = [ErrorHandlingSystem(registry) for _ in range(3)]
    quiet = ErrorHandlingSystem(registry, auto_degrade=False)
    run_out(quiet)
    lowered = registry.degradation.current_level
    clock.advance(61)
    systems.pop()
    gc.collect()
    run_out(quiet)
    lowered_again = registry.degradation.current_level
    clock.advance(61)
    systems.clear()
    gc.collect()
    run_out(quiet)

    assert (lowered, lowered_again) == ("high", "medium")
    assert registry.degradation.current_level == "medium"


def test_the_registry_does_not_keep_a_system_alive(registry):
    """
    A system that nobody holds is gone at once, and so is what it wanted of the registry.
    """
    system = ErrorHandlingSystem(registry)
    ref = weakref.ref(system)
    del system
    gc.collect()

    assert ref() is None
    assert registry.hub.unresolved is None


def test_a_system_does_not_slow_rejections_down(system):
    """
    What follows memory failures listens to no event: an open circuit's rejections need not be told.
    """
    assert OperationFailed not in system.registry.hub.listeners


# -- what it tells ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "category", "severity"),
    [
        (ConnectionError(), ErrorCategory.NETWORK, ErrorSeverity.HIGH),
        (MemoryError(), ErrorCategory.MEMORY, ErrorSeverity.CRITICAL),
        (ValueError(), ErrorCategory.VALIDATION, ErrorSeverity.MEDIUM),
        (Exception(), ErrorCategory.UNKNOWN, ErrorSeverity.LOW),
    ],
)
def test_errors_are_classified(system, error, category, severity):
    """
    Category and severity are the registry's classifier's.
    """
    assert system.categorize_error(error) is category
    assert system.assess_severity(error) is severity


def test_rules_of_ones_own_are_followed(system):
    """
    A rule that was added to the registry's classifier decides.
    """
    system.registry.classifier.add(LookupError, "model", severity="critical")

    assert system.categorize_error(KeyError("x")) is ErrorCategory.MODEL
    assert system.assess_severity(KeyError("x")) is ErrorSeverity.CRITICAL


@pytest.mark.parametrize("method", ["categorize_error", "assess_severity"])
def test_only_exceptions_are_classified(system, method):
    """
    What is no exception object is refused.
    """
    with pytest.raises(PolicyError, match=rf"{method}\(\) takes an exception object, got 'boom' \(str\)"):
        getattr(system, method)("boom")


def test_health_tells_of_everything_and_is_json_ready(system, clock):
    """
    The health is a dict that JSON has, with circuits, retries, chains and functions by name.
    """
    system.get_fallback_chain("images").add_fallback(one)
    system.retry_mechanism = RetryMechanism(NO_JITTER)
    decorated = system.retry(one)
    decorated()
    flaky = Flaky(*[ConnectionError("down")] * 3)
    system.execute_with_resilience_sync(flaky, circuit_breaker_name="api", fallback_chain_name="images")
    health = json.loads(json.dumps(system.get_system_health(), allow_nan=False))
    circuit = health["circuit_breakers"]["api"]

    assert health["status"] == "pass"
    assert health["degradation_level"] == "full"
    assert health["error_rate"] == 3.0
    assert health["failure_ratio"] == 0.0
    assert health["recovery_rate"] == 1.0
    assert circuit["name"] == "api"
    assert circuit["state"] == "closed"
    assert circuit["failure_count"] == 3
    assert circuit["success_count"] == 0
    assert datetime.fromisoformat(circuit["last_failure_time"]) == clock.now()
    assert list(health["retry_stats"].values()) == [{"attempts": 3, "successes": 0, "failures": 1, "retries": 2}]
    assert health["fallback_stats"]["images"]["last_successful_fallback"] == "one"
    assert health["fallback_stats"]["images"]["entries"]["one"]["successes"] == 1
    assert health["functions"][name_of(one)]["calls"] == 1


def test_a_circuit_without_failures_has_no_time_of_the_last_one(system):
    """
    ``last_failure_time`` is None before the first failure, and states are the enum's values.
    """
    breaker = system.get_circuit_breaker("api", CircuitBreakerConfig(failure_threshold=1, timeout=1))
    before = system.get_system_health()["circuit_breakers"]["api"]
    breaker.record_failure()
    after = system.get_system_health()

    assert before["last_failure_time"] is None
    assert before["state"] == CircuitState.CLOSED.value
    assert after["circuit_breakers"]["api"]["state"] == CircuitState.OPEN.value == "open"
    assert after["status"] == "warn"
    breaker.state = "half_open"
    assert system.get_system_health()["circuit_breakers"]["api"]["state"] == "half_open"


def test_the_report_is_json_ready(system, clock):
    """
    The report has health, analytics, recoveries and a time, all as values that JSON has.
    """
    system.registry.playbooks.step("network", name="reconnect")(lambda ctx: True)
    system.execute_with_resilience_sync(Flaky(*[ConnectionError("token=s3cret")] * 3))
    text = json.dumps(system.generate_resilience_report(), allow_nan=False)
    report = json.loads(text)

    assert list(report) == ["timestamp", "system_health", "error_analytics", "recovery_history"]
    assert datetime.fromisoformat(report["timestamp"]) == clock.now()
    assert report["error_analytics"]["total_errors"] == 3
    assert [run["step"] for run in report["recovery_history"]] == ["reconnect"] or len(report["recovery_history"]) > 1
    assert report["recovery_history"][-1]["success"] is True
    assert "s3cret" not in text


def test_a_reset_zeroes_the_retry_stats_too(system):
    """
    ``registry.reset()`` zeroes what the system's mechanism has counted, also one that was set later.
    """
    mechanism = RetryMechanism()
    system.execute_with_resilience_sync(one)
    before = system.retry_mechanism
    system.retry_mechanism = mechanism
    system.execute_with_resilience_sync(one)
    system.registry.reset()

    assert before.get_stats() == {} == mechanism.get_stats()


def test_triggers_of_a_mapping_warn_as_usual():
    """
    A mapping's triggers are checked and warned about as if they were configured by hand.
    """
    with pytest.warns(ResilientWarning, match="is errors per minute"):
        ErrorHandlingSystem({"triggers": {"error_rate_threshold": 0.1}})
