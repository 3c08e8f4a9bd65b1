"""
Rules that users add: checking what they are made of, and asking them.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from resilient.classification.attributes import dotted_names, get
from resilient.classification.rules import UNKNOWN, Classification, Transient
from resilient.errorinfo import ErrorCategory, ErrorSeverity
from resilient.errors import PolicyError
from resilient.policies.options import describe

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AddedRule", "Match", "Report", "TransientOption", "deciding", "make_rule"]

# A subclass of Exception, its dotted name, or a predicate.
Match: TypeAlias = type[Exception] | str | Callable[[Exception], object]
TransientOption: TypeAlias = bool | Literal["after_recovery"] | Transient
Report: TypeAlias = Callable[[str, Exception], None]
_Member = TypeVar("_Member", ErrorCategory, ErrorSeverity)


class AddedRule:
    """
    One rule that a user added.

    Args:
        match: What it matches.
        answer: What it says of that.
    """

    __slots__ = ("_broken", "answer", "match")

    def __init__(self, match: Match, answer: Classification) -> None:
        self.match: Match = match
        self.answer: Classification = answer
        self._broken: Classification | None = None

    def __repr__(self) -> str:
        return f"<{self.answer.rule}: {self.answer.category.value}>"

    @property
    def key(self) -> object:
        """
        What makes a later rule replace this one. Predicates need not be hashable.
        """
        return self.match if isinstance(self.match, str | type) else id(self.match)

    def ask(self, exc: BaseException, report: Report | None) -> Classification | None:
        """
        Return what the predicate says of *exc*: UNKNOWN where it raises, told to *report* once.
        """
        try:
            return self.answer if self.match(exc) else None  # type: ignore[operator, arg-type]
        except Exception as error:  # noqa: BLE001 - a user's predicate may raise anything
            if self._broken is None:
                hint = f"the rule itself raised {type(error).__name__}"
                self._broken = replace(UNKNOWN, rule=self.answer.rule, hint=hint)
                _tell(report, self.answer.rule, error)
            return self._broken


def deciding(
    added: Iterable[AddedRule], cls: type, names: list[tuple[str, ...]]
) -> tuple[tuple[AddedRule, ...], Classification | None]:
    """
    Return the predicates to ask about errors of *cls*, and what the first rule by class says of them.

    Args:
        added: The rules, in the order in which they are asked.
        cls: The class of an error.
        names: The dotted names of each class in its MRO.
    """
    predicates: list[AddedRule] = []
    for rule in added:
        match = rule.match
        if isinstance(match, type):
            decides = issubclass(cls, match)
        elif isinstance(match, str):
            decides = any(match in known for known in names)
        else:
            predicates.append(rule)
            continue
        if decides:
            return tuple(predicates), rule.answer
    return tuple(predicates), None


def make_rule(match: object, category: object, severity: object, transient: object) -> AddedRule:
    """
    Return the rule that the arguments of `Classifier.add` describe.

    Raises:
        PolicyError: With every argument that cannot be meant.
    """
    problems: list[str] = []
    name = _name(match, problems)
    kind = _member(ErrorCategory, "category", category, problems)
    level = _member(ErrorSeverity, "severity", severity, problems)
    chance = _chance(transient, problems)
    if kind is None or level is None or chance is None or problems:
        where = "classifier.add"
        raise PolicyError(where, problems)
    return AddedRule(match, Classification(kind, level, chance, None, f"user:{name}", None))  # type: ignore[arg-type]


def _tell(report: Report | None, what: str, error: Exception) -> None:
    if report is None:
        return
    # There is nobody left to tell of a reporter that raises.
    with contextlib.suppress(Exception):
        report(what, error)


def _name(match: object, problems: list[str]) -> str:
    shown = describe(match)
    if isinstance(match, type):
        if issubclass(match, Exception):
            return next(iter(dotted_names(match)[1:2]), match.__qualname__).removeprefix("builtins.")
    elif isinstance(match, str):
        known = getattr(builtins, match, None)
        if "." in match.strip(".") or (isinstance(known, type) and issubclass(known, Exception)):
            return match
    elif callable(match) and not (_is_async(match) or _is_async(type(match).__call__)):
        return f"{get(match, '__module__')}.{get(match, '__qualname__') or type(match).__qualname__}"
    problems.append(
        "match must be an exception type (a subclass of Exception), the dotted name of one such as 'httpx.ReadError', "
        f"or a function that is not async and takes the exception, got {shown}",
    )
    return ""


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function)


def _member(kind: type[_Member], option: str, value: object, problems: list[str]) -> _Member | None:
    for member in kind:
        if value is member or (isinstance(value, str) and value.lower() == member.value):
            return member
    listed = ", ".join(repr(member.value) for member in kind)
    problems.append(f"{option} must be one of {listed}, got {describe(value)}")
    return None


def _chance(value: object, problems: list[str]) -> Transient | None:
    if isinstance(value, Transient):
        return value
    if isinstance(value, bool):
        return Transient.YES if value else Transient.NO
    if value == Transient.AFTER_RECOVERY.value:
        return Transient.AFTER_RECOVERY
    problems.append(f"transient must be True, False or 'after_recovery', got {describe(value)}")
    return None
