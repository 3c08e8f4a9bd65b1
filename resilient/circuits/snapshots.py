"""
What is saved of a circuit: state and counts, JSON-ready, with seconds that remain instead of instants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resilient.errors import PolicyError
from resilient.policies.checks import boolean, choice, integer, number, seconds
from resilient.policies.circuit import CircuitState
from resilient.policies.options import Option, OptionTable, describe
from resilient.policies.window import contents
from resilient.text import cut

__all__ = ["checked"]


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        msg = "must be a string or None"
        raise ValueError(msg)
    return None if value is None else cut(value)


def _age(value: object) -> float | None:
    # Of a longer one, no date could be made.
    return None if value is None else float(number(maximum=_LONG)(value))


_LONG = 1e9

_count = integer(minimum=0, maximum=2**63)

_FIELDS = OptionTable(
    "snapshot",
    Option("state", choice(*(state.value for state in CircuitState)), None, "the state"),
    Option("failures", _count, 0, "consecutive failures"),
    Option("successes", _count, 0, "successful probes"),
    Option("remaining", seconds(infinite=True, optional=True), None, "seconds still open; None: without end"),
    Option("reopenings", _count, 0, "probes in a row that failed"),
    Option("isolated", boolean, False, "whether it was isolated"),  # noqa: FBT003 - an option's default
    Option("last_error", _text, None, "what opened it"),
    Option("last_failure_age", _age, None, "seconds since the last failure"),
    Option("rejected", _count, 0, "calls not admitted"),
    Option("late", _count, 0, "results of an earlier generation"),
    Option("window", contents, (), "what the window holds"),
)


def checked(where: str, saved: object) -> dict[str, Any]:
    """
    Return a value for every field of a snapshot.

    Fields that are missing read as zero and fields that are not known are
    passed over: another version of this library may have saved it.

    Args:
        where: What was given the snapshot, for people.
        saved: The snapshot.

    Raises:
        PolicyError: With everything that no snapshot holds, at once.
    """
    if not isinstance(saved, Mapping) or "state" not in saved:
        msg = f"{where} takes what snapshot() has returned, got {describe(saved)}"
        raise PolicyError(msg)
    known = {name: value for name, value in saved.items() if name in _FIELDS.options}
    return {**_FIELDS.defaults(), **_FIELDS.validate(where, known)}
