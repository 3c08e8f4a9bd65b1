"""
The recovery playbooks: named steps per category, in order, and what became of them.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from resilient.clock import SYSTEM_CLOCK
from resilient.drivers import arun
from resilient.forks import survives_fork
from resilient.playbooks.context import RecoveryContext, is_offline
from resilient.playbooks.kit import Kit, ask, serves
from resilient.playbooks.lists import TIMEOUT, PlaybookStep, StepLists
from resilient.playbooks.provisions import Provisions
from resilient.playbooks.single_flight import SingleFlight
from resilient.policies.base import Plan, Raised, Returned
from resilient.policies.checks import integer
from resilient.policies.options import UNSET, Option, OptionTable
from resilient.redaction import readable
from resilient.text import cut, safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime, timedelta

    from resilient.clock import Clock
    from resilient.errorinfo import ErrorCategory, ErrorInfo
    from resilient.playbooks.single_flight import Decision
    from resilient.registry import Registry

    StepFunction = Callable[[RecoveryContext], bool | Awaitable[bool]]

__all__ = ["PlaybookStep", "RecoveryContext", "RecoveryProcedure", "is_offline"]

_F = TypeVar("_F", bound="StepFunction")

_HISTORY = OptionTable("RecoveryProcedure", Option("history", integer(), 1000, "how many runs are remembered"))

_log = logging.getLogger("resilient")


class RecoveryProcedure:
    """
    The playbooks of a registry, or of nobody.

    Args:
        clock: Where time comes from.
        registry: The registry that steps get to see; None stands alone.
        history: How many runs of steps are remembered.

    Raises:
        PolicyError: *history* is no whole number above 0.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, registry: Registry | None = None, history: int = 1000) -> None:
        self._clock = clock
        self._registry = registry
        size = _HISTORY.validate("RecoveryProcedure()", {"history": history})["history"]
        self._history: deque[tuple[Any, ...]] = deque(maxlen=size)
        self._provisions = Provisions()
        self._flights = SingleFlight()
        self._steps = StepLists()
        survives_fork(self)

    def __repr__(self) -> str:
        return f"<RecoveryProcedure: {len(self._steps.all())} steps, {len(self._history)} runs remembered>"

    # -- what there is -----------------------------------------------------

    def steps(self, category: str | ErrorCategory) -> list[str]:
        """
        Return the names of the category's steps, in order.

        Raises:
            PolicyError: There is no such category.
        """
        return [step.name for step in self.playbook(category)]

    def playbook(self, category: str | ErrorCategory) -> tuple[PlaybookStep, ...]:
        """
        Return the category's steps, in order.

        Raises:
            PolicyError: There is no such category.
        """
        return self._steps.of(category)

    def step(
        self,
        category: str | ErrorCategory,
        *,
        name: str | None = None,
        before: str | None = None,
        scope: Literal["call", "shared"] = "call",
        timeout: float | timedelta = TIMEOUT,
    ) -> Callable[[_F], _F]:
        """
        Add the decorated function to a playbook; it is returned as it is.

        A function that is defined again (a notebook cell, a reload) replaces
        the one of before.

        Args:
            category: The playbook.
            name: What the step is called; the function's own name unless given.
            before: The step that it comes before; without it, it comes last.
            scope: ``"shared"`` for what is done for all and changes no call: one
                runs, others wait for its result.
            timeout: Seconds after which an async step is cancelled; a sync one
                asks ``ctx.remaining()``. ``inf``: no limit.

        Raises:
            PolicyError: With every problem at once, here or when decorating.
        """
        options = {
            "name": UNSET if name is None else name,
            "before": UNSET if before is None else before,
            "scope": scope,
            "timeout": timeout,
        }
        register = self._steps.registration(category, options)

        def decorate(function: _F) -> _F:
            register(function)
            return function

        return decorate

    def provide(
        self,
        *,
        caches: Iterable[Any] = (),
        endpoints: Iterable[str | tuple[str, int] | Callable[[], Any]] = (),
        models: Iterable[Any] = (),
        loader: Callable[..., Any] | None = None,
        fetcher: Callable[..., Any] | None = None,
        restart: Callable[[], Any] | None = None,
        optional: Iterable[str] = (),
        offline: bool = False,
        function: Callable[..., Any] | str | None = None,
        argument: str | None = None,
    ) -> None:
        """
        Register what the built-in steps work with; it adds to what is registered already.

        Args:
            caches: Anything with ``clear()`` or ``cache_clear()``.
            endpoints: URLs, ``"host:port"`` or ``(host, port)``, the preferred
                one first; a callable is the probe of `retry_connection`, which
                fails by raising or returning False.
            models: Models in order of preference, as the function takes them.
            loader: Loads a model again; given its name where there is one. It,
                *fetcher* and *restart* fail by raising or returning False.
            fetcher: Downloads a model; given its name where there is one.
            restart: Restarts the workflow.
            optional: Parameters that a call can do without.
            offline: The functions heed `is_offline`.
            function: For this function only, or its ``module:qualname``; None:
                for all functions.
            argument: The parameter to change where it is not one of the usual:
                the endpoint's, given with *endpoints*; the model's, with
                *models*, *loader* or *fetcher*; else the batch size's.

        Raises:
            PolicyError: With every problem at once.
        """
        given = {
            "caches": caches,
            "endpoints": endpoints,
            "models": models,
            "loader": loader,
            "fetcher": fetcher,
            "restart": restart,
            "optional": optional,
            "offline": offline,
        }
        self._provisions.add(function, argument, given)

    # -- running -----------------------------------------------------------

    def plan_step(self, step: PlaybookStep, ctx: RecoveryContext) -> Plan:
        """
        Run one step under its scope and timeout; returns ``Returned`` with whether it applied.

        A step that raises does not apply; the error is logged once, and its
        text is left at ``ctx.failure``. What a step has changed that does not
        apply is undone.
        """
        ctx.begin(self._clock, step.timeout)
        applied = False
        try:
            if step.built_in:
                answer = step.function(ctx, Kit(ctx, self._provisions.of(ctx.function), self._flights))
                applied = answer if isinstance(answer, bool) else (yield from answer)
            elif not serves(step.function, ctx):
                applied = False
            elif step.scope == "shared":
                applied = yield from self._flights.join(
                    (step.category, step.name),
                    lambda: _applied(step, ctx),
                    remaining=ctx.remaining,
                    is_async=ctx.is_async,
                )
            else:
                applied = yield from _applied(step, ctx)
        except Exception as error:  # noqa: BLE001 - a step that fails moves on to the next one
            self._failed(step, ctx, error)
        if not applied:
            ctx.undo()
        return Returned(applied)

    def _failed(self, step: PlaybookStep, ctx: RecoveryContext, error: Exception) -> None:
        ctx.failure = f"{type_name(error)}: {safe_str(error)}"
        if not step.reported:
            step.reported = True
            try:
                _log.warning("recovery step %s does not apply, it raised %s", step.name, readable(ctx.failure))
            except Exception:  # noqa: BLE001, S110 - a broken log handler must not harm the call either
                pass

    async def attempt_recovery(self, error_info: ErrorInfo) -> bool:
        """
        Walk the playbook of an error's category without a call to make again.

        Steps that change a call do not apply. What is registered for the
        function that ``error_info.context["function"]`` names is used.

        Returns:
            Whether a step applied; the steps after it are not run.
        """
        function = (error_info.context or {}).get("function")
        function = function if isinstance(function, str) else ""
        ctx = RecoveryContext(error_info, function=function, registry=self._registry, is_async=True)
        for step in self.playbook(error_info.category):
            outcome = await arun(self.plan_step(step, ctx), self._clock)
            if isinstance(outcome, Raised):
                # Cancellation and its kind: no step's own error comes this way.
                raise outcome.error
            self.note(step, ctx, applied=outcome.value, success=None)
            if outcome.value:
                return True
        return False

    # -- what happened -----------------------------------------------------

    def note(self, step: PlaybookStep, ctx: RecoveryContext, *, applied: bool, success: bool | None) -> None:
        """
        Remember a step's run.

        Args:
            step: The step.
            ctx: What it was given.
            applied: Whether it changed, freed or proved something.
            success: Whether the call made after it returned; None: none was made.
        """
        what = cut(ctx.function), cut(ctx.error.error_type), step.category, step.name
        self._history.append((self._clock.now(), *what, applied, success))

    def get_recovery_history(self) -> list[dict[str, datetime | str | bool | None]]:
        """
        Return the latest runs of steps, oldest first, redacted.

        Each has ``timestamp``, ``function``, ``error_type``, ``category``,
        ``step``, ``applied`` and ``success`` (None: no call was made after it).
        """
        return [
            {
                "timestamp": timestamp,
                "function": readable(function),
                "error_type": readable(error_type),
                "category": category,
                "step": readable(step),
                "applied": applied,
                "success": success,
            }
            for timestamp, function, error_type, category, step, applied, success in self._history.copy()
        ]

    def reset(self) -> None:
        """
        Forget what happened; steps and provisions stay.
        """
        self._history.clear()
        for step in self._steps.all():
            step.reported = False

    def _renew_locks(self) -> None:
        for part in (self._steps, self._provisions, self._flights):
            part._renew_locks()  # noqa: SLF001 - one convention, all the way down


def _applied(step: PlaybookStep, ctx: RecoveryContext) -> Decision:
    """
    Run a user's step: it applies where it returns something true.
    """
    return bool((yield from ask(ctx, step.function, ctx)))
