"""
Loading declarations into a registry, and telling what came of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resilient.declared.declarations import Declarations, Refusal
from resilient.declared.document import build, of_mapping
from resilient.declared.reading import find, read
from resilient.declared.rebinding import put_in_force
from resilient.errors import PolicyError
from resilient.logs import DeclarationsChanged, DeclarationsRefused, log_event, wanted
from resilient.policies.options import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.events import Event
    from resilient.registry import Registry

__all__ = ["configure", "load_named", "refuse", "reload", "source_of"]


def configure(registry: Registry, mapping: Mapping[str, Any]) -> None:
    """
    Put what *mapping* declares in force, over the file.

    Raises:
        PolicyError: With everything that cannot be meant; nothing has changed.
    """
    document = build(of_mapping(mapping))
    put_in_force(registry, lambda now: Declarations(now.file if now else None, document))


def reload(registry: Registry, path: object = None) -> None:
    """
    Put in force what the file at *path* declares; None: the file of the last time, or the one that is found.

    Raises:
        PolicyError: It cannot be meant; nothing has changed but what health says.
    """
    source = source_of(registry, path)
    label = str(source)
    try:
        document = build(read(source), os.environ)
        label = document.label
        functions = put_in_force(registry, lambda now: Declarations(document, now.runtime if now else None))
    except PolicyError as error:
        refuse(registry, label, error)
        raise
    registry._source = source  # noqa: SLF001 - written here alone
    registry._reads_environment = False  # noqa: SLF001 - what it names would be put in the place of this one
    registry.refused = None
    if wanted(DeclarationsChanged):
        _log(registry, DeclarationsChanged(at=registry.hub.clock.now(), file=label, changed=functions))


def source_of(registry: Registry, path: object = None) -> Path:
    """
    Return the file that `reload` reads.

    Raises:
        PolicyError: There is none, or *path* is no path.
    """
    if path is None:
        found = registry._source or find()  # noqa: SLF001 - written here alone
        if found is None:
            msg = (
                "there is no file of policies: write a resilient.toml in this folder or above it, or [tool.resilient]"
                " in pyproject.toml, or name the file: reload(path), or RESILIENT_CONFIG"
            )
            raise PolicyError(msg)
        path = found
    if not isinstance(path, str | os.PathLike):
        where = "reload()"
        raise PolicyError(where, [f"path must be a path or None, got {describe(path)}"])
    # The working folder may be another one the next time.
    return Path(os.fspath(path)).absolute()


def load_named(registry: Registry) -> None:
    """
    Load the file that ``RESILIENT_CONFIG`` names.

    Raises:
        PolicyError: It cannot be meant; the variable is named.
    """
    try:
        reload(registry, os.environ["RESILIENT_CONFIG"])
    except PolicyError as error:
        where = "RESILIENT_CONFIG"
        raise PolicyError(where, error.problems or [str(error)]) from None


def refuse(registry: Registry, label: str, error: PolicyError) -> None:
    """
    Remember why a file is not in force, and log it once.
    """
    refusal = Refusal(label, error.problems or (str(error),))
    if registry.refused == refusal:
        return
    registry.refused = refusal
    if wanted(DeclarationsRefused):
        at = registry.hub.clock.now()
        _log(registry, DeclarationsRefused(at=at, file=label, problems=refusal.problems))


def _log(registry: Registry, event: Event) -> None:
    try:
        log_event(event)
    except Exception as error:  # noqa: BLE001 - a broken log handler must not undo what was done
        registry.hub.report("the log of declarations", error)
