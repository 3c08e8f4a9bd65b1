"""
The gates of a pipeline's policies: whether the next call has to be planned.

A call is *quiet* while every gate - the stack's circuits, its service level,
whoever listens for successes - would let it pass and has nothing to learn from
its success.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from resilient.operation import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resilient.hub import Hub
    from resilient.operation import Operation
    from resilient.policies.base import Plan
    from resilient.policies.tripping import Lull
    from resilient.ticks import Ticks

__all__ = ["ROUNDING", "Bound", "Gate", "Shut", "Stack", "Token", "planned"]

ROUNDING = 1e-6
"""Seconds: who waits as long as it was told must not be turned away for the last bit of a float."""


class Gate(Protocol):
    """
    What may stand between a call and the fast path.

    Where it is the only one that hears of successes, two more attributes are
    looked for: ``lull`` (the `Lull` that it has published, or None) and
    ``has_counted`` (whether a lull that is over has counted a number).
    """

    @property
    def generation(self) -> int | None:
        """
        A number while every call may pass, another one when earlier results stop counting; None: calls are planned.
        """
        ...

    @property
    def timed(self) -> bool:
        """
        Whether successes are reported with how long they took.
        """
        ...

    def attach(self, owner: Any, /) -> None:
        """
        Call ``owner.refresh()``, held weakly, whenever one of these two has changed.
        """
        ...

    def succeeded(self, generation: int, elapsed: float | None) -> None:
        """
        Hear of the success of a call that passed in *generation*, and took *elapsed* seconds where a clock was read.
        """
        ...


class Shut:
    """
    An open circuit, as long as all that happens to calls is that they are turned away.

    Replaced whole by its circuit, never changed: it is read without a lock.

    Args:
        circuit: The circuit.
        ticks: Counts its rejections.
        until: Monotonic seconds at which it has to be asked; None where time alone will not open the way.
    """

    __slots__ = ("circuit", "ticks", "until")

    def __init__(self, circuit: Any, ticks: Ticks, until: float | None) -> None:
        self.circuit: Any = circuit
        self.ticks: Ticks = ticks
        self.until: float | None = until


# Which gates a quiet call has passed, the generation of each at that time, and the policies that it is made under.
Token: TypeAlias = tuple[tuple[Gate, ...], tuple[int, ...], tuple["Bound", ...]]


class Bound(Protocol):
    """
    A policy at its place in one pipeline.

    Two more attributes are looked for: ``judges_results`` (it may ask for
    another call after one that returned) and ``passes_rejections`` (an open
    circuit's rejection goes through it as it is), both False where missing.

    So is a method ``failed(op, outcome)``. A policy that has it only learns from
    the failure of a call that passed quietly; a stack of such policies needs no
    plan to hear of one.
    """

    @property
    def kind(self) -> str:
        """
        The decorator's name.
        """
        ...

    @property
    def gate(self) -> Gate | None:
        """
        What has to let a call pass before it is quiet.
        """
        ...

    @property
    def timed(self) -> bool:
        """
        Whether it needs to know when the operation began.
        """
        ...

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Decide about one operation, around *inner*: the plan of what is below.
        """
        ...


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
        "_judged",
        "_last",
        "_learns",
        "_lock",
        "_outermost",
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
        self.policies: tuple[Bound, ...] = ()
        self.override: Callable[..., Any] | None = None
        self.quiet: Token | None = None
        self.ticket: Token | None = None
        self._last: Token | None = None
        self._gates: tuple[Gate, ...] = ()
        self._timed = False
        # Whether a policy is to be asked about what was returned: then no call is quiet.
        self._judged = False
        # The policies, where all of them only learn from a quiet call's failure (see `Bound`); else None.
        self._learns: tuple[Bound, ...] | None = None
        # The outermost circuit, where its rejections go to the caller as they are.
        self._outermost: Any = None
        self.shut: Shut | None = None
        self.lulled: Any = None
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def install(self, policies: Sequence[Bound], hub: Hub) -> None:
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
            self._judged = any(getattr(one, "judges_results", False) for one in policies)
            self._outermost = _outermost_circuit(policies)
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
                if generation is None or self._judged or self.override is not None:
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


def _outermost_circuit(policies: Sequence[Bound]) -> Any:
    """
    Return the outermost circuit, unless a policy above it may do something about its rejections.
    """
    for policy in policies:
        breaker = getattr(policy, "breaker", None)
        if breaker is not None:
            return breaker
        if not getattr(policy, "passes_rejections", False):
            return None
    return None
