"""
The codes that exceptions carry: HTTP, gRPC, SQL and those of providers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilient.classification.attributes import as_dict, get
from resilient.classification.comfyui import read_payload
from resilient.classification.rules import (
    GRPC_CODES,
    HTTP_STATUSES,
    NO_QUOTA,
    PROVIDER_CODES,
    PROVIDER_FIRST_CODES,
    SQLSTATES,
)
from resilient.text import LIMIT, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.classification.rules import Classification

__all__ = ["CODE_ATTRIBUTES", "read_codes"]

# Where codes are found; an exception with none of these is not looked at.
CODE_ATTRIBUTES = frozenset(
    {"status_code", "status", "code", "response", "body", "type", "sqlstate", "pgcode", "orig"},
)

_BAD_REQUEST = 400
_TOO_MANY_REQUESTS = 429
_NO_QUOTA_CODE = "insufficient_quota"


def read_codes(exc: BaseException, ask: Callable[[str], object]) -> Classification | None:
    """
    Return what the codes that *exc* carries say, None where there are none that the table knows.

    Args:
        exc: The exception.
        ask: What reads an attribute of it.
    """
    response, body, status = ask("response"), ask("body"), ask("status")
    # `code` is left alone where there is a `status`: aiohttp warns on reading it.
    code = ask("code") if status is None else None
    # A gRPC call that has failed is an exception with a method of this name.
    if callable(code):
        called = GRPC_CODES.get(_grpc_name(code))
        if called is not None:
            return called
    names = _provider_names(code, ask("type"), response, body)
    return (
        _first(PROVIDER_FIRST_CODES, names)
        or _by_status(exc, _http_status(ask("status_code"), status, code, response), response, body)
        or _first(PROVIDER_CODES, names)
        or _by_sqlstate(ask)
    )


def _first(table: Mapping[str, Classification], names: list[str]) -> Classification | None:
    for name in names:
        if name in table:
            return table[name]
    return None


def _grpc_name(code: Callable[[], object]) -> str:
    try:
        return str(get(code(), "name"))
    except Exception:  # noqa: BLE001 - a foreign method may raise anything; then it tells no code
        return ""


def _http_status(status_code: object, status: object, code: object, response: object) -> int | None:
    for found in (status_code, status, code):
        if isinstance(found, int) and found >= _BAD_REQUEST:
            return found
    if response is None:
        return None
    # botocore has all of it in one dict.
    one = as_dict(as_dict(response).get("ResponseMetadata")).get("HTTPStatusCode")
    for found in (one, get(response, "status_code"), get(response, "status")):
        if isinstance(found, int):
            return found
    return None


def _provider_names(code: object, kind: object, response: object, body: object) -> list[str]:
    """
    Return the provider's names for the error, the most exact first.
    """
    names = [code, kind]
    if isinstance(body, dict):
        error = as_dict(as_dict(body).get("error")) or as_dict(body)
        names += [error.get("code"), error.get("type")]
    if isinstance(response, dict):
        names.append(as_dict(as_dict(response).get("Error")).get("Code"))
    return [name for name in names if isinstance(name, str)]


def _by_status(exc: BaseException, status: int | None, response: object, body: object) -> Classification | None:
    if status is None:
        return None
    if status == _BAD_REQUEST:
        refused = read_payload(body) or read_payload(response) or read_payload(_content(response))
        if refused is not None:
            return refused
    elif status == _TOO_MANY_REQUESTS and _speaks_of_quota(exc, response):
        return NO_QUOTA
    return HTTP_STATUSES.get(status)


def _speaks_of_quota(exc: BaseException, response: object) -> bool:
    content = _content(response)
    return (content is not None and _NO_QUOTA_CODE.encode() in content[:LIMIT]) or _NO_QUOTA_CODE in safe_str(exc)


def _content(response: object) -> bytes | None:
    """
    Return the body that httpx or requests have read already.

    Their public attribute would read it now, from a network that may hang.
    """
    content = get(response, "_content")
    return content if isinstance(content, bytes) else None


def _by_sqlstate(ask: Callable[[str], object]) -> Classification | None:
    # SQLAlchemy keeps the driver's error in `orig`.
    original = ask("orig")
    for state in (ask("sqlstate"), ask("pgcode"), get(original, "sqlstate"), get(original, "pgcode")):
        if isinstance(state, str):
            return SQLSTATES.get(state) or SQLSTATES.get(state[:4]) or SQLSTATES.get(state[:2])
    return None
