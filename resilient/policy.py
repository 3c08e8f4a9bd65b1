"""
Everything that a policy of your own is written with.

A policy is a class: its options as a table, and a plan that decides about one
operation. `decorator` makes a decorator of it, which fuses and stacks with all
others, checks its options as they do, and lets files of policies speak of it.
This library's own policies are written against the same protocol.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from resilient.decorating import decorate, name_of
from resilient.drivers import perform
from resilient.errors import CallRejectedError, DecorationError, ResilientError
from resilient.events import Event
from resilient.faces import F, PolicyDecorator
from resilient.kinds import add
from resilient.operation import Operation
from resilient.policies.base import Await, Call, Command, Outcome, Plan, Raised, Returned, Sleep
from resilient.policies.checks import boolean, callable_or_none, choice, fraction, integer, number, seconds, text
from resilient.policies.matching import matcher
from resilient.policies.options import UNSET, Option, OptionTable, Unset, describe
from resilient.policies.policy import Gate, Policy
from resilient.policies.spec import PolicySpec, Site, Spec
from resilient.reading import checked, is_target, where

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "UNSET",
    "Await",
    "Call",
    "CallRejectedError",
    "Command",
    "Event",
    "Gate",
    "Operation",
    "Option",
    "OptionTable",
    "Outcome",
    "Plan",
    "Policy",
    "PolicyDecorator",
    "Raised",
    "ResilientError",
    "Returned",
    "Site",
    "Sleep",
    "Spec",
    "boolean",
    "callable_or_none",
    "choice",
    "decorator",
    "fraction",
    "integer",
    "matcher",
    "number",
    "perform",
    "seconds",
    "text",
]


def decorator(policy: type[Policy]) -> PolicyDecorator:
    """
    Return the decorator of *policy*, and make its kind known to files of policies, to listeners and to the log.

    It is used bare (``@audit``), where no option has to be given, or with options, and takes ``registry=`` as all
    decorators do.

    Raises:
        PolicyError: With everything about the class that cannot be meant.
    """
    add(policy)
    kind, table, bare = policy.kind, policy.table, PolicySpec(policy, {})
    required = table.missing({})

    def decorate_with(*args: Any, **options: Any) -> Any:
        if len(args) == 1 and not required and is_target(kind, args[0], options):
            return decorate(args[0], bare, None)
        if required and not options and len(args) == 1 and _stands_under(policy, args[0]):
            msg = (
                f"{name_of(args[0])} stands under a bare @{kind}, which takes options: {required[0]}; {_write(policy)}"
            )
            raise DecorationError(msg)
        problems = _by_position(policy, args, options)
        given = {**dict(zip(policy.positional, args, strict=False)), **options}

        def with_policy(target: F) -> F:
            at = where(kind, target)
            found, registry = checked(
                at,
                table,
                given,
                check_together=lambda these: table.missing(these) or policy.check_together(these),
                problems=problems,
            )
            return decorate(target, PolicySpec(policy, found) if found else bare, registry)  # type: ignore[no-any-return]

        return with_policy

    decorate_with.__name__ = decorate_with.__qualname__ = kind
    decorate_with.__module__ = policy.__module__
    decorate_with.__doc__ = _documented(policy)
    decorate_with.__signature__ = _signature(policy)  # type: ignore[attr-defined]  # inspect looks for it
    return cast("PolicyDecorator", decorate_with)


def _stands_under(policy: type[Policy], value: Any) -> bool:
    """
    Tell whether *value* is what a bare decorator was put on, and not the value of its first option.
    """
    if not (callable(value) or isinstance(value, classmethod | staticmethod | property)):
        return False
    if not policy.positional:
        return True
    try:
        policy.table.options[policy.positional[0]].check(value)
    except ValueError:
        return True
    return False


def _write(policy: type[Policy]) -> str:
    first = next(name for name, option in policy.table.options.items() if isinstance(option.default, Unset))
    return f"write @{policy.kind}({first}=...)"


def _by_position(policy: type[Policy], args: tuple[Any, ...], options: Mapping[str, Any]) -> list[str]:
    """
    Return what is wrong with what was given by position.
    """
    names = policy.positional
    problems = [
        f"{name} is given by position and by keyword; give it once" for name in names[: len(args)] if name in options
    ]
    if len(args) > len(names):
        takes = f"takes {', '.join(names)} by position" if names else "takes its options by keyword"
        problems.append(f"@{policy.kind} {takes}, got {describe(args[len(names)])} as well")
    return problems


def _documented(policy: type[Policy]) -> str:
    rows = (f"    {option.name}: {option.help}" for option in policy.table.options.values())
    # Its own: `inspect.getdoc` would give that of `Policy` to a class without one.
    about = inspect.cleandoc(policy.__doc__ or f"The policy {policy.kind}.").partition("\n\nArgs:")[0]
    return "\n".join([about, "", "Args:", *rows, "    registry: The function's registry; None: the default one."])


def _signature(policy: type[Policy]) -> inspect.Signature:
    parameters = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD
            if option.name in policy.positional
            else inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if isinstance(option.default, Unset) else option.default,
        )
        for option in policy.table.options.values()
    ]
    first = [one for name in policy.positional for one in parameters if one.name == name]
    rest = [one for one in parameters if one.name not in policy.positional]
    registry = inspect.Parameter("registry", inspect.Parameter.KEYWORD_ONLY, default=None)
    return inspect.Signature([*first, *rest, registry])
