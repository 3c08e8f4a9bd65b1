"""
What a policy is to the pipeline: its plan, its gate, and what it needs to be asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resilient.events import Event
    from resilient.operation import Operation
    from resilient.policies.base import Plan
    from resilient.policies.options import OptionTable
    from resilient.policies.spec import Site, Spec

__all__ = ["Gate", "Policy"]


class Gate(Protocol):
    """
    What may stand between a call and the fast path.

    Two more attributes are looked for. ``shut`` (a `resilient.gates.Shut`, or None) tells that all that happens to
    calls now is that they are turned away; policies above it that mind rejections keep it from being used. Of the
    only gate that hears of successes, ``lull`` is what it has published (a `Lull`, or None), and ``has_counted``
    tells whether a lull that is over has counted a number.
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
        Call ``owner.refresh()``, held weakly, whenever one of these has changed.
        """
        ...

    def succeeded(self, generation: int, elapsed: float | None) -> None:
        """
        Hear of the success of a call that passed in *generation*, and took *elapsed* seconds where a clock was read.
        """
        ...


class Policy:
    """
    A policy, at its place in one pipeline; as a class, what there is to know of all policies of its kind.

    A subclass states its options in `table` and decides in `plan`; everything else has a default that is right for
    most. `resilient.policy.decorator` makes a decorator of it.

    A policy may have a method ``failed(op, outcome)`` as well. It says that the policy only *learns* of the failure
    of a call that has passed quietly and can do nothing about it; a stack of such policies starts no plan for one.

    What a plan promises:

    - It yields commands, is sent a `Returned` or a `Raised` for each, and returns one of them. It calls, awaits and
      sleeps in no other way, so that one text serves sync and async.
    - It gives back in ``finally`` whatever it has taken: Ctrl-C, cancellation and their kind close it.
    - It drops an outcome (``del outcome``) before it calls anew: the error holds the failed call's frames.
    - It keeps nothing of a call: the same policy serves all threads, tasks and event loops at once. It holds no lock
      while it yields.
    - It refuses a call with an error derived from `CallRejectedError`, and counts that: ``op.rejected += 1``.

    Args:
        options: A value for every row of `table`.
        site: Where it is put.

    Attributes:
        kind: Its name, that of `table`: the decorator's, and the key in a file of policies.
        table: The options.
        positional: The options that the decorator also takes by position, in their order. A file may give the value
            of the first alone: ``timeout = "30s"``.
        above: The kind right above which it stands where a file gives no order; None: innermost.
        events: The kinds of events that it emits, beside those of `resilient.events`.
        gate: What has to let a call pass before it is quiet; None: nothing has to.
        timed: Whether it needs to know when the operation began (``op.started``).
        every_call: Whether each call needs its plan. Else a call that no gate minds is made without one, and the
            plan begins when it has failed: ``inner`` then replays the failure.
        passes_rejections: Whether a circuit's rejection goes through it as it is.
    """

    __slots__ = ()

    kind: ClassVar[str]
    table: ClassVar[OptionTable]
    positional: ClassVar[tuple[str, ...]] = ()
    above: ClassVar[str | None] = None
    events: ClassVar[tuple[type[Event], ...]] = ()

    options: Mapping[str, Any]

    gate: Gate | None = None
    timed: bool = False
    every_call: bool = False
    passes_rejections: bool = False

    def __init_subclass__(cls) -> None:
        if "table" in cls.__dict__ and "kind" not in cls.__dict__:
            cls.kind = cls.table.kind

    def __init__(self, options: Mapping[str, Any], site: Site) -> None:  # noqa: ARG002 - for those that need it
        self.options = options  # type: ignore[misc]  # a subclass without slots, or with this one, takes it

    def __repr__(self) -> str:
        return self.table.show(self.options)

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Decide about one operation, around what is below it.

        Args:
            op: The operation.
            args: The call's positional arguments.
            kwargs: The call's keyword arguments.
            inner: ``yield from inner(op, args, kwargs)`` runs what is below; its value is the outcome.
        """
        raise NotImplementedError

    def health(self) -> Mapping[str, Any] | None:
        """
        Return what a health snapshot is to tell of it; None: nothing.

        JSON-ready, with a ``status``: ``"pass"``, ``"warn"`` or ``"fail"``.
        """
        return None

    def after_fork(self) -> None:
        """
        Take fresh locks, in a forked child: the parent's may be held there for ever.
        """

    @classmethod
    def bind(cls, given: Mapping[str, Any], site: Site) -> Policy:
        """
        Return the policy at *site*, given these checked options.
        """
        return cls(cls.table.filled(given), site)

    @classmethod
    def check_together(cls, given: Mapping[str, Any]) -> list[str]:  # noqa: ARG003 - for those that need it
        """
        Return one sentence for each pair of options that contradict each other.
        """
        return []

    @classmethod
    def check_function(cls, given: Mapping[str, Any], name: str, *, is_async: bool) -> list[str]:  # noqa: ARG003
        """
        Return one sentence for each reason why the function *name* cannot carry it.
        """
        return []

    @classmethod
    def misplaced(cls, given: Mapping[str, Any], below: Sequence[Spec]) -> str | None:  # noqa: ARG003
        """
        Return why it, given these options, cannot work as it is meant above what is *below*, outermost first.

        None: it can. Of two of the same ``kind`` in a row people are warned anyway.
        """
        return None
