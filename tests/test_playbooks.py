"""
The recovery playbooks: registering steps, running one, and what is remembered of it.
"""

# ruff: noqa: SLF001 - locks and registrations are looked at from inside: the public face does not show them

from __future__ import annotations

import asyncio
import functools
import logging
import math
import threading
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from resilient import forks
from resilient.clock import SYSTEM_CLOCK
from resilient.drivers import arun, run
from resilient.errorinfo import ErrorCategory, ErrorSeverity
from resilient.errors import PolicyError
from resilient.levels import DegradationLevel
from resilient.playbooks.kit import Kit
from resilient.playbooks.procedure import RecoveryContext, RecoveryProcedure
from resilient.policies.arguments import Parameters
from resilient.testing import FakeClock
from tests.harness import error_info

ERROR = error_info(error_type="ConnectionError", severity=ErrorSeverity.HIGH)


@pytest.fixture
def playbooks(clock):
    """
    Playbooks that stand alone.
    """
    return RecoveryProcedure(clock=clock)


def generate(prompt, *, batch_size=8):
    """
    Generate something.
    """


def step_function(ctx):
    """
    Apply to everything.
    """
    return True


def context(is_async=False, **kwargs):
    """
    Return the context of a failed call.
    """
    return RecoveryContext(
        ERROR,
        function="engine:generate",
        args=("x",),
        kwargs=kwargs,
        parameters=Parameters.of(generate),
        is_async=is_async,
    )


def find(playbooks, name, category="network"):
    """
    Return the step called *name*.
    """
    return next(one for one in playbooks.playbook(category) if one.name == name)


def run_step(playbooks, name, ctx, category="network", clock=SYSTEM_CLOCK):
    """
    Run the step called *name* and return whether it applied.
    """
    plan = playbooks.plan_step(find(playbooks, name, category), ctx)
    outcome = asyncio.run(arun(plan, clock)) if ctx.is_async else run(plan, clock)
    if hasattr(outcome, "error"):
        raise outcome.error
    return outcome.value


# -- registration --------------------------------------------------------------------


def test_the_built_in_playbooks_are_in_the_documented_order(playbooks):
    """
    Each category has its steps, by name and in order.
    """
    expected = {
        "network": ["retry_connection", "use_backup_endpoint", "enable_offline_mode"],
        "memory": ["clear_cache", "reduce_batch_size", "enable_memory_optimization"],
        "validation": [],
        "model": ["reload_model", "use_fallback_model", "download_model"],
        "workflow": ["restart_workflow", "use_simpler_workflow", "skip_optional_steps"],
        "system": [],
        "unknown": [],
    }

    assert expected == {one.value: playbooks.steps(one) for one in ErrorCategory}
    assert expected["network"] == playbooks.steps("network")


def test_a_step_comes_last_or_before_another(playbooks):
    """
    Without before= a step comes last; it is returned as it is.
    """
    added = playbooks.step("network")(step_function)
    playbooks.step(ErrorCategory.NETWORK, name="first", before="retry_connection")(lambda ctx: True)

    assert added is step_function
    assert playbooks.steps("network") == [
        "first",
        "retry_connection",
        "use_backup_endpoint",
        "enable_offline_mode",
        "step_function",
    ]


def test_a_step_carries_its_options(playbooks):
    """
    Scope and timeout are those given; inf is no limit.
    """
    playbooks.step("system", name="a", scope="shared", timeout=timedelta(seconds=5))(step_function)
    playbooks.step("system", name="b", timeout=math.inf)(step_function)
    a, b = playbooks.playbook("system")

    assert (a.scope, a.timeout) == ("shared", 5.0)
    assert (b.scope, b.timeout) == ("call", None)
    assert f"<step system/a, shared, {__name__}:step_function>" == repr(a)


def test_a_callable_object_is_named_by_its_class(playbooks):
    """
    A callable object is a step too.
    """

    class Mend:
        def __call__(self, ctx):
            return True

    playbooks.step("system")(Mend())

    assert playbooks.steps("system") == ["Mend"]
    assert "<" in find(playbooks, "Mend", "system").origin


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"category": "netwrok"}, ["'netwrok'", "network, memory"]),
        ({"category": step_function}, ['@playbooks.step("network")']),
        ({"before": "nothing"}, ["before='nothing'", "retry_connection, use_backup_endpoint"]),
        ({"name": ""}, ["name must be a string"]),
        ({"scope": "all", "timeout": -1}, ["2 problems", "scope must be one of 'call', 'shared'", "timeout must be"]),
        ({"timeout": None}, ["timeout must be seconds"]),
    ],
)
def test_options_that_cannot_be_meant_are_explained(playbooks, given, words):
    """
    A wrong category, option or neighbour names what there is.
    """
    with pytest.raises(PolicyError) as caught:
        playbooks.step(**{"category": "network", **given})

    assert [word for word in words if word not in str(caught.value)] == []


def test_only_functions_that_answer_can_be_steps(playbooks):
    """
    A generator function or something that is not callable is no step.
    """

    def generator(ctx):
        yield

    async def async_generator(ctx):
        yield

    for wrong in (generator, async_generator, 5):
        with pytest.raises(PolicyError, match="a step must"):
            playbooks.step("system")(wrong)
    assert playbooks.steps("system") == []


def test_a_name_is_given_once(playbooks):
    """
    A second step of the same name is refused, lambdas included; the list stays.
    """
    with pytest.raises(PolicyError, match=r"'retry_connection' already.*another name=.*use_backup_endpoint"):
        playbooks.step("network", name="retry_connection")(step_function)
    playbooks.step("system", name="x")(lambda ctx: True)
    with pytest.raises(PolicyError, match="'x' already"):
        playbooks.step("system", name="x")(lambda ctx: True)

    assert playbooks.steps("system") == ["x"]
    assert len(playbooks.steps("network")) == 3


def test_the_same_function_defined_again_replaces_itself(playbooks):
    """
    A notebook cell that runs twice leaves one step, at its old place or before the one it names.
    """

    def define():
        def again(ctx):
            return True

        again.__qualname__ = "again"
        return again

    old, new = define(), define()
    playbooks.step("network", before="use_backup_endpoint")(old)
    playbooks.step("network")(new)
    at_first = playbooks.steps("network").index("again")
    playbooks.step("network", before="retry_connection")(new)

    assert (at_first, playbooks.steps("network").index("again")) == (1, 0)
    assert find(playbooks, "again").function is new
    assert len(playbooks.steps("network")) == 4
    playbooks.step("network", before="again")(new)
    assert playbooks.steps("network").index("again") == 0


# -- provisions ----------------------------------------------------------------------


def test_what_is_provided_adds_up_a_functions_own_first(playbooks):
    """
    Lists add, single things are the latest; a function has its own before those for all.
    """
    first, second, own = (lambda *_: None for _ in range(3))
    playbooks.provide(models=["a"], endpoints=["h:1"], loader=first)
    playbooks.provide(models=["b", "a"], loader=second, offline=True)
    playbooks.provide(models=["c"], loader=own, function=generate)
    playbooks.provide(optional=["extra"], function=f"{__name__}:generate", argument="count")
    general, mine = playbooks._provisions.of("x:y"), playbooks._provisions.of(f"{__name__}:generate")

    assert (("a", "b"), second, True) == (general.models, general.loader, general.offline)
    assert (("c", "a", "b"), own, True) == (mine.models, mine.loader, mine.offline)
    assert (mine.optional, mine.names("batch")) == (("extra",), ("count", "batch_size", "batch", "num_images"))
    assert f"Provisions(all functions, {__name__}:generate)" == repr(playbooks._provisions)


class Engine:
    def __call__(self):
        pass

    def render(self):
        pass


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functools.partial(functools.partial(generate), "x"), "generate"),
        (Engine(), "Engine"),
        (Engine().render, "Engine.render"),
        (Engine.render, "Engine.render"),
    ],
)
def test_any_callable_has_its_own_provisions(playbooks, function, name):
    """
    Partials, callable objects and methods go by the name that their operations have.
    """
    playbooks.provide(models=["a"], function=function)

    assert playbooks._provisions.of(f"{__name__}:{name}").models == ("a",)
    assert playbooks._provisions.of("other:one").models == ()


@pytest.mark.parametrize("what", ["loader", "fetcher", "restart"])
def test_callables_that_are_false_are_kept(playbooks, what):
    """
    A callable object is not judged by its truth.
    """

    class Quiet:
        def __bool__(self):
            return False

        def __call__(self):
            pass

    quiet = Quiet()
    playbooks.provide(**{what: quiet}, function=generate)
    playbooks.provide(**{what: print})

    assert getattr(playbooks._provisions.of(f"{__name__}:generate"), what) is quiet


def test_argument_belongs_to_what_is_given_with_it(playbooks):
    """
    The parameter named is the endpoint's, the model's, or the batch size's.
    """
    playbooks.provide(endpoints=["h:1"], argument="server")
    playbooks.provide(models=["a"], argument="checkpoint")
    playbooks.provide(argument="count")
    provided = playbooks._provisions.of("")

    assert [provided.names(kind)[0] for kind in ("endpoint", "model", "batch")] == ["server", "checkpoint", "count"]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"caches": [5]}, "clear() or cache_clear()"),
        ({"caches": {}}, "caches must be a list"),
        ({"caches": 5}, "caches must be a list"),
        ({"endpoints": "http://a.test"}, "endpoints must be a list"),
        ({"endpoints": ["http://user:secret@"]}, "names no host (entry 1)"),
        ({"models": ["a", None]}, "must not be None"),
        ({"loader": "load"}, "loader must be callable"),
        ({"fetcher": 5}, "fetcher must be callable"),
        ({"restart": 5}, "restart must be callable"),
        ({"optional": ["a", 5]}, "optional takes names"),
        ({"offline": "yes"}, "offline must be True or False"),
        ({"function": 5}, "function must be"),
        ({"function": "generate"}, "'module:qualname'"),
        ({"argument": ""}, "argument must be"),
        ({"endpoints": ["h:1"], "models": ["a"], "argument": "x"}, "in two calls"),
    ],
)
def test_provisions_that_cannot_be_meant_are_explained(playbooks, given, word):
    """
    What cannot serve is refused, and nothing of the call is registered.
    """
    with pytest.raises(PolicyError) as caught:
        playbooks.provide(**{"optional": ["fine"], **given})

    assert word in str(caught.value)
    assert "secret" not in str(caught.value)
    assert repr(playbooks._provisions) == "Provisions(none)"


def test_all_problems_are_told_at_once(playbooks):
    """
    One error lists everything that is wrong.
    """
    with pytest.raises(PolicyError, match="3 problems"):
        playbooks.provide(caches=[5], loader=5, offline=5)


# -- running a step ------------------------------------------------------------------


def test_a_step_changes_the_next_call(playbooks, colour):
    """
    A step that applies leaves its changes in the context.
    """

    @playbooks.step("network")
    def smaller(ctx):
        ctx.kwargs["batch_size"] = 2
        return True

    ctx = context(colour.is_async, batch_size=8)

    assert run_step(playbooks, "smaller", ctx) is True
    assert ctx.kwargs == {"batch_size": 2}
    assert ctx.changes() == {"batch_size": (8, 2)}


def test_an_async_step_applies_to_async_operations_only(playbooks, colour):
    """
    A sync call cannot await, so the step is not even called.
    """
    called = []

    @playbooks.step("network")
    async def mend(ctx):
        called.append(ctx)
        return True

    assert colour.is_async is run_step(playbooks, "mend", context(colour.is_async))
    assert colour.is_async is bool(called)


@pytest.mark.parametrize("scope", ["call", "shared"])
def test_an_awaitable_that_a_sync_step_returns(playbooks, colour, scope):
    """
    A coroutine handed to a sync operation is closed and does not apply; other awaitables neither.
    """
    closed = []

    async def later():
        return True

    class Awaitable:
        def __await__(self):
            closed.append(1)
            return (yield from later().__await__())

    playbooks.step("network", name="coroutine", scope=scope)(lambda ctx: later())
    playbooks.step("network", name="awaitable", scope=scope)(lambda ctx: Awaitable())

    assert colour.is_async is run_step(playbooks, "coroutine", context(colour.is_async))
    assert colour.is_async is run_step(playbooks, "awaitable", context(colour.is_async))


@pytest.mark.parametrize("answer", [None, False, 0, ""])
def test_a_step_applies_only_if_it_says_so(playbooks, colour, answer):
    """
    A step that forgets its answer does not apply, and what it changed is undone.
    """

    @playbooks.step("network")
    def unsure(ctx):
        ctx.args = ("y",)
        ctx.kwargs["batch_size"] = 1
        ctx.level_override = DegradationLevel.LOW
        ctx.disabled_features.add("upscale")
        ctx.offline = True
        return answer

    ctx = context(colour.is_async)

    assert run_step(playbooks, "unsure", ctx) is False
    assert (("x",), {}, None, set(), False) == (
        ctx.args,
        ctx.kwargs,
        ctx.level_override,
        ctx.disabled_features,
        ctx.offline,
    )


def test_a_step_that_raises_does_not_apply_and_is_logged_once(playbooks, colour, caplog):
    """
    The error leaves its text, redacted in the log, and no exception.
    """

    @playbooks.step("network")
    def broken(ctx):
        ctx.kwargs["batch_size"] = 1
        raise RuntimeError("no password=hunter2")

    ctx = context(colour.is_async)
    with caplog.at_level(logging.WARNING, "resilient"):
        first = run_step(playbooks, "broken", ctx)
        second = run_step(playbooks, "broken", ctx)

    assert (first, second, ctx.kwargs) == (False, False, {})
    assert ctx.failure == "RuntimeError: no password=hunter2"
    assert len(caplog.messages) == 1
    assert "broken" in caplog.text
    assert "hunter2" not in caplog.text
    run_step(playbooks, "retry_connection", ctx)
    assert ctx.failure is None


def test_a_log_handler_that_raises_harms_nobody(playbooks):
    """
    The step's failure is a no, whatever the application's log handlers do.
    """

    class Broken(logging.Handler):
        def handle(self, record):
            raise OSError("disk full")

    playbooks.step("network", name="broken")(lambda ctx: 1 / 0)
    handler = Broken()
    logging.getLogger("resilient").addHandler(handler)
    try:
        assert run_step(playbooks, "broken", context()) is False
    finally:
        logging.getLogger("resilient").removeHandler(handler)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("scope", ["call", "shared"])
def test_ctrl_c_in_a_step_leaves_at_once(playbooks, colour, stop, scope):
    """
    It passes through unchanged, and a shared step is free for the next one.
    """
    answers = [stop]

    @playbooks.step("network", scope=scope)
    def interrupted(ctx):
        if answers:
            raise answers.pop()
        return True

    plan = playbooks.plan_step(find(playbooks, "interrupted"), context(colour.is_async))
    outcome = asyncio.run(arun(plan, SYSTEM_CLOCK)) if colour.is_async else run(plan, SYSTEM_CLOCK)

    assert type(outcome.error) is stop
    assert run_step(playbooks, "interrupted", context(colour.is_async)) is True


async def test_cancellation_leaves_a_step_at_once(playbooks):
    """
    Cancellation in the middle of a step runs no other and reports nothing.
    """
    started = asyncio.Event()
    finished = []

    @playbooks.step("network", before="retry_connection")
    async def endless(ctx):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            finished.append(1)

    task = asyncio.ensure_future(playbooks.attempt_recovery(ERROR))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert finished == [1]
    assert playbooks.get_recovery_history() == []


def test_ctrl_c_leaves_attempt_recovery_at_once(playbooks):
    """
    No further step is tried, and nothing is remembered.
    """

    @playbooks.step("network", before="retry_connection")
    def interrupted(ctx):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        playbooks.attempt_recovery(ERROR).send(None)

    assert playbooks.get_recovery_history() == []


@pytest.mark.parametrize("scope", ["call", "shared"])
def test_an_async_step_is_cancelled_at_its_timeout(playbooks, scope):
    """
    A step that takes too long does not apply.
    """
    cancelled = []

    @playbooks.step("network", scope=scope, timeout=0.001)
    async def slow(ctx):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    ctx = context(is_async=True)

    assert run_step(playbooks, "slow", ctx) is False
    assert cancelled == [1]
    assert ctx.failure.startswith("TimeoutError")


def test_a_step_can_ask_how_much_time_remains(playbooks, clock):
    """
    The time left counts down to 0; without a limit there is no number.
    """
    left = []

    @playbooks.step("network", timeout=10.0)
    def limited(ctx):
        left.append(ctx.remaining())
        clock.advance(4)
        left.append(ctx.remaining())
        clock.advance(40)
        left.append(ctx.remaining())

    playbooks.step("network", name="unlimited", timeout=math.inf)(lambda ctx: left.append(ctx.remaining()))
    ctx = context()
    before = ctx.remaining()
    run_step(playbooks, "limited", ctx)
    run_step(playbooks, "unlimited", ctx)

    assert before is None
    assert left == [10.0, 6.0, 0.0, None]


async def test_a_shared_step_runs_once_for_all(playbooks):
    """
    Of many operations one runs a shared step, the others get its result.
    """
    runs = []
    go = asyncio.Event()

    @playbooks.step("network", scope="shared")
    async def mend(ctx):
        runs.append(1)
        await go.wait()
        return True

    step = find(playbooks, "mend")
    plans = [playbooks.plan_step(step, context(is_async=True)) for _ in range(3)]
    tasks = [asyncio.ensure_future(arun(plan, SYSTEM_CLOCK)) for plan in plans]
    await asyncio.sleep(0)
    go.set()
    outcomes = await asyncio.gather(*tasks)

    assert [one.value for one in outcomes] == [True] * 3
    assert runs == [1]


def test_a_call_step_runs_for_each(playbooks):
    """
    A step of scope call may recover with itself: each call has its own run.
    """
    depths = []

    @playbooks.step("network")
    def nested(ctx):
        depths.append(1)
        return len(depths) == 2 or run_step(playbooks, "nested", context())

    assert run_step(playbooks, "nested", context()) is True
    assert depths == [1, 1]


def test_a_shared_step_that_recovers_with_itself_does_not_deadlock(playbooks, colour):
    """
    The inner one does not apply.
    """
    inner = []

    @playbooks.step("network", scope="shared")
    def nested(ctx):
        inner.append(run(playbooks.plan_step(find(playbooks, "nested"), context()), SYSTEM_CLOCK).value)
        return True

    assert run_step(playbooks, "nested", context(colour.is_async)) is True
    assert inner == [False]


def test_a_forked_child_gets_fresh_locks(playbooks):
    """
    Locks that another thread held at the fork do not hold up the child.
    """
    parts = (playbooks._steps, playbooks._provisions, playbooks._flights)
    for part in parts:
        part._lock.acquire()
    playbooks._renew_locks()
    done = []

    def use():
        playbooks.step("system")(step_function)
        playbooks.provide(models=["a"])
        done.append(run_step(playbooks, "clear_cache", context(), category="memory"))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(5)

    assert len(done) == 1


def test_who_renews_the_locks():
    """
    Playbooks see to it themselves, on a registry and alone.
    """
    alone, owned = RecoveryProcedure(), RecoveryProcedure(registry=object())

    assert alone in forks._owners
    assert owned in forks._owners


async def test_steps_see_the_registry():
    """
    A registry's playbooks hand it to their steps.
    """
    registry = object()
    playbooks = RecoveryProcedure(registry=registry)
    seen = []
    playbooks.step("unknown", name="look")(lambda ctx: seen.append(ctx.registry))
    await playbooks.attempt_recovery(replace(ERROR, category=ErrorCategory.UNKNOWN))

    assert seen == [registry]


# -- what changed --------------------------------------------------------------------


def test_changes_are_told_by_parameter():
    """
    Positional and keyword arguments go by their names, and what the function does not take is left out.
    """
    ctx = context(batch_size=8)
    ctx.args = ("z",)
    ctx.kwargs = {"batch_size": 4, "unknown": 5}

    assert ctx.changes() == {"prompt": ("x", "z"), "batch_size": (8, 4)}


def test_changes_without_a_signature_are_those_of_keywords():
    """
    Where nothing is known of the function, keywords still have names.
    """
    ctx = RecoveryContext(ERROR, args=(1,), kwargs={"a": 1, "b": 2})
    ctx.args = (2,)
    ctx.kwargs = {"a": 1, "c": 3}
    ctx.put({"a": 9})

    assert ctx.changes() == {"b": (2, None), "c": (None, 3)}
    assert list(ctx.values(["a"])) == []


def test_a_new_keyword_argument_is_told_as_none_before():
    """
    An argument that the call did not have was None.
    """

    def anything(**options):
        pass

    ctx = RecoveryContext(ERROR, parameters=Parameters.of(anything))
    ctx.kwargs["seed"] = 5

    assert ctx.changes() == {"seed": (None, 5)}


def test_a_request_that_the_step_replaced_is_told_whole():
    """
    Only fields that `put` has changed are told by their path.
    """

    @dataclass
    class Request:
        steps: int
        size: int = 1

    def render(request: Request):
        pass

    ctx = RecoveryContext(ERROR, args=(Request(8),), parameters=Parameters.of(render))
    ctx.args = (replace(ctx.args[0], steps=4),)
    whole = ctx.changes()
    ctx.begin(FakeClock(), None)
    ctx.put({"request.steps": 2})

    assert {"request": (Request(8), Request(4))} == whole
    assert ctx.changes() == {"request.steps": (4, 2)}


def test_the_callers_keywords_are_never_touched(playbooks):
    """
    The context works on a copy.
    """
    kwargs = {"batch_size": 8}
    ctx = RecoveryContext(ERROR, args=("x",), kwargs=kwargs, parameters=Parameters.of(generate))
    ctx.kwargs["batch_size"] = 1

    assert kwargs == {"batch_size": 8}


# -- direct use and history ----------------------------------------------------------


async def test_attempt_recovery_stops_at_the_first_step_that_applies(playbooks, clock):
    """
    Steps run in order until one applies, and each is remembered.
    """
    playbooks.step("network", name="no", before="retry_connection")(lambda ctx: False)
    playbooks.step("network", name="yes", before="retry_connection")(lambda ctx: True)

    assert await playbooks.attempt_recovery(ERROR) is True
    common = {"timestamp": clock.now(), "function": "", "error_type": "ConnectionError", "category": "network"}
    assert [
        {**common, "step": "no", "applied": False, "success": None},
        {**common, "step": "yes", "applied": True, "success": None},
    ] == playbooks.get_recovery_history()


async def test_attempt_recovery_uses_what_the_named_function_has(playbooks):
    """
    The function that the error's context names has its own loader.
    """
    loaded = []
    playbooks.provide(loader=lambda: loaded.append(1), function="engine:generate")
    error = replace(ERROR, category=ErrorCategory.MODEL)

    assert await playbooks.attempt_recovery(error) is False
    assert await playbooks.attempt_recovery(replace(error, context={"function": 5})) is False
    assert await playbooks.attempt_recovery(replace(error, context={"function": "engine:generate"})) is True
    assert loaded == [1]


async def test_attempt_recovery_has_nothing_to_do_without_a_playbook(playbooks):
    """
    An empty playbook does not apply.
    """
    assert await playbooks.attempt_recovery(replace(ERROR, category=ErrorCategory.UNKNOWN)) is False
    assert playbooks.get_recovery_history() == []


def test_the_history_is_bounded_redacted_and_cleared_by_reset():
    """
    The latest runs are kept, readable without secrets; reset forgets them and lets errors be logged again.
    """
    playbooks = RecoveryProcedure(history=2)
    step = playbooks.playbook("network")[0]
    ctx = RecoveryContext(replace(ERROR, error_type="Bad\x1b[31m"), function="f?password=hunter2")
    for success in (None, False, True):
        playbooks.note(step, ctx, applied=True, success=success)
    step.reported = True
    history = playbooks.get_recovery_history()

    assert [one["success"] for one in history] == [False, True]
    assert history[0]["error_type"] == "Bad\\x1b[31m"
    assert "hunter2" not in str(history)
    assert repr(playbooks) == "<RecoveryProcedure: 12 steps, 2 runs remembered>"
    playbooks.reset()
    assert playbooks.get_recovery_history() == []
    assert step.reported is False


def test_the_size_of_the_history_is_checked():
    """
    A history of nothing, or of half a run, cannot be meant.
    """
    for wrong in (0, 1.5, True):
        with pytest.raises(PolicyError, match="history must be a whole number"):
            RecoveryProcedure(history=wrong)


def test_the_parts_have_a_repr_that_helps(playbooks):
    """
    Lists of steps, the kit and the flights say what they hold.
    """
    assert repr(playbooks._steps) == "StepLists(3 network, 3 memory, 3 model, 3 workflow)"
    assert repr(Kit(context(), playbooks._provisions.of(""), playbooks._flights)).startswith("Kit(Provided(")
    assert "engine:generate" in repr(context())
