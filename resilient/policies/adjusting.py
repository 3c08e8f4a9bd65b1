"""
Adjusting a call to a service level: the rules of one function, applied to its arguments.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from resilient.errors import PolicyError
from resilient.levels import DegradationLevel
from resilient.policies.arguments import Parameters
from resilient.policies.checks import fraction
from resilient.policies.options import describe
from resilient.policies.rules import DEFAULT_RULES, Rule, cap, enabled_from, equal, is_feature, ladder, scale
from resilient.policies.sizes import is_side, resized

__all__ = ["Adjuster", "Changes", "Report", "adjust_parameters", "adjust_resolution", "effective_level"]

# By path: the value before and after.
Changes: TypeAlias = dict[str, tuple[Any, Any]]
Report: TypeAlias = Callable[[str, Exception], None]

_NO_NAMES: frozenset[str] = frozenset()


def effective_level(
    level: DegradationLevel,
    only_below: DegradationLevel | None = None,
    floor: DegradationLevel | None = None,
) -> DegradationLevel:
    """
    Return the level that a function follows at the service level *level*.

    Args:
        level: The service level.
        only_below: At this level and above the function runs at FULL; None: it
            follows every level.
        floor: The function runs at this level where the service level is lower;
            None: no floor.
    """
    if only_below is not None and level >= only_below:
        return DegradationLevel.FULL
    return level if floor is None or level > floor else floor


class Adjuster:
    """
    What the service level does to the calls of one function.

    Args:
        fn: The function as it is called: a method's raw function, for instance.
        rules: By parameter name or path. They add to `DEFAULT_RULES`, replace
            the one of the same name, and ``False`` switches it off.
        where: What the rules were given to, for error messages.
        only_below: The level, or its name, from which on the function is left alone.
        floor: The lowest level, or its name, that the function follows.
        report: Told of a rule that raised and of a request object that refused
            to be copied, once per rule: the rule's name and the error, which is
            not to be kept. The value stays as it was.

    Attributes:
        parameters: What the function takes.
        rules: The rules that may change a call, by parameter name or path.

    Raises:
        PolicyError: With all problems at once: a rule for a parameter that the
            function cannot take, something that is no rule, levels that leave
            nothing to follow, or nothing to adjust at all.
    """

    __slots__ = ("_as_pair", "_floor", "_only_below", "_own", "_report", "_told", "parameters", "rules")

    def __init__(
        self,
        fn: Callable[..., Any],
        rules: Mapping[str, Rule | Literal[False]],
        *,
        where: str,
        only_below: DegradationLevel | str | None = None,
        floor: DegradationLevel | str | None = None,
        report: Report | None = None,
    ) -> None:
        self.parameters: Parameters = Parameters.of(fn)
        problems = _problems(self.parameters, rules)
        self._only_below = _level("only_below", only_below, DegradationLevel.MINIMAL, problems)
        self._floor = _level("floor", floor, DegradationLevel.FULL, problems)
        self.rules: Mapping[str, Rule] = _active(self.parameters, rules)
        if not self.rules and not problems:
            problems.append(
                f"there is nothing to adjust: the function takes {_listed(self.parameters)}; give a rule for one of "
                "them, for example rules={'request.steps': scale()}, or annotate the parameter that holds the request"
            )
        if problems:
            raise PolicyError(where, problems)
        self._own = frozenset(rules) if rules else _NO_NAMES
        self._as_pair = "width" in self.rules and "width" not in rules
        self._report = report
        self._told = _NO_NAMES

    def __repr__(self) -> str:
        shown = [f"{name}={rule!r}" for name, rule in self.rules.items()]
        levels = {"only_below": self._only_below, "floor": self._floor}
        shown += [f"{name}={level.label!r}" for name, level in levels.items() if level is not None]
        return f"Adjuster({', '.join(shown)})"

    def features(self) -> tuple[str, ...]:
        """
        Return the names and paths of the feature flags: what has an `enabled_from` rule.
        """
        return tuple(name for name, rule in self.rules.items() if is_feature(rule))

    def adjust(
        self, level: DegradationLevel, args: tuple[Any, ...], kwargs: dict[str, Any], report: Report | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any], Changes]:
        """
        Return the arguments of a call at the service level *level*, and what changed.

        Where nothing changes, the arguments are the very same objects.

        Args:
            level: The service level.
            args: The call's positional arguments.
            kwargs: The call's keyword arguments.
            report: Told of what goes wrong, as for the class, in the place of what that was given.
        """
        level = effective_level(level, self._only_below, self._floor)
        changes: Changes = {}
        if level is DegradationLevel.FULL:
            return args, kwargs, changes
        for name in self.rules:
            if name == "height" and self._as_pair:
                continue
            try:
                found = self._changed(name, level, args, kwargs, changes)
                if found:
                    values = {path: after for path, (_, after) in found.items()}
                    args, kwargs = self.parameters.replace_all(values, args, kwargs)
                    changes.update(found)
            except Exception as error:  # noqa: BLE001 - a rule is user code, and a request's class is too
                self._tell(name, error, report or self._report)
        return args, kwargs, changes

    def _changed(
        self,
        name: str,
        level: DegradationLevel,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        changes: Changes,
    ) -> Changes:
        """
        Return what the rule called *name* changes in a call, where *changes* were made already.
        """
        path = self.parameters.find(name, args, kwargs)
        if path is None:
            return {}
        paths = [path]
        if name == "width" and self._as_pair:
            paths.append(path.removesuffix("width") + "height")
        # What somebody gave a rule (or False), and an object that was changed
        # as a whole, are not for a bare name that happens to reach into them.
        root = path.partition(".")[0]
        if path != name and (root in changes or not self._own.isdisjoint((root, *paths))):
            return {}
        before = {one: self.parameters.get(one, args, kwargs) for one in paths}
        if len(before) > 1 and not all(is_side(value) for value in before.values()):
            return {}
        rule = self.rules[name]
        after = {one: rule(value, level) for one, value in before.items()}
        return {one: (before[one], after[one]) for one in paths if not equal(before[one], after[one])}

    def _tell(self, name: str, error: Exception, report: Report | None) -> None:
        if report is None or name in self._told:
            return
        self._told |= {name}
        # Whoever is told must not harm the call.
        with contextlib.suppress(Exception):
            report(name, error)


def adjust_parameters(
    params: Mapping[str, Any],
    level: DegradationLevel | str,
    rules: Mapping[str, Rule | Literal[False]] | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """
    Return a copy of *params* adjusted to *level*, as a call with these keywords would be.

    Args:
        params: The parameters by name; it is not changed, nor is what it holds.
        level: The service level, or its name.
        rules: As for `Adjuster`: they add to the default ones.
        report: As for `Adjuster`.

    Raises:
        PolicyError: *level* is no service level, or *rules* are no rules.
    """
    problems: list[str] = []
    at = _level("level", level, None, problems)
    if at is None:
        raise PolicyError("adjust_parameters", problems or ["level must be a service level, got None"])
    adjuster = Adjuster(_any_call, rules or {}, where="adjust_parameters", report=report)
    return adjuster.adjust(at, (), dict(params))[1]


def adjust_resolution(value: Any, factor: float) -> Any:
    """
    Return a resolution - ``"1080p"``, ``"1920x1080"`` or ``(1920, 1080)`` - made smaller.

    Args:
        value: The resolution; an unknown form comes back as it is.
        factor: What each side is multiplied by. A named resolution goes down
            one rung for each 0.2 (begun) below 1, as levels do.

    Raises:
        PolicyError: *factor* is no number above 0 and at most 1.
    """
    try:
        checked = fraction()(factor)
    except ValueError as error:
        raise PolicyError("adjust_resolution", [f"factor {error}, got {describe(factor)}"]) from None
    return resized(value, checked)


def _any_call(**_parameters: object) -> None:
    """
    Give a mapping the signature of a call that takes any keyword; never called.
    """


def _level(
    option: str, value: DegradationLevel | str | None, useless: DegradationLevel | None, problems: list[str]
) -> DegradationLevel | None:
    if value is None:
        return None
    try:
        level = DegradationLevel.of(value)
    except ValueError as error:
        problems.append(f"{option}: {error}")
        return None
    if level is useless:
        problems.append(f"{option}={level.label!r} leaves no level to follow; choose another, or leave it out")
    return level


@functools.cache
def _default_rules(names: tuple[str, ...]) -> Mapping[str, Rule]:
    """
    Return these of the default rules: one table for all functions that follow the same.
    """
    return MappingProxyType({name: DEFAULT_RULES[name] for name in names})


def _active(parameters: Parameters, own: Mapping[str, Rule | Literal[False]]) -> Mapping[str, Rule]:
    active = {name: rule for name, rule in DEFAULT_RULES.items() if parameters.takes(name)}
    # Width and height only follow together, by one and the same rule.
    if not active.keys() >= {"width", "height"} or not own.keys().isdisjoint({"width", "height"}):
        active.pop("width", None)
        active.pop("height", None)
    if not own:
        return _default_rules(tuple(active))
    # A rule for a field is meant instead of a default one for the whole.
    for name in own:
        if "." in name:
            active.pop(name.partition(".")[0], None)
    together: dict[str, Rule | Literal[False]] = {**active, **own}
    return {name: rule for name, rule in together.items() if rule is not False}


def _problems(parameters: Parameters, own: Mapping[str, Rule | Literal[False]]) -> list[str]:
    problems: list[str] = []
    for name, rule in own.items():
        root, dot, field = name.partition(".")
        if not root or (dot and not field) or "." in field:
            problems.append(f"{name!r} is no parameter; write 'steps', or 'request.steps' for one level into a request")
        elif not parameters.takes(name):
            problems.append(f"the function cannot take {name!r}; {_remedy(parameters, name)}")
        elif dot and own.get(root) and rule:
            problems.append(f"{name!r} and {root!r} both have a rule; give one of them")
        fault = None if rule is False else _fault(rule)
        if fault:
            problems.append(f"the rule for {name!r} {fault}")
    return problems


def _fault(rule: object) -> str | None:
    fault = None
    for maker in (cap, enabled_from, ladder, scale):
        if rule is maker:
            fault = f"lacks its parentheses; write {maker.__name__}(...)"
    if not callable(rule):
        fault = f"must be a rule such as scale(), a callable (value, level) -> value, or False, got {describe(rule)}"
    elif inspect.iscoroutinefunction(rule):
        fault = f"must not be async, got {describe(rule)}"
    elif fault is None:
        # A builtin that does not tell what it takes raises ValueError.
        with contextlib.suppress(ValueError):
            try:
                inspect.signature(rule).bind(None, None)
            except TypeError:
                fault = f"must take (value, level), got {describe(rule)}"
    return fault


def _remedy(parameters: Parameters, name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, parameters.names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it takes {_listed(parameters)}"


def _listed(parameters: Parameters) -> str:
    return ", ".join(parameters.names) or "no named parameters"
