"""
A check: one promise, what looks whether it is kept, and a watch over that, for a broken policy may hang.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from resilient.testing.battery.trial import Middle, Trial
from resilient.testing.fake_clock import FakeClock
from resilient.testing.isolation import isolated_registry
from resilient.text import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["PATIENCE", "Check", "promise"]

PATIENCE = 20.0
"""Seconds after which a check that hangs is given up; no check that passes takes half of one."""


class Check:
    """
    What looks whether a promise is kept.

    Args:
        run: Looks, and calls ``trial.broken(seen)`` where it is not.
        text: The promise.
        colours: The colours that it is looked at in: ``"both"``, ``"async"``, or ``"any"`` of those allowed.
    """

    def __init__(self, run: Callable[[Trial], None], text: str, colours: str) -> None:
        self.run: Callable[[Trial], None] = run
        self.text: str = text
        self.colours: str = colours
        self.name: str = run.__name__

    def on(self, policy: Callable[..., Any], shown: str, *, is_async: bool) -> None:
        """
        Look whether *policy* keeps the promise, in quiet calls and in planned ones.

        Raises:
            AssertionError: It does not.
        """
        for hears in (False, True):
            with _unlogged(), isolated_registry(FakeClock(), Middle()) as registry:
                self._watched(
                    Trial(policy, shown, is_async=is_async, registry=registry, hears=hears, promise=self.text)
                )

    def _watched(self, trial: Trial) -> None:
        """
        Run on a thread of its own, that it may hang.
        """
        raised: list[AssertionError] = []

        def run() -> None:
            try:
                self.run(trial)
            except AssertionError as error:
                raised.append(error)
            except BaseException as error:  # noqa: BLE001 - a plan may raise anything
                told = AssertionError(f"{self.text}; under {trial.shown}, {type_name(error)} came out of its plan")
                told.__cause__ = error
                raised.append(told)
            finally:
                trial.close()

        # With what holds for the caller, such as a service level; nobody waits for it at the end, should it hang.
        thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name=self.name, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            trial.broken(f"the check had not ended after {PATIENCE:g} s: something waits for ever")
        if raised:
            raise raised.pop()


@contextmanager
def _unlogged() -> Generator[None]:
    """
    Keep thousands of failures that are meant out of the report of a test.
    """
    logger = logging.getLogger("resilient")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def promise(text: str, colours: str = "both") -> Callable[[Callable[[Trial], None]], Check]:
    """
    Return a decorator that makes a check of a function.
    """
    return lambda run: Check(run, text, colours)
