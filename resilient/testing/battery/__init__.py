"""
The battery: what must hold for any policy, this library's and those of others, as checks that a test runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.errors import PolicyError, ResilientError
from resilient.policies.options import describe
from resilient.resilience import Resilience
from resilient.testing.battery import (
    calls,
    interruption,
    memory,
    options,
    outcomes,
    permits,
    places,
)
from resilient.testing.battery.trial import put_on
from resilient.testing.isolation import isolated_registry
from resilient.text import safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.testing.battery.check import Check

__all__ = ["BatteryCheck", "policy_battery"]

_ALL: tuple[Check, ...] = (
    *outcomes.CHECKS,
    *interruption.CHECKS,
    *permits.CHECKS,
    *memory.CHECKS,
    *calls.CHECKS,
    *places.CHECKS,
    *options.CHECKS,
)


class BatteryCheck:
    """
    One check of one policy: called, it raises AssertionError where the promise is broken.

    Args:
        check: What looks.
        policy: The decorator.
        shown: How it is written.
        is_async: The colour of the functions that it is put on.

    Attributes:
        promise: What must hold.
    """

    def __init__(self, check: Check, policy: Callable[..., Any], shown: str, *, is_async: bool) -> None:
        self._check = check
        self._policy = policy
        self._shown = shown
        self._is_async = is_async
        self.promise: str = check.text
        colour = "" if check.colours != "both" else "_async" if is_async else "_sync"
        self.__name__: str = f"{check.name}{colour}"
        self.__doc__ = f"{self.promise}."

    def __repr__(self) -> str:
        return f"<check {self.__name__}: {self.promise}>"

    def __call__(self) -> None:
        """
        Look whether the promise is kept.

        Raises:
            AssertionError: It is not; its text has the promise, and what was seen.
        """
        self._check.on(self._policy, self._shown, is_async=self._is_async)


def policy_battery(
    policy: Callable[..., Any], *, sync: bool = True, asynchronous: bool = True
) -> tuple[BatteryCheck, ...]:
    """
    Return the checks of what must hold for any policy, each with a ``__name__`` that a report of tests can show.

    They put the policy on functions of their own, on registries of their own, whose clocks move by themselves. A
    policy may stand in for errors, adjust arguments, and refuse calls with an error derived from `CallRejectedError`;
    of what it is given, all else has to arrive.

    Args:
        policy: A decorator, ready to be put on a function: ``bulkhead(2)``. It is given no ``registry=``.
        sync: Whether it is checked on sync functions.
        asynchronous: Whether it is checked on async functions, under asyncio.

    Raises:
        PolicyError: It is no such decorator, or refuses functions of a colour that is asked for.
    """
    colours = [*([False] if sync else []), *([True] if asynchronous else [])]
    if not colours:
        msg = "policy_battery(): sync and asynchronous are both False, which leaves nothing to check; allow one"
        raise PolicyError(msg)
    shown, *_ = [_shown(policy, is_async=is_async) for is_async in colours]
    return tuple(
        BatteryCheck(check, policy, shown, is_async=is_async)
        for check in _ALL
        for is_async in _colours_of(check, colours)
    )


def _colours_of(check: Check, colours: list[bool]) -> list[bool]:
    if check.colours == "async":
        return [is_async for is_async in colours if is_async]
    return colours[:1] if check.colours == "any" else colours


def _shown(policy: Any, *, is_async: bool) -> str:
    """
    Return *policy* as it is written, once it was put on a function of this colour.

    Raises:
        PolicyError: It cannot be.
    """

    def work(*args: Any, **kwargs: Any) -> None: ...

    async def awork(*args: Any, **kwargs: Any) -> None: ...

    with isolated_registry():
        try:
            resilience = getattr(put_on(awork if is_async else work, policy), "resilience", None)
        except ResilientError as error:
            colour, leave_out = ("async", "asynchronous") if is_async else ("sync", "sync")
            msg = f"policy_battery(): it refuses {colour} functions; mend that, or give {leave_out}=False: {error}"
            raise PolicyError(msg) from error
        except TypeError as error:
            msg = f"policy_battery() takes a decorator that is ready to be put on a function, got {describe(policy)}"
            raise PolicyError(msg) from error
    if not isinstance(resilience, Resilience):
        msg = f"policy_battery() takes what resilient.policy.decorator makes, got {describe(policy)}"
        raise PolicyError(msg)
    shown = safe_repr(resilience.policies[0], 80)
    if resilience.chosen is not None:
        msg = f"policy_battery() brings registries of its own; leave registry={resilience.chosen!r} out"
        raise PolicyError(msg)
    return shown
