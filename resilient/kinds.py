"""
Every kind of policy that there is: the order in which they stand, and the classes of those that were added.
"""

from __future__ import annotations

import inspect
import keyword
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from resilient.delivery import add_event
from resilient.errors import PolicyError
from resilient.events import Event
from resilient.forks import survives_fork
from resilient.policies.options import OptionTable, Unset, describe
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


class _Adding:
    """
    Lets one kind be added after the other: threads may import the modules of two at once.
    """

    def __init__(self) -> None:
        self._renew_locks()
        survives_fork(self)

    def _renew_locks(self) -> None:
        self.lock: threading.RLock = threading.RLock()


_adding = _Adding()

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
    with _adding.lock:
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
    kinds = [kind for kind in _order if kind != policy.kind]
    problems = _kind_problems(policy)
    if policy.above is not None and policy.above not in kinds:
        problems.append(f"above must be one of {', '.join(kinds)} or None, got {describe(policy.above)}")
    if not inspect.isgeneratorfunction(inspect.unwrap(policy.plan)):
        problems.append(f"plan must be a generator function, without async, got {describe(policy.plan)}")
    problems += _option_problems(policy, table)
    if isinstance(policy.events, tuple):
        problems += [problem for one in policy.events for problem in _event_problems(one)]
    else:
        problems.append(f"events must be a tuple of classes, as in (Full,), got {describe(policy.events)}")
    return problems


def _kind_problems(policy: type[Policy]) -> list[str]:
    kind: Any = policy.kind
    if not (isinstance(kind, str) and kind.isidentifier() and kind == kind.lower()) or kind in _TAKEN:
        return [f"kind must be a name in lower case, as in 'bulkhead', got {describe(kind)}"]
    if kind != policy.table.kind:
        return [f"kind must be that of its table, {policy.table.kind!r}, got {describe(kind)}; leave it out"]
    other = _added.get(kind)
    if kind in _FIRST or (other is not None and _name(other) != _name(policy)):
        whose = "this library's own" if other is None else f"that of {_name(other)}"
        return [f"kind {kind!r} is {whose}; give it another name"]
    return []


def _option_problems(policy: type[Policy], table: OptionTable) -> list[str]:
    problems = [
        f"{name!r} cannot be an option's name; give it one that can be a parameter's, and not 'registry'"
        for option in table.options.values()
        for name in (option.name, *option.aliases)
        if name == "registry" or not name.isidentifier() or keyword.iskeyword(name)
    ]
    names: Any = policy.positional
    if not isinstance(names, tuple):
        return [*problems, f"positional must be a tuple of options, as in ('max_calls',), got {describe(names)}"]
    unknown = [name for name in names if name not in table.options]
    problems += [
        f"positional names {name!r}, which is none of its options; it has {', '.join(table.options) or 'none'}"
        for name in unknown
    ]
    required = [isinstance(table.options[name].default, Unset) for name in names if name not in unknown]
    if required != sorted(required, reverse=True):
        problems.append("positional must name the options that have to be given before those that need not be")
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
