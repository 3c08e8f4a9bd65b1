"""
What recovery steps are made with: calls of what users registered, for sync and async alike.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from resilient.policies.base import Call, Raised

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable

    from resilient.playbooks.context import RecoveryContext
    from resilient.playbooks.provisions import Provided
    from resilient.playbooks.single_flight import Decision, SingleFlight
    from resilient.policies.base import Command, Outcome

__all__ = ["Kit", "ask", "perform", "serves"]


class Kit:
    """
    What a built-in step works with.

    Args:
        ctx: The failed call.
        provided: What is registered for its function.
        flights: Where shared work is done once for all.
    """

    __slots__ = ("_ctx", "_flights", "provided")

    def __init__(self, ctx: RecoveryContext, provided: Provided, flights: SingleFlight) -> None:
        self._ctx = ctx
        self.provided: Provided = provided
        self._flights = flights

    def find(self, kind: str, fits: Callable[[Any], bool]) -> tuple[str, str, Any] | None:
        """
        Return name, path and value of the first parameter of *kind* whose value *fits*.
        """
        return next((found for found in self._ctx.values(self.provided.names(kind)) if fits(found[2])), None)

    def once(self, key: Hashable, work: Callable[[], Decision]) -> Decision:
        """
        Do *work* once for all who want the same now.
        """
        ctx = self._ctx
        return self._flights.join(key, work, remaining=ctx.remaining, is_async=ctx.is_async)

    def perform_once(self, step: str, fn: Callable[..., Any], *args: object) -> Decision:
        """
        Perform *fn* once for all who want the same step with the same function and names now.
        """
        # Looked at before: who cannot call it must not answer for those who can.
        if not serves(fn, self._ctx):
            return False
        key = (step, id(fn), *map(str, args))
        return (yield from self.once(key, lambda: perform(self._ctx, fn, *args)))

    def __repr__(self) -> str:
        return f"Kit({self.provided!r})"


def ask(ctx: RecoveryContext, fn: Callable[..., Any], *args: object) -> Generator[Command, Outcome, Any]:
    """
    Call *fn* within the step's time and return what it returns.

    A coroutine function cannot serve a sync operation: the answer is False.

    Raises:
        Exception: What *fn* raised.
    """
    if not serves(fn, ctx):
        return False
    outcome = yield Call(fn, args, timeout=ctx.remaining())
    if isinstance(outcome, Raised):
        try:
            raise outcome.error
        finally:
            # The traceback holds this frame; the frame must not hold the error.
            del outcome
    value = outcome.value
    if inspect.isawaitable(value):
        # Only a sync driver hands one back; closed, it does not warn that nobody awaited it.
        if inspect.iscoroutine(value):
            value.close()
        return False
    return value


def perform(ctx: RecoveryContext, fn: Callable[..., Any], *args: object) -> Decision:
    """
    Call something registered, as `ask` does: it worked unless it raises or returns False.
    """
    return (yield from ask(ctx, fn, *args)) is not False


def serves(fn: object, ctx: RecoveryContext) -> bool:
    """
    Tell whether the operation can call *fn*: a sync one cannot await a coroutine function.
    """
    if ctx.is_async:
        return True
    call = getattr(type(fn), "__call__", None)  # noqa: B004 - what calling it makes is asked, not whether it can be
    return not (inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(call))
