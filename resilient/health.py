"""
One snapshot of everything a registry knows about its own state.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from resilient.levels import DegradationLevel
from resilient.policies.circuit import CircuitState
from resilient.text import readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.registry import Registry

__all__ = ["HealthSnapshot", "take_snapshot"]

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """
    The state of a registry at one moment. ``str()`` of it is a table.

    Args:
        registry: The registry's name.
        timestamp: When it was taken, ISO 8601 in UTC.
        status: ``"fail"`` where a critical circuit is open, ``"warn"`` where any
            circuit is open or a level is lowered, else ``"pass"``.
        degradation_level: The registry's service level.
        scopes: The levels of scopes that are lowered.
        error_rate: Errors per minute, over five minutes.
        failure_ratio: Operations that failed / operations, over five minutes;
            None while there was none.
        recovery_rate: Resolved incidents / incidents; 1.0 before the first.
        total_errors: Failed attempts since the start.
        circuits: By name, what `CircuitBreaker.get_state` returns.
        chains: By name, what `FallbackChain.get_statistics` returns.
        functions: By name, what ``fn.resilience.stats()`` counts.
        signals: By name, what each trigger's signal reads.
        notes: What a reader should know, such as a signal that cannot be read.
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

    def to_dict(self) -> dict[str, Any]:
        """
        Return the snapshot, JSON-ready.
        """
        return asdict(self)

    def __str__(self) -> str:
        ratio = "-" if self.failure_ratio is None else f"{self.failure_ratio:.1%}"
        lines = [
            f"registry {self.registry}: {self.status}",
            f"  level {self.degradation_level}   errors {self.total_errors} ({self.error_rate:.3g}/min)"
            f"   failed operations {ratio}   recovered incidents {self.recovery_rate:.0%}",
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
            [
                (name, *(str(one[key]) for key in _STATS))
                for name, one in self.functions.items()
            ],
        )
        lines += _table(
            ("chain", "last fallback", "success rate"),
            [
                (name, one["last_successful_fallback"] or "-", f"{one['overall_success_rate']:.0%}")
                for name, one in self.chains.items()
            ],
        )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


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


def take_snapshot(registry: Registry) -> HealthSnapshot:
    """
    Return the state of *registry* now.
    """
    degradation, analytics = registry.degradation, registry.analytics
    level = degradation.level
    scopes = {readable(name): one.label for name, one in degradation.lowered_scopes().items()}
    circuits = {readable(name): _readable(one.get_state()) for name, one in registry.circuits.items()}
    shut = [one for one in circuits.values() if one["state"] == CircuitState.OPEN.value]
    status: Status = "pass"
    if any(one["critical"] for one in shut):
        status = "fail"
    elif shut or level is not DegradationLevel.FULL or scopes:
        status = "warn"
    signals = {name: asdict(state) for name, state in degradation.signals().items()}
    unavailable = [name for name, one in signals.items() if one["value"] is None]
    return HealthSnapshot(
        registry=readable(registry.name),
        timestamp=registry.hub.clock.now().isoformat(),
        status=status,
        degradation_level=level.label,
        scopes=scopes,
        error_rate=analytics.get_error_rate(),
        failure_ratio=registry.failure_ratio(),
        recovery_rate=analytics.get_recovery_rate(),
        total_errors=analytics.total_errors,
        circuits=circuits,
        chains={
            readable(name): {**one.get_statistics(), "entries": one.get_stats()} for name, one in registry.chains.items()
        },
        functions={readable(name): one.stats().to_dict() for name, one in registry.functions.items()},
        signals=signals,
        notes=tuple(f"signal {name} has no value" for name in unavailable),
    )


def _readable(state: dict[str, Any]) -> dict[str, Any]:
    state["name"] = readable(state["name"])
    if state["last_error"] is not None:
        state["last_error"] = readable(state["last_error"])
    return state
