"""
Loading declarations into a registry, and telling what came of it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resilient.declared.advice import unused
from resilient.declared.declarations import Declarations, Refusal
from resilient.declared.document import build, of_mapping
from resilient.declared.reading import find, read
from resilient.declared.rebinding import put_in_force
from resilient.declared.wording import did_you_mean, dotted
from resilient.errors import PolicyError
from resilient.logs import DeclarationsChanged, DeclarationsRefused, log_event, wanted
from resilient.policies.options import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from resilient.declared.model import Document
    from resilient.events import Event
    from resilient.registry import Registry

__all__ = ["configure", "laid_over", "load_named", "refuse", "reload", "reload_for_now", "source_of"]


def configure(registry: Registry, mapping: Mapping[str, Any]) -> None:
    """
    Put what *mapping* declares in force, over the file.

    Raises:
        PolicyError: With everything that cannot be meant; nothing has changed.
    """
    text = of_mapping(mapping)
    # What it names may be in the file that RESILIENT_CONFIG does.
    registry.declarations_now()

    def make(now: Declarations | None) -> Declarations:
        file = now.file if now else None
        document = build(text, below=file)
        problems = _useless(document, file)
        if problems:
            raise PolicyError(document.label, problems)
        return Declarations(file, document, text)

    put_in_force(registry, make)


def _useless(document: Document, file: Document | None) -> list[str]:
    """
    Return what is wrong with policies for `configure` that change nothing: a slip in a name would never be noticed.

    Where no file is in force yet, they may be about one that comes later.
    """
    known = {} if file is None else file.policies
    return [
        f"{dotted(('policies', name))}: is used by no function here, and {file.label} has no policy of this"
        f" name{did_you_mean(name, known)}"
        for name in unused(document)
        if file is not None and name not in known
    ]


def laid_over(document: Document, now: Declarations | None) -> Declarations:
    """
    Return the declarations with another file, and what `configure` has said laid over it.
    """
    if now is None or now.mapping is None:
        return Declarations(document)
    try:
        runtime = build(now.mapping, below=document)
        problems = _useless(runtime, document)
    except PolicyError as error:
        runtime, problems = None, list(error.problems)
    if problems:
        why = "what configure() has declared does not fit it (configure({}) takes that back)"
        raise PolicyError(document.label, [f"{why}: {problem}" for problem in problems])
    return Declarations(document, runtime, now.mapping)


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
        # Of two reloads at once, the one that is in force has to be the one that is remembered.
        functions = put_in_force(registry, lambda now: laid_over(document, now), lambda: _remember(registry, source))
    except PolicyError as error:
        refuse(registry, label, error)
        raise
    if wanted(DeclarationsChanged):
        _log(registry, DeclarationsChanged(at=registry.hub.clock.now(), file=label, changed=functions))


@contextlib.contextmanager
def _unfollowed(registry: Registry) -> Generator[None]:
    follower, registry.follower = registry.follower, None
    try:
        yield
    finally:
        registry.follower = follower


def reload_for_now(registry: Registry, path: object) -> Callable[[], None]:
    """
    Do what `reload` does, weaving aside; return what puts back in force what was before.

    Raises:
        PolicyError: It cannot be meant.
    """
    before, source, refused = registry.declarations, registry._source, registry.refused  # noqa: SLF001 - written here alone
    with _unfollowed(registry):
        reload(registry, path)
    loaded = registry.declarations

    def take_back() -> None:
        # Not what somebody else has put in force meanwhile.
        if registry.declarations is loaded:
            with _unfollowed(registry):
                put_in_force(registry, lambda _: before or Declarations())
            registry.declarations, registry.refused = before, refused
            registry._source = source  # noqa: SLF001 - as above

    return take_back


def _remember(registry: Registry, source: Path) -> None:
    registry._source = source  # noqa: SLF001 - written here alone
    registry._reads_environment = False  # noqa: SLF001 - what it names would be put in the place of this one
    registry.refused = None


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
