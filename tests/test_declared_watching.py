"""
Watching a file of policies, and reloading it on SIGHUP.
"""

from __future__ import annotations

import builtins
import os
import signal
import sys
import threading
import types

import pytest

from resilient import PolicyError, governed
from resilient.declared import signals, watching
from resilient.declared.watching import Watch
from tests.harness import PATIENCE, caught, in_thread

GOOD = '[functions]\n"*:*" = { retry = { max_attempts = %d } }\n'

needs_sighup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this platform")


def attempts(fn):
    """
    Return the attempts that are in force.
    """
    return fn.resilience.in_force[0].given["max_attempts"] if fn.resilience.in_force else None


@pytest.fixture
def file(tmp_path):
    """
    Return a file of policies.
    """
    path = tmp_path / "resilient.toml"
    path.write_text(GOOD % 2, encoding="utf-8")
    return path


@pytest.fixture
def work(registry):
    """
    Return a governed function.
    """
    return governed(registry=registry)(lambda: 1)


def until(happened):
    """
    Wait for what another thread does.
    """
    for _ in range(int(PATIENCE * 100)):
        if happened():
            return
        threading.Event().wait(0.01)
    message = "it does not happen"
    raise AssertionError(message)


class Changes:
    """
    Stands for `watchfiles.watch`: a test says when something has changed, and waits until it was looked at.
    """

    def __init__(self):
        self.calls = []
        self.told = threading.Semaphore(0)
        self.waits = threading.Semaphore(0)
        self.failures = []

    def __call__(self, *folders, stop_event, **options):
        self.calls.append((set(folders), options))
        if self.failures:
            raise self.failures.pop()
        return self._changes(stop_event)

    def _changes(self, stop):
        while True:
            # Whatever the watch does after a change it has done when it asks for the next one.
            self.waits.release()
            while not self.told.acquire(timeout=0.01):
                if stop.is_set():
                    return
            yield set()

    def settle(self):
        """
        Wait until the watch waits for a change.
        """
        assert self.waits.acquire(timeout=PATIENCE)

    def tell(self):
        """
        Say that something has changed, and wait until that was looked at.
        """
        self.told.release()
        self.settle()


@pytest.fixture
def changes(monkeypatch):
    """
    Return the stand-in for the package, in force.
    """
    changes = Changes()
    monkeypatch.setitem(sys.modules, "watchfiles", types.SimpleNamespace(watch=changes))
    return changes


@pytest.fixture
def watch(registry, file, work, changes):
    """
    Return a watch of the file that waits for changes.
    """
    registry.reload(file)
    with registry.watch() as watch:
        changes.settle()
        yield watch


# -- watching --------------------------------------------------------------------


def test_a_change_is_put_in_force(watch, changes, file, work):
    """
    The file is read again when it has changed, and only then.
    """
    before = work.resilience.policies
    changes.tell()
    unchanged = work.resilience.policies
    file.write_text(GOOD % 33, encoding="utf-8")
    changes.tell()

    assert unchanged is before
    assert attempts(work) == 33
    assert changes.calls[0][0] == {file.parent}
    assert changes.calls[0][1]["recursive"] is False
    assert repr(watch) == f"<Watch of {file}>"


def test_a_watch_loads_the_file_where_none_is_in_force(registry, file, work, changes, monkeypatch):
    """
    `watch` alone is enough; a first load that fails is the caller's.
    """
    monkeypatch.chdir(file.parent)
    file.write_text("[functions\n", encoding="utf-8")
    error = caught(registry.watch)
    file.write_text(GOOD % 4, encoding="utf-8")
    with registry.watch() as watch:
        loaded = attempts(work)

    assert type(error) is PolicyError
    assert loaded == 4
    assert watch.path == file


def test_what_has_changed_since_it_was_loaded_is_seen_at_once(registry, file, work, changes):
    """
    Between the load and the watch nothing is missed.
    """
    registry.reload(file)
    file.write_text(GOOD % 44, encoding="utf-8")
    with registry.watch():
        changes.settle()
        found = attempts(work)

    assert found == 44


def test_stop_ends_the_watch(watch, changes, file, work):
    """
    The thread is gone when it returns, later changes are nobody's, and a second call does nothing.
    """
    watch.stop()
    watch.stop()
    file.write_text(GOOD % 55, encoding="utf-8")

    assert not watch._thread.is_alive()  # noqa: SLF001 - the thread is what is asked for
    assert watch._thread.daemon  # noqa: SLF001 - as above
    assert attempts(work) == 2
    assert "stopped" in repr(watch)


def test_stop_from_within_does_not_wait_for_itself(watch, changes, file, registry, monkeypatch):
    """
    What a reload runs may stop the watch.
    """
    monkeypatch.setattr(watching, "reload", lambda *_: watch.stop())
    file.write_text(GOOD % 66, encoding="utf-8")
    changes.told.release()
    watch._thread.join(PATIENCE)  # noqa: SLF001 - as above

    assert not watch._thread.is_alive()  # noqa: SLF001 - as above


def test_a_folder_that_comes_into_play_is_watched(watch, changes, file, work, tmp_path):
    """
    The file becomes a link to elsewhere, which is watched from then on.
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "policies.toml").write_text(GOOD % 77, encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(elsewhere / "policies.toml")
    link.replace(file)
    changes.tell()
    linked = attempts(work)
    (elsewhere / "policies.toml").write_text(GOOD % 888, encoding="utf-8")
    changes.tell()

    assert [linked, attempts(work)] == [77, 888]
    assert changes.calls[-1][0] == {tmp_path, elsewhere}


def test_a_watch_goes_on_whatever_goes_wrong(registry, file, work, changes, monkeypatch):
    """
    A failing watcher is told of in health and tried again; so is a folder that is gone.
    """
    monkeypatch.setattr(watching, "_PAUSE", 0.01)
    registry.reload(file)
    changes.failures = [OSError("no more inotify watches")]
    with registry.watch():
        changes.settle()
        after = registry.health()
    # All at once, gone and back: the stand-in tells of nothing that the watch has not seen itself.
    away = file.parent.with_name("away")
    file.parent.rename(away)
    with registry.watch() as watch:
        until(lambda: registry.refused is not None)
        gone = registry.health().checks["declarations"]
        (away / file.name).write_text(GOOD % 9, encoding="utf-8")
        away.rename(file.parent)
        changes.settle()

    # A watch that looks again finds the file good, and says so.
    assert len(changes.calls) >= 3
    assert after.status == "pass"
    assert gone["problems"] == ["cannot be read; what it said stays in force"]
    assert attempts(work) == 9
    assert watch.path == file


def test_without_the_package_the_error_says_what_to_install(registry, file, monkeypatch):
    """
    One error, with the command.
    """
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "watchfiles":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    error = caught(registry.watch)

    assert type(error) is PolicyError
    assert watching.INSTALL_HINT in str(error)
    assert "resilient-aspects[watch]" in watching.INSTALL_HINT


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({}, {""}),
        ({"resilient.toml": "data/resilient.toml"}, {"", "data"}),
        ({"resilient.toml": "..data/resilient.toml", "..data": "..2024"}, {"", "..2024"}),
        ({"resilient.toml": "resilient.toml"}, {""}),
    ],
)
def test_folders_of_a_file(tmp_path, links, expected):
    """
    Its own, and those of what it leads to, each link on the way included.
    """
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    found = watching._folders(tmp_path / "resilient.toml")  # noqa: SLF001 - what it rests on

    assert found == {tmp_path / one for one in expected}


def test_the_package_itself(registry, file, work):
    """
    With watchfiles a save is in force soon, and the watch ends when it is told to.
    """
    pytest.importorskip("watchfiles")
    registry.reload(file)
    with registry.watch() as watch:
        other = file.with_name("other")
        other.write_text(GOOD % 99, encoding="utf-8")
        other.replace(file)
        until(lambda: attempts(work) == 99)

    assert attempts(work) == 99
    assert not watch._thread.is_alive()  # noqa: SLF001 - as above


def test_a_watch_is_a_handle(registry, file, changes):
    """
    What `Registry.watch` returns is what a user may name.
    """
    registry.reload(file)
    with registry.watch() as watch:
        assert isinstance(watch, Watch)


# -- SIGHUP ---------------------------------------------------------------------------


@pytest.fixture
def reloaded(monkeypatch):
    """
    Return a semaphore that each finished reload of the signal's thread releases, and what it raised.
    """
    done = threading.Semaphore(0)
    real = signals.reload

    def reload(registry):
        try:
            real(registry)
        finally:
            done.release()

    monkeypatch.setattr(signals, "reload", reload)
    return done


@needs_sighup
def test_sighup_reloads(registry, file, work, reloaded):
    """
    A good file is put in force, a bad one is not and does not end it; afterwards the old handler is back.
    """
    heard = []
    before = signal.signal(signal.SIGHUP, lambda *_: heard.append(1))
    try:
        mine = signal.getsignal(signal.SIGHUP)
        registry.reload(file)
        with registry.reload_on_sighup() as handle:
            for text in ("[functions\n", GOOD % 5):
                file.write_text(text, encoding="utf-8")
                signal.raise_signal(signal.SIGHUP)
                assert reloaded.acquire(timeout=PATIENCE)
            alive = repr(handle)
        back = signal.getsignal(signal.SIGHUP)
        handle.stop()
    finally:
        signal.signal(signal.SIGHUP, before)

    assert attempts(work) == 5
    assert len(heard) == 2
    assert back is mine
    assert "stopped" in repr(handle)
    assert "stopped" not in alive


@needs_sighup
def test_sighup_whatever_the_reload_raises(registry, reports, monkeypatch):
    """
    It is reported, and the next signal is heard.
    """
    done = threading.Semaphore(0)

    def reload(_):
        done.release()
        raise OSError

    monkeypatch.setattr(signals, "reload", reload)
    with registry.reload_on_sighup() as handle:
        handle._handle(signal.SIGHUP, None)  # noqa: SLF001 - as the interpreter does
        handle._handle(signal.SIGHUP, None)  # noqa: SLF001 - as above
        assert done.acquire(timeout=PATIENCE)
        assert done.acquire(timeout=PATIENCE)

    assert reports == [("reload on SIGHUP", OSError)] * 2


@needs_sighup
def test_another_handler_that_came_meanwhile_stays(registry):
    """
    Only our own handler is taken away.
    """
    before = signal.getsignal(signal.SIGHUP)
    handle = registry.reload_on_sighup()
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        handle.stop()

        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@needs_sighup
def test_signals_belong_to_the_main_thread(registry):
    """
    Elsewhere neither the beginning nor the end is possible, and both say so.
    """
    error = in_thread(registry.reload_on_sighup)
    with registry.reload_on_sighup() as handle:
        late = in_thread(handle.stop)

    assert type(error) is type(late) is PolicyError
    assert "main thread" in str(error)


def test_a_platform_without_the_signal(registry, monkeypatch):
    """
    The error says what to do instead.
    """
    monkeypatch.delattr(signal, "SIGHUP", raising=False)

    assert "watch()" in str(caught(registry.reload_on_sighup))


@needs_sighup
def test_a_handler_may_interrupt_anything(registry, file, work, reloaded):
    """
    A signal within the registry's own lock is heard, and the reload waits until that is free.
    """
    registry.reload(file)
    file.write_text(GOOD % 6, encoding="utf-8")
    with registry.reload_on_sighup():
        with registry._lock:  # noqa: SLF001 - the lock that the swap takes
            os.kill(os.getpid(), signal.SIGHUP)
            early = reloaded.acquire(timeout=0.05)
        assert reloaded.acquire(timeout=PATIENCE)

    assert (early, attempts(work)) == (False, 6)
