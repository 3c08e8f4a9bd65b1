"""
How long a server asked to wait.
"""

from __future__ import annotations

import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message

import aiohttp
import httpx
import pytest
import requests
import urllib3
from multidict import CIMultiDict, CIMultiDictProxy

from resilient.classification import retry_after as module
from resilient.classification.retry_after import retry_after
from resilient.errors import CircuitBreakerOpenError, FallbackChainExhaustedError, PolicyError
from tests.harness import shown


class Noon:
    """
    A clock that stands still.
    """

    def now(self):
        return datetime(2030, 6, 1, 12, 0, 0, tzinfo=UTC)


def asking(value, header="Retry-After"):
    """
    Return an httpx error whose response asks to wait.
    """
    request = httpx.Request("GET", "http://api.test/")
    response = httpx.Response(429, headers={header: value}, request=request)
    return httpx.HTTPStatusError("too many", request=request, response=response)


def carrying(**attributes):
    """
    Return a plain error with these attributes.
    """
    error = RuntimeError("x")
    error.__dict__.update(attributes)
    return error


def wish(error):
    """
    Return what *error* asks for, at noon.
    """
    return retry_after(error, Noon())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (7, 7.0),
        (0, 0.0),
        (2.5, 2.5),
        (timedelta(minutes=1), 60.0),
        ("30", 30.0),
        (b"30", 30.0),
        ("Sat, 01 Jun 2030 12:00:30 GMT", 30.0),
        (366 * 86_400, 366 * 86_400.0),
    ],
)
def test_attribute(value, seconds):
    """
    An attribute `retry_after` is a wish: a number, a timedelta or text of one.
    """
    assert seconds == wish(carrying(retry_after=value))


@pytest.mark.parametrize(
    "value",
    [
        -1,
        float("nan"),
        float("inf"),
        1e308,
        10**400,
        True,
        None,
        timedelta(seconds=-1),
        timedelta.max,
        "",
        "soon",
        "-1",
        "nan",
        "inf",
        "1e308",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Sat, 01 Jun 2030 11:59:59 GMT",
        "Sat, 99 Jun 2030 11:59:59 GMT",
        "9" * 1_000_000,
        b"\xff" * 1_000_000,
        object(),
        [5],
    ],
    ids=lambda value: shown(value)[:30],
)
def test_ignored(value):
    """
    A wish that cannot be meant is none, on the error as in a header.
    """
    assert wish(carrying(retry_after=value)) is None
    assert wish(carrying(headers={"Retry-After": value})) is None


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ("Retry-After", "7", 7.0),
        ("retry-after", "0", 0.0),
        ("RETRY-AFTER", "1.5", 1.5),
        ("Retry-After", "Sat, 01 Jun 2030 12:01:00 GMT", 60.0),
        ("Retry-After", "Sat, 01 Jun 2030 12:01:00 -0000", 60.0),
        ("retry-after-ms", "250", 0.25),
    ],
)
def test_header(header, value, seconds):
    """
    The header is read in any case, as seconds, as a date, or as milliseconds.
    """
    assert seconds == wish(asking(value, header))
    assert seconds == wish(carrying(headers={"x": "y", header: value}))


def test_milliseconds_go_first():
    """
    The header in milliseconds is the more exact one of two.
    """
    headers = {"retry-after": "3", "retry-after-ms": "2100"}

    assert wish(carrying(headers=headers)) == 2.1


def test_milliseconds_are_no_date():
    """
    A date in the header of milliseconds is ignored.
    """
    assert wish(asking("Sat, 01 Jun 2030 12:01:00 GMT", "retry-after-ms")) is None


def with_requests():
    """
    Return an error of requests; its responses with an error status are falsy.
    """
    response = requests.Response()
    response.status_code = 503
    response.headers["Retry-After"] = "5"
    return requests.HTTPError("busy", response=response)


def with_aiohttp():
    """
    Return an error of aiohttp.
    """
    headers = CIMultiDictProxy(CIMultiDict({"Retry-After": "5"}))
    return aiohttp.ClientResponseError(None, (), status=503, headers=headers)


def with_urllib():
    """
    Return an error of urllib.
    """
    headers = Message()
    headers["Retry-After"] = "5"
    return urllib.error.HTTPError("http://api.test/", 503, "busy", headers, None)


def with_urllib3():
    """
    Return an error with a response of urllib3.
    """
    return carrying(response=urllib3.HTTPResponse(headers={"Retry-After": "5"}))


def with_botocore():
    """
    Return an error that carries what botocore's do.
    """
    return carrying(response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": "5"}}})


@pytest.mark.parametrize("make", [with_requests, with_aiohttp, with_urllib, with_urllib3, with_botocore])
def test_clients(make):
    """
    Each client's errors are read where they keep their headers.
    """
    assert wish(make()) == 5.0


def test_along_causes():
    """
    The wish of a cause counts, the outermost one first, eight errors deep.
    """
    inner = asking("9")
    near = RuntimeError("x")
    near.__cause__ = inner
    far = near
    for _ in range(7):
        outer = RuntimeError("x")
        outer.__cause__ = far
        far = outer
    outermost = asking("2")
    outermost.__cause__ = near

    assert wish(near) == 9.0
    assert wish(far) is None
    assert wish(outermost) == 2.0


def test_falls_through():
    """
    A wish that cannot be meant hides neither the header nor the cause.
    """
    error = asking("4")
    error.retry_after = -1
    outer = carrying(retry_after="soon", response=object())
    outer.__cause__ = error

    assert wish(error) == 4.0
    assert wish(outer) == 4.0


def test_cycle():
    """
    Causes that go round in a circle end.
    """
    error = RuntimeError("x")
    error.__cause__ = error

    assert wish(error) is None


def test_own_errors():
    """
    The library's own errors carry no server's wish, but a chain has that of its cause.
    """
    outer = RuntimeError("x")
    outer.__cause__ = CircuitBreakerOpenError("api", 5.0)
    chain = FallbackChainExhaustedError("images")
    chain.retry_after = 3
    chain.__cause__ = asking("8")

    assert wish(CircuitBreakerOpenError("api", 5.0)) is None
    assert wish(PolicyError("x")) is None
    assert wish(outer) is None
    assert wish(chain) == 8.0


class HostileError(Exception):
    """
    An error whose attributes raise.
    """

    @property
    def __class__(self):
        raise OSError

    @property
    def retry_after(self):
        raise OSError

    @property
    def __cause__(self):
        raise OSError


class HostileHeaders:
    """
    Headers that raise.
    """

    def get(self, name):
        raise OSError


@pytest.mark.parametrize(
    "make",
    [
        HostileError,
        lambda: carrying(headers=HostileHeaders()),
        lambda: carrying(headers=7),
        lambda: carrying(headers={str(number): "x" for number in range(1000)}),
        lambda: carrying(headers={b"Retry-After": b"7"}),
        KeyboardInterrupt,
    ],
    ids=["attributes", "get", "number", "many", "bytes", "interrupt"],
)
def test_hostile(make):
    """
    Errors and headers that raise, or are not what they should be, ask for nothing.
    """
    assert wish(make()) is None


def test_class_attribute():
    """
    A wish on the class counts, of one with slots too.
    """
    busy = type("BusyError", (Exception,), {"retry_after": 11})
    slotted = type("SlottedError", (Exception,), {"__slots__": ("retry_after",)})()
    slotted.retry_after = 12

    assert wish(busy()) == 11.0
    assert wish(slotted) == 12.0


def test_many_classes(monkeypatch):
    """
    What is kept of classes is bounded, and answers stay right.
    """
    monkeypatch.setattr(module, "_MAX_TYPES", 4)
    errors = [type(f"Error{number}", (Exception,), {"retry_after": number})() for number in range(10)]

    assert [wish(error) for error in errors] == [float(number) for number in range(10)]
    assert len(module._by_type) <= 4  # noqa: SLF001 - what is bounded is private


def test_system_clock():
    """
    Without a clock, dates are compared with the time of day.
    """
    assert retry_after(asking("Sat, 01 Jan 2000 00:00:00 GMT")) is None
