"""
Every error and warning that this library raises itself.

::

    Exception
     +-- ResilientError
          +-- PolicyError (ValueError)           an option, an order, a file that cannot be meant
          +-- DecorationError (TypeError)        something that cannot be decorated this way
          +-- CallRejectedError                  a call that a policy did not admit
          |    +-- CircuitBreakerOpenError       ... because its circuit is open
          +-- FallbackChainExhaustedError        all that a chain offered has failed

    UserWarning
     +-- ResilientWarning
          +-- PolicyOrderWarning                 decorators stacked in an order that cannot work as meant
          +-- BlockingWaitWarning                a sync wait on a thread that runs an event loop

Errors of the caller's own functions are never wrapped in one of these, but for
`FallbackChainExhaustedError`, whose ``__cause__`` is the primary's own error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar

__all__ = [
    "BlockingWaitWarning",
    "CallRejectedError",
    "CircuitBreakerOpenError",
    "DecorationError",
    "FallbackChainExhaustedError",
    "PolicyError",
    "PolicyOrderWarning",
    "ResilientError",
    "ResilientWarning",
]


class ResilientError(Exception):
    """
    The base of every error that this library raises itself.

    Attributes:
        is_failure: Whether it stands for a failure of the call itself, so that policies deal with it as with any
            other error: it is retried where its class is transient, and recovered from. False: it tells what a
            policy has decided, which no other policy tries to undo unless it is asked to.
    """

    is_failure: ClassVar[bool] = False


class PolicyError(ResilientError, ValueError):
    """
    Options that cannot be meant.

    All problems of one call are reported at once.

    Args:
        where: What the options were given to, for people.
        problems: One sentence per problem, each naming the option, the value
            received and the remedy.
    """

    def __init__(self, where: str, problems: Iterable[str] = ()) -> None:
        self.where = where
        self.problems: tuple[str, ...] = tuple(problems)
        # `args` is what pickle and copy rebuild the exception from.
        super().__init__(where, self.problems)

    def __str__(self) -> str:
        if not self.problems:
            return self.where
        if len(self.problems) == 1:
            return f"{self.where}: {self.problems[0]}"
        return f"{self.where}: {len(self.problems)} problems" + "".join(f"\n  - {p}" for p in self.problems)


class DecorationError(ResilientError, TypeError):
    """
    Something that a decorator of this library cannot be put on as written.
    """


class CallRejectedError(ResilientError):
    """
    A call that a policy did not admit, so that it was not made.

    Circuits count it as neither failure nor success, it is no error in analytics, and it is retried only where
    ``on`` names its type.
    """


class CircuitBreakerOpenError(CallRejectedError):
    """
    A call that a circuit did not admit.

    Args:
        name: The circuit's name.
        retry_after: Seconds until it is worth asking again; None where time
            alone will not open the way (isolated, or open for ever).
        last_error: Text of the error that opened the circuit, or None.
    """

    # Whatever it tells is in `args`, where `BaseException.__new__` puts it: an
    # open circuit has to cost next to nothing, and so has this error.
    args: tuple[str, float | None, str | None]

    def __init__(self, name: str, retry_after: float | None = None, last_error: str | None = None) -> None:
        self.args = name, retry_after, last_error

    @property
    def name(self) -> str:
        """
        The circuit's name.
        """
        return self.args[0]

    @property
    def retry_after(self) -> float | None:
        """
        Seconds until it is worth asking again; None where time alone will not open the way.
        """
        return self.args[1]

    @property
    def last_error(self) -> str | None:
        """
        Text of the error that opened the circuit, or None.
        """
        return self.args[2]

    def __reduce__(self) -> tuple[type[CircuitBreakerOpenError], tuple[str, float | None, str | None]]:
        return type(self), (self.name, self.retry_after, self.last_error)

    def __str__(self) -> str:
        if self.retry_after is None:
            when = "it does not open by itself; call close() on it, or release its isolation"
        else:
            when = f"ask again in {self.retry_after:.3g} s"
        cause = f"; opened by {self.last_error}" if self.last_error else ""
        return f"circuit {self.name!r} does not admit this call: {when}{cause}"


class FallbackChainExhaustedError(ResilientError):
    """
    Everything that a fallback chain offered has failed.

    ``__cause__`` is the primary's error.

    Args:
        name: The chain's name.
        errors: The exceptions in the order in which they were raised, the
            primary's first.
    """

    __cause__: BaseException | None

    # It is as its primary's error.
    is_failure = True

    def __init__(self, name: str, errors: Iterable[Exception] = ()) -> None:
        self.name = name
        self.errors: tuple[Exception, ...] = tuple(errors)
        super().__init__(name, self.errors)
        # Here, so that copies and unpickled ones have it too.
        self.__cause__ = self.errors[0] if self.errors else None

    def __str__(self) -> str:
        if not self.errors:
            return f"fallback chain {self.name!r} had nothing to offer: every entry was passed over"
        return f"fallback chain {self.name!r} is exhausted: {len(self.errors)} offers failed ({self._kinds()})"

    def __repr__(self) -> str:
        # Without the errors' own texts: they may hold secrets, raise or never end.
        offers = f"{len(self.errors)} offers failed ({self._kinds()})" if self.errors else "nothing to offer"
        return f"<{type(self).__name__} {self.name!r}: {offers}>"

    def _kinds(self) -> str:
        # Here: this module stands above all others, and is asked for a text only where something has failed.
        from resilient.text import escape, type_name

        return ", ".join(escape(type_name(error)) for error in self.errors)


class ResilientWarning(UserWarning):
    """
    The base of every warning that this library gives.
    """


class PolicyOrderWarning(ResilientWarning):
    """
    Decorators stacked in an order that cannot work as it is meant.
    """


class BlockingWaitWarning(ResilientWarning):
    """
    A sync function waits between attempts on a thread whose event loop is running.
    """
