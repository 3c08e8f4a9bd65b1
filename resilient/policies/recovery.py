"""
Recovery: walk the playbook for an error's category, and call again after each step that applies.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from resilient.errorinfo import ErrorCategory
from resilient.errors import ResilientError
from resilient.events import RecoveryRun
from resilient.playbooks.context import RecoveryContext
from resilient.policies.arguments import Parameters
from resilient.policies.base import Plan, Raised, Returned, free_frames
from resilient.policies.degradation import report
from resilient.policies.policy import Policy
from resilient.policies.recovery_options import RECOVERY_OPTIONS
from resilient.policies.rules import equal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.operation import Operation
    from resilient.playbooks.lists import PlaybookStep
    from resilient.registry import Registry

__all__ = ["RECOVERY_OPTIONS", "RecoverPolicy"]


class RecoverPolicy(Policy):
    """
    Recovery, at its place in one pipeline.

    Args:
        options: A value for every row of `RECOVERY_OPTIONS`.
        registry: Whose playbooks are walked.
        is_async: Whether the function is async.
    """

    __slots__ = ("is_async", "options", "registry")

    table = RECOVERY_OPTIONS
    passes_rejections = True

    def __init__(self, options: Mapping[str, Any], registry: Registry, *, is_async: bool | None = None) -> None:
        self.options: Mapping[str, Any] = options
        self.registry: Registry = registry
        self.is_async: bool | None = is_async

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Call what is below; when it fails, recover and call again.
        """
        outcome = yield from inner(op, args, kwargs)
        if type(outcome) is Returned or _is_ours(outcome):  # type: ignore[arg-type]
            return outcome
        playbooks = self.registry.playbooks
        ctx = self._context(op, outcome, args, kwargs)  # type: ignore[arg-type]
        taken: set[str] = set()
        runs = 0
        while runs < self.options["max_runs"]:
            step = self._next(ctx, taken)
            if step is None:
                break
            taken.add(step.name)
            answer = yield from playbooks.plan_step(step, ctx)
            applied = bool(answer.value)  # type: ignore[union-attr]  # plan_step never fails
            if not applied:
                self._tell(op, step, ctx, applied=False, success=None)
                continue
            runs += 1
            call_args, call_kwargs = self._arguments(op, ctx)
            changes = ctx.changes()
            _add(changes, op)
            # Everything that holds the failed call's frames has to go now.
            del outcome
            with ctx.in_force():
                outcome = yield from inner(op, call_args, call_kwargs)
            success = type(outcome) is Returned
            self._tell(op, step, ctx, applied=True, success=success, changes=changes)
            if success:
                op.route = f"recovery:{step.name}"
                return outcome
            if _is_ours(outcome):  # type: ignore[arg-type]
                return outcome
            if self.options["playbook"] is None:
                ctx.error = op.info(outcome)  # type: ignore[arg-type]
            _free(outcome, ctx)  # type: ignore[arg-type]
        return outcome

    def _context(
        self, op: Operation, outcome: Raised, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> RecoveryContext:
        adjuster = None if op.adjusted is None else op.adjusted[0]
        ctx = RecoveryContext(
            op.info(outcome),
            # What was provided for a function is provided for each that has its name.
            function=op.function.partition("#")[0],
            args=args,
            kwargs=kwargs,
            registry=self.registry,
            parameters=Parameters.of(op.fn) if adjuster is None else adjuster.parameters,
            is_async=op.is_async if self.is_async is None else self.is_async,
            level=None if adjuster is None else op.level,
            features=() if adjuster is None else adjuster.features(),
        )
        _free(outcome, ctx)
        return ctx

    def _next(self, ctx: RecoveryContext, taken: set[str]) -> PlaybookStep | None:
        category = self.options["playbook"] or ctx.error.category
        steps = self.registry.playbooks.playbook(category)
        return next((step for step in steps if step.name not in taken), None)

    def _arguments(self, op: Operation, ctx: RecoveryContext) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """
        Return the arguments of the next call, at the level that a step has asked for.
        """
        override = ctx.level_override
        if override is None or op.level_override is override:
            return ctx.args, ctx.kwargs
        op.level_override = op.level = override
        # A `DegradePolicy` below adjusts by itself when it is called; one above has been.
        above = itertools.takewhile(lambda policy: policy is not self, op.policies)
        if op.adjusted is not None and any(policy.kind == "degradable" for policy in above):
            adjuster, args, kwargs = op.adjusted
            _, _, changes = adjuster.adjust(override, args, dict(kwargs), functools.partial(report, op))
            op.changes.update(changes)
            values = {path: after for path, (_, after) in changes.items()}
            ctx.args, ctx.kwargs = adjuster.parameters.replace_all(values, ctx.args, ctx.kwargs)
        return ctx.args, ctx.kwargs

    def _tell(
        self,
        op: Operation,
        step: PlaybookStep,
        ctx: RecoveryContext,
        *,
        applied: bool,
        success: bool | None,
        changes: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> None:
        self.registry.playbooks.note(step, ctx, applied=applied, success=success)
        op.emit(RecoveryRun, step=step.name, applied=applied, success=success, error=ctx.error, changes=changes or None)


def _is_ours(outcome: Raised) -> bool:
    # By its real type: `isinstance` would ask `__class__`, which may raise.
    kind = type(outcome.error)
    return issubclass(kind, ResilientError) and not kind.is_failure


def _add(changes: Mapping[str, tuple[Any, Any]], op: Operation) -> None:
    """
    Add what a step has changed to what the operation tells: from what the caller gave to what holds now.
    """
    for name, (before, after) in changes.items():
        given = op.changes.pop(name, (before,))[0]
        if not equal(given, after):
            op.changes[name] = given, after


def _free(outcome: Raised, ctx: RecoveryContext) -> None:
    """
    Drop the variables of the frames behind a memory error before steps free memory.
    """
    if ctx.error.category is ErrorCategory.MEMORY:
        free_frames(outcome.error)
