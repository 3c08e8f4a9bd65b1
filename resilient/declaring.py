"""
A registry's declarations: what a file and `configure` say about its functions, and how that changes.

The machinery (`resilient.declared`) is loaded when something is declared.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from resilient.declared.declarations import Declarations, Refusal
    from resilient.declared.signals import Hangup
    from resilient.declared.watching import Watch
    from resilient.registry import Registry

__all__ = ["Declaring"]


class Declaring:
    """
    What a registry can be told about policies without touching the functions.

    Attributes:
        declarations: What is in force; None while nothing is declared. Replaced whole.
        refused: Why the latest file is not in force; None where it is.
    """

    declarations: Declarations | None = None
    refused: Refusal | None = None
    # Called when other declarations have come into force: what weaves them looks at the modules again.
    follower: Callable[[], None] | None = None
    # The file that `reload` reads again.
    _source: Path | None = None
    # Whether RESILIENT_CONFIG is still to be looked at.
    _reads_environment: bool = False

    def configure(self, mapping: Mapping[str, Any]) -> None:
        """
        Declare *mapping*, of the shape of a file, over everything else: decorators, file and environment.

        A policy that the file has too changes for the functions that the file gives it. Each call replaces what the
        one before has said; ``configure({})`` takes it back.

        Raises:
            PolicyError: With everything that cannot be meant; nothing has changed.
        """
        from resilient.declared.reloading import configure

        configure(_registry(self), mapping)

    def reload(self, path: str | Path | None = None) -> None:
        """
        Read the file of policies, check it as a whole, and put it in force in one step.

        Circuits keep state and counts, and calls in flight go on under the policies they began with. Functions that
        are decorated later get what is declared then. Where `resilient.weave` was called for this registry, functions
        that only now have policies are woven.

        Args:
            path: The file; None: the one of the last time, else what ``RESILIENT_CONFIG`` names, the nearest
                ``resilient.toml``, or the nearest ``pyproject.toml`` with a table ``[tool.resilient]``.

        Raises:
            PolicyError: There is no file, or it cannot be meant: with everything that is wrong. What was in force
                stays so, and health warns until a reload succeeds.
        """
        from resilient.declared.reloading import reload

        reload(_registry(self), path)

    def watch(self) -> Watch:
        """
        Reload the file whenever it changes, in a thread of its own, until the handle's ``stop()``.

        A file that cannot be meant, is empty or gone is logged and changes nothing; the watch goes on. Where no file
        is in force yet, it is loaded first.

        Raises:
            PolicyError: The package watchfiles (extra ``watch``) is missing, or the first load failed.
        """
        from resilient.declared.watching import Watch

        return Watch(_registry(self))

    def reload_on_sighup(self) -> Hangup:
        """
        Reload the file whenever the process gets SIGHUP, until the handle's ``stop()``.

        To be called in the main thread. A handler that was there before is still called.

        Raises:
            PolicyError: This is not the main thread, or the platform has no SIGHUP.
        """
        from resilient.declared.signals import Hangup

        return Hangup(_registry(self))

    def declarations_now(self) -> Declarations | None:
        """
        Return what is in force; the default registry looks at ``RESILIENT_CONFIG`` when it is first asked.

        Raises:
            PolicyError: The file that the variable names cannot be meant.
        """
        if self._reads_environment:
            self._reads_environment = False
            if os.environ.get("RESILIENT_CONFIG"):
                from resilient.declared.reloading import load_named

                try:
                    load_named(_registry(self))
                except BaseException:
                    # Whoever decorates next is to hear of it too.
                    self._reads_environment = True
                    raise
        return self.declarations

    def declare_like(self, other: Declaring) -> None:
        """
        Take over what *other* declares, or would when it is first asked.
        """
        self._source = other._source
        self._reads_environment = other._reads_environment
        self.declarations = other.declarations


def _registry(one: Any) -> Registry:
    # Nothing else is one.
    return one  # type: ignore[no-any-return]
