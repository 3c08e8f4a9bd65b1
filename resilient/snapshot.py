"""
One snapshot of everything a registry knows about its own state.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from resilient.control.signals import INSTALL_HINT
from resilient.levels import DegradationLevel
from resilient.light import dataclass
from resilient.logs import plain
from resilient.policies.circuit import CircuitState
from resilient.redaction import readable
from resilient.text import cut, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilient.breaker import CircuitBreaker
    from resilient.chain import FallbackChain
    from resilient.policies.policy import Policy
    from resilient.registry import Registry

__all__ = ["HealthSnapshot", "take_snapshot"]

Status = Literal["pass", "warn", "fail"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """
    The state of a registry at one moment. ``str()`` of it is a table.

    Args:
        registry: The registry's name; all names and texts are redacted and escaped.
        timestamp: When it was taken, ISO 8601 in UTC.
        status: ``"fail"`` where a critical circuit is open, ``"warn"`` where any
            circuit is open, a level is lowered or a check warns, else ``"pass"``.
        degradation_level: The registry's service level.
        scopes: The levels of scopes that are lowered.
        error_rate: Errors per minute, over five minutes.
        failure_ratio: Operations that failed / operations, over five minutes;
            None while there was none.
        recovery_rate: Resolved incidents / incidents; 1.0 before the first.
        total_errors: Failed attempts since the start.
        circuits: By name, what `CircuitBreaker.get_state` returns.
        chains: By name, what `FallbackChain.get_statistics` returns, and as
            ``entries`` what `FallbackChain.get_stats` does.
        functions: By name, what ``fn.resilience.stats()`` counts.
        signals: By name, ``value``, ``threshold`` and ``state`` of each signal
            that the level follows; ``"unavailable"`` while there is no value.
        notes: What a reader should know, such as a signal that cannot be read.
        checks: By name, ``status`` and what else there is to say. ``"declarations"``, once a file was read: the
            ``file``, and the ``problems`` for which the latest one is not in force. And what policies tell of
            themselves, by their kind and their function: ``"timeout of engine:render"``.
    """

    registry: str
    timestamp: str
    status: Status
    degradation_level: str
    scopes: Mapping[str, str]
    error_rate: float
    failure_ratio: float | None
    recovery_rate: float
    total_errors: int
    circuits: Mapping[str, Mapping[str, Any]]
    chains: Mapping[str, Mapping[str, Any]]
    functions: Mapping[str, Mapping[str, int]]
    signals: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """
        Return the snapshot, JSON-ready.
        """
        return {field.name: _copied(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        ratio = "-" if self.failure_ratio is None else f"{self.failure_ratio:.1%}"
        errors = f"errors {self.total_errors} ({self.error_rate:.3g}/min)   failed operations {ratio}"
        lines = [
            f"registry {self.registry}: {self.status}",
            f"  level {self.degradation_level}   {errors}   recovered incidents {self.recovery_rate:.0%}",
        ]
        lines += [f"  scope {name}: {level}" for name, level in self.scopes.items()]
        lines += _table(
            ("circuit", "state", "failures", "rejected", "retry after"),
            [
                (
                    name,
                    "isolated" if one["isolated"] else one["state"],
                    str(one["failure_count"]),
                    str(one["rejected"]),
                    "due" if one["probe_due"] else "-" if one["retry_after"] is None else f"{one['retry_after']:.1f} s",
                )
                for name, one in self.circuits.items()
            ],
        )
        lines += _table(
            ("function", "calls", "attempts", "retries", "failures", "rejected", "recovered", "fallbacks"),
            [(name, *(str(one[key]) for key in _STATS)) for name, one in self.functions.items()],
        )
        lines += _table(
            ("chain", "last fallback", "success rate"),
            [
                (name, one["last_successful_fallback"] or "-", f"{one['overall_success_rate']:.0%}")
                for name, one in self.chains.items()
            ],
        )
        lines += _table(
            ("signal", "value", "threshold", "state"),
            [
                (name, "-" if one["value"] is None else _short(one["value"]), _short(one["threshold"]), one["state"])
                for name, one in self.signals.items()
            ],
        )
        told = [f"  check {name}: {_told(one)}" for name, one in self.checks.items() if one["status"] != "pass"]
        told += [f"  note: {note}" for note in self.notes]
        lines += ["", *told] if told else []
        return "\n".join(lines)


_STATUSES = ("pass", "warn", "fail")
_STATS = ("calls", "attempts", "retries", "failures", "rejected", "recovered", "fallbacks")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "",
        *(
            "  " + "   ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in (head, *rows)
        ),
    ]


def _told(check: Mapping[str, Any]) -> str:
    # What is wrong with a file is among the notes.
    rest = [
        f"{name} {value}" for name, value in check.items() if isinstance(value, int | float | str) and name != "status"
    ]
    return f"{check['status']} ({', '.join(rest)})" if rest else check["status"]


def _short(number: float | str) -> str:
    return number if isinstance(number, str) else f"{number:.3g}"


def _copied(value: Any) -> Any:
    # All there is: `dataclasses.asdict` would deep-copy every number.
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


# Redaction takes 5 microseconds, and names do not change.
@functools.lru_cache(4096)
def _name(name: str) -> str:
    return readable(cut(name))


def _by_name(things: Iterable[tuple[str, T]], told: Callable[[T], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """
    Return what *told* makes of each of *things*, by readable name; none is lost where two names read the same.
    """
    table: dict[str, dict[str, Any]] = {}
    for full, thing in things:
        name, number = _name(full), 2
        while name in table:
            name, number = f"{_name(full)}#{number}", number + 1
        table[name] = told(thing)
    return table


def take_snapshot(registry: Registry) -> HealthSnapshot:
    """
    Return the state of *registry* now.
    """
    degradation, analytics = registry.degradation, registry.analytics
    level = degradation.level
    scopes = {_name(name): one.label for name, one in degradation.lowered_scopes().items()}
    circuits = _by_name(registry.circuits.items(), _circuit)
    shut = [one for one in circuits.values() if one["state"] == CircuitState.OPEN.value]
    status: Status = "pass"
    if any(one["critical"] for one in shut):
        status = "fail"
    elif shut or level is not DegradationLevel.FULL or scopes:
        status = "warn"
    checks = {**_checks(registry), **_policies(registry)}
    status = max([status, *(one["status"] for one in checks.values())], key=_STATUSES.index)
    signals = {_name(name): _signal(state) for name, state in degradation.signals().items()}
    return HealthSnapshot(
        registry=_name(registry.name),
        timestamp=registry.hub.clock.now().isoformat(),
        status=status,
        degradation_level=level.label,
        scopes=scopes,
        error_rate=analytics.get_error_rate(),
        failure_ratio=registry.failure_ratio(),
        recovery_rate=analytics.get_recovery_rate(),
        total_errors=analytics.total_errors,
        circuits=circuits,
        chains=_by_name(registry.chains.items(), _chain),
        functions=_by_name(registry.functions.items(), lambda one: one.stats().to_dict()),
        signals=signals,
        notes=(*_unreadable(signals), *_refused(registry)),
        checks=checks,
    )


def _unreadable(signals: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [_note(name) for name, one in signals.items() if one["value"] is None]


def _refused(registry: Registry) -> list[str]:
    refused = registry.refused
    if refused is None:
        return []
    first, *others = refused.problems
    more = f" and {len(others)} more problems" if others else ""
    return [readable(cut(f"policies of {refused.label} are not in force: {first}")) + more]


def _checks(registry: Registry) -> dict[str, dict[str, Any]]:
    declared, refused = registry.declarations, registry.refused
    if refused is not None:
        problems = [readable(cut(one)) for one in refused.problems]
        return {"declarations": {"status": "warn", "file": _name(refused.label), "problems": problems}}
    if declared is None or declared.file is None:
        return {}
    return {"declarations": {"status": "pass", "file": _name(declared.file.label), "problems": []}}


def _policies(registry: Registry) -> dict[str, dict[str, Any]]:
    told = (
        (what, check)
        for name, one in registry.functions.items()
        for policy in one.policies
        if (check := _health(policy, what := f"{policy.kind} of {name}", registry)) is not None
    )
    return _by_name(told, lambda check: check)


def _health(policy: Policy, what: str, registry: Registry) -> dict[str, Any] | None:
    """
    Return what *policy* tells of itself, JSON-ready, with a status that there is; one that cannot tell is warned of.
    """
    try:
        told = policy.health()
        check = None if told is None else plain(dict(told))
    except Exception as error:  # noqa: BLE001 - it may be a user's own
        registry.hub.report(f"health of {what}", error)
        return {"status": "warn", "error": type_name(error)}
    if check is None:
        return None
    return {**check, "status": check.get("status") if check.get("status") in _STATUSES else "warn"}


def _circuit(breaker: CircuitBreaker) -> dict[str, Any]:
    state = breaker.get_state()
    state["name"] = _name(breaker.name)
    if state["last_error"] is not None:
        state["last_error"] = readable(state["last_error"])
    return state


def _chain(chain: FallbackChain) -> dict[str, Any]:
    statistics = chain.get_statistics()
    last = statistics["last_successful_fallback"]
    return {
        **statistics,
        "last_successful_fallback": last and _name(last),
        "entries": {_name(name): counts for name, counts in chain.get_stats().items()},
    }


def _signal(state: Mapping[str, Any]) -> dict[str, Any]:
    value = state["value"]
    # JSON has no infinity.
    return {**state, "value": str(value) if value is not None and math.isinf(value) else value}


def _note(signal: str) -> str:
    if signal in {"memory_usage", "cpu_usage"} and importlib.util.find_spec("psutil") is None:
        return f"signal {signal} is unavailable without psutil; install it with: {INSTALL_HINT}"
    return f"signal {signal} is unavailable: it has no value yet, or cannot be read"
