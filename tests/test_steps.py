"""
The built-in recovery steps: what each changes for the next call, and where it does not apply.
"""

# ruff: noqa: SLF001 - the clock and the flights of a procedure are looked at from inside

from __future__ import annotations

import asyncio
import functools
import gc
import socket
import sys
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from resilient.drivers import arun, run
from resilient.errorinfo import ErrorCategory
from resilient.levels import DegradationLevel
from resilient.playbooks import caches as caches_module
from resilient.playbooks.endpoints import following, place
from resilient.playbooks.procedure import RecoveryContext, RecoveryProcedure, is_offline
from resilient.policies.arguments import Parameters
from tests.harness import error_info

ERROR = error_info(category=ErrorCategory.UNKNOWN)


@pytest.fixture
def playbooks(clock):
    """
    Playbooks that stand alone.
    """
    return RecoveryProcedure(clock=clock)


@pytest.fixture
def no_garbage(monkeypatch):
    """
    Let the garbage collector find nothing.
    """
    monkeypatch.setattr(caches_module.gc, "collect", lambda: 0)


def context(fn=None, *args, is_async=False, level=None, features=(), **kwargs):
    """
    Return the context of a failed call of *fn*.
    """
    return RecoveryContext(
        ERROR,
        function="" if fn is None else f"{fn.__module__}:{fn.__qualname__}",
        args=args,
        kwargs=kwargs,
        parameters=None if fn is None else Parameters.of(fn),
        is_async=is_async,
        level=level,
        features=features,
    )


def plan(playbooks, name, ctx):
    """
    Return the plan of the step called *name*.
    """
    categories = [one for one in ErrorCategory if name in playbooks.steps(one)]
    step = next(one for one in playbooks.playbook(categories[0]) if one.name == name)
    return playbooks.plan_step(step, ctx)


def apply(playbooks, name, ctx):
    """
    Run the step called *name* and return whether it applied.
    """
    clock = playbooks._clock
    todo = plan(playbooks, name, ctx)
    outcome = asyncio.run(arun(todo, clock)) if ctx.is_async else run(todo, clock)
    if hasattr(outcome, "error"):
        raise outcome.error
    return outcome.value


def fetch(url="http://a.test/x", *, offline=False):
    """
    Fetch something.
    """


def generate(prompt, *, batch_size=8, model="big", low_vram=False, offload=True, upscale=True, music=None):
    """
    Generate something.
    """


# -- network -------------------------------------------------------------------------


@pytest.fixture
def server():
    """
    The address of something that listens.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


@pytest.fixture
def nobody():
    """
    An address where nobody listens.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()


def test_retry_connection_applies_when_the_calls_own_endpoint_answers(playbooks, server, nobody, colour):
    """
    The endpoint that the next call will use is probed, not the registered one.
    """
    playbooks.provide(endpoints=[nobody])
    ctx = context(fetch, "http://{}:{}/x".format(*server), is_async=colour.is_async)

    assert apply(playbooks, "retry_connection", ctx) is True
    assert ctx.changes() == {}


def test_retry_connection_probes_the_first_registered_endpoint(playbooks, server, colour):
    """
    A call without an endpoint of its own is served by the registered one.
    """
    playbooks.provide(endpoints=[server])

    assert apply(playbooks, "retry_connection", context(generate, "x", is_async=colour.is_async)) is True
    assert apply(playbooks, "retry_connection", context(is_async=colour.is_async)) is True


def test_retry_connection_does_not_apply_while_nobody_answers(playbooks, nobody, colour):
    """
    A refused connection proves nothing, and is no error of the step.
    """
    ctx = context(fetch, "http://{}:{}".format(*nobody), is_async=colour.is_async)

    assert apply(playbooks, "retry_connection", ctx) is False
    assert ctx.failure is None


@pytest.mark.parametrize("url", [None, "", "/relative", "host-without-port", "redis://cache.test", 5])
def test_retry_connection_does_not_apply_without_host_and_port(playbooks, url):
    """
    Nothing is guessed about an endpoint that does not say where it is.
    """
    assert apply(playbooks, "retry_connection", context(fetch, url)) is False


def test_retry_connection_takes_the_port_of_a_bare_host_from_its_registration(playbooks, server, nobody):
    """
    A bare host is probed where it is registered with a port, and nowhere else.
    """

    def ask(host):
        pass

    playbooks.provide(endpoints=[("localhost", nobody[1]), server])

    assert apply(playbooks, "retry_connection", context(ask, server[0])) is True
    assert apply(playbooks, "retry_connection", context(ask, "elsewhere.test")) is False


def test_retry_connection_calls_a_registered_callable_as_the_probe(playbooks, colour):
    """
    A registered callable is the probe; it says no by returning False or by raising.
    """
    answers = [None, False, OSError("down")]

    def probe():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    playbooks.provide(endpoints=["http://a.test", probe], function=fetch)
    ctx = context(fetch, is_async=colour.is_async)

    assert [apply(playbooks, "retry_connection", ctx) for _ in range(3)] == [True, False, False]
    assert ctx.failure is None


def test_retry_connection_on_trio(playbooks, server):
    """
    The probe works in a trio task.
    """
    trio = pytest.importorskip("trio")
    playbooks.provide(endpoints=[server])
    todo = plan(playbooks, "retry_connection", context(is_async=True))

    assert trio.run(arun, todo, playbooks._clock).value is True


@pytest.mark.parametrize(
    ("current", "endpoints", "expected"),
    [
        ("http://a.test/x?y=1", ["http://a.test", "http://b.test:81"], "http://b.test:81/x?y=1"),
        ("http://a.test/v1/x", ["http://a.test/v1/", "https://b.test/v2"], "https://b.test/v2/x"),
        ("http://a.test", ["http://a.test", "http://b.test/"], "http://b.test/"),
        ("http://a.test/v1", ["http://a.test", "http://a.test/v1", "http://c.test/v3"], "http://c.test/v3"),
        ("http://a.test/x", ["https://a.test", "http://a.test:81", "http://b.test"], "https://a.test/x"),
        ("http://a.test/v10", ["http://a.test/v1", "http://b.test"], "http://a.test/v1/v10"),
        ("http://u.test/x#f", ["http://b.test"], "http://b.test/x#f"),
        ("http://a.test:80/x", ["a.test:80", "b.test:81"], "http://b.test:81/x"),
        ("a.test", ["http://a.test:8000", "http://b.test:9000"], "b.test"),
        ("a.test:8000", ["http://a.test:8000", "http://b.test:9000"], "b.test:9000"),
        ("a.test:8000", ["http://a.test:8000", "http://[::1]:9000"], "[::1]:9000"),
        ("u.test", ["b.test"], "b.test"),
        (("a.test", 1), [("a.test", 1), "b.test:2"], ("b.test", 2)),
        (("a.test", 1), [("a.test", 1), ("::1", 2)], ("::1", 2)),
        (None, ["http://b.test"], "http://b.test"),
        # No next one, no port for a pair, a relative URL, and no endpoint at all.
        ("http://b.test/x", ["http://a.test", "http://b.test"], None),
        (("a.test", 1), [("a.test", 1), "b.test"], None),
        ("render/x", ["http://b.test"], None),
        ("a.test", [], None),
        (None, [], None),
        ("http://[bad", ["http://b.test"], None),
    ],
)
def test_the_next_endpoint_takes_the_form_of_the_current_one(current, endpoints, expected):
    """
    What follows the registered endpoint is kept, and so is how the value is written.
    """
    assert expected == following(current, endpoints, keep_path=True)


@pytest.mark.parametrize(
    "endpoint",
    [None, 5, "", "http://", "http://h:x", "h:99999", "a b:1", "http://a\n.test", ("h",), (1, 2), ("", 1), ("h", 0.5)],
)
def test_what_names_no_host_is_no_endpoint(endpoint):
    """
    A value that does not say where something is has no place.
    """
    assert place(endpoint) is None


def test_use_backup_endpoint_gives_the_next_call_the_next_endpoint(playbooks):
    """
    The registered endpoint after the current one is used; the path of a url stays.
    """
    playbooks.provide(endpoints=["http://a.test", "http://b.test"])
    ctx = context(fetch, "http://a.test/render")

    assert apply(playbooks, "use_backup_endpoint", ctx) is True
    assert ctx.args == ("http://b.test/render",)
    assert ctx.changes() == {"url": ("http://a.test/render", "http://b.test/render")}


def test_use_backup_endpoint_replaces_an_unknown_base_url_whole(playbooks):
    """
    An endpoint that is not registered gives way to the first one that is.
    """

    def ask(base_url=None):
        pass

    playbooks.provide(endpoints=["http://b.test/v1"])
    named, default = context(ask, base_url="http://u.test/v9"), context(ask)

    assert apply(playbooks, "use_backup_endpoint", named) is True
    assert apply(playbooks, "use_backup_endpoint", default) is True
    assert {"base_url": "http://b.test/v1"} == named.kwargs == default.kwargs


def test_use_backup_endpoint_heeds_argument(playbooks):
    """
    The parameter to change can be named.
    """

    def ask(server, url="http://other.test"):
        pass

    playbooks.provide(endpoints=["a.test:1", "b.test:2"], argument="server", function=ask)
    ctx = context(ask, "a.test:1")

    assert apply(playbooks, "use_backup_endpoint", ctx) is True
    assert ctx.changes() == {"server": ("a.test:1", "b.test:2")}


@pytest.mark.parametrize(("fn", "args"), [(generate, ("x",)), (fetch, ("http://b.test/x",)), (None, ())])
def test_use_backup_endpoint_does_not_apply_without_an_argument_or_a_next_one(playbooks, fn, args):
    """
    The last endpoint has no next one, and a call without endpoint argument cannot be moved.
    """
    playbooks.provide(endpoints=["http://a.test", "http://b.test", lambda: True])

    assert apply(playbooks, "use_backup_endpoint", context(fn, *args)) is False


def test_use_backup_endpoint_does_not_apply_to_the_same_endpoint(playbooks):
    """
    An endpoint does not take its own place.
    """
    playbooks.provide(endpoints=["http://a.test/api"])

    assert apply(playbooks, "use_backup_endpoint", context(fetch, "http://a.test/api/x")) is False
    assert apply(playbooks, "use_backup_endpoint", context(fetch, "ftp://a.test")) is True


def test_enable_offline_mode_by_argument(playbooks):
    """
    The call's offline argument is turned on.
    """
    ctx = context(fetch)

    assert apply(playbooks, "enable_offline_mode", ctx) is True
    assert ctx.kwargs == {"offline": True}
    assert apply(playbooks, "enable_offline_mode", ctx) is False


def test_enable_offline_mode_by_context_variable(playbooks):
    """
    A function that opted in reads `is_offline`, true around the next call and nowhere else.
    """
    playbooks.provide(offline=True, function=generate)
    ctx = context(generate, "x")
    with ctx.in_force():
        before = is_offline()
    applied = apply(playbooks, "enable_offline_mode", ctx)
    with ctx.in_force():
        during = is_offline()

    assert (before, applied, during, is_offline()) == (False, True, True, False)
    assert apply(playbooks, "enable_offline_mode", ctx) is False


def test_enable_offline_mode_does_not_apply_to_who_did_not_opt_in(playbooks):
    """
    A function that neither has the argument nor opted in stays online.
    """
    playbooks.provide(offline=True, function=fetch)

    assert apply(playbooks, "enable_offline_mode", context(generate, "x")) is False
    assert apply(playbooks, "enable_offline_mode", context()) is False


# -- memory --------------------------------------------------------------------------


class Opaque:
    """
    A cache that does not tell what it holds.
    """

    def __init__(self, answer=None):
        self.answer = answer
        self.cleared = 0

    def clear(self):
        self.cleared += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AsyncCache(Opaque):
    """
    A cache that has to be awaited.
    """

    async def clear(self):
        self.cleared += 1


@pytest.mark.usefixtures("no_garbage")
def test_clear_cache_empties_the_registered_caches(playbooks, colour):
    """
    Whatever has clear or cache_clear is emptied, for all functions and for this one.
    """

    @functools.lru_cache
    def cached(value):
        return value

    cached(1)
    plain, opaque = {"a": 1}, Opaque()
    playbooks.provide(caches=[cached, opaque])
    playbooks.provide(caches=[plain], function=generate)

    assert apply(playbooks, "clear_cache", context(generate, is_async=colour.is_async)) is True
    assert (cached.cache_info().currsize, plain, opaque.cleared) == (0, {}, 1)


@pytest.mark.usefixtures("no_garbage")
def test_clear_cache_does_not_apply_where_nothing_was_cleared_or_freed(playbooks, colour):
    """
    Empty caches and no garbage: nothing has changed for the next call.
    """
    playbooks.provide(caches=[{}, Opaque(answer=False)])

    assert apply(playbooks, "clear_cache", context(is_async=colour.is_async)) is False


def test_clear_cache_applies_when_garbage_was_collected(playbooks):
    """
    Garbage that a cycle kept alive is memory freed.
    """
    gc.collect()
    cycle = []
    cycle.append(cycle)
    del cycle

    assert apply(playbooks, "clear_cache", context()) is True


@pytest.mark.usefixtures("no_garbage")
def test_clear_cache_goes_on_past_a_cache_that_raises(playbooks):
    """
    One broken cache keeps no other full; alone it is the step's failure.
    """
    broken, good = Opaque(answer=OSError("broken")), {"a": 1}
    playbooks.provide(caches=[broken, good])
    first, second = context(), context()

    assert apply(playbooks, "clear_cache", first) is True
    assert first.failure is None
    assert good == {}
    assert apply(playbooks, "clear_cache", second) is False
    assert second.failure == "OSError: broken"


@pytest.mark.usefixtures("no_garbage")
def test_clear_cache_awaits_async_caches_where_it_can(playbooks, colour):
    """
    A cache that has to be awaited is cleared by async operations only.
    """
    cache = AsyncCache()
    playbooks.provide(caches=[cache])

    assert colour.is_async is apply(playbooks, "clear_cache", context(is_async=colour.is_async))
    assert colour.is_async is bool(cache.cleared)


class Gpu:
    """
    A GPU framework's memory pool on two devices.
    """

    def __init__(self, *, available, reserved):
        self.reserved = reserved
        self.emptied = 0
        self.is_available = lambda: available
        self.device_count = lambda: 2
        self.memory_reserved = lambda _device: self.reserved
        self.driver_allocated_memory = lambda: self.reserved

    def empty_cache(self):
        self.emptied += 1
        self.reserved = 0


@pytest.mark.usefixtures("no_garbage")
@pytest.mark.parametrize("reserved", [100, 0])
@pytest.mark.parametrize("kind", ["cuda", "mps", "none"])
def test_clear_cache_returns_the_gpus_reserve(playbooks, monkeypatch, kind, reserved):
    """
    Where torch is loaded and a device is there, its reserve is given back.
    """
    cuda, mps = Gpu(available=kind == "cuda", reserved=reserved), Gpu(available=kind == "mps", reserved=reserved)
    torch = SimpleNamespace(cuda=cuda, mps=mps, backends=SimpleNamespace(mps=mps))
    monkeypatch.setitem(sys.modules, "torch", torch)

    assert (kind != "none" and reserved > 0) is apply(playbooks, "clear_cache", context())
    assert (kind == "cuda", kind == "mps") == (cuda.emptied, mps.emptied)


@pytest.mark.parametrize(("size", "expected"), [(8, 4), (3, 1), (2, 1)])
def test_reduce_batch_size_halves_the_batch(playbooks, size, expected):
    """
    The next call gets half the batch, rounded down.
    """
    ctx = context(generate, "x", batch_size=size)

    assert apply(playbooks, "reduce_batch_size", ctx) is True
    assert {"batch_size": (size, expected)} == ctx.changes()
    assert {"batch_size": expected} == ctx.kwargs


def test_reduce_batch_size_finds_the_default_a_field_and_a_named_argument(playbooks):
    """
    The batch may be defaulted, inside a request object, or called something else.
    """

    @dataclass
    class Request:
        num_images: int

    def render(request: Request):
        pass

    def paint(count):
        pass

    playbooks.provide(argument="count", function=paint)
    request = Request(4)
    default, inside, named = context(generate, "x"), context(render, request), context(paint, 6)

    assert [apply(playbooks, "reduce_batch_size", one) for one in (default, inside, named)] == [True] * 3
    assert default.kwargs == {"batch_size": 4}
    assert inside.changes() == {"request.num_images": (4, 2)}
    assert (Request(4), Request(2)) == (request, inside.args[0])
    assert named.args == (3,)


@pytest.mark.parametrize("size", [1, 0, True, None, "8", [1, 2]])
def test_reduce_batch_size_does_not_apply_to_one_or_to_unknown_forms(playbooks, size):
    """
    A batch of one cannot be halved, and what is no number stays untouched.
    """
    ctx = context(generate, "x", batch_size=size)

    assert apply(playbooks, "reduce_batch_size", ctx) is False
    assert {"batch_size": size} == ctx.kwargs
    assert apply(playbooks, "reduce_batch_size", context(fetch)) is False


def test_enable_memory_optimization_turns_flags_on(playbooks):
    """
    Flags that the call has and that are off are turned on.
    """
    ctx = context(generate, "x")

    assert apply(playbooks, "enable_memory_optimization", ctx) is True
    assert ctx.kwargs == {"low_vram": True}


def test_enable_memory_optimization_does_not_apply_without_a_flag_that_is_off(playbooks):
    """
    Flags that are on, unknown or not there leave the call as it is.
    """
    assert apply(playbooks, "enable_memory_optimization", context(generate, "x", low_vram=True)) is False
    assert apply(playbooks, "enable_memory_optimization", context(generate, "x", low_vram=None)) is False
    assert apply(playbooks, "enable_memory_optimization", context(fetch)) is False


# -- model ---------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "what"), [("reload_model", "loader"), ("download_model", "fetcher")])
class TestLoading:
    """
    The steps that call the registered loader and the registered fetcher.
    """

    def test_it_is_given_the_models_name(self, playbooks, step, what, colour):
        """
        The call's model is loaded; the call itself stays as it is.
        """
        loaded = []
        playbooks.provide(**{what: loaded.append})
        ctx = context(generate, "x", is_async=colour.is_async)

        assert apply(playbooks, step, ctx) is True
        assert loaded == ["big"]
        assert ctx.changes() == {}

    def test_it_is_called_plain_where_the_function_has_no_model(self, playbooks, step, what):
        """
        Without a model's name the registered function is called without arguments.
        """
        loaded = []
        playbooks.provide(**{what: lambda *args: loaded.append(args)})

        assert apply(playbooks, step, context(fetch)) is True
        assert apply(playbooks, step, context(generate, "x", model=object())) is True
        assert loaded == [(), ()]

    def test_an_async_one_serves_async_operations_only(self, playbooks, step, what, colour):
        """
        What has to be awaited does not apply to a sync call.
        """
        loaded = []

        async def load(name):
            loaded.append(name)

        playbooks.provide(**{what: load})

        assert colour.is_async is apply(playbooks, step, context(generate, "x", is_async=colour.is_async))
        assert (["big"] if colour.is_async else []) == loaded

    def test_it_does_not_apply_where_none_is_registered_or_it_fails(self, playbooks, step, what):
        """
        Nothing registered, False and an error are a no.
        """
        ctx = context(generate, "x")
        none = apply(playbooks, step, ctx)
        playbooks.provide(**{what: lambda _name: False})
        false = apply(playbooks, step, ctx)
        playbooks.provide(**{what: lambda _name: 1 / 0})

        assert (none, false, apply(playbooks, step, ctx)) == (False, False, False)
        assert ctx.failure == "ZeroDivisionError: division by zero"

    def test_it_runs_once_for_all_who_want_the_same_model(self, playbooks, step, what):
        """
        Of many operations one loads a model, and the others wait for it; another model is other work.
        """
        loaded = []

        async def main():
            go = asyncio.Event()

            async def load(name):
                loaded.append(name)
                await go.wait()

            playbooks.provide(**{what: load})
            names = ["a", "a", "b", "a"]
            todo = [plan(playbooks, step, context(generate, "x", model=name, is_async=True)) for name in names]
            tasks = [asyncio.ensure_future(arun(one, playbooks._clock)) for one in todo]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            go.set()
            return [one.value for one in await asyncio.gather(*tasks)]

        playbooks = RecoveryProcedure()

        assert asyncio.run(main()) == [True] * 4
        assert loaded == ["a", "b"]

    def test_a_loader_that_recovers_with_itself_does_not_deadlock(self, playbooks, step, what):
        """
        A loader whose own call runs into the same step gets a no.
        """
        inner = []

        def load(_name):
            inner.append(apply(playbooks, step, context(generate, "x")))

        playbooks.provide(**{what: load})

        assert apply(playbooks, step, context(generate, "x")) is True
        assert inner == [False]


def test_use_fallback_model_gives_the_next_call_the_next_model(playbooks):
    """
    The registered model after the current one is used, or the first one.
    """
    playbooks.provide(models=["big", "medium", "small"])
    known, unknown = context(generate, "x"), context(generate, "x", model="other")

    assert apply(playbooks, "use_fallback_model", known) is True
    assert apply(playbooks, "use_fallback_model", unknown) is True
    assert known.kwargs == {"model": "medium"}
    assert unknown.kwargs == {"model": "big"}


def test_use_fallback_model_does_not_apply_after_the_last_or_to_another_kind(playbooks):
    """
    The last model has no next one, and a name does not take an object's place.
    """
    none = apply(playbooks, "use_fallback_model", context(generate, "x"))
    playbooks.provide(models=["big", "small"])

    assert none is False
    assert apply(playbooks, "use_fallback_model", context(generate, "x", model="small")) is False
    assert apply(playbooks, "use_fallback_model", context(generate, "x", model=object())) is False
    assert apply(playbooks, "use_fallback_model", context(fetch)) is False


# -- workflow ------------------------------------------------------------------------


def test_restart_workflow_restarts_and_goes_back_to_the_original_arguments(playbooks, colour):
    """
    After the restart the next call is the first one again.
    """
    restarts = []
    playbooks.provide(restart=lambda: restarts.append(1))
    ctx = context(generate, "x", batch_size=8, is_async=colour.is_async)
    apply(playbooks, "reduce_batch_size", ctx)

    assert apply(playbooks, "restart_workflow", ctx) is True
    assert (ctx.args, ctx.kwargs) == (("x",), {"batch_size": 8})
    assert restarts == [1]


def test_restart_workflow_does_not_apply_without_a_restart_that_works(playbooks):
    """
    Nothing registered, or a restart that says no: the changed arguments stay.
    """
    ctx = context(generate, "x", batch_size=8)
    apply(playbooks, "reduce_batch_size", ctx)
    none = apply(playbooks, "restart_workflow", ctx)
    playbooks.provide(restart=lambda: False)

    assert (none, apply(playbooks, "restart_workflow", ctx)) == (False, False)
    assert ctx.kwargs == {"batch_size": 4}


def test_those_who_wait_for_a_restart_get_their_own_arguments_back():
    """
    One restarts for all; each operation goes back to its own original arguments.
    """
    playbooks = RecoveryProcedure()
    started, go = threading.Event(), threading.Event()
    restarts = []

    def restart():
        restarts.append(1)
        started.set()
        go.wait(5)

    playbooks.provide(restart=restart)
    first, second = context(generate, "x", batch_size=8), context(generate, "y", batch_size=6)
    for ctx in (first, second):
        apply(playbooks, "reduce_batch_size", ctx)
    threads = [threading.Thread(target=apply, args=(playbooks, "restart_workflow", ctx)) for ctx in (first, second)]
    threads[0].start()
    started.wait(5)
    threads[1].start()
    (flight,) = playbooks._flights._flights.values()
    while not flight.done._condition._waiters:
        threads[1].join(0.001)
    go.set()
    for thread in threads:
        thread.join(5)

    assert (first.kwargs, second.kwargs) == ({"batch_size": 8}, {"batch_size": 6})
    assert restarts == [1]


def test_use_simpler_workflow_makes_the_call_one_level_lower(playbooks):
    """
    Each time the call goes down one level.
    """
    ctx = context(generate, "x", level=DegradationLevel.MEDIUM)

    assert apply(playbooks, "use_simpler_workflow", ctx) is True
    assert ctx.level_override is DegradationLevel.LOW
    assert apply(playbooks, "use_simpler_workflow", ctx) is True
    assert ctx.level_override is DegradationLevel.MINIMAL
    assert apply(playbooks, "use_simpler_workflow", ctx) is False
    assert ctx.level_override is DegradationLevel.MINIMAL


@pytest.mark.parametrize("level", [None, DegradationLevel.MINIMAL])
def test_use_simpler_workflow_does_not_apply_at_the_bottom_or_without_levels(playbooks, level):
    """
    A function that follows no level, or is at the lowest, cannot go lower.
    """
    ctx = context(generate, "x", level=level)

    assert apply(playbooks, "use_simpler_workflow", ctx) is False
    assert ctx.level_override is None


def test_skip_optional_steps_turns_features_and_optional_arguments_off(playbooks):
    """
    Features and optional arguments are off for the next call, each in its own kind's way.
    """

    def make(shot, *, upscale=True, passes=2, extras=("a",), music="theme", model="big"):
        pass

    playbooks.provide(optional=["passes", "extras", "music", "unknown"], function=make)
    ctx = context(make, "x", features=["upscale"])

    assert apply(playbooks, "skip_optional_steps", ctx) is True
    assert ctx.kwargs == {"upscale": False, "passes": 0, "extras": (), "music": None}
    assert {"upscale"} == ctx.disabled_features


def test_skip_optional_steps_does_not_apply_where_all_is_off(playbooks):
    """
    What is off already, or not there, cannot be skipped.
    """
    playbooks.provide(optional=["music"])
    ctx = context(generate, "x", upscale=False, features=["upscale"])

    assert apply(playbooks, "skip_optional_steps", ctx) is False
    assert set() == ctx.disabled_features
    assert apply(playbooks, "skip_optional_steps", context(fetch)) is False
