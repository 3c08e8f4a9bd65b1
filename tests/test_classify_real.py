"""
Classifying errors of the libraries that people use, as those libraries make them.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import pickle
import socket
import sqlite3
import ssl
import urllib.error
import warnings
import zipfile
from types import SimpleNamespace

import aiohttp
import httpx
import pydantic
import pytest
import redis
import requests
import trio
import urllib3

from resilient.classify import Classifier, is_cancellation

REQUEST = httpx.Request("POST", "http://api.test/prompt")
KEY = SimpleNamespace(host="api.test", port=443, ssl=True, is_ssl=True)


def short(error):
    """
    Return what is known of *error* as a line: category, severity, transient.
    """
    found = Classifier().classify(error)
    return f"{found.category.value} {found.severity.value} {found.transient.value}"


def by_httpx(status, **body):
    """
    Return the error that httpx raises for a response.
    """
    response = httpx.Response(status, request=REQUEST, **body)
    return httpx.HTTPStatusError("refused", request=REQUEST, response=response)


def by_requests(status, content=b""):
    """
    Return the error that requests raises for a response.
    """
    response = requests.Response()
    response.status_code = status
    response._content = content  # noqa: SLF001 - as its adapter does
    return requests.HTTPError("refused", response=response)


def by_aiohttp(status):
    """
    Return the error that aiohttp raises for a response.
    """
    return aiohttp.ClientResponseError(None, (), status=status)


def by_urllib(status):
    """
    Return the error that urllib raises for a response.
    """
    return urllib.error.HTTPError("http://api.test/", status, "refused", {}, None)


@pytest.mark.parametrize("make", [by_httpx, by_requests, by_aiohttp, by_urllib])
@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((408, 425, 429, 500, 502, 503, 504, 529), "network high yes"),
        ((501, 505), "network high no"),
        ((400, 404, 405, 410, 413, 415, 422), "validation medium no"),
        ((401, 402, 403), "system critical no"),
        ((409, 423), "workflow medium yes"),
        ((200, 304, 418, 599), "unknown low no"),
    ],
)
def test_statuses(make, statuses, expected):
    """
    Each client's HTTP errors are known by their status, without a warning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert [expected] * len(statuses) == [short(make(status)) for status in statuses]


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("x"),
        httpx.PoolTimeout("x"),
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("x"),
        requests.ConnectionError("x"),
        requests.ReadTimeout("x"),
        requests.ConnectTimeout("x"),
        requests.exceptions.ChunkedEncodingError("x"),
        requests.exceptions.ProxyError("x"),
        aiohttp.ClientConnectionError("x"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("x"),
        aiohttp.ServerTimeoutError("x"),
        aiohttp.SocketTimeoutError("x"),
        aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(errno.ECONNREFUSED, "refused")),
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "try again")),
        urllib3.exceptions.ReadTimeoutError(None, "/", "x"),
        urllib3.exceptions.ConnectTimeoutError("x"),
        urllib3.exceptions.ProtocolError("x"),
        urllib3.exceptions.IncompleteRead(1, 2),
        urllib.error.URLError(ConnectionRefusedError(errno.ECONNREFUSED, "refused")),
        redis.ConnectionError("x"),
        redis.TimeoutError("x"),
        redis.exceptions.BusyLoadingError("x"),
        redis.ReadOnlyError("x"),
        redis.exceptions.ClusterDownError("x"),
        redis.exceptions.TryAgainError("x"),
        redis.ResponseError("BUSY Redis is busy running a script."),
        redis.ResponseError("LOADING Redis is loading the dataset in memory"),
        redis.ResponseError("READONLY You can't write against a read only replica."),
        TimeoutError("x"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        BrokenPipeError(errno.EPIPE, "pipe"),
        http.client.RemoteDisconnected("x"),
        http.client.IncompleteRead(b""),
        socket.gaierror(socket.EAI_AGAIN, "try again"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        *(
            OSError(getattr(errno, name), name)
            for name in ["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT"]
        ),
    ],
    ids=lambda error: f"{type(error).__name__}({str(error)[:20]})",
)
def test_network(error):
    """
    What a network does to a call is worth another try.
    """
    assert short(error) == "network high yes"


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLCertVerificationError("x"),
        aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("x")),
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        requests.exceptions.SSLError("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))"),
        urllib3.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED]"),
        aiohttp.ServerFingerprintMismatch(b"x", b"y", "api.test", 443),
        urllib.error.URLError(ssl.SSLCertVerificationError("x")),
        httpx.UnsupportedProtocol("x"),
        httpx.InvalidURL("x"),
        requests.exceptions.MissingSchema("x"),
        aiohttp.InvalidURL("x"),
        aiohttp.NonHttpUrlClientError("x"),
        sqlite3.IntegrityError("UNIQUE constraint failed"),
        ValueError("x"),
        TypeError("x"),
        KeyError("x"),
        AssertionError("x"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_validation(error):
    """
    What the caller got wrong stays wrong, connection errors among it too.
    """
    assert short(error) == "validation medium no"


def test_pydantic():
    """
    A pydantic validation error is one of validation.
    """
    with pytest.raises(pydantic.ValidationError) as raised:
        pydantic.TypeAdapter(int).validate_python("x")

    found = Classifier().classify(raised.value)
    assert found.rule == "class:pydantic_core.ValidationError"
    assert short(raised.value) == "validation medium no"


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        socket.gaierror(socket.EAI_FAIL, "failed"),
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "unknown")),
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ConnectError("[Errno 8] nodename nor servname provided, or not known"),
        httpx.ConnectError("[Errno 11001] getaddrinfo failed"),
        httpx.ConnectError("[Errno -5] No address associated with hostname"),
        requests.ConnectionError("Failed to resolve 'x' ([Errno -2] Name or service not known)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unknown_host(error):
    """
    A host that does not exist will not do so a second later.
    """
    assert short(error) == "network high no"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis.AuthenticationError("x"), "system critical no"),
        (redis.exceptions.NoPermissionError("x"), "system critical no"),
        (redis.exceptions.AuthorizationError("x"), "system critical no"),
        (redis.ResponseError("WRONGTYPE"), "unknown low no"),
        (redis.DataError("x"), "unknown low no"),
        (MemoryError(), "memory critical after_recovery"),
        (OSError(errno.ENOMEM, "x"), "memory critical after_recovery"),
        (OSError(errno.ENOSPC, "x"), "system critical no"),
        (OSError(errno.EROFS, "x"), "system critical no"),
        (OSError(errno.EDQUOT, "x"), "system critical no"),
        (OSError(errno.EMFILE, "x"), "system high yes"),
        (OSError(errno.ENFILE, "x"), "system high yes"),
        (OSError(errno.EAGAIN, "x"), "system high yes"),
        (OSError(errno.EBUSY, "x"), "system high yes"),
        (OSError(errno.EINTR, "x"), "system high yes"),
        (OSError(errno.EIO, "x"), "unknown low no"),
        (BlockingIOError(), "system high yes"),
        (ssl.SSLError(errno.EINTR, "a number of TLS, not of the system"), "unknown low no"),
        (FileNotFoundError(errno.ENOENT, "x"), "system medium no"),
        (PermissionError("x"), "system medium no"),
        (IsADirectoryError("x"), "system medium no"),
        (ModuleNotFoundError("x"), "system medium no"),
        (SystemError("x"), "system critical no"),
        (pickle.UnpicklingError("x"), "model high after_recovery"),
        (zipfile.BadZipFile("x"), "model high after_recovery"),
        (RuntimeError("x"), "unknown low no"),
        (Exception("x"), "unknown low no"),
        (urllib.error.URLError("unknown url type"), "unknown low no"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}({value})",
)
def test_others(error, expected):
    """
    The other rows of the table hold for real errors too.
    """
    assert expected == short(error)


def test_unread_response():
    """
    A streamed body is not read: it may hang, and it is not ours.
    """

    class Unread(httpx.SyncByteStream):
        def __iter__(self):
            raise AssertionError("the body was read")

    assert short(by_httpx(429, stream=Unread())) == "network high yes"
    assert short(by_httpx(400, stream=Unread())) == "validation medium no"


@pytest.mark.parametrize("make", [by_httpx, by_requests])
def test_quota_in_body(make):
    """
    A 429 whose body speaks of a spent quota is no reason to wait.
    """
    body = b'{"error": {"code": "insufficient_quota"}}'

    assert short(make(429, content=body)) == "system critical no"
    assert short(make(429, content=b'{"error": {"code": "slow"}}')) == "network high yes"


@pytest.mark.parametrize("make", [by_httpx, by_requests])
def test_comfyui_refusal(make):
    """
    A refused workflow is known by the body of the 400, with the node in the hint.
    """
    problem = {"type": "required_input_missing", "message": "Required input is missing", "details": "positive"}
    body = {
        "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"},
        "node_errors": {"3": {"class_type": "KSampler", "errors": [problem]}},
    }

    found = Classifier().classify(make(400, content=json.dumps(body).encode()))
    assert (found.category.value, found.severity.value, found.transient.value) == ("workflow", "medium", "no")
    assert found.hint == "node 3 (KSampler): positive"


def test_wish():
    """
    A server's wish is part of the answer, in seconds.
    """
    found = Classifier().classify(by_httpx(503, headers={"Retry-After": "12"}))

    assert found.retry_after == 12.0
    assert found.rule == "http:503"


def cancelled_by_trio():
    """
    Return trio's own cancellation.
    """
    caught = []

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except BaseException as error:
                caught.append(error)
                raise

    trio.run(main)
    return caught[0]


@pytest.mark.parametrize(
    "make", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, cancelled_by_trio]
)
def test_cancellation(make):
    """
    Cancellation is told apart, and is neither known nor transient, users' rules or not.
    """
    asked = []
    classifier = Classifier()
    classifier.add(asked.append, "network", transient=True)
    error = make()

    assert is_cancellation(error)
    assert classifier.classify(error).rule == "cancellation"
    assert not classifier.is_transient(error)
    assert asked == []
    assert not is_cancellation(ValueError())
