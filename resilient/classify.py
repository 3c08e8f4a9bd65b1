"""
The classifier: what kind of error this is, how bad, and whether another try can help.

Users' rules are asked first, the latest added before the others; then the
built-in table (`resilient.classification.rules`): what an error's codes and
message say, then the class nearest in its MRO. Along ``__cause__`` the
outermost error that a rule knows decides. Nothing here raises.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from resilient.classification.added import make_rule
from resilient.classification.attributes import get
from resilient.classification.plan import WATCHED, make_plan
from resilient.classification.retry_after import retry_after
from resilient.classification.rules import CANCELLATION, UNKNOWN, Classification, Transient
from resilient.clock import SYSTEM_CLOCK
from resilient.errorinfo import ErrorCategory, ErrorSeverity

if TYPE_CHECKING:
    from resilient.classification.added import AddedRule, Match, Report, TransientOption
    from resilient.classification.plan import Plan
    from resilient.clock import Clock

__all__ = ["Classification", "Classifier", "Transient", "is_cancellation"]

_MAX_DEPTH = 8  # causes and groups that are followed
_MAX_SEEN = 256  # errors within groups that are looked at
_MAX_TYPES = 1024
_SEVERITIES = tuple(ErrorSeverity)
# From the worst on: what must not be tried again outweighs what may.
_TRANSIENTS = (Transient.NO, Transient.AFTER_RECOVERY, Transient.YES)


def is_cancellation(exc: BaseException) -> bool:
    """
    Tell whether *exc* is one of those that are never classified, counted or retried.

    They are those that are no `Exception`: ``KeyboardInterrupt``, ``SystemExit``,
    ``GeneratorExit``, and cancellation by asyncio, trio or anyio.
    """
    return not issubclass(type(exc), Exception)


class Classifier:
    """
    Tells what is known of an error.

    Threads may use it and add to it at the same time.

    Args:
        clock: What tells the time of day that a server's date is compared with.
        report: Told once of each added rule that raises: the rule's name, and the error.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, report: Report | None = None) -> None:
        self._clock = clock
        self._report = report
        # Two dicts and no lock, which a fork could leave held: each step is one
        # operation on a dict. `add` changes the rules first and starts a new
        # cache then, so a plan made from the old rules lands in the old cache.
        self._added: dict[object, AddedRule] = {}
        self._plans: dict[type, Plan] = {}

    def __repr__(self) -> str:
        return f"Classifier(added={list(self._in_order())})"

    def classify(self, exc: BaseException) -> Classification:
        """
        Return what is known of *exc*; it never raises.

        Cancellation (see `is_cancellation`) gets the rule ``"cancellation"``
        and is not looked at; callers let it pass without asking.
        """
        try:
            plan = self._plans.get(type(exc)) or self._plan_for(type(exc))
            # As `Plan.is_bare`, which would be a call more on every failure.
            bare = not plan.by_type and WATCHED.isdisjoint(exc.__dict__)
            own = self._own(exc, plan, bare=bare) if plan.predicates else plan.read(exc, bare=bare)
            found = own or self._within(exc, plan, 1, set()) or UNKNOWN
            if (bare and exc.__cause__ is None) or found is CANCELLATION:
                return found
            wish = retry_after(exc, self._clock)
        except Exception:  # noqa: BLE001 - an error whose own code raises must not be replaced by what it raises
            return UNKNOWN
        return _with_wish(found, wish)

    def is_transient(self, exc: BaseException) -> bool:
        """
        Tell whether another try of the same call can succeed as it is.
        """
        return self.classify(exc).transient is Transient.YES

    def add(
        self,
        match: Match,
        category: ErrorCategory | str,
        *,
        severity: ErrorSeverity | str = ErrorSeverity.MEDIUM,
        transient: TransientOption = False,
    ) -> None:
        """
        Add a rule; it is asked before those added earlier and before the built-in table.

        Adding a rule for the same *match* again replaces it. A predicate that
        raises makes the error UNKNOWN, and is reported once.

        Args:
            match: An exception type (its subclasses too), the dotted name of one
                (``"httpx.ReadError"``; it need not be importable), or a predicate
                that is given the exception. Predicates run on every failure.
            category: What kind of thing has failed.
            severity: How bad it is.
            transient: Whether another try can succeed: True, False, or
                ``"after_recovery"``.

        Raises:
            PolicyError: With every argument that cannot be meant.
        """
        rule = make_rule(match, category, severity, transient)
        self._added.pop(rule.key, None)
        self._added[rule.key] = rule
        self._plans = {}

    def _in_order(self) -> tuple[AddedRule, ...]:
        return tuple(self._added.values())[::-1]

    def _plan_for(self, cls: type) -> Plan:
        plans = self._plans  # before the rules are read; see __init__
        plan = make_plan(cls, self._in_order())
        if len(plans) >= _MAX_TYPES:
            plans.clear()
        plans[cls] = plan
        return plan

    def _own(self, exc: BaseException, plan: Plan, *, bare: bool) -> Classification | None:
        """
        Return what *exc* itself says, None where no rule knows it.
        """
        for rule in plan.predicates:
            said = rule.ask(exc, self._report)
            if said is not None:
                return said
        return plan.read(exc, bare=bare)

    def _within(self, exc: BaseException, plan: Plan, depth: int, seen: set[int]) -> Classification | None:
        """
        Return what the errors within *exc* say, members of a group before causes.
        """
        while depth < _MAX_DEPTH:
            seen.add(id(exc))
            if plan.group:
                found = self._worst(exc, depth, seen)
                if found is not None and found.category is not ErrorCategory.UNKNOWN:
                    return found
            inner = plan.inner(exc)
            if not issubclass(type(inner), Exception) or id(inner) in seen:
                return None
            exc, depth = cast("Exception", inner), depth + 1
            plan = self._plans.get(type(exc)) or self._plan_for(type(exc))
            found = self._own(exc, plan, bare=plan.is_bare(exc))
            if found is not None:
                return found
        return None

    def _worst(self, group: BaseException, depth: int, seen: set[int]) -> Classification | None:
        """
        Return what the worst member of *group* says, no more transient than any other member.
        """
        worst: Classification | None = None
        least = Transient.YES
        wish: float | None = None
        for member in cast("tuple[Exception, ...]", get(group, "exceptions") or ()):
            if id(member) in seen:
                continue
            # What is not looked at is not known, and so not transient.
            full = len(seen) >= _MAX_SEEN
            found = UNKNOWN if full else self._member(member, depth, seen)
            if worst is None or _badness(found) > _badness(worst):
                worst = found
            least = min(least, found.transient, key=_TRANSIENTS.index)
            wish = max(wish or 0.0, found.retry_after) if found.retry_after is not None else wish
            if full:
                break
        return None if worst is None else replace(worst, transient=least, retry_after=wish)

    def _member(self, member: Exception, depth: int, seen: set[int]) -> Classification:
        seen.add(id(member))
        plan = self._plans.get(type(member)) or self._plan_for(type(member))
        found = self._own(member, plan, bare=plan.is_bare(member)) or self._within(member, plan, depth + 1, seen)
        return _with_wish(found or UNKNOWN, retry_after(member, self._clock))


def _with_wish(found: Classification, wish: float | None) -> Classification:
    if wish is None:
        return found
    # Written out: `dataclasses.replace` takes twice as long.
    return Classification(found.category, found.severity, found.transient, wish, found.rule, found.hint)


def _badness(found: Classification) -> tuple[int, int]:
    return _SEVERITIES.index(found.severity), -_TRANSIENTS.index(found.transient)
