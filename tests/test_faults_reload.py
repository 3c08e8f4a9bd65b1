"""
Faults 39 and 43: what happens to a file that is watched (39), and reloads under load (43).
"""

from __future__ import annotations

import itertools
import threading

import pytest

from resilient import CircuitBreakerOpenError, CircuitState, PolicyError, Registry, circuit, governed, retry
from tests.harness import caught
from tests.test_declared_watching import GOOD, Changes, attempts, changes, file, until, watch, work

__all__ = ["Changes", "changes", "file", "watch", "work"]


# -- row 39: a file that is being watched ------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(GOOD[:25], id="half-written"),
        pytest.param("", id="emptied"),
        pytest.param(GOOD % 3 + GOOD % 3, id="doubled"),
        pytest.param("[functions]\n'*:*' = { retri = {} }\n", id="typo"),
        pytest.param("\ufeff[functions]\n'*:*' = 5\n", id="wrong type after a BOM"),
        pytest.param("[functions]\n'*:*' = 'nobody'\n", id="missing parent"),
        pytest.param("[policies]\na.extends = 'b'\nb.extends = 'a'\n", id="cycle"),
        pytest.param("#" * (100 * 1024 * 1024), id="100 MB"),
    ],
)
def test_row_39_a_bad_save_keeps_the_last_good_one(watch, changes, file, work, registry, entries, broken):  # noqa: PLR0917 - fixtures
    """
    It is logged once, health warns, and the next good save is in force.
    """
    before = work.resilience.policies
    file.write_text(broken, encoding="utf-8")
    changes.tell()
    changes.tell()
    kept, warned = work.resilience.policies, registry.health()
    file.write_text(GOOD % 31, encoding="utf-8")
    changes.tell()

    assert kept is before
    assert (warned.status, warned.checks["declarations"]["status"]) == ("warn", "warn")
    assert [entry["event"] for entry in entries if "refused" in entry["event"]] == ["resilient.declarations.refused"]
    assert (attempts(work), registry.health().status) == (31, "pass")


def test_row_39_deleted_and_back(watch, changes, file, work, registry):
    """
    A file that is gone keeps what it said, and says what it says when it is back.
    """
    file.unlink()
    changes.tell()
    gone = attempts(work), registry.health().status
    file.write_text(GOOD % 32, encoding="utf-8")
    changes.tell()

    assert gone == (2, "warn")
    assert (attempts(work), registry.health().status) == (32, "pass")


def test_row_39_a_link_that_is_swapped(registry, file, work, changes, tmp_path):
    """
    A folder of versions, and a link to one of them that is turned to another in one step.
    """
    for number in (3, 4):
        (tmp_path / f"..v{number}").mkdir()
        (tmp_path / f"..v{number}" / "resilient.toml").write_text(GOOD % number, encoding="utf-8")
    (tmp_path / "..data").symlink_to("..v3")
    file.unlink()
    file.symlink_to("..data/resilient.toml")
    registry.reload(file)
    with registry.watch():
        changes.settle()
        before = attempts(work)
        (tmp_path / "..new").symlink_to("..v4")
        (tmp_path / "..new").replace(tmp_path / "..data")
        changes.tell()

    assert (before, attempts(work)) == (3, 4)
    assert changes.calls[0][0] == {tmp_path, tmp_path / "..v3"}
    assert changes.calls[-1][0] == {tmp_path, tmp_path / "..v4"}


# -- row 43: reloads under load ---------------------------------------------------------


TEXT = """
[policies.engine]
retry   = {{ max_attempts = {attempts}, initial_delay = 0, on = ["network"] }}
circuit = {{ failure_threshold = {threshold} }}

[functions]
"*:*.render" = "engine"
"*:*.upload" = {{ extends = "engine", circuit = {{ name = "storage" }} }}
"""


GOOD_TEXTS = [
    *(TEXT.format(attempts=2 + turn % 3, threshold=1000 + turn % 2) for turn in range(6)),
    "# nothing\n",
    '[functions]\n"*:*" = { recoverable = {}, order = ["recoverable"] }\n',
]
BAD_TEXT = "[policies\n"


class Load:
    """
    Functions under a file of policies, threads that call them, and one that reloads the file all the time.

    Args:
        path: The file.
        calls: How many calls are made, half of each of two functions.
    """

    def __init__(self, path, calls):
        self.registry = Registry()
        self.path = path
        self.calls = calls
        self.made = {"render": itertools.count(), "upload": itertools.count()}
        self.returned = itertools.count()
        self.raised = itertools.count()
        self.rounds = 0
        self.wrong = []
        self.over = threading.Event()
        here = {"registry": self.registry}

        @governed(**here)
        def render(number):
            next(self.made["render"])
            return number

        @retry(max_attempts=2, jitter=False, **here)
        @circuit(**here)
        def upload(number):
            next(self.made["upload"])
            # Permanent, so that each call is one attempt whatever is in force.
            if number % 100 == 0:
                raise ValueError(number)
            return number

        @circuit("broken", failure_threshold=1, open_for=1e6, **here)
        def broken():
            raise ConnectionError

        self.functions = {"render": render, "upload": upload}
        self.broken = broken
        self.put(GOOD_TEXTS[0])
        caught(broken)

    def put(self, text):
        """
        Write the file, and load it.
        """
        self.path.write_text(text, encoding="utf-8")
        self.registry.reload(self.path)

    def reload(self):
        """
        Load one text after the other, bad ones among them, until the work is done; the first one last.
        """
        while not self.over.is_set():
            for text in GOOD_TEXTS:
                self.put(text)
                if type(caught(self.put, BAD_TEXT)) is not PolicyError:
                    self.wrong.append(BAD_TEXT)
            self.rounds += 1
        self.put(GOOD_TEXTS[0])

    def work(self, first, threads):
        """
        Make a share of the calls.
        """
        for number in range(first, self.calls, threads):
            if number % (self.calls // 10) < threads:
                # A tenth of the calls for each round, at most.
                rounds = self.rounds
                until(lambda rounds=rounds: self.rounds > rounds)
            fn = self.functions["upload" if number % 2 else "render"]
            try:
                if fn(number // 2) != number // 2:
                    self.wrong.append(number)
                next(self.returned)
            except ValueError:
                next(self.raised)

    def run(self, threads=8):
        """
        Do everything at once.
        """
        workers = [threading.Thread(target=self.work, args=(first, threads)) for first in range(threads)]
        reloader = threading.Thread(target=self.reload)
        for thread in (reloader, *workers):
            thread.start()
        for thread in workers:
            thread.join()
        self.over.set()
        reloader.join()


def check(path, calls):
    """
    Make *calls* calls under reloads, and look for what was lost, doubled or forgotten.
    """
    load = Load(path, calls)
    load.run()
    registry, half, failed = load.registry, calls // 2, calls // 200
    stats = {name: fn.resilience.stats() for name, fn in load.functions.items()}

    assert load.wrong == []
    # No call lost, none doubled.
    assert {name: next(count) for name, count in load.made.items()} == {"render": half, "upload": half}
    assert (next(load.returned), next(load.raised)) == (calls - failed, failed)
    assert [(one.calls, one.attempts) for one in stats.values()] == [(half, half)] * 2
    assert [one.failures for one in stats.values()] == [0, failed]
    assert registry.analytics.total_errors == failed + 1
    # The circuit that was open before is open, and what the last file says is in force.
    assert registry.circuits["broken"].state is CircuitState.OPEN
    assert type(caught(load.broken)) is CircuitBreakerOpenError
    assert [policy.kind for policy in load.functions["render"].resilience.policies] == ["retry", "circuit"]
    assert registry.circuits["storage"].options["failure_threshold"] == 1000
    assert registry.health().checks["declarations"]["status"] == "pass"
    # All texts in each, good and bad.
    assert load.rounds >= 10


def test_row_43_reloads_under_load(tmp_path, switches):
    """
    Four thousand calls from eight threads while the file is reloaded all the time.
    """
    check(tmp_path / "resilient.toml", 4_000)


@pytest.mark.slow
def test_row_43_two_hundred_thousand_calls_under_reloads(tmp_path, switches):
    """
    No call is lost, none is doubled, breakers keep their state.
    """
    check(tmp_path / "resilient.toml", 200_000)


def test_row_43_failures_under_load_count_once(tmp_path, switches):
    """
    While options change all the time a circuit counts each failure once, and opens at the last one that it takes.
    """
    registry = Registry()
    path = tmp_path / "resilient.toml"

    @governed(registry=registry)
    def fails():
        raise ConnectionError

    text = '[functions]\n"*:*" = {{ circuit = {{ failure_threshold = 801, open_for = {} }} }}\n'
    path.write_text(text.format(50), encoding="utf-8")
    registry.reload(path)
    breaker = registry.circuits[fails.resilience.pipeline.name]
    over = threading.Event()

    def reload():
        for turn in itertools.count():
            path.write_text(text.format(50 + turn), encoding="utf-8")
            registry.reload()
            if over.is_set():
                return

    reloader = threading.Thread(target=reload)
    workers = [threading.Thread(target=lambda: [caught(fails) for _ in range(100)]) for _ in range(8)]
    for thread in (reloader, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    reloader.join()

    assert registry.circuits[fails.resilience.pipeline.name] is breaker
    assert (breaker.failure_count, breaker.state) == (800, CircuitState.CLOSED)
    assert type(caught(fails)) is ConnectionError
    assert breaker.state is CircuitState.OPEN
