"""
The snapshot of a registry's state.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from datetime import datetime

import pytest

from resilient import CircuitBreakerConfig, HealthSnapshot, Registry, circuit, degradable, fallback_chain, retry


@pytest.fixture
def registry(clock):
    """
    Return a registry on that clock.
    """
    return Registry("farm", clock=clock)


def opened(registry, name, *, critical=False):
    """
    Return a circuit that is open.
    """
    breaker = registry.circuit(name, CircuitBreakerConfig(critical=critical, timeout=10))
    breaker.state = "open"
    return breaker


# -- status ---------------------------------------------------------------------


def test_an_empty_registry_passes(registry, clock):
    """
    A registry with nothing in it is healthy, and the snapshot says when it was taken.
    """
    health = registry.health()

    assert isinstance(health, HealthSnapshot)
    assert (health.status, health.registry, health.degradation_level) == ("pass", "farm", "full")
    assert (health.error_rate, health.failure_ratio, health.recovery_rate, health.total_errors) == (0.0, None, 1.0, 0)
    assert datetime.fromisoformat(health.timestamp) == clock.now()


@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        (lambda registry: registry.circuit("a"), "pass"),
        (lambda registry: opened(registry, "a"), "warn"),
        (lambda registry: opened(registry, "a", critical=True), "fail"),
        (lambda registry: (opened(registry, "a"), opened(registry, "b", critical=True)), "fail"),
        (lambda registry: registry.circuit("a", CircuitBreakerConfig(critical=True)), "pass"),
        (lambda registry: registry.circuit("a").isolate(), "warn"),
        (lambda registry: setattr(registry.circuit("a"), "state", "half_open"), "pass"),
        (lambda registry: registry.degradation.degrade(), "warn"),
        (lambda registry: registry.degradation.scope("video").degrade(), "warn"),
        (lambda registry: opened(registry, "a").close(), "pass"),
    ],
)
def test_status(registry, prepare, status):
    """
    An open circuit or a lowered level is a warning; only an open critical circuit is a failure.
    """
    held = prepare(registry)

    assert registry.health().status == status
    del held


def test_errors_alone_are_no_warning(registry):
    """
    Failed calls are counted, and change no status.
    """

    @retry(registry=registry)
    def broken():
        raise ConnectionError("down")

    with pytest.raises(ConnectionError):
        broken()
    health = registry.health()

    assert (health.status, health.total_errors, health.error_rate, health.failure_ratio) == ("pass", 3, 3.0, 1.0)
    assert health.recovery_rate == 0.0


# -- what it has ------------------------------------------------------------------


def test_it_is_frozen(registry):
    """
    A snapshot cannot be changed, and does not follow what happens later.
    """
    health = registry.health()
    opened(registry, "a")

    assert health.circuits == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        health.status = "fail"


def test_circuits_chains_functions_and_scopes_by_name(registry, clock):
    """
    A snapshot has everything that has a name.
    """

    @fallback_chain(lambda: "small", name="images", registry=registry)
    @circuit("renderer", failure_threshold=1, open_for=10)
    def render():
        raise ConnectionError("down")

    render()
    clock.advance(4)
    registry.degradation.scope("video").degrade()
    health = registry.health()
    state = health.circuits["renderer"]

    assert (state["name"], state["state"], state["failure_count"], state["retry_after"]) == ("renderer", "open", 1, 6.0)
    assert state["last_error"] == "ConnectionError: down"
    assert health.scopes == {"video": "high"}
    assert health.chains["images"]["last_successful_fallback"] == "<lambda>"
    assert health.chains["images"]["entries"]["<lambda>"] == {"attempts": 1, "successes": 1, "failures": 0}
    (stats,) = health.functions.values()
    assert (stats["calls"], stats["recovered"], stats["fallbacks"]) == (1, 1, 1)


def test_to_dict_is_json_ready(registry):
    """
    The dict has every field, as values that JSON has, in objects of its own.
    """
    opened(registry, "a")
    registry.chain("images").add_fallback(len)
    registry.degradation.add_signal("queue", lambda: float("inf"), 10)
    registry.degradation.add_signal("idle", lambda: None, 10)
    health = registry.health()
    told = health.to_dict()

    assert list(told) == [field.name for field in dataclasses.fields(HealthSnapshot)]
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["signals"]["queue"]["value"] == "inf"
    assert told["circuits"]["a"] == health.circuits["a"]
    assert told["circuits"]["a"] is not health.circuits["a"]


# -- signals ------------------------------------------------------------------------


def test_signals(registry):
    """
    A snapshot has what each signal reads, and calls one without a value unavailable.
    """
    registry.degradation.add_signal("queue", lambda: 3, 10)
    registry.degradation.configure_triggers({"response_time_threshold": 2})
    health = registry.health()

    assert health.signals["queue"] == {"value": 3.0, "threshold": 10.0, "state": "ok"}
    assert health.signals["response_time"] == {"value": None, "threshold": 2.0, "state": "unavailable"}
    assert health.notes == ("signal response_time is unavailable: it has no value yet, or cannot be read",)


def test_a_signal_without_its_package_says_how_to_install_it(registry, monkeypatch):
    """
    Without psutil the note of memory and CPU use is the install hint.
    """
    registry.degradation.configure_triggers({"memory_usage_threshold": 0.9})
    monkeypatch.setattr(registry.degradation, "signals", lambda: {"memory_usage": {"value": None, "state": "ok"}})
    with_psutil = registry.health().notes
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert with_psutil == ("signal memory_usage is unavailable: it has no value yet, or cannot be read",)
    assert registry.health().notes == (
        "signal memory_usage is unavailable without psutil; install it with: pip install 'resilient-aspects[system]'",
    )


# -- for people ----------------------------------------------------------------------


def test_str_is_a_table(registry, clock):
    """
    ``str()`` of a snapshot is a table, its columns in line.
    """

    @degradable(registry=registry)
    @fallback_chain(lambda quality=1.0: "small", name="images")
    @circuit("renderer", failure_threshold=1, open_for=10)
    def render(quality=1.0):
        raise ConnectionError("down")

    render()
    opened(registry, "due")
    held = registry.circuit("kept shut").isolate()
    clock.advance(10)
    opened(registry, "later")
    registry.circuit("renderer").state = "closed"
    registry.degradation.scope("video").degrade()
    registry.degradation.add_signal("queue", lambda: 30, 10)
    registry.degradation.add_signal("idle", lambda: None, 10)
    registry.degradation.add_signal("huge", lambda: float("inf"), 10)
    table = str(registry.health())
    held.release()

    assert (
        table.replace(f"{__name__}:test_str_is_a_table.<locals>.", "")
        == """\
registry farm: warn
  level full   errors 1 (1/min)   failed operations 0.0%   recovered incidents 100%
  scope video: high

  circuit        state   failures   rejected   retry after
  renderer      closed          0          0             -
  due             open          0          0           due
  kept shut   isolated          0          0             -
  later           open          0          0        10.0 s

  function"""
        # Padded to the longest name, which is in the row below.
        + " " * (len(f"{__name__}:test_str_is_a_table.<locals>.render") - len("function"))
        + """   calls   attempts   retries   failures   rejected   recovered   fallbacks
  render       1          1         0          0          0           1           1

  chain    last fallback   success rate
  images        <lambda>           100%

  signal   value   threshold         state
  queue       30          10         above
  idle         -          10   unavailable
  huge       inf          10         above

  note: signal idle is unavailable: it has no value yet, or cannot be read"""
    )


def test_str_without_operations(registry):
    """
    Where there was no operation there is no ratio, and no empty tables.
    """
    assert str(registry.health()) == (
        "registry farm: pass\n  level full   errors 0 (0/min)   failed operations -   recovered incidents 100%"
    )


# -- strangers' text --------------------------------------------------------------------


def test_names_and_errors_are_redacted_and_escaped(registry):
    """
    Names and errors come redacted and on one line, wherever they stand.
    """
    name = "api password=hunter2\x1b[31m\nx"
    breaker = registry.circuit(name, CircuitBreakerConfig(failure_threshold=1))

    def broken():
        raise ConnectionError("token=hunter2\n\x1b[31m")

    with pytest.raises(ConnectionError):
        breaker.call(broken)
    registry.chain(name).add_fallback(len, name="token=hunter2\x1b")
    registry.degradation.scope(name).degrade()
    health = registry.health()
    text = json.dumps(health.to_dict()) + str(health)

    assert "hunter2" not in text
    assert "\x1b" not in text
    assert "\\u001b" not in text
    assert health.circuits.keys() == health.chains.keys()


def test_names_that_read_the_same_are_told_apart(registry):
    """
    No circuit is lost where two names are the same once their secrets are gone.
    """
    opened(registry, "password=one")
    opened(registry, "password=two", critical=True)
    registry.circuit("password=three")
    health = registry.health()
    shown = "password=[redacted]"

    assert list(health.circuits) == [shown, f"{shown}#2", f"{shown}#3"]
    assert health.status == "fail"


def test_long_names_are_cut(registry):
    """
    A name of any length takes a bounded place.
    """
    registry.circuit("x" * 1_000_000)

    assert len(json.dumps(registry.health().to_dict())) < 10_000
