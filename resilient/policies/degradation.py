"""
Degradation: a call's arguments follow the service level of its scope.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from resilient.levels import DegradationLevel
from resilient.policies.degradation_options import DEGRADE_OPTIONS
from resilient.policies.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.control.scopes import Scope
    from resilient.operation import Operation
    from resilient.policies.adjusting import Adjuster
    from resilient.policies.base import Plan, Raised

__all__ = ["DegradePolicy", "report"]


class DegradePolicy(Policy):
    """
    Degradation, at its place in one pipeline.

    Args:
        adjuster: What a level does to the calls of the function.
        scope: Whose level is followed.
    """

    __slots__ = ("adjuster", "scope")

    table = DEGRADE_OPTIONS
    passes_rejections = True

    def __init__(self, adjuster: Adjuster, scope: Scope) -> None:
        self.adjuster: Adjuster = adjuster
        self.scope: Scope = scope

    @property
    def gate(self) -> Scope:  # type: ignore[override]  # of most policies it is an attribute
        """
        What has to let a call pass before it is quiet.
        """
        return self.scope

    def __repr__(self) -> str:
        rules = ", ".join(f"{name}={rule!r}" for name, rule in self.adjuster.rules.items())
        return f"@degradable({rules})"

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Call what is below with arguments that suit the level.
        """
        # A call that began quietly was made at FULL, whatever holds now.
        level = DegradationLevel.FULL if op.admitted(self.scope) is not None else self.scope.effective()
        if op.level_override is not None and op.level_override < level:
            level = op.level_override
        op.level = level
        op.adjusted = (self.adjuster, args, kwargs)
        telling = None if level is DegradationLevel.FULL else functools.partial(report, op)
        args, kwargs, changes = self.adjuster.adjust(level, args, dict(kwargs), telling)
        for name, (before, after) in changes.items():
            # From what the caller gave: a recovery above may have changed it first.
            op.changes[name] = op.changes.get(name, (before,))[0], after
        return (yield from inner(op, args, kwargs))

    def failed(self, op: Operation, outcome: Raised) -> None:
        """
        Learn nothing from the failure of a call at FULL.
        """


def report(op: Operation, rule: str, error: Exception) -> None:
    """
    Tell that a rule raised, or that a request refused to be copied for it.
    """
    op.hub.report(f"rule {rule!r} of @degradable on {op.function}", error)
