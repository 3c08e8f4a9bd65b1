"""
The pipeline: a function's whole stack of policies, fused into one wrapper.

A call is *quiet* while every gate of the stack - its circuits, its service
level, whoever listens for successes - would let it pass and has nothing to
learn from its success. A quiet call costs one flag, one count and the call
itself. Everything else goes through the plan.
"""

from __future__ import annotations

import functools
import itertools
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from resilient import modes
from resilient.drivers import arun, run, stripped
from resilient.forks import survives_fork
from resilient.operation import CARRIERS, Operation, attempt
from resilient.policies.base import Outcome, Returned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resilient.hub import Hub
    from resilient.policies.base import Plan

__all__ = ["Bound", "Gate", "Pipeline", "Stats", "Ticks", "Token"]


class Gate(Protocol):
    """
    What may stand between a call and the fast path.

    ``generation`` is a number while the gate lets every call pass, and changes
    whenever results of earlier calls stop counting; it is None while calls have
    to be planned. ``timed`` says that successes are reported with how long they
    took. A gate calls ``owner.refresh()`` on all that attached whenever its
    generation comes or goes.
    """

    @property
    def generation(self) -> int | None: ...

    @property
    def timed(self) -> bool: ...

    def attach(self, owner: Pipeline) -> None: ...

    def succeeded(self, generation: int, elapsed: float | None) -> None: ...


# Which gates a quiet call has passed, each with its generation at that time.
Token: TypeAlias = "tuple[tuple[Gate, int], ...]"


class Bound(Protocol):
    """
    A policy at its place in one pipeline.

    ``plan`` is the policy's plan around ``inner``, the plan of what is below.
    ``timed`` says that it needs to know when the operation began.
    """

    kind: str
    gate: Gate | None
    timed: bool

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Decide about one operation.
        """


class Stats:
    """
    What a pipeline has counted.

    Args:
        calls: Calls made, those in flight included.
        attempts: Calls of the function itself.
        retries: Attempts that a retry asked for.
        failures: Calls that raised to their caller.
        rejected: Calls of the function that a circuit did not admit.
        recovered: Calls that returned although an attempt had failed.
        fallbacks: Calls of fallback entries.
    """

    __slots__ = ("attempts", "calls", "failures", "fallbacks", "recovered", "rejected", "retries")

    def __init__(self) -> None:
        self.calls = 0
        self.attempts = 0
        self.retries = 0
        self.failures = 0
        self.rejected = 0
        self.recovered = 0
        self.fallbacks = 0

    def to_dict(self) -> dict[str, int]:
        """
        Return the counts by name.
        """
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stats) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # counts change

    def __repr__(self) -> str:
        return f"Stats({', '.join(f'{name}={value}' for name, value in self.to_dict().items())})"


class Ticks(itertools.count):  # type: ignore[type-arg]
    """
    A counter whose step is one atomic C call, from 1 on.

    Copies and pickles start afresh: state does not travel.
    """

    def __new__(cls) -> Ticks:
        return super().__new__(cls, 1)

    @property
    def taken(self) -> int:
        """
        How many numbers have been given out.
        """
        return int(repr(self)[len("Ticks(") : -1]) - 1

    def __reduce__(self) -> tuple[type[Ticks], tuple[()]]:
        return Ticks, ()


_uids = itertools.count(1)


class Pipeline:
    """
    One function, its policies, and what has been counted.

    Args:
        fn: The raw function, or None where each call brings its own.
        name: The function's name, for people.

    Attributes:
        hub: Where events, time and chance come from; `install` sets it.
    """

    __slots__ = (
        "__weakref__",
        "_forgotten",
        "_gates",
        "_last",
        "_lock",
        "_planned",
        "_plans",
        "_stats",
        "_timed",
        "fn",
        "hub",
        "name",
        "override",
        "policies",
        "quiet",
        "ticket",
        "ticks",
        "uid",
    )

    def __init__(self, fn: Callable[..., Any] | None, name: str) -> None:
        self.uid = next(_uids)
        self.fn = fn
        self.name = name
        self.ticks = Ticks()
        self.policies: tuple[Bound, ...] = ()
        # Stands for `fn` while a test injects outcomes.
        self.override: Callable[..., Any] | None = None
        # The token of a quiet call, and the same where only a clock keeps a call from being quiet.
        self.quiet: Token | None = None
        self.ticket: Token | None = None
        self._last: Token | None = None
        self._gates: tuple[Gate, ...] = ()
        self._timed = False
        self._plans: Callable[..., Plan] = attempt
        self._stats = Stats()
        self._planned = 0
        self._forgotten = 0
        survives_fork(self)
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<Pipeline of {self.name}: {' '.join('@' + one.kind for one in self.policies) or 'no policies'}>"

    # -- building ----------------------------------------------------------

    def install(self, policies: Sequence[Bound], hub: Hub) -> None:
        """
        Put *policies* (outermost first) in force, in one step.

        Calls in flight go on under the policies they began with.
        """
        plans: Callable[..., Plan] = attempt
        for policy in reversed(policies):
            plans = functools.partial(policy.plan, inner=plans)
        gates = (*(one.gate for one in policies if one.gate is not None), hub)
        with self._lock:
            self.hub = hub
            self.policies = tuple(policies)
            self._plans = plans
            self._gates = gates
            self._timed = any(one.timed for one in policies)
            self._last = None
        for gate in gates:
            gate.attach(self)
        self.refresh()

    def refresh(self) -> None:
        """
        Read the gates again: whether the next call is quiet, and its token.
        """
        with self._lock:
            passed: list[tuple[Gate, int]] = []
            for gate in self._gates:
                generation = gate.generation
                if generation is None or self.override is not None:
                    self.quiet = self.ticket = None
                    return
                passed.append((gate, generation))
            ticket = tuple(passed)
            # The same generations are the same token: calls in flight stay quiet.
            if ticket != self._last:
                self._last = ticket
            timed = self._timed or any(gate.timed for gate in self._gates)
            self.ticket = self._last
            self.quiet = None if timed else self._last

    # -- calling -----------------------------------------------------------

    def guard(self) -> Callable[..., Any]:
        """
        Return the one wrapper of a sync function.
        """
        pipeline, fn, tick = self, self.fn, self.ticks.__next__

        def guard(*args: Any, **kwargs: Any) -> Any:
            token = pipeline.quiet
            number = tick()
            if token is None:
                return pipeline.enter(number, args, kwargs)
            try:
                result = fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                if pipeline.quiet is not token:
                    pipeline.settle(token, None)
                return result
            # Outside of `except`: nothing may hold the error while the plan goes on.
            return pipeline.enter(number, args, kwargs, failure, token)

        CARRIERS.add(guard.__code__)
        return guard

    def aguard(self) -> Callable[..., Any]:
        """
        Return the one wrapper of an async function.
        """
        pipeline, fn, tick = self, self.fn, self.ticks.__next__

        async def guard(*args: Any, **kwargs: Any) -> Any:
            token = pipeline.quiet
            number = tick()
            if token is None:
                return await pipeline.aenter(number, args, kwargs)
            try:
                result = await fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                if pipeline.quiet is not token:
                    pipeline.settle(token, None)
                return result
            return await pipeline.aenter(number, args, kwargs, failure, token)

        CARRIERS.add(guard.__code__)
        return guard

    def enter(
        pipeline,  # noqa: N805 - a frame of this function carries its operation by that name: see CARRIERS
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
        if modes.disabled:
            return pipeline.bypass(args, kwargs, failure)
        started = None
        if failure is None and op is None and (ticket := pipeline.ticket) is not None:
            # Only a clock stands between this call and the fast path.
            clock = pipeline.hub.clock
            started = clock.monotonic()
            try:
                value = pipeline.fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                pipeline.settle(ticket, clock.monotonic() - started)
                return value
        op = pipeline.operation(number, failure, ticket, started, op)
        outcome = run(pipeline._plans(op, args, kwargs), op.clock)
        op.finish(outcome)
        if type(outcome) is Returned:
            return outcome.value
        try:
            raise outcome.error  # type: ignore[union-attr]
        finally:
            # The traceback holds this frame; the frame must not hold the error.
            del outcome

    async def aenter(
        pipeline,  # noqa: N805 - as in `enter`
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
        if modes.disabled:
            return await pipeline.bypass(args, kwargs, failure)
        started = None
        if failure is None and op is None and (ticket := pipeline.ticket) is not None:
            clock = pipeline.hub.clock
            started = clock.monotonic()
            try:
                value = await pipeline.fn(*args, **kwargs)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                failure = [stripped(error)]
            else:
                pipeline.settle(ticket, clock.monotonic() - started)
                return value
        op = pipeline.operation(number, failure, ticket, started, op)
        op.is_async = True
        outcome = await arun(pipeline._plans(op, args, kwargs), op.clock)
        op.finish(outcome)
        if type(outcome) is Returned:
            return outcome.value
        try:
            raise outcome.error  # type: ignore[union-attr]
        finally:
            del outcome

    CARRIERS.update((enter.__code__, aenter.__code__))

    def bypass(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], failure: list[Exception] | None) -> Any:
        """
        Call the raw function, or raise what it raised: all policies are switched off.
        """
        if failure is not None:
            raise failure.pop()
        return (self.override or self.fn)(*args, **kwargs)  # type: ignore[misc]

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
        if self._timed or self.hub.timed:
            op.started = op.clock.monotonic() if started is None else started
        return op

    def operation_of(self, number: int, fn: Callable[..., Any], function: str | None = None) -> Operation:
        """
        Return an operation that calls *fn* instead of this pipeline's own function.
        """
        return Operation(self, number, fn, function or self.name)

    def settle(self, token: Token, elapsed: float | None) -> None:
        """
        Report the success of a quiet call to the gates it had passed.

        Args:
            token: Their generations when it began.
            elapsed: Seconds it took, where a clock was read.
        """
        for gate, generation in token:
            gate.succeeded(generation, elapsed)

    # -- counting ----------------------------------------------------------

    def count(self, op: Operation, *, failed: bool, recovered: bool) -> None:
        """
        Add a finished operation to the counts.
        """
        with self._lock:
            stats = self._stats
            self._planned += 1
            stats.attempts += op.attempts
            stats.retries += op.retries
            stats.rejected += op.rejected
            stats.fallbacks += op.fallbacks
            stats.failures += failed
            stats.recovered += recovered

    def reset_stats(self) -> None:
        """
        Zero the counts; numbers of calls go on, for ids are made of them.
        """
        with self._lock:
            self._stats = Stats()
            self._planned = 0
            self._forgotten = self.ticks.taken

    def stats(self) -> Stats:
        """
        Return the counts so far.
        """
        result = Stats()
        with self._lock:
            for name in Stats.__slots__:
                setattr(result, name, getattr(self._stats, name))
            calls = self.ticks.taken - self._forgotten
            # Quiet calls count themselves and nothing else: one attempt each.
            result.attempts += calls - self._planned
            result.calls = calls
        return result
