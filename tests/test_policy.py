"""
`resilient.policy`: what a policy of a user's own has to say, and what it gets for that.
"""

from __future__ import annotations

import inspect
import logging
import pickle
import warnings
from dataclasses import dataclass

import pytest

from resilient import ErrorHandlingSystem, PolicyError, PolicyOrderWarning, Registry, circuit, kinds, retry, timeout
from resilient.errors import DecorationError
from resilient.events import CallSucceeded
from resilient.hub import Hub
from resilient.kinds import in_order
from resilient.policies.spec import PolicySpec
from resilient.policy import (
    UNSET,
    Event,
    Option,
    OptionTable,
    Policy,
    Returned,
    callable_or_none,
    decorator,
    integer,
    text,
)
from resilient.specs import CircuitSpec, DegradeSpec, FallbackSpec, RecoverSpec
from resilient.testing import capture_events
from tests.harness import caught, held, in_fork, may_fork, needs_fork

pytestmark = pytest.mark.usefixtures("own_kinds")


@dataclass(frozen=True, kw_only=True)
class Noted(Event):
    """
    A call went through a policy of these tests.
    """

    name = "note.made"
    log_level = "warning"

    note: str


class Note(Policy):
    """
    Tell of each call.

    It has more to say than its first line.

    Args:
        options: Not shown to users.
    """

    table = OptionTable(
        "note",
        Option("note", text, "a call", "what is told"),
        Option("times", integer(), 1, "how often it is told", aliases=("count",)),
    )
    positional = ("note",)
    events = (Noted,)
    every_call = True

    def plan(self, op, args, kwargs, inner):
        for _ in range(self.options["times"]):
            op.emit(Noted, note=self.options["note"])
        return (yield from inner(op, args, kwargs))


def passing(self, op, args, kwargs, inner):
    """
    Do nothing: a plan for classes that tests make.
    """
    return (yield from inner(op, args, kwargs))


def kind_of(kind="own", *options, **attributes):
    """
    Return a class of policies, made from what it says of itself.
    """
    return type("Own", (Policy,), {"table": OptionTable(kind, *options), "plan": passing, **attributes})


NEEDED = Option("limit", integer(), UNSET, "how many")


# -- the decorator ---------------------------------------------------------------


def test_a_policy_is_used_bare_or_with_options(colour, registry):
    """
    Without a required option a decorator does not have to be called; an option may come by position or by name.
    """
    note = decorator(Note)

    def raw():
        return 1

    bare = note(colour.of(raw))
    options = [note(), note("x", times=2), note(note="x", count=2), note("x", registry=registry)]
    given = [one(colour.of(raw)) for one in options]

    assert [colour.call(fn) for fn in (bare, *given)] == [1] * 5
    assert [repr(fn.resilience.policies[0]) for fn in (bare, *given)] == [
        "@note",
        "@note",
        "@note(note='x', times=2)",
        "@note(note='x', times=2)",
        "@note(note='x')",
    ]
    assert given[-1].resilience.registry is registry
    assert bare.resilience.specs[0] == PolicySpec(Note, {})


def test_methods_of_all_kinds_carry_it(registry):
    """
    Static methods, class methods and callable objects do, and what cannot is told what to write instead.
    """
    note = decorator(Note)

    class Shots:
        @note
        @staticmethod
        def static() -> str:
            return "static"

        @note("x", registry=registry)
        @classmethod
        def of(cls):
            return cls.__name__

    assert (Shots.static(), Shots.of(), note(len)([1])) == ("static", "Shots", 1)
    assert str(caught(note, property(len))).startswith("@note cannot be put on the property len")


def test_it_is_documented_and_signed():
    """
    ``help`` and editors see the policy's own words, its options, and the registry.
    """
    note, own = decorator(Note), decorator(kind_of("own", Option("a", text, "x", "any"), NEEDED, positional=("limit",)))

    assert (note.__name__, note.__qualname__, note.__module__) == ("note", "note", __name__)
    assert note.__doc__.splitlines() == [
        "Tell of each call.",
        "",
        "It has more to say than its first line.",
        "",
        "Args:",
        "    note: what is told",
        "    times: how often it is told",
        "    registry: The function's registry; None: the default one.",
    ]
    assert str(inspect.signature(note)) == "(note='a call', *, times=1, registry=None)"
    assert str(inspect.signature(own)) == "(limit, *, a='x', registry=None)"


def test_a_policy_without_words_is_documented_by_its_name():
    """
    A class without a docstring has none of `Policy` either.
    """
    assert decorator(kind_of()).__doc__.startswith("The policy own.\n\nArgs:\n")


def test_all_problems_of_options_come_at_once():
    """
    Values, names, positions and the registry are looked at together; each has its sentence.
    """
    note = decorator(Note)

    assert caught(note("x", 2, note="y", times=0, tims=3, registry=5), len).problems == (
        "note is given by position and by keyword; give it once",
        "@note takes note by position, got 2 (int) as well",
        "times must be a whole number from 1 to 1000000, got 0 (int)",
        "unknown option 'tims'; did you mean 'times'?",
        "registry must be a Registry or None, got 5 (int)",
    )
    assert str(caught(decorator(kind_of())(1), len)) == (
        "@own on builtins:len: @own takes its options by keyword, got 1 (int) as well"
    )


def test_options_that_contradict_each_other_are_told():
    """
    `check_together` is asked once each option is right, and all that have to be given are.
    """

    def check_together(cls, given):
        return [f"limit={given['limit']} is odd"] if given["limit"] % 2 else []

    own = decorator(kind_of("own", NEEDED, check_together=classmethod(check_together)))

    assert caught(own(limit=0), len).problems == ("limit must be a whole number from 1 to 1000000, got 0 (int)",)
    assert caught(own(), len).problems == ("limit must be given: how many",)
    assert caught(own(limit=UNSET), len).problems == ("limit must be given: how many",)
    assert caught(own(limit=3), len).problems == ("limit=3 is odd",)
    assert own(limit=2)(len)("four") == 4


def test_a_function_that_cannot_carry_it_is_told():
    """
    `check_function` refuses a function, and knows whether it is async.
    """

    def check_function(cls, given, name, *, is_async):
        return [] if is_async else [f"{name} is sync"]

    own = decorator(kind_of(check_function=classmethod(check_function)))

    async def fetch():
        return 1

    assert str(caught(own, len)) == "@own on builtins:len: builtins:len is sync"
    assert own(fetch).resilience.is_async


@pytest.mark.parametrize(
    ("option", "positional"),
    [
        (NEEDED, ("limit",)),
        (NEEDED, ()),
        (Option("limit", integer(), UNSET, "how many"), ("limit",)),
    ],
)
@pytest.mark.parametrize("target", [len, property(len), staticmethod(len)])
def test_a_bare_decorator_that_takes_options_says_so(option, positional, target):
    """
    Where an option has to be given, a function is no value for it.
    """
    own = decorator(kind_of("own", option, positional=positional))
    error = caught(own, target)

    assert isinstance(error, DecorationError)
    assert "stands under a bare @own, which takes options: limit must be given: how many; write @own(limit=...)" in str(
        error
    )


def test_a_function_may_be_the_value_of_a_required_option():
    """
    Where the first option is a callable, one given by position is that.
    """
    own = decorator(kind_of("own", Option("key", callable_or_none, UNSET, "makes a key"), positional=("key",)))

    assert own(len)(max).resilience.specs[0].given == {"key": len}
    assert "write other(...)(function)" in str(caught(decorator(kind_of("other")), len, limit=3))


# -- the class -------------------------------------------------------------------


class Plain(Event):
    """
    No dataclass of its own.
    """

    name = "plain"


@dataclass(frozen=True, kw_only=True)
class Nameless(Event):
    """
    Has no name of its own.
    """


@dataclass(frozen=True, kw_only=True)
class Shouted(Event):
    """
    Has a level that there is not.
    """

    name = "shouted"
    log_level = "critical"


async def late(self, op, args, kwargs, inner):
    """
    Be no generator function.
    """


SOME = Option("some", text, "x", "any")


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (len, "a policy must be a class derived from resilient.policy.Policy, got <built-in function len>"),
        (int, "a policy must be a class derived from resilient.policy.Policy, got <class 'int'>"),
        (type("Own", (Policy,), {}), "table must be an OptionTable of its options, got None (NoneType)"),
        (kind_of("Own Kind"), "kind must be a name in lower case, as in 'bulkhead', got 'Own Kind' (str)"),
        (type("Own", (kind_of(),), {"kind": 5}), "kind must be a name in lower case, as in 'bulkhead', got 5 (int)"),
        (kind_of("order"), "kind must be a name in lower case, as in 'bulkhead', got 'order' (str)"),
        (
            type("Own", (kind_of(),), {"kind": "other"}),
            "kind must be that of its table, 'own', got 'other' (str); leave it out",
        ),
        (kind_of("retry"), "kind 'retry' is this library's own; give it another name"),
        (kind_of("timeout"), "kind 'timeout' is that of resilient.timeouts:TimeoutPolicy; give it another name"),
        (kind_of(above="own"), "or None, got 'own' (str)"),
        (kind_of(above=3), "above must be one of degradable, fallback_chain, recoverable, retry, circuit, timeout"),
        (kind_of(plan=late), "plan must be a generator function, without async, got <function late"),
        (kind_of(plan=Policy.plan), "plan must be a generator function, without async, got <function Policy.plan"),
        (kind_of(positional=("limit",)), "positional names 'limit', which is none of its options; it has none"),
        (kind_of("own", NEEDED, positional=("x",)), "positional names 'x', which is none of its options; it has limit"),
        (
            kind_of("own", NEEDED, positional="limit"),
            "positional must be a tuple of options, as in ('max_calls',), got",
        ),
        (
            kind_of("own", SOME, NEEDED, positional=("some", "limit")),
            "positional must name the options that have to be given before those that need not be",
        ),
        (kind_of("own", Option("registry", text, "x", "any")), "'registry' cannot be an option's name"),
        (kind_of("own", Option("some", text, "x", "any", aliases=("class",))), "'class' cannot be an option's name"),
        (kind_of("own", Option("max-calls", text, "x", "any")), "'max-calls' cannot be an option's name"),
        (kind_of(events=Noted), "events must be a tuple of classes, as in (Full,), got <class"),
        (kind_of(events=(5,)), "events must be dataclasses derived from resilient.events.Event, got 5 (int)"),
        (kind_of(events=(Plain,)), "events must be dataclasses derived from resilient.events.Event, got <class"),
        (kind_of(events=(Nameless,)), "event Nameless needs a name of its own, as in name = 'bulkhead.full'"),
        (kind_of(events=(Shouted,)), "log_level of Shouted must be one of ('debug', 'info', 'warning', 'error'), got"),
    ],
)
def test_a_class_that_cannot_be_meant_is_refused(policy, problem):
    """
    What is wrong with a class is told when its decorator is made, and nothing of it is known afterwards.
    """
    before = in_order()
    error = caught(decorator, policy)

    assert isinstance(error, PolicyError)
    assert [problem in one for one in error.problems] == [True]
    assert in_order() == before


def test_all_that_is_wrong_with_a_class_comes_at_once():
    """
    A class with several mistakes is told of all, by its name.
    """
    error = caught(decorator, kind_of("retry", above="top", events=(5, Nameless), positional=("x",)))

    assert error.where == "policy Own"
    assert len(error.problems) == 5


def test_a_class_that_is_defined_again_takes_the_place_of_the_one_before():
    """
    A notebook's cell may run twice; another class cannot have the name.
    """
    old = decorator(kind_of(above="retry"))(len)
    new = decorator(kind_of(above="retry"))(len)

    assert in_order().count("own") == 1
    assert type(old.resilience.policies[0]) is not type(new.resilience.policies[0])
    assert (old("ab"), new("ab")) == (2, 2)

    assert [decorator(Note)(len)("ab") for _ in range(2)] == [2, 2]

    other = type("Other", (Policy,), {"table": OptionTable("own"), "plan": passing})

    assert caught(decorator, other).problems == (f"kind 'own' is that of {__name__}:Own; give it another name",)
    assert "or None, got 'own'" in caught(decorator, kind_of(above="own")).problems[0]


def test_it_stands_right_above_what_it_names():
    """
    Without a place of its own a kind is innermost; with one, right above that.
    """
    before = in_order()
    for policy in (kind_of("inner"), type("Top", (Policy,), {"table": OptionTable("top"), "plan": passing})):
        if policy.kind == "top":
            policy.above = "degradable"
        decorator(policy)

    assert in_order() == ("top", *before, "inner")


@needs_fork
@may_fork
def test_a_fork_leaves_kinds_free_to_be_added():
    """
    The lock under which kinds are added is a fresh one in a child.
    """
    adding = kinds._adding  # noqa: SLF001 - a lock that is held at a fork has no other name
    with held(adding.lock):
        told = in_fork(lambda: decorator(kind_of()).__name__)

    assert told == "own"


def test_what_a_policy_need_not_say_has_a_default(registry):
    """
    The base class decides nothing, minds nothing and tells nothing.
    """
    policy = kind_of().bind({}, None)

    assert repr(policy) == "@own"
    assert (policy.gate, policy.timed, policy.every_call, policy.passes_rejections) == (None, False, False, False)
    assert (policy.health(), policy.after_fork(), policy.check_together({}), policy.misplaced({}, ())) == (
        None,
        None,
        [],
        None,
    )
    assert policy.check_function({}, "f", is_async=False) == []
    with pytest.raises(NotImplementedError):
        Policy.plan(policy, None, (), {}, None)


# -- the stack -------------------------------------------------------------------


def test_it_fuses_into_one_wrapper(colour, registry):
    """
    The whole stack is one wrapper around the raw function, and one row of counts.
    """
    note = decorator(Note)

    @colour.of
    def raw(fails):
        if fails:
            raise ConnectionError
        return 5

    fn = retry(max_attempts=2, initial_delay=0, registry=registry)(note("x")(circuit(raw)))
    with capture_events(registry) as events:
        result = colour.call(fn, False)
        error = caught(colour.call, fn, True)

    assert (fn.__wrapped__, result, type(error)) == (raw, 5, ConnectionError)
    assert [one.kind for one in fn.resilience.policies] == ["retry", "note", "circuit"]
    assert [one.note for one in events if isinstance(one, Noted)] == ["x"] * 3
    assert fn.resilience.stats().attempts == 3


def test_a_policy_that_minds_only_failures_leaves_calls_quiet(registry):
    """
    Without ``every_call`` the plan begins when a call has failed, and ``inner`` gives that failure.
    """
    seen = []

    def plan(self, op, args, kwargs, inner):
        outcome = yield from inner(op, args, kwargs)
        seen.append(type(outcome.error))
        return Returned("stood in")

    fn = decorator(kind_of(plan=plan))(registry=registry)(lambda x: 1 / x)

    assert (fn(1), seen, fn.resilience.pipeline.quiet is not None) == (1.0, [], True)
    assert (fn(0), seen, fn.resilience.stats().attempts) == ("stood in", [ZeroDivisionError], 2)


def test_an_order_that_cannot_work_is_warned_about():
    """
    `misplaced` is asked about what stands below, and two of a kind in a row are warned about anyway.
    """

    def misplaced(cls, given, below):
        return "no good" if any(one.kind == "retry" for one in below) else None

    own = decorator(kind_of(misplaced=classmethod(misplaced)))

    with pytest.warns(PolicyOrderWarning, match=r"builtins:len: no good \(from the top: @degradable"):
        own(retry(len))
    with pytest.warns(PolicyOrderWarning, match="@own twice in a row multiplies what each does; keep one"):
        own(own(len))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        retry(own(len))


def test_specs_and_decorated_functions_pickle_by_reference():
    """
    A spec names its class, and a decorator at the top of a module its name.
    """
    spec = PolicySpec(Note, {"note": "x"})

    assert pickle.loads(pickle.dumps(spec)) == spec
    assert pickle.loads(pickle.dumps(timeout)) is timeout
    assert spec.giving({}) == PolicySpec(Note, {})
    assert spec != PolicySpec(kind_of(), {"note": "x"})


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        (PolicySpec(Note, {"note": "x"}), "policy"),
        (CircuitSpec("gpu", {"failure_threshold": 2}), "name"),
        (FallbackSpec((), {"name": "cards"}), "entries"),
        (DegradeSpec({"steps": True}, {"floor": None}), "rules"),
        (RecoverSpec({"max_runs": 1}), "kind"),
    ],
)
def test_a_spec_with_other_options_keeps_all_else(spec, kept):
    """
    What a spec was given beside options stays.
    """
    other = spec.giving({})

    assert (type(other), other.given, getattr(other, kept)) == (type(spec), {}, getattr(spec, kept))


def test_the_facade_has_it_by_its_registry():
    """
    ``registry=`` takes the registry of an `ErrorHandlingSystem`.
    """
    system = ErrorHandlingSystem()
    fn = decorator(Note)("x", registry=system.registry)(len)

    assert fn.resilience.name in system.registry.functions
    assert fn.resilience.registry is system.registry


@pytest.mark.parametrize("outcome", [None, 5])
def test_a_plan_without_an_outcome_is_told(colour, registry, outcome):
    """
    A forgotten ``return`` is an error that names the function and the policies; the call counts as failed.
    """

    def plan(self, op, args, kwargs, inner):
        yield from inner(op, args, kwargs)
        return outcome

    fn = decorator(kind_of(plan=plan, every_call=True))(registry=registry)(colour.of(lambda: 1))
    error = caught(colour.call, fn)

    assert isinstance(error, TypeError)
    assert f"has returned {outcome!r} ({type(outcome).__name__}); return a Returned or a Raised" in str(error)
    assert str(error).startswith("a plan of @own on ")
    assert fn.resilience.stats().failures == 1


def test_a_plan_that_yields_no_command_is_told(colour, registry):
    """
    What is neither a call nor a wait cannot be done; the plan is closed.
    """
    closed = []

    def plan(self, op, args, kwargs, inner):
        try:
            yield 5
        finally:
            closed.append(True)

    fn = decorator(kind_of(plan=plan, every_call=True))(registry=registry)(colour.of(lambda: 1))
    error = caught(colour.call, fn)

    assert (type(error), str(error)) == (
        TypeError,
        "a plan has yielded 5 (int); yield a Call, a Sleep or an Await",
    )
    assert closed == [True]


# -- events ----------------------------------------------------------------------


@pytest.mark.parametrize("events", [None, [Noted], Noted, [Event]])
@pytest.mark.parametrize("before", [True, False])
def test_listeners_hear_of_its_events(colour, registry, events, before):
    """
    By no name, by its own or by a base class; whether they listened before the policy was defined or after.
    """
    heard = []
    if before:
        registry.on(heard.append, events)
    fn = decorator(Note)("x", registry=registry)(colour.of(lambda: 1))
    if not before:
        registry.on(heard.append, events)

    colour.call(fn)
    told = [one for one in heard if isinstance(one, Noted)]

    assert [(one.note, one.function, one.at, one.parent) for one in told] == [
        ("x", fn.resilience.name, registry.hub.clock.now(), None)
    ]
    assert told[0].operation is not None


def test_a_listener_for_others_hears_nothing_of_it(registry):
    """
    Events of a policy's own reach those who asked for them.
    """
    heard = []
    registry.on(heard.append, [CallSucceeded])
    fn = decorator(Note)(registry=registry)(lambda: 1)
    fn()

    assert [type(one) for one in heard] == [CallSucceeded]


def test_an_outcome_has_them(colour, registry):
    """
    ``fn.resilience.outcome`` collects them, though nobody listens.
    """
    fn = decorator(Note)("x", registry=registry)(colour.of(lambda: 1))

    assert [one.note for one in colour.outcome(fn).events if isinstance(one, Noted)] == ["x"]


def test_a_configured_structlog_has_its_events(registry, entries):
    """
    They are logged at their class' level, with their fields.
    """
    fn = decorator(Note)("password=hunter2", registry=registry)(lambda: 1)
    fn()

    assert [(one["event"], one["log_level"], one["note"], one["function"]) for one in entries] == [
        ("resilient.note.made", "warning", "password=[redacted]", fn.resilience.name)
    ]


@pytest.mark.parametrize(("level", "logged"), [("WARNING", 1), ("ERROR", 0)])
def test_the_standard_logger_has_its_events(registry, caplog, level, logged):
    """
    Where structlog is not configured they are entries of the logger ``resilient``, as loud as their class says.
    """
    fn = decorator(Note)("x", registry=registry)(lambda: 1)
    with caplog.at_level(level, logger="resilient"):
        fn()

    told = [one for one in caplog.records if one.message.startswith("resilient.note.made")]

    assert [one.levelno for one in told] == [logging.WARNING] * logged


def test_a_hub_made_before_knows_it_once_a_function_is_on_it(registry):
    """
    A kind of event that is added wakes listeners up when a function of the registry may have it.
    """
    registry.on(lambda _: None)

    assert Noted not in registry.hub.listeners
    decorator(Note)(registry=registry)(len)
    assert Noted in registry.hub.listeners
    assert isinstance(registry.hub, Hub)


# -- health ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "check", "status"),
    [
        (None, None, "pass"),
        ({"status": "pass", "n": 1}, {"status": "pass", "n": 1}, "pass"),
        ({"status": "fail"}, {"status": "fail"}, "fail"),
        ({"status": "splendid"}, {"status": "warn"}, "warn"),
        ({"status": ["pass"]}, {"status": "warn"}, "warn"),
        ({}, {"status": "warn"}, "warn"),
        (
            {"status": "pass", "key": "password=hunter2", 5: (float("inf"), None)},
            {"status": "pass", "key": "password=[redacted]", "5": ["inf", None]},
            "pass",
        ),
        (5, {"status": "warn", "error": "TypeError"}, "warn"),
    ],
)
def test_health_has_what_it_tells(registry, told, check, status):
    """
    A policy's own check counts for the status; one that makes no sense is a warning, and texts are redacted.
    """
    fn = decorator(kind_of(health=lambda self: told))(registry=registry)(len)
    health = registry.health()

    assert health.checks == ({} if check is None else {f"own of {fn.resilience.name}": check})
    assert health.status == status


def test_a_check_that_raises_is_a_warning(registry, reports):
    """
    It takes nothing else of the snapshot away, and is reported.
    """

    def health(self):
        raise LookupError

    fn = decorator(kind_of(health=health))(registry=registry)(len)
    snapshot = registry.health()

    assert snapshot.checks == {"own of builtins:len": {"status": "warn", "error": "LookupError"}}
    assert "check own of builtins:len: warn (error LookupError)" in str(snapshot)
    assert reports == [("health of own of builtins:len", LookupError)]
    assert fn("ab") == 2


# -- forks -----------------------------------------------------------------------


@needs_fork
@may_fork
def test_a_forked_child_takes_fresh_locks(registry):
    """
    ``after_fork`` is called in the child; one that raises keeps no other from its locks.
    """
    renewed = []

    def after_fork(self):
        renewed.append(self.options["limit"])
        if self.options["limit"] == 1:
            raise LookupError

    own = decorator(kind_of("own", NEEDED, after_fork=after_fork))
    functions = [own(limit=limit, registry=registry)(len) for limit in (1, 2)]

    assert in_fork(lambda: sorted(renewed)) == "[1, 2]"
    assert (renewed, len(functions)) == ([], 2)


def test_what_after_fork_raises_is_reported(registry, reports):
    """
    The pipeline's own locks are fresh all the same.
    """

    def after_fork(self):
        raise LookupError

    fn = decorator(kind_of(after_fork=after_fork))(registry=registry)(len)
    fn.resilience.pipeline.renew_locks()

    assert reports == [("after_fork of own", LookupError)]
    assert fn("ab") == 2


def test_registries_do_not_share_policies():
    """
    The same decorated options make one policy for each registry.
    """
    note = decorator(Note)("x")
    one, two = (note(len) for _ in range(2))

    assert one.resilience.policies[0] is not two.resilience.policies[0]
    assert isinstance(one.resilience.registry, Registry)
