"""
Endpoints: where one is, whether it can be reached, and how the next takes its place.

An endpoint is a URL, ``"host"``, ``"host:port"`` or ``(host, port)``. Ports
follow from the scheme for http, https, ws and wss only; nothing else is guessed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from resilient.clock import runs_on_trio

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Endpoint", "Place", "aconnect", "connect", "following", "place"]

Endpoint: TypeAlias = "str | tuple[str, int]"

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Place(NamedTuple):
    """
    An endpoint, taken apart; ``netloc`` is as written, ``rest`` is everything after it.
    """

    scheme: str
    netloc: str
    host: str
    port: int | None
    rest: str

    def holds(self, other: Place) -> bool:
        """
        Tell whether *other* lies at or below this endpoint.

        What only one of the two says (a scheme, a port) does not tell them apart.
        """
        if self.host != other.host or (self.scheme and other.scheme and self.scheme != other.scheme):
            return False
        if self.port and other.port and self.port != other.port:
            return False
        below = other.rest.removeprefix(self.path)
        return other.rest.startswith(self.path) and below[:1] in {"", "/", "?", "#"}

    @property
    def path(self) -> str:
        """
        What stands before the paths of calls: the rest without its last slashes.
        """
        return self.rest.rstrip("/")

    def at(self, tail: str) -> str:
        """
        Return this endpoint's URL with *tail* after its own path.
        """
        rest = self.path + ("" if tail[:1] in {"/", "?", "#"} else "/") + tail if tail else self.rest
        return f"{self.scheme}://{self.netloc}{rest}"

    def bare(self, *, port: bool) -> str:
        """
        Return this endpoint as ``host``, or as ``host:port`` where it has a port.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if port and self.port else self.host


def place(endpoint: object) -> Place | None:
    """
    Take *endpoint* apart; None where it names no host.
    """
    if isinstance(endpoint, tuple):
        return _pair(*endpoint) if len(endpoint) == len(("host", "port")) else None
    if not isinstance(endpoint, str):
        return None
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        port: int | None = parts.port or _PORTS.get(parts.scheme)
        # Of a text with line breaks in it, the parts are no longer found.
        start = endpoint.index(parts.netloc) + len(parts.netloc)
    except ValueError:
        return None
    if not parts.hostname or " " in parts.netloc:
        return None
    return Place(parts.scheme, parts.netloc, parts.hostname, port, endpoint[start:])


def _pair(host: object, port: object) -> Place | None:
    if not isinstance(host, str) or not isinstance(port, int) or not host:
        return None
    return place(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def following(current: object, endpoints: Sequence[Endpoint], *, keep_path: bool) -> Endpoint | None:
    """
    Return what to use after *current*, in the form that *current* has.

    The endpoint that *current* lies at gives way to the one registered after it,
    and what follows in *current* is kept; after the last one there is none.
    Where *current* lies at none of them, the first one takes its place.

    Args:
        current: The value used so far; None: not known.
        endpoints: The registered ones, in order.
        keep_path: Whether a URL that lies at none of them keeps its path.
    """
    if current is None:
        return endpoints[0] if endpoints else None
    places = [there for one in endpoints if (there := place(one)) is not None]
    here = place(current)
    if here is None:
        return None
    # Of several that fit, the one that says most.
    fitting = [at for at, one in enumerate(places) if one.holds(here)]
    found = max(fitting, key=lambda at: len(places[at].path), default=-1)
    if found + 1 == len(places):
        return None
    there = places[found + 1]
    tail = here.rest if found == -1 else here.rest[len(places[found].path) :]
    if found == -1 and here.scheme and not keep_path:
        tail = ""
    # Something with a path, but at no known host, may be a relative URL.
    known = here.scheme or found != -1 or not tail
    return _formed(current, here, there, tail) if known else None


def _formed(current: object, here: Place, there: Place, tail: str) -> Endpoint | None:
    """
    Return *there* with *tail*, in the form that *current* has.
    """
    if isinstance(current, tuple):
        return (there.host, there.port) if there.port else None
    if not here.scheme:
        return there.bare(port=here.port is not None) + tail
    return there._replace(scheme=there.scheme or here.scheme).at(tail)


def connect(host: str, port: int, timeout: float | None) -> None:
    """
    Open a TCP connection and close it again.

    Raises:
        OSError: It could not be opened within *timeout* seconds.
    """
    socket.create_connection((host, port), timeout).close()


async def aconnect(host: str, port: int) -> None:
    """
    Do what `connect` does, on asyncio or trio.
    """
    if runs_on_trio():
        stream: Any = await sys.modules["trio"].open_tcp_stream(host, port)
        await stream.aclose()
        return
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    # It did open; how it closes proves nothing.
    with contextlib.suppress(OSError):
        await writer.wait_closed()
