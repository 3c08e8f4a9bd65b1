"""
The gates of a pipeline's policies: whether the next call has to be planned.

A call is *quiet* while every gate - the stack's circuits, its service level,
whoever listens for successes - would let it pass and has nothing to learn from
its success.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from resilient.operation import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resilient.errors import CallRejectedError
    from resilient.hub import Hub
    from resilient.operation import Operation
    from resilient.policies.base import Plan
    from resilient.policies.policy import Gate, Policy
    from resilient.policies.tripping import Lull
    from resilient.ticks import Ticks

__all__ = ["ROUNDING", "Shut", "Stack", "Token", "planned"]

ROUNDING = 1e-6
"""Seconds: who waits as long as it was told must not be turned away for the last bit of a float."""


class Shut:
    """
    A gate, as long as all that happens to calls is that they are turned away: an open circuit.

    Replaced whole by its gate, never changed: it is read without a lock.

    Args:
        by: What turns them away; its ``name`` and its ``last_error`` are in the error.
        error: The type of the error, a `CallRejectedError`. It is made without its ``__init__``, of the name, the
            seconds until it is worth asking again, and the last error.
        ticks: Counts the rejections.
        until: Monotonic seconds at which it has to be asked; None where time alone will not open the way.
    """

    __slots__ = ("by", "error", "ticks", "until")

    def __init__(self, by: Any, error: type[CallRejectedError], ticks: Ticks, until: float | None) -> None:
        self.by: Any = by
        self.error: type[CallRejectedError] = error
        self.ticks: Ticks = ticks
        self.until: float | None = until


# Which gates a quiet call has passed, the generation of each at that time, and the policies that it is made under.
Token: TypeAlias = "tuple[tuple[Gate, ...], tuple[int, ...], tuple[Policy, ...]]"  # noqa: S105 - a type


class Stack:
    """
    Policies in force, as one plan, and what their gates say.

    Attributes:
        hub: Where events, time and chance come from; `install` sets it.
        policies: The policies, outermost first.
        override: Stands for the function while a test injects outcomes.
        quiet: The token of a quiet call; None while calls have to be planned.
        ticket: The same where only a clock keeps a call from being quiet.
        lulled: The only gate that hears of successes, if it has lulls; else None.
        shut: What turns calls away without a plan; None while nothing does.
    """

    __slots__ = (
        "_gates",
        "_last",
        "_learns",
        "_lock",
        "_outermost",
        "_planned",
        "_timed",
        "hub",
        "lulled",
        "override",
        "policies",
        "quiet",
        "shut",
        "ticket",
    )

    hub: Hub

    def __init__(self) -> None:
        self.policies: tuple[Policy, ...] = ()
        self.override: Callable[..., Any] | None = None
        self.quiet: Token | None = None
        self.ticket: Token | None = None
        self._last: Token | None = None
        self._gates: tuple[Gate, ...] = ()
        self._timed = False
        # Whether a policy wants to see each call: then none is quiet.
        self._planned = False
        # The policies, where all of them only learn from a quiet call's failure (see `Policy`); else None.
        self._learns: tuple[Policy, ...] | None = None
        # The outermost gate that may be shut, where its rejections go to the caller as they are.
        self._outermost: Any = None
        self.shut: Shut | None = None
        self.lulled: Any = None
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def install(self, policies: Sequence[Policy], hub: Hub) -> None:
        """
        Put *policies* (outermost first) in force, in one step.

        Calls in flight go on under the policies they began with.
        """
        gates = (*(one.gate for one in policies if one.gate is not None), hub)
        with self._lock:
            self.hub = hub
            self.policies = tuple(policies)
            self._learns = self.policies if all(hasattr(one, "failed") for one in policies) else None
            self._gates = gates
            self._timed = any(one.timed for one in policies)
            self._planned = any(one.every_call for one in policies)
            self._outermost = _outermost(policies)
            self._last = None
        for gate in gates:
            gate.attach(self)
        self.refresh()

    def refresh(self) -> None:
        """
        Read the gates again: whether the next call is quiet, and its token.
        """
        with self._lock:
            outermost = self._outermost
            self.shut = None if outermost is None else outermost.shut
            gates = self._gates
            generations: list[int] = []
            for gate in gates:
                generation = gate.generation
                if generation is None or self._planned or self.override is not None:
                    self.quiet = self.ticket = None
                    return
                generations.append(generation)
            ticket = gates, tuple(generations), self.policies
            # The same generations are the same token: calls in flight stay quiet.
            if ticket != self._last:
                self._last = gates, _shared(ticket[1]), ticket[2]
            timed = [gate for gate in gates if gate.timed]
            self.lulled = timed[0] if len(timed) == 1 and hasattr(timed[0], "lull") else None
            self.ticket = self._last
            self.quiet = None if timed or self._timed else self._last

    def settle_timed(self, ticket: Token, started: float, now: float) -> None:
        """
        Report the success of a call that only a clock kept from being quiet.

        Args:
            ticket: The generations of the gates when it began.
            started: Monotonic seconds then.
            now: Monotonic seconds when it returned.
        """
        gate = self.lulled
        # The lull first: with one of a later generation comes another ticket.
        lull: Lull | None = gate and gate.lull
        if lull is not None and ticket is self.ticket and now <= lull.until and now - started <= lull.slow:
            number = lull.tick()
            # Where the lull has ended meanwhile, its end tells whether this success is in it.
            if gate.lull is lull or gate.has_counted(lull, number):
                return
        self.settle(ticket, now - started)

    def settle(self, token: Token, elapsed: float | None) -> None:
        """
        Report the success of a quiet call to the gates it had passed.

        Args:
            token: Their generations when it began.
            elapsed: Seconds it took, where a clock was read.
        """
        gates, generations, _ = token
        for gate, generation in zip(gates, generations, strict=True):
            gate.succeeded(generation, elapsed)


@functools.lru_cache
def _shared(generations: tuple[int, ...]) -> tuple[int, ...]:
    """
    Return one tuple for all equal ones: most circuits have never moved.
    """
    return generations


def planned(op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Plan:
    """
    Return the plan of the policies that *op* goes through, whatever its pipeline has by now.
    """
    return (_OUTERMOST if op.policies else attempt)(op, args, kwargs)


@functools.cache
def _step(depth: int) -> Callable[..., Plan]:
    """
    Return the plan of the policy at *depth*, 0 being the outermost, of whatever stack an operation goes through.

    All pipelines share it: a chain of functions for each would be a quarter of what a function takes.
    """

    def step(op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Plan:
        policies = op.policies
        inner = attempt if depth + 1 == len(policies) else _step(depth + 1)
        return policies[depth].plan(op, args, kwargs, inner)

    return step


_OUTERMOST = _step(0)


def _outermost(policies: Sequence[Policy]) -> Any:
    """
    Return the outermost gate that may be shut, unless a policy above it may do something about its rejections.
    """
    for policy in policies:
        gate = policy.gate
        if hasattr(gate, "shut"):
            return gate
        if not policy.passes_rejections:
            return None
    return None
