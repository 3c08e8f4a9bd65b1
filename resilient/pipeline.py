"""
The pipeline: a function's whole stack of policies, fused into one wrapper.

A call is *quiet* while every gate of the stack - its circuits, its service
level, whoever listens for successes - would let it pass and has nothing to
learn from its success. A quiet call costs one flag, one count and the call
itself. Everything else goes through the plan.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

from resilient import modes
from resilient.counting import Counts
from resilient.drivers import arun, run, stripped
from resilient.gates import ROUNDING, Stack, planned
from resilient.operation import Operation
from resilient.policies.base import Raised, Returned
from resilient.surroundings import carries, surroundings
from resilient.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.counting import Stats
    from resilient.gates import Shut, Token

__all__ = ["Pipeline"]


# Makes a rejection without its __init__, which would but store the arguments once more.
_new = BaseException.__new__

_uids = itertools.count(1)


class Pipeline(Stack):
    """
    One function, its policies, and what has been counted.

    Args:
        fn: The raw function, or None where each call brings its own.
        name: The function's name, for people.

    Attributes:
        uid: Its number; with a call's number, the id of an operation.
        counts: What has been counted.
    """

    __slots__ = ("__weakref__", "counts", "fn", "name", "ticks", "uid")

    def __init__(self, fn: Callable[..., Any] | None, name: str, ticks: Ticks | None = None) -> None:
        self.uid: int = next(_uids)
        self.fn: Callable[..., Any] | None = fn
        self.name: str = name
        self.ticks: Ticks = ticks or Ticks()
        super().__init__()
        self.counts: Counts = Counts(self.ticks, self._lock)

    def renew_locks(self) -> None:
        """
        Take a fresh lock, in a forked child, where the old one may be held for ever; the hub sees to it.
        """
        self._renew_locks()
        self.counts.renew_lock(self._lock)
        for policy in self.policies:
            try:
                policy.after_fork()
            except Exception as error:  # noqa: BLE001 - others wait for their locks
                self.hub.report(f"after_fork of {policy.kind}", error)

    def __del__(self) -> None:
        hub = getattr(self, "hub", None)
        if hub is not None:
            # No more than this: it runs wherever the collector does, at the end of the stack too.
            hub.departed.append(self.counts)

    def __reduce__(self) -> tuple[Any, ...]:
        # For wrappers that are pickled by value; whoever carries the policies installs them there.
        return Pipeline, (self.fn, self.name, self.ticks)

    def __repr__(self) -> str:
        return f"<Pipeline of {self.name}: {' '.join('@' + one.kind for one in self.policies) or 'no policies'}>"

    # -- calling -----------------------------------------------------------

    def guard(self) -> Callable[..., Any]:
        """
        Return the one wrapper of a sync function.
        """
        fn, tick = self.fn, self.ticks.__next__

        def guard(*args: Any, **kwargs: Any) -> Any:
            token = self.quiet
            number = tick()
            if token is None:
                if (shut := self.shut) is not None and (wait := self.turned_away(shut)) != 0.0:
                    raise _new(shut.error, shut.by.name, wait, shut.by.last_error)
                return self.enter(number, args, kwargs)
            try:
                result = fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                if self.quiet is not token:
                    self.settle(token, None)
                return result
            # Outside of `except`: nothing may hold the error while the plan goes on.
            return self.enter(number, args, kwargs, failure, token)

        carries(guard)
        return guard

    def aguard(self) -> Callable[..., Any]:
        """
        Return the one wrapper of an async function.
        """
        fn, tick = self.fn, self.ticks.__next__

        async def guard(*args: Any, **kwargs: Any) -> Any:
            token = self.quiet
            number = tick()
            if token is None:
                if (shut := self.shut) is not None and (wait := self.turned_away(shut)) != 0.0:
                    raise _new(shut.error, shut.by.name, wait, shut.by.last_error)
                return await self.aenter(number, args, kwargs)
            try:
                result = await fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                if self.quiet is not token:
                    self.settle(token, None)
                return result
            return await self.aenter(number, args, kwargs, failure, token)

        carries(guard)
        return guard

    def enter(  # noqa: PLR0917 - keywords would cost time on every failure
        self,
        number: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        failure: list[Exception] | None = None,
        ticket: Token | None = None,
        op: Operation | None = None,
    ) -> Any:
        """
        Make a call that is not quiet, or go on with one that has failed quietly.

        Args:
            number: Which call of this pipeline it is.
            args: The call's positional arguments.
            kwargs: The call's keyword arguments.
            failure: A box with the error that the first attempt has raised.
            ticket: The generations that this attempt was admitted in.
            op: An operation that was prepared elsewhere.
        """
        if modes.disabled and self.fn is not None:
            if failure is not None:
                raise failure.pop()
            return (self.override or self.fn)(*args, **kwargs)
        started = None
        if failure is None and op is None and (ticket := self.ticket) is not None:
            # Only a clock stands between this call and the fast path.
            clock = self.hub.clock
            started = clock.monotonic()
            try:
                value = self.fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                self.settle_timed(ticket, started, clock.monotonic())
                return value
        op = self.operation(number, failure, ticket, started, op)
        learns = failure is not None and self._learns is op.policies
        # In one step: what a look up the stack finds here must not include the error.
        outcome = op.finish(self._learn(op) if learns else run(planned(op, args, kwargs), op.clock))
        if type(outcome) is Returned:
            return outcome.value
        try:
            raise outcome.error  # type: ignore[union-attr]
        finally:
            # The traceback holds this frame; the frame must not hold the error.
            del outcome

    async def aenter(  # noqa: PLR0917 - as above
        self,
        number: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        failure: list[Exception] | None = None,
        ticket: Token | None = None,
        op: Operation | None = None,
    ) -> Any:
        """
        Do what `enter` does, for an async function.
        """
        if modes.disabled and self.fn is not None:
            if failure is not None:
                raise failure.pop()
            return await (self.override or self.fn)(*args, **kwargs)
        started = None
        if failure is None and op is None and (ticket := self.ticket) is not None:
            clock = self.hub.clock
            started = clock.monotonic()
            try:
                value = await self.fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                self.settle_timed(ticket, started, clock.monotonic())
                return value
        op = self.operation(number, failure, ticket, started, op)
        op.is_async = True
        learns = failure is not None and self._learns is op.policies
        outcome = op.finish(self._learn(op) if learns else await arun(planned(op, args, kwargs), op.clock))
        if type(outcome) is Returned:
            return outcome.value
        try:
            raise outcome.error  # type: ignore[union-attr]
        finally:
            del outcome

    carries(enter)
    carries(aenter)

    def _learn(self, op: Operation) -> Raised:
        """
        Do what the plan would, where a quiet call has failed and no policy can do anything about it.
        """
        outcome = op.replay()
        for policy in reversed(op.policies):
            policy.failed(op, outcome)  # type: ignore[attr-defined]  # `install` has looked for it
        return outcome

    def turned_away(self, shut: Shut) -> float | None:
        """
        Turn a call away where nobody but its caller has to hear of it, as the plan would, without the plan.

        An open circuit has to cost next to nothing.

        Returns:
            Seconds until it is worth asking again, None where time alone will not open the way; 0.0: the call is
            not turned away here, but has to be planned.
        """
        if modes.disabled or self.hub.hears_rejections():
            return 0.0
        wait = shut.until
        if wait is not None:
            wait -= self.hub.clock.monotonic()
            if wait <= ROUNDING:
                return 0.0
        next(shut.ticks)
        counts = self.counts
        next(counts.rejections or counts.first_rejection())
        return wait

    def operation(
        self,
        number: int,
        failure: list[Exception] | None = None,
        ticket: Token | None = None,
        started: float | None = None,
        op: Operation | None = None,
    ) -> Operation:
        """
        Return the operation of call *number*, with what its quiet part has left.
        """
        if op is None:
            op = Operation(self, number, self.override or self.fn, self.name)  # type: ignore[arg-type]
        if failure is not None:
            op.replayed = failure
            op.ticket = ticket
            # Those that it began under.
            op.policies = ticket[2]  # type: ignore[index]  # what has failed quietly had one
            # From the frame on that has called the guard.
            op.around = surroundings(op.key, sys._getframe(2).f_back)  # noqa: SLF001 - the documented way to a caller's frame
        if started is not None or self._timed or self.hub.observe is not None:
            op.started = op.clock.monotonic() if started is None else started
        return op

    def operation_of(self, number: int, fn: Callable[..., Any], function: str | None = None) -> Operation:
        """
        Return an operation that calls *fn* instead of this pipeline's own function.
        """
        return Operation(self, number, fn, function or self.name)

    # -- counts ------------------------------------------------------------

    def stats(self) -> Stats:
        """
        Return the counts so far.
        """
        return self.counts.stats()

    def reset_stats(self) -> None:
        """
        Zero the counts.
        """
        self.counts.reset()

    def lay_stats_aside(self) -> Callable[[], None]:
        """
        Zero the counts; return what brings the old ones back, as if nothing had been counted since.
        """
        return self.counts.lay_aside()
