"""
The two policies that a page of the documentation builds: its very code, in files of its own, and put to the test.
"""

from __future__ import annotations

import ast
import asyncio
import collections
import json
import pickle
import re
import sys
import threading
import tomllib
from pathlib import Path

import jsonschema
import pytest

from resilient import (
    CallTimeoutError,
    PolicyError,
    PolicyOrderWarning,
    circuit,
    fallback_chain,
    governed,
    retry,
    timeout,
)
from resilient.declared.schema import schema
from resilient.drivers import arun, run
from resilient.errors import CallRejectedError
from resilient.policy import Returned
from resilient.testing import capture_events, policy_battery
from tests.command_line import command_line
from tests.harness import PATIENCE, caught, in_thread, run_threads

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "write-your-own-policy.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (studio/\w+\.py)\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL))
DECLARED = re.search(r"^```toml\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]
VIDEO = """
    def render(shot):
        return f"picture of {shot}"

    def upload(shot):
        return shot
"""

pytestmark = pytest.mark.usefixtures("own_kinds")


@pytest.fixture
def line(tmp_path, capsys, monkeypatch):
    """
    Return a command line in a folder with the page's files.
    """
    with command_line(tmp_path, capsys, monkeypatch) as found:
        found.write({**FILES, "studio/__init__.py": "", "studio/video.py": VIDEO, "resilient.toml": DECLARED})
        monkeypatch.syspath_prepend(str(tmp_path))
        yield found


@pytest.fixture
def bulkheads(line):
    """
    Return the page's module with the bulkhead.
    """
    import studio.bulkheads

    return studio.bulkheads


@pytest.fixture
def auditing(line):
    """
    Return the page's module with the audit.
    """
    import studio.auditing

    return studio.auditing


def policy_of(fn):
    """
    Return the bulkhead of *fn*.
    """
    return next(one for one in fn.resilience.policies if one.kind == "bulkhead")


def statements(code):
    """
    Return how many statements *code* has, without imports and docstrings.
    """
    tree = ast.parse(code)
    found = [one for one in ast.walk(tree) if isinstance(one, ast.stmt)]
    words = [one for one in found if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)]
    return len([one for one in found if not isinstance(one, ast.Import | ast.ImportFrom)]) - len(words)


@pytest.mark.parametrize("name", FILES)
def test_a_policy_is_one_short_file(name):
    """
    Each is written in ten to forty statements.
    """
    assert list(FILES) == ["studio/auditing.py", "studio/bulkheads.py"]
    assert 10 <= statements(FILES[name]) <= 40


# -- the bulkhead ----------------------------------------------------------------


class Door:
    """
    Calls that stay where they are until they are let go, and tell how many were there at once.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.open = collections.defaultdict(threading.Event)
        self.inside = self.most = 0
        self.order = []

    def enter(self, who):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(who)

    def leave(self):
        with self.lock:
            self.inside -= 1

    def stay(self, who):
        self.enter(who)
        try:
            assert self.open[who].wait(PATIENCE)
            return who
        finally:
            self.leave()


def until(condition):
    """
    Wait until *condition* holds.
    """
    ready = threading.Event()
    for _ in range(int(PATIENCE / 0.001)):
        if condition():
            return
        ready.wait(0.001)
    message = "it never came"
    raise AssertionError(message)


def test_threads_take_turns_in_the_order_in_which_they_came(bulkheads, registry):
    """
    Two run, three wait, and the next is turned away; who has waited longest is served first.
    """
    door = Door()
    fn = bulkheads.bulkhead(2, max_queue=3, registry=registry)(door.stay)
    policy = policy_of(fn)
    threads = []
    for who in range(5):
        thread = threading.Thread(target=fn, args=(who,))
        thread.start()
        threads.append(thread)
        until(lambda who=who: len(policy.calls) == who + 1)
    until(lambda: len(door.order) == 2)
    with capture_events(registry) as events:
        error = in_thread(fn, 9)

    assert isinstance(error, bulkheads.BulkheadFullError)
    assert str(error).endswith("is not called: @bulkhead(max_calls=2, max_queue=3) has no place left")
    assert isinstance(error, CallRejectedError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert [one.name for one in events] == ["bulkhead.full", "operation.failed"]
    assert policy.health() == {"status": "warn", "running": 2, "waiting": 3}

    for who, thread in enumerate(threads):
        door.open[who].set()
        thread.join(PATIENCE)
        until(lambda who=who: len(door.order) == min(who + 3, 5))

    assert (door.most, sorted(door.order[:2]), door.order[2:]) == (2, [0, 1], [2, 3, 4])
    assert policy.health() == {"status": "pass", "running": 0, "waiting": 0}
    assert (fn.resilience.stats().rejected, fn.resilience.stats().calls) == (1, 6)


async def test_tasks_take_turns_and_a_cancelled_one_gives_its_place_back(bulkheads, registry):
    """
    A task that is cancelled while it waits leaves the queue; one that is cancelled while it runs serves the next.
    """
    gates = {who: asyncio.Event() for who in range(5)}
    order = []

    @bulkheads.bulkhead(1, max_queue=3, registry=registry)
    async def stay(who):
        order.append(who)
        await gates[who].wait()
        return who

    policy = policy_of(stay)
    tasks = [asyncio.create_task(stay(who)) for who in range(5)]
    # The last one is turned away, when all others stand where they stand.
    await asyncio.wait([tasks[4]])
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])

    assert (order, policy.health()) == ([0], {"status": "warn", "running": 1, "waiting": 2})

    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    gates[2].set()

    assert (await tasks[2], order) == (2, [0, 2])

    gates[3].set()

    assert await tasks[3] == 3
    assert isinstance(tasks[4].exception(), bulkheads.BulkheadFullError)
    assert (tasks[0].cancelled(), tasks[1].cancelled(), policy.calls) == (True, True, [])


def test_threads_and_loops_may_share_places(bulkheads, registry, monkeypatch):
    """
    Sync calls and async calls on several loops wait for the same places at once, and no more than fit run.
    """
    shared = {}

    def bind(cls, given, site):
        return shared.setdefault("one", cls(cls.table.filled(given), site))

    monkeypatch.setattr(bulkheads.Bulkhead, "bind", classmethod(bind))
    door = Door()

    @bulkheads.bulkhead(3, max_queue=100, registry=registry)
    def work(who):
        door.enter(who)
        door.leave()

    @bulkheads.bulkhead(3, max_queue=100, registry=registry)
    async def awork(who):
        door.enter(who)
        try:
            await asyncio.sleep(0)
        finally:
            door.leave()

    async def many():
        await asyncio.gather(*(awork(who) for who in range(20)))

    run_threads(
        *(lambda: asyncio.run(many()) for _ in range(2)),
        *(lambda: [work(who) for who in range(100)] for _ in range(4)),
    )

    assert policy_of(work) is policy_of(awork)
    assert (1 <= door.most <= 3, len(door.order), policy_of(work).calls) == (True, 440, [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, ValueError])
def test_an_interrupted_call_gives_its_place_back(colour, bulkheads, registry, error):
    """
    Whatever ends a call, the next one has its place.
    """

    def fail(which):
        if which:
            raise which

    fn = bulkheads.bulkhead(1, registry=registry)(colour.of(fail))
    for _ in range(3):
        assert type(caught(colour.drive, fn, error)) is error

    assert colour.drive(fn, None) is None
    assert policy_of(fn).calls == []


def test_a_thread_that_is_interrupted_while_it_waits_leaves_the_queue(bulkheads, registry, monkeypatch):
    """
    Ctrl-C in the midst of the wait takes the call out, and nobody is served in its stead.
    """
    door = Door()
    fn = bulkheads.bulkhead(1, max_queue=1, registry=registry)(door.stay)
    holder = threading.Thread(target=fn, args=("first",))
    holder.start()
    until(lambda: door.inside == 1)

    def interrupted(*command):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("resilient.drivers._await_future", interrupted)
        error = caught(fn, "second")
    waiting = policy_of(fn).health()["waiting"]
    door.open["first"].set()
    holder.join(PATIENCE)

    assert (type(error), waiting, door.order) == (KeyboardInterrupt, 0, ["first"])


def test_who_has_waited_long_enough_is_turned_away(colour, bulkheads, registry):
    """
    `max_wait` ends a wait with a rejection, and the place in the queue is free.
    """
    door = Door()

    async def astay(who):
        return door.stay(who)

    fn = bulkheads.bulkhead(1, max_queue=1, max_wait="10ms", registry=registry)(astay if colour.is_async else door.stay)
    holder = threading.Thread(target=colour.call, args=(fn, "first"))
    holder.start()
    until(lambda: door.inside == 1)
    errors = [type(caught(colour.call, fn, "late")) for _ in range(2)]
    door.open["first"].set()
    holder.join(PATIENCE)

    assert errors == [bulkheads.BulkheadFullError] * 2
    assert (fn.resilience.stats().rejected, door.order, policy_of(fn).calls) == (2, ["first"], [])


def test_a_place_that_comes_too_late_goes_to_the_next(bulkheads, registry):
    """
    Who is served while time is up runs: a place is not lost between the two.
    """
    fn = bulkheads.bulkhead(1, max_queue=1, max_wait=5, registry=registry)(len)
    policy = policy_of(fn)
    op = fn.resilience.pipeline.operation(1)

    def inner(op, args, kwargs):
        return Returned("ran")
        yield

    first = policy.plan(op, (), {}, inner)
    holder = bulkheads.Future()
    policy.arrange(holder, enters=True)
    command = next(first)
    policy.arrange(holder, enters=False)

    assert command.future.done()
    with pytest.raises(StopIteration) as stop:
        first.send(Returned(None))
    assert (stop.value.value.value, policy.calls) == ("ran", [])


def test_it_waits_on_trio_too(bulkheads, registry):
    """
    On trio a call that is cancelled while it waits leaves no thread behind.
    """
    trio, testing = pytest.importorskip("trio"), pytest.importorskip("trio.testing")

    async def main():
        release, order = trio.Event(), []

        @bulkheads.bulkhead(1, max_queue=1, registry=registry)
        async def stay(who):
            order.append(who)
            await release.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stay, 1)
            await testing.wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await stay(2)
            waiting = policy_of(stay).health()["waiting"]
            release.set()
        return order, waiting

    assert trio.run(main) == ([1], 0)


def test_it_stands_with_the_others(bulkheads, registry):
    """
    A rejection is not retried, unless that is asked for; it is no failure of a circuit's, and fallbacks stand in.
    """
    bulkhead = bulkheads.bulkhead

    def busy(*outer, attempts=1):
        fn = bulkhead(1, registry=registry)(lambda: None)
        for one in reversed(outer):
            fn = one(fn)
        policy_of(fn).arrange(bulkheads.Future(), enters=True)
        return fn, fn.resilience.outcome()

    plain, outcome = busy(retry)
    again, retried = busy(retry(on=bulkheads.BulkheadFullError, max_attempts=3))
    _, fallen = busy(fallback_chain(lambda: "card"))
    guarded, _ = busy(circuit("gpu", failure_threshold=1))

    assert (outcome.route, type(outcome.error), plain.resilience.stats().rejected) == (
        "rejected",
        bulkheads.BulkheadFullError,
        1,
    )
    assert (again.resilience.stats().rejected, retried.attempts) == (3, 0)
    assert fallen.value == "card"
    assert registry.circuits["gpu"].state.value == "closed"
    assert registry.analytics.total_errors == 0
    assert guarded.resilience.stats().rejected == 1


async def test_a_timeout_above_it_ends_the_wait(bulkheads, registry):
    """
    The wait counts for the limit, and the place in the queue is given up.
    """

    @timeout(0.01, registry=registry)
    @bulkheads.bulkhead(1, max_queue=1)
    async def fetch():
        return 1

    holder = bulkheads.Future()
    policy_of(fetch).arrange(holder, enters=True)
    with pytest.raises(CallTimeoutError):
        await fetch()

    assert policy_of(fetch).calls == [holder]
    policy_of(fetch).arrange(holder, enters=False)
    assert await fetch() == 1


def test_a_child_begins_with_free_places(bulkheads, registry):
    """
    After a fork nobody holds a place, and a call of the parent's that ends in the child takes none away.
    """
    fn = bulkheads.bulkhead(1, registry=registry)(lambda then: then and then())
    policy = policy_of(fn)

    def fork():
        lock = policy.lock
        fn.resilience.pipeline.renew_locks()
        return policy.lock is not lock and fn(None) is None

    assert fn(fork) is True
    assert policy.calls == []
    assert fn(None) is None


def test_its_order_is_looked_at(bulkheads):
    """
    Above a retry a place would be held through every wait.
    """
    with pytest.warns(PolicyOrderWarning, match="@bulkhead above @retry keeps its place while that waits"):
        bulkheads.bulkhead(1)(retry(lambda: 1))


# -- the audit -------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_each_call_is_audited(colour, auditing, registry, error):
    """
    Who, what, when, how long, and what came of it; also where the call is interrupted.
    """
    clock = registry.hub.clock

    def work(secret):
        clock.advance(2)
        if error:
            raise error

    fn = auditing.audit(registry=registry)(colour.of(work))
    token = auditing.user.set("ada")
    with capture_events(registry) as events:
        caught(colour.drive, fn, "hunter2") if error else colour.drive(fn, "hunter2")
    auditing.user.reset(token)
    [told] = [one for one in events if isinstance(one, auditing.Audited)]
    outcome = {None: "returned", ValueError: "ValueError"}.get(error, "interrupted")

    assert (told.user, told.function, told.seconds, told.outcome) == ("ada", fn.resilience.name, 2.0, outcome)
    assert told.at == clock.now()
    assert "hunter2" not in repr(told)


def test_it_sees_what_an_open_circuit_turns_away(auditing, registry):
    """
    Standing above a circuit it hears of rejections too.
    """
    registry.circuit("gpu").isolate()
    fn = auditing.audit(registry=registry)(circuit("gpu", registry=registry)(len))
    with capture_events(registry) as events:
        caught(fn, "ab")

    assert [one.outcome for one in events if isinstance(one, auditing.Audited)] == ["CircuitBreakerOpenError"]


def test_the_audit_is_logged(auditing, registry, entries):
    """
    The log has who, what and the outcome, and no arguments.
    """
    auditing.audit(registry=registry)(len)("hunter2")

    assert [(one["event"], one["log_level"], one["user"], one["outcome"]) for one in entries] == [
        ("resilient.audit.call", "info", "nobody", "returned")
    ]
    assert "hunter2" not in str(entries)


def test_both_keep_every_promise(bulkheads, auditing):
    """
    They pass the battery that a policy of anybody's is put to.
    """
    checks = [*policy_battery(bulkheads.bulkhead(2)), *policy_battery(auditing.audit)]

    assert len(checks) > 20
    assert [check() for check in checks] == [None] * len(checks)


# -- in a file -------------------------------------------------------------------


def test_the_pages_file_is_good(line):
    """
    ``resilient check`` imports the modules that the file names, and finds nothing wrong.
    """
    assert line("check") == (0, "resilient.toml: 1 policy, 2 patterns, no problems\n", "")


def test_explain_tells_what_the_page_shows(line, monkeypatch):
    """
    The page shows the text that the command prints, with the variable's word over the file's.
    """
    shown = re.search(
        r"^```console\n\$ RESILIENT_(\w+)=3 resilient explain.+?\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL
    )
    monkeypatch.setenv(f"RESILIENT_{shown[1]}", "3")
    status, out, err = line("explain", "studio.video:render")

    parts = [part.strip("\n") for part in shown[2].split("...\n")]

    assert (status, err) == (0, "")
    assert [part in out for part in parts] == [True] * len(parts)
    assert out.startswith(parts[0])
    assert out.rstrip("\n").endswith(parts[-1])


def test_explain_has_it_as_json(line):
    """
    An option that stands alone has its name there.
    """
    told = json.loads(line("explain", "--json", "studio.video:upload")[1])

    assert told["order"] == ["bulkhead"]
    assert told["policies"]["bulkhead"]["max_calls"] == {"value": 4, "from": "file", "where": "resilient.toml:10"}
    assert told["policies"]["bulkhead"]["max_wait"] == {"value": None, "from": "default", "where": None}


def test_a_file_puts_it_in_force_and_a_reload_changes_it(line, registry, monkeypatch):
    """
    In the order of their classes, with a variable over the file and code over both; a change makes a new policy.
    """
    monkeypatch.setenv("RESILIENT_POLICIES__GPU__BULKHEAD__MAX_QUEUE", "5")
    path = line.folder / "resilient.toml"
    registry.reload(path)
    import studio.video

    fn = governed(registry=registry)(studio.video.render)
    first = policy_of(fn)

    assert [one.kind for one in fn.resilience.policies] == ["audit", "retry", "bulkhead"]
    assert repr(first) == "@bulkhead(max_calls=2, max_queue=5)"

    registry.reload(path)

    assert policy_of(fn) is first

    path.write_text(DECLARED.replace("max_calls = 2", "max_calls = 7"))
    registry.reload(path)

    assert (repr(policy_of(fn)), fn("x")) == ("@bulkhead(max_calls=7, max_queue=5)", "picture of x")

    registry.configure({"policies": {"gpu": {"bulkhead": {"max_queue": 1}}}})

    assert repr(policy_of(fn)) == "@bulkhead(max_calls=7, max_queue=1)"

    registry.configure({"policies": {"gpu": {"bulkhead": False, "order": ["retry", "audit"]}}})

    assert [one.kind for one in fn.resilience.policies] == ["retry", "audit"]


def test_a_file_may_leave_to_the_decorator_what_has_to_be_given(line, bulkheads, registry):
    """
    Option by option the file wins; what it does not give the decorator has, and where nobody does that is told.
    """
    path = line.folder / "own.toml"
    path.write_text('import = ["studio.bulkheads"]\n[functions]\n"*:*" = { bulkhead = { max_queue = 3 } }\n')
    registry.reload(path)
    import studio.video

    fn = bulkheads.bulkhead(8, registry=registry)(len)

    assert repr(policy_of(fn)) == "@bulkhead(max_calls=8, max_queue=3)"
    assert "bulkhead: max_calls must be given: calls that may run at once" in str(
        caught(governed(registry=registry), studio.video.upload)
    )
    status, out, _ = line("check", "own.toml")
    assert status == 0
    assert (
        'own.toml:3: warning: functions."*:*".bulkhead: max_calls must be given: calls that may run at once; here it is'
        " not, so each function's decorator has to"
    ) in out


def test_wrong_options_in_a_file_have_their_lines(line, bulkheads, registry):
    """
    A file's mistakes are told in the words of the table.
    """
    path = line.folder / "own.toml"
    path.write_text(
        'import = ["studio.bulkheads"]\n[policies.a]\nbulkhead = { max_calls = 0, max_que = 1 }\n'
        "[policies.b]\nbulkhead = 0\n[policies.c]\nbulkhed = 1\n[policies.d]\nbulkhead = [1]\n"
    )
    error = caught(registry.reload, path)
    told = [one.replace(f"{path}:", "") for one in error.problems]

    assert [one.split(", got")[0] for one in told] == [
        "3: policies.a.bulkhead.max_calls: must be a whole number from 1 to 1000000",
        "3: policies.a.bulkhead.max_que: unknown option 'max_que'; did you mean 'max_queue'?",
        "5: policies.b.bulkhead: must be a whole number from 1 to 1000000",
        "7: policies.c.bulkhed: is unknown; did you mean 'bulkhead'?",
        "9: policies.d.bulkhead: must be a whole number from 1 to 1000000",
    ]


def test_the_schema_knows_an_added_kind(bulkheads, auditing):
    """
    A schema that is made where a policy is known completes it, with its first option alone too.
    """
    found = schema()
    kinds = found["$defs"]

    assert list(jsonschema.Draft202012Validator(found).iter_errors(tomllib.loads(DECLARED))) == []
    assert kinds["audit"]["description"].startswith("Tell of each call who made it and what came of it;")
    assert kinds["bulkhead"]["anyOf"][:2] == [{"type": "boolean"}, {"type": "integer", "minimum": 1, "maximum": 10**6}]
    assert list(kinds["bulkhead"]["anyOf"][2]["properties"]) == ["max_calls", "max_queue", "max_wait"]
    assert kinds["policy"]["properties"]["bulkhead"] == {"$ref": "#/$defs/bulkhead"}


def test_a_file_that_does_not_name_the_module_is_told_how(line, registry):
    """
    An unknown kind gets the hint.
    """
    (line.folder / "own.toml").write_text("[policies.a]\nbulkhead = 4\n")

    assert '; of your own, name the module: import = ["module"]' in line("check", "own.toml")[1]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("5", "import: must be an array of modules, got an integer"),
        ('"studio"', "import: must be an array of modules, got a string"),
        ("[5]", "import.0: must be a module, as in 'engine.policies', got an integer"),
        ('["no module"]', "import.0: is no module's name, which is like 'engine.policies'"),
        ('["studio.bulkhead"]', "import.0: there is no module 'studio.bulkhead'; did you mean 'studio.bulkheads'?"),
        ('["broken"]', "import.0: importing 'broken' raised ZeroDivisionError; it has to be importable by itself"),
        ('["needing"]', "import.0: importing 'needing' failed: it needs 'nowhere_found'"),
        ('["twisted"]', "import.0: importing 'twisted' raised PolicyError; it has to be importable by itself"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_problem(line, bulkheads, value, problem):
    """
    It is told with its line, and with what to do.
    """
    line.write(
        {
            "broken.py": "1 / 0\n",
            "needing.py": "import nowhere_found\n",
            "twisted.py": "from resilient.policy import decorator\ndecorator(int)\n",
            "own.toml": f"import = {value}\n",
        }
    )
    status, out, _ = line("check", "own.toml")

    assert status == 1
    assert f"own.toml:1: {problem}" in out


def test_the_page_counts_for_both_drivers(bulkheads, registry, clock):
    """
    The plan's text is one: each driver gives it its future.
    """
    fn = bulkheads.bulkhead(1, max_queue=1, registry=registry)(len)
    policy = policy_of(fn)

    def inner(op, args, kwargs):
        return Returned(args)
        yield

    plans = [policy.plan(fn.resilience.pipeline.operation(one), (one,), {}, inner) for one in (1, 2)]

    assert run(plans[0], clock).value == (1,)
    assert asyncio.run(arun(plans[1], clock)).value == (2,)
    assert "studio.bulkheads" in sys.modules
    assert isinstance(caught(bulkheads.bulkhead(0), len), PolicyError)
