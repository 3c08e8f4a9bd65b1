"""
One HTTP render server, a process of its own, that fails as its fault script says.

``POST /render`` draws a batch of frames, ``GET /look/SCENE`` tells how a scene is
graded, ``GET /`` answers that the server is there. It reports on standard output
(``ready PORT``, then ``request N`` for each one), and ends when its standard
input does, so that no server outlives the program that started it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import itertools
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import unquote

from docs.examples.render_farm.faults import Fault, fault_script
from docs.examples.render_farm.painter import FrameSpec, paint, size_of

__all__ = ["MAX_BATCH", "OUT_OF_MEMORY", "RenderServer", "main"]

MAX_BATCH = 4
OUT_OF_MEMORY = 507
# Longer than any client waits, and an end for a client that waits for ever.
_HANG = 30.0
_DOOR_SHUT = 1.0


class RenderServer(ThreadingHTTPServer):
    """
    A server that numbers its requests and looks up the fault of each.

    Args:
        port: Where to listen on loopback; 0 lets the system choose.
        name: Which part of the fault script it plays.
        script: Its faults by request number.
        first: The number of the first request; a restarted server goes on counting.
    """

    daemon_threads = True

    def __init__(self, port: int, name: str, script: dict[int, Fault], first: itertools.count[int]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.name = name
        self.script = script
        self.numbers = first
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Say nothing about clients that went away: their timeouts are part of the play.
        """
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def shut_door(self) -> None:
        """
        Stop listening; to be called from a request's thread.
        """
        self.closing.set()
        threading.Thread(target=self.shutdown).start()

    def __repr__(self) -> str:
        return f"RenderServer({self.name!r}, port {self.server_port})"


class _Handler(BaseHTTPRequestHandler):
    @property
    def farm_server(self) -> RenderServer:
        return cast("RenderServer", self.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """
        Keep the terminal for the progress bar.
        """

    def do_GET(self) -> None:
        """
        Answer a probe, or tell a scene's look.
        """
        kind, _, scene = self.path.lstrip("/").partition("/")
        if not kind:
            self._answer(200, {"server": self.farm_server.name})
        elif kind == "look" and scene and not self._failed():
            rng = random.Random(unquote(scene))
            look = {"warmth": round(rng.uniform(-0.5, 0.9), 3), "contrast": round(rng.uniform(1.0, 1.15), 3)}
            self._answer(200, look)
        elif kind != "look" or not scene:
            self._answer(404, {"error": f"nothing is at {self.path}; try /look/SCENE"})

    def do_POST(self) -> None:
        """
        Draw a batch of frames.
        """
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = self._number()
        fault = self.farm_server.script.get(number)
        if self._failed(fault):
            return
        batch = order["batch"]
        room = 1 if fault is Fault.MEMORY else MAX_BATCH
        if batch > room:
            problem = f"CUDA out of memory. Tried to draw {batch} frames at once; there is room for {room}"
            self._answer(OUT_OF_MEMORY, {"error": problem})
            return
        frames = []
        for index in range(batch):
            frames.append(_drawn(order, index))
            if fault is Fault.DIE:
                os.kill(os.getpid(), signal.SIGKILL)
        if fault is Fault.BROKEN:
            frames = [frame[: len(frame) // 2] for frame in frames]
        encoded = [base64.b64encode(frame).decode() for frame in frames]
        self._answer(200, {"server": self.farm_server.name, "frames": encoded})

    def _number(self) -> int:
        number = next(self.farm_server.numbers)
        _report(f"request {number}")
        return number

    def _failed(self, fault: Fault | None = None) -> bool:
        """
        Play those faults that need no picture, and tell whether that ended the request.
        """
        if fault is None and self.command == "GET":
            fault = self.farm_server.script.get(self._number())
        match fault:
            case Fault.BUSY:
                self._answer(503, {"error": "all renderers are busy"}, {"Retry-After": "1"})
            case Fault.HANG:
                self.farm_server.closing.wait(_HANG)
            case Fault.REFUSE:
                self._drop()
                self.farm_server.shut_door()
            case Fault.DIE if self.command == "GET":
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                return False
        return True

    def _drop(self) -> None:
        """
        Reset the connection: closing with a linger of zero sends RST.
        """
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _drawn(order: dict[str, Any], index: int) -> bytes:
    spec = FrameSpec(
        prompt=order["prompt"],
        palette=order["palette"],
        seed=f"{order['seed']}.{index}",
        size=size_of(order["resolution"]),
        steps=order["steps"],
        warmth=order["warmth"],
        contrast=order["contrast"],
    )
    file = io.BytesIO()
    paint(spec).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _report(line: str) -> None:
    # One write a line: requests report from several threads.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """
    Serve until standard input ends.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--first", type=int, default=1)
    arguments = parser.parse_args()
    # Ctrl-C is for the program that started this one; it ends its servers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_input, daemon=True).start()
    script = fault_script(arguments.name, arguments.seed)
    numbers = itertools.count(arguments.first)
    port = arguments.port
    while True:
        with RenderServer(port, arguments.name, script, numbers) as server:
            port = server.server_port
            _report(f"ready {port}")
            server.serve_forever(poll_interval=0.02)
        threading.Event().wait(_DOOR_SHUT)


if __name__ == "__main__":
    main()
