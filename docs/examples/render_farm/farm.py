"""
Start render servers as processes, start the killed ones again, and stop them all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

__all__ = ["Farm", "FarmError", "Outage"]

_ROOT = Path(__file__).resolve().parents[3]
_START_LIMIT = 20.0
_STOP_LIMIT = 3.0
_DOWN_FOR = 1.0


class FarmError(Exception):
    """
    A server that does not start.
    """


@dataclass(frozen=True, slots=True)
class Outage:
    """
    A server was down from *start* to *end*, both on the monotonic clock; *end* is None if it never came back.
    """

    server: str
    start: float
    end: float | None


class _Keeper:
    """
    Keep one server running.

    Args:
        name: The server's name, which is also its part in the fault script.
        seed: What the fault script is made from.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.port = 0
        self.outages: list[Outage] = []
        self.ready = threading.Event()
        self._seed = seed
        self._last_request = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self._thread.start()

    def _spawn(self) -> subprocess.Popen[str] | None:
        command = [
            *(sys.executable, "-m", "docs.examples.render_farm.server", "--name", self.name),
            *("--seed", str(self._seed), "--port", str(self.port), "--first", str(self._last_request + 1)),
        ]
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        with self._lock:
            # `stop` may have come first; nothing is started after it.
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments made here
                command,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            return self._process

    def _keep(self) -> None:
        while (process := self._spawn()) is not None:
            came_up = self._follow(process)
            # Reaps the process and closes both pipes.
            process.communicate()
            if self._stopping.is_set() or not came_up:
                return
            self.outages.append(Outage(self.name, time.monotonic(), None))
            if self._stopping.wait(_DOWN_FOR):
                return

    def _follow(self, process: subprocess.Popen[str]) -> bool:
        """
        Read what a server reports until it ends; tell whether it was ever ready.
        """
        came_up = False
        for line in process.stdout or ():
            word, _, number = line.partition(" ")
            if word == "ready":
                came_up = True
                self.port = int(number)
                if self.outages and self.outages[-1].end is None:
                    self.outages[-1] = Outage(self.name, self.outages[-1].start, time.monotonic())
                self.ready.set()
            elif word == "request":
                # Requests report from several threads, so the numbers may be out of order.
                self._last_request = max(self._last_request, int(number))
        # Whoever waits for a server that never came up learns it by the port.
        self.ready.set()
        return came_up

    def stop(self) -> None:
        """
        Ask the server to end, and return when its process is gone.
        """
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
        self._thread.join(_STOP_LIMIT)

    @property
    def pid(self) -> int | None:
        """
        The process id of the present server.
        """
        return None if self._process is None else self._process.pid


class Farm:
    """
    A set of render servers, one process each, for use in a ``with`` block.

    Args:
        names: The servers' names.
        seed: What their fault scripts are made from.

    Raises:
        FarmError: On entering, if a server does not start.
    """

    def __init__(self, names: Iterable[str], seed: int) -> None:
        self._names = tuple(names)
        self._seed = seed
        self._keepers: list[_Keeper] = []

    def __enter__(self) -> Self:
        try:
            for name in self._names:
                self._keepers.append(_Keeper(name, self._seed))
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT
        for keeper in self._keepers:
            keeper.ready.wait(max(0.0, deadline - time.monotonic()))
            if not keeper.port:
                limit = f"within {_START_LIMIT:g} s"
                raise FarmError(f"render server {keeper.name!r} did not start {limit}; what it said is above")

    def stop(self) -> None:
        """
        Stop every server, each by its own process id.
        """
        for keeper in self._keepers:
            keeper.stop()

    @property
    def urls(self) -> dict[str, str]:
        """
        Where each server listens.
        """
        return {keeper.name: f"http://127.0.0.1:{keeper.port}" for keeper in self._keepers}

    @property
    def pids(self) -> dict[str, int | None]:
        """
        The process id of each server.
        """
        return {keeper.name: keeper.pid for keeper in self._keepers}

    @property
    def outages(self) -> tuple[Outage, ...]:
        """
        When servers were down because they had been killed.
        """
        return tuple(outage for keeper in self._keepers for outage in keeper.outages)

    def __repr__(self) -> str:
        return f"Farm({', '.join(self._names)}; seed {self._seed})"
