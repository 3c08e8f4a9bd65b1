"""
Every kind of policy that there is: the order in which they stand, and the classes of those that were added.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from resilient.delivery import add_event
from resilient.errors import PolicyError
from resilient.events import Event
from resilient.policies.options import OptionTable, describe
from resilient.policies.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ADDED", "add", "in_order"]

_FIRST = ("degradable", "fallback_chain", "recoverable", "retry", "circuit")

# What a table in a file of policies may say beside kinds.
_TAKEN = ("extends", "order")

_LOUD = ("debug", "info", "warning", "error")

_added: dict[str, type[Policy]] = {}
_order: tuple[str, ...] = _FIRST

ADDED: Mapping[str, type[Policy]] = MappingProxyType(_added)
"""The policies whose class says all that there is to know of their kind, by kind."""


def in_order() -> tuple[str, ...]:
    """
    Return all kinds, outermost first: the order in which they stand where nobody gives another.
    """
    return _order


def add(policy: type[Policy]) -> None:
    """
    Make the kind of *policy* known: to decorators, to files of policies, to listeners and to the log.

    A class of the same name in the same module takes the place of the one before.

    Raises:
        PolicyError: With everything about it that cannot be meant.
    """
    global _order  # noqa: PLW0603 - replaced whole, read without a lock
    problems = _problems(policy)
    if problems:
        where = f"policy {getattr(policy, '__qualname__', type(policy).__name__)}"
        raise PolicyError(where, problems)
    _added[policy.kind] = policy
    order = [kind for kind in _order if kind != policy.kind]
    order.insert(len(order) if policy.above is None else order.index(policy.above), policy.kind)
    _order = tuple(order)
    for kind in policy.events:
        add_event(kind)


def _problems(policy: Any) -> list[str]:
    if not (isinstance(policy, type) and issubclass(policy, Policy)):
        return [f"a policy must be a class derived from resilient.policy.Policy, got {describe(policy)}"]
    table = getattr(policy, "table", None)
    if not isinstance(table, OptionTable):
        return [f"table must be an OptionTable of its options, got {describe(table)}"]
    problems: list[str] = []
    kind, other = policy.kind, _added.get(policy.kind)
    if not (kind.isidentifier() and kind == kind.lower()) or kind in _TAKEN:
        problems.append(f"kind must be a name in lower case, as in 'bulkhead', got {describe(kind)}")
    elif kind in _FIRST or (other is not None and _name(other) != _name(policy)):
        whose = "this library's own" if other is None else f"that of {_name(other)}"
        problems.append(f"kind {kind!r} is {whose}; give it another name")
    if policy.above is not None and policy.above not in _order:
        problems.append(f"above must be one of {', '.join(_order)} or None, got {describe(policy.above)}")
    problems += [
        f"positional names {name!r}, which is none of its options; it has {', '.join(table.options) or 'none'}"
        for name in policy.positional
        if name not in table.options
    ]
    problems += [problem for one in policy.events for problem in _event_problems(one)]
    return problems


def _event_problems(kind: Any) -> list[str]:
    if not (isinstance(kind, type) and issubclass(kind, Event) and "__dataclass_fields__" in kind.__dict__):
        return [f"events must be dataclasses derived from resilient.events.Event, got {describe(kind)}"]
    problems: list[str] = []
    if kind.name == Event.name:
        problems.append(f"event {kind.__qualname__} needs a name of its own, as in name = 'bulkhead.full'")
    if kind.log_level not in _LOUD:
        problems.append(f"log_level of {kind.__qualname__} must be one of {_LOUD}, got {describe(kind.log_level)}")
    return problems


def _name(policy: type[Policy]) -> str:
    return f"{policy.__module__}:{policy.__qualname__}"
