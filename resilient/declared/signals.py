"""
Reloading on SIGHUP.

Python runs a signal's handler in the main thread between any two instructions: in the middle of a call of ours or of
the user's, within a lock that this thread holds. So the handler only puts a note into a queue - `queue.SimpleQueue`,
whose ``put`` may interrupt itself, where `threading.Event` would wait for its own lock for ever - and a thread of its
own does the work. That thread takes locks like any other: what the handler has interrupted goes on and frees them.
"""

from __future__ import annotations

import signal
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from resilient.declared.reloading import reload
from resilient.errors import PolicyError

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from resilient.registry import Registry

__all__ = ["Hangup"]


class Hangup:
    """
    Reloads a registry's file on SIGHUP; a context manager: leaving the block stops it.

    A file that cannot be meant is in the log and in health, and changes nothing.

    Args:
        registry: The registry.

    Raises:
        PolicyError: This is not the main thread, or the platform has no SIGHUP.
    """

    def __init__(self, registry: Registry) -> None:
        self._number = getattr(signal, "SIGHUP", None)
        if self._number is None:
            msg = "reload_on_sighup(): this platform has no SIGHUP; call reload(), or watch()"
            raise PolicyError(msg)
        self._check_thread("reload_on_sighup()")
        self._registry = registry
        self._notes: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"resilient-sighup-{registry.name}", daemon=True)
        self._thread.start()
        # Bound once: each look at `self._handle` makes another object.
        self._handler = self._handle
        # Before the handler, which asks for it, can be called.
        self._previous = signal.getsignal(self._number)
        signal.signal(self._number, self._handler)

    def __repr__(self) -> str:
        return f"<Hangup of registry {self._registry.name!r}{'' if self._thread.is_alive() else ', stopped'}>"

    def stop(self) -> None:
        """
        Bring the handler back that was there before, and end the thread; a second call does nothing.

        Where somebody has set another handler meanwhile, that one stays.

        Raises:
            PolicyError: This is not the main thread.
        """
        self._check_thread("stop()")
        if self._number is not None and signal.getsignal(self._number) is self._handler:
            # None: it was set by something that is not Python, and cannot be brought back.
            signal.signal(self._number, signal.SIG_DFL if self._previous is None else self._previous)
        self._notes.put(False)  # noqa: FBT003 - a note, not a flag
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @staticmethod
    def _check_thread(what: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            msg = f"{what}: Python sets signal handlers in the main thread only; call it there"
            raise PolicyError(msg)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._notes.put(True)  # noqa: FBT003 - a note, not a flag
        previous: Any = self._previous
        if callable(previous):
            previous(number, frame)

    def _run(self) -> None:
        while self._notes.get():
            try:
                reload(self._registry)
            except PolicyError:
                # It is in the log and in health.
                continue
            except Exception as error:  # noqa: BLE001 - a thread of ours does not end by what it was told to read
                self._registry.hub.report("reload on SIGHUP", error)
