"""
Watching a file of policies: a thread that reloads it whenever it changes.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from resilient.declared.reloading import refuse, reload, source_of
from resilient.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from resilient.registry import Registry

__all__ = ["INSTALL_HINT", "Watch"]

INSTALL_HINT = "pip install 'resilient-aspects[watch]'"

# Milliseconds: a save is several changes, and over when none has followed for a step.
_DEBOUNCE, _STEP = 400, 50
# Milliseconds after which the file is looked at although nobody told of a change: some file systems do not tell, and
# a link may be turned while the folders are being changed.
_LOOK = 1_000
# Seconds to wait before a folder that is gone is looked for again.
_PAUSE = 1.0
# What no file looks like, nor one that is gone.
_UNSEEN: tuple[int, ...] = ()
# How many links are followed.
_LINKS = 40


class Watch:
    """
    A watch of a registry's file; a context manager: leaving the block stops it.

    Args:
        registry: The registry.

    Attributes:
        path: The file.

    Raises:
        PolicyError: The package watchfiles is missing, or the file, where none is in force yet, cannot be meant.
    """

    def __init__(self, registry: Registry) -> None:
        self._changes = _changes()
        declared = registry.declarations
        if declared is None or declared.file is None:
            reload(registry)
        self.path: Path = source_of(registry)
        self._registry = registry
        # What was loaded may not be what is there by now: the thread begins with a look.
        self._seen: tuple[int, ...] | None = _UNSEEN
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"resilient-watch-{registry.name}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Watch of {self.path}{', stopped' if self._over.is_set() else ''}>"

    def stop(self) -> None:
        """
        End the watch, and wait until its thread is done; a second call does nothing.
        """
        self._over.set()
        # A listener or a reference that is followed may call this from within.
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._follow(_folders(self.path))
            except Exception as error:  # noqa: BLE001 - whatever goes wrong, the watch goes on
                refuse(self._registry, str(self.path), PolicyError(f"{self.path} cannot be watched: {error}"))
                self._seen = _UNSEEN
                self._over.wait(_PAUSE)

    def _follow(self, folders: frozenset[Path]) -> None:
        """
        Look at the file after each change in *folders*, until these are no longer those that it depends on.
        """
        there = [one for one in folders if one.is_dir()]
        if not there:
            self.look()
            self._over.wait(_PAUSE)
            return
        changes = self._changes(
            *there,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=_STEP,
            stop_event=self._over,
            rust_timeout=_LOOK,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        )
        self.look()
        for _ in changes:
            self.look()
            if _folders(self.path) != folders or not all(one.is_dir() for one in there):
                return

    def look(self) -> None:
        """
        Reload the file if it is not what it was at the last look.

        An empty one is taken for half a save: a file that is to declare nothing has a comment in it.
        """
        seen = _signature(self.path)
        if seen == self._seen:
            return
        self._seen = seen
        label = str(self.path)
        if seen is None:
            refuse(self._registry, label, PolicyError(label, ["cannot be read; what it said stays in force"]))
        elif seen[0] == 0:
            refuse(self._registry, label, PolicyError(label, ["is empty; what it said stays in force"]))
        else:
            try:
                reload(self._registry, self.path)
            except PolicyError:
                # It is in the log and in health.
                return


def _changes() -> Callable[..., Any]:
    try:
        import watchfiles
    except ImportError:
        msg = f"watch() needs the package watchfiles; install it with: {INSTALL_HINT}"
        raise PolicyError(msg) from None
    changes: Callable[..., Any] = watchfiles.watch
    return changes


def _signature(path: Path) -> tuple[int, ...] | None:
    """
    Return what changes whenever the file does, its size first; None where there is none.
    """
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev


def _folders(path: Path) -> frozenset[Path]:
    """
    Return the folders in which something may be put into the place of the file: its own, and those of all links to it.
    """
    found: set[Path] = set()
    waiting = [path]
    for _ in range(_LINKS):
        if not waiting:
            break
        here = waiting.pop()
        for one in (here, *here.parents):
            try:
                target = one.readlink()
            except OSError:
                continue
            found.add(one.parent)
            # What is a link somewhere on the way leads to the rest of the way from there.
            waiting.append(Path(os.path.normpath(one.parent / target / here.relative_to(one))))
            break
        else:
            found.add(here.parent)
    return frozenset(found)
