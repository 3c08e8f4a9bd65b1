"""
The built-in table of errors, as data.

A later row of the same table never repeats a key of an earlier one, so order
does not matter but for message fragments: those are looked for from the top.
"""

from __future__ import annotations

import errno
import socket
from enum import Enum
from typing import NamedTuple

from resilient.errorinfo import ErrorCategory, ErrorSeverity
from resilient.light import dataclass

__all__ = [
    "CANCELLATION",
    "CLASSES",
    "ERRNOS",
    "FIRST_CLASSES",
    "GRPC_CODES",
    "HTTP_STATUSES",
    "INTERRUPTED",
    "JAX_TEXTS",
    "NETWORK_TEXTS",
    "NO_QUOTA",
    "PROMPT_REFUSED",
    "PROMPT_WITHOUT_MODEL",
    "PROVIDER_CODES",
    "PROVIDER_FIRST_CODES",
    "REDIS_TEXTS",
    "RESOLVER_ERRNOS",
    "SQLSTATES",
    "TEXTS",
    "UNKNOWN",
    "Classification",
    "Transient",
]


class Transient(Enum):
    """
    Whether another try can succeed; a plain ``@retry`` retries YES only.
    """

    YES = "yes"
    NO = "no"
    AFTER_RECOVERY = "after_recovery"


@dataclass(frozen=True, slots=True)
class Classification:
    """
    What is known of an error.

    Args:
        category: What kind of thing has failed.
        severity: How bad it is for the engine as a whole.
        transient: Whether another try can succeed.
        retry_after: Seconds that the server asked to wait, where it did.
        rule: The rule that decided, for people: ``"http:429"``, ``"class:httpx.ReadError"``.
        hint: What helps, in a few words, where something is known to.
    """

    category: ErrorCategory
    severity: ErrorSeverity
    transient: Transient
    retry_after: float | None
    rule: str
    hint: str | None


class _Verdict(NamedTuple):
    category: ErrorCategory
    severity: ErrorSeverity
    transient: Transient
    hint: str | None = None

    def named(self, rule: str) -> Classification:
        return Classification(self.category, self.severity, self.transient, None, rule, self.hint)


_C, _S, _T = ErrorCategory, ErrorSeverity, Transient

_NETWORK = _Verdict(_C.NETWORK, _S.HIGH, _T.YES)
_NETWORK_NO = _Verdict(_C.NETWORK, _S.HIGH, _T.NO)
_NO_HOST = _NETWORK_NO._replace(hint="the host name does not resolve: check the address")
_NOT_OFFERED = _NETWORK_NO._replace(hint="the server does not support this request")
_INVALID = _Verdict(_C.VALIDATION, _S.MEDIUM, _T.NO)
_UNTRUSTED = _INVALID._replace(hint="the server's certificate is not trusted: check the host name and the CA bundle")
_BAD_URL = _INVALID._replace(hint="the address is no URL that this client can open")
_NOT_ON_HUB = _INVALID._replace(hint="check the repository, revision and file names, and the token's access")
_DENIED = _Verdict(_C.SYSTEM, _S.CRITICAL, _T.NO, "check the credentials, the permissions and the account's quota")
_CONFLICT = _Verdict(_C.WORKFLOW, _S.MEDIUM, _T.YES)
_WORKFLOW = _Verdict(_C.WORKFLOW, _S.MEDIUM, _T.NO)
_FINISHED = _Verdict(_C.MODEL, _S.HIGH, _T.NO, "another model, not another try")
_CORRUPT = _Verdict(_C.MODEL, _S.HIGH, _T.AFTER_RECOVERY, "the file is damaged: remove it and fetch it again")
_NOT_CACHED = _Verdict(_C.MODEL, _S.MEDIUM, _T.NO, "the file is not on this machine and was not fetched")
_MEMORY = _Verdict(_C.MEMORY, _S.CRITICAL, _T.AFTER_RECOVERY)
_GPU_MEMORY = _MEMORY._replace(hint="drop references to the failed call's tensors first")
_DEAD_CONTEXT = _Verdict(_C.SYSTEM, _S.CRITICAL, _T.NO, "the GPU context is dead: replace the process")
_NO_STORAGE = _Verdict(_C.SYSTEM, _S.CRITICAL, _T.NO, "the disk is full or read-only")
_BUSY = _Verdict(_C.SYSTEM, _S.HIGH, _T.YES)
_SYSTEM = _Verdict(_C.SYSTEM, _S.MEDIUM, _T.NO)
_OFFLINE = _SYSTEM._replace(hint="HF_HUB_OFFLINE is set")
_BROKEN = _Verdict(_C.SYSTEM, _S.CRITICAL, _T.NO)

UNKNOWN = _Verdict(_C.UNKNOWN, _S.LOW, _T.NO).named("unknown")
CANCELLATION = _Verdict(_C.UNKNOWN, _S.LOW, _T.NO).named("cancellation")
INTERRUPTED = _WORKFLOW._replace(hint="the workflow was cancelled").named("comfyui:interrupted")
NO_QUOTA = _DENIED.named("provider:insufficient_quota")
PROMPT_REFUSED = _WORKFLOW.named("comfyui:node_errors")
PROMPT_WITHOUT_MODEL = _WORKFLOW._replace(category=_C.MODEL).named("comfyui:value_not_in_list")


def _table(kind: str, *rows: tuple[_Verdict, str]) -> dict[str, Classification]:
    """
    Return the classification of each name; a row's names are parted by spaces.
    """
    return {name: verdict.named(f"{kind}:{name}") for verdict, names in rows for name in names.split()}


def _numbers(kind: str, source: object, *rows: tuple[_Verdict, str]) -> dict[int, Classification]:
    """
    Return the classification of each constant of *source*, those that this platform lacks left out.
    """
    named = _table(kind, *rows)
    return {getattr(source, name): found for name, found in named.items() if hasattr(source, name)}


# Classes that decide before any code or message, by top package and name:
# Hub errors carry a 401 that means "no such repository", and certificate errors
# are connection errors of their library.
FIRST_CLASSES = _table(
    "class",
    (_UNTRUSTED, "ssl.SSLCertVerificationError aiohttp.ServerFingerprintMismatch"),
    (_BAD_URL, "httpx.UnsupportedProtocol httpx.InvalidURL httpcore.UnsupportedProtocol aiohttp.NonHttpUrlClientError"),
    (_NOT_ON_HUB, "huggingface_hub.RepositoryNotFoundError huggingface_hub.GatedRepoError"),
    (_NOT_ON_HUB, "huggingface_hub.RevisionNotFoundError huggingface_hub.EntryNotFoundError"),
    (_NOT_CACHED, "huggingface_hub.LocalEntryNotFoundError"),
    (_OFFLINE, "huggingface_hub.OfflineModeIsEnabled"),
    (_FINISHED, "openai.LengthFinishReasonError openai.ContentFilterFinishReasonError"),
    (_INVALID, "resilient.PolicyError resilient.DecorationError"),
    (_NETWORK, "resilient.CallTimeoutError"),
    (_WORKFLOW, "resilient.ResilientError resilient.CircuitBreakerOpenError"),
)

CLASSES = _table(
    "class",
    (_NETWORK, "ConnectionError BrokenPipeError TimeoutError"),
    (_NETWORK, "ssl.SSLEOFError ssl.SSLZeroReturnError http.IncompleteRead"),
    (_NETWORK, "httpx.TimeoutException httpx.NetworkError httpx.RemoteProtocolError httpx.ProxyError"),
    (_NETWORK, "httpcore.TimeoutException httpcore.NetworkError httpcore.RemoteProtocolError httpcore.ProxyError"),
    (_NETWORK, "requests.Timeout requests.ConnectionError requests.ChunkedEncodingError"),
    (_NETWORK, "urllib3.TimeoutError urllib3.ProtocolError urllib3.ProxyError"),
    (_NETWORK, "aiohttp.ClientConnectionError aiohttp.ClientPayloadError"),
    (_NETWORK, "openai.APIConnectionError openai.APITimeoutError openai.InternalServerError openai.RateLimitError"),
    (_NETWORK, "anthropic.APIConnectionError anthropic.APITimeoutError anthropic.InternalServerError"),
    (_NETWORK, "anthropic.RateLimitError anthropic.OverloadedError anthropic.ServiceUnavailableError"),
    (_NETWORK, "anthropic.DeadlineExceededError"),
    (_NETWORK, "redis.ConnectionError redis.TimeoutError redis.BusyLoadingError redis.ReadOnlyError"),
    (_NETWORK, "redis.ClusterDownError redis.TryAgainError"),
    (_NETWORK, "botocore.ConnectionError botocore.HTTPClientError"),
    (_NO_HOST, "socket.gaierror"),
    (_DENIED, "redis.AuthenticationError redis.AuthorizationError redis.NoPermissionError"),
    (_DENIED, "redis.AuthenticationWrongNumberOfArgsError redis.ExternalAuthProviderError"),
    (_DENIED, "openai.AuthenticationError openai.PermissionDeniedError"),
    (_DENIED, "anthropic.AuthenticationError anthropic.PermissionDeniedError"),
    (_DENIED, "botocore.NoCredentialsError botocore.PartialCredentialsError huggingface_hub.LocalTokenNotFoundError"),
    (_CONFLICT, "openai.ConflictError anthropic.ConflictError"),
    (_INVALID, "openai.BadRequestError openai.NotFoundError openai.UnprocessableEntityError"),
    (_INVALID, "anthropic.BadRequestError anthropic.NotFoundError anthropic.UnprocessableEntityError"),
    (_MEMORY, "MemoryError"),
    (_GPU_MEMORY, "torch.OutOfMemoryError"),
    (_DEAD_CONTEXT, "torch.AcceleratorError"),
    (_CORRUPT, "safetensors_rust.SafetensorError safetensors.SafetensorError"),
    (_CORRUPT, "pickle.UnpicklingError _pickle.UnpicklingError zipfile.BadZipFile"),
    (_BUSY, "BlockingIOError InterruptedError"),
    (_SYSTEM, "FileNotFoundError PermissionError IsADirectoryError ImportError"),
    (_BROKEN, "SystemError"),
    (_INVALID, "ValueError TypeError KeyError AssertionError"),
    (_INVALID, "pydantic_core.ValidationError pydantic.ValidationError msgspec.ValidationError msgspec.DecodeError"),
    (_INVALID, "sqlite3.IntegrityError sqlalchemy.IntegrityError psycopg.IntegrityError psycopg2.IntegrityError"),
    (_INVALID, "sqlite3.DataError sqlalchemy.DataError psycopg.DataError psycopg2.DataError"),
)
CLASSES["comfy.InterruptProcessingException"] = INTERRUPTED

ERRNOS = _numbers(
    "errno",
    errno,
    (_NETWORK, "ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ENETUNREACH EHOSTUNREACH ETIMEDOUT"),
    (_MEMORY, "ENOMEM"),
    (_NO_STORAGE, "ENOSPC EROFS EDQUOT"),
    (_BUSY, "EMFILE ENFILE EAGAIN EBUSY EINTR"),
)

# getaddrinfo's own numbers; on some platforms they collide with errnos.
RESOLVER_ERRNOS = _numbers("resolver", socket, (_NETWORK, "EAI_AGAIN"), (_NO_HOST, "EAI_NONAME EAI_NODATA"))

HTTP_STATUSES = {
    int(status): found
    for status, found in _table(
        "http",
        (_NETWORK, "408 425 429 500 502 503 504 529"),
        (_NOT_OFFERED, "501 505"),
        (_INVALID, "400 404 405 410 413 415 422"),
        (_DENIED, "401 402 403"),
        (_CONFLICT, "409 423"),
    ).items()
}

GRPC_CODES = _table(
    "grpc",
    (_NETWORK, "UNAVAILABLE DEADLINE_EXCEEDED RESOURCE_EXHAUSTED"),
    (_CONFLICT, "ABORTED"),
    (_DENIED, "UNAUTHENTICATED PERMISSION_DENIED"),
)

# Looked up by all five characters, by four and by the class of two.
SQLSTATES = _table(
    "sqlstate",
    (_CONFLICT, "40001 40P01"),
    (_NETWORK, "08 57P0 53300"),
    (_DENIED, "28"),
    (_INVALID, "22 23 42"),
)

# What providers call the error in its body. The first ones say more than the
# HTTP status beside them: a spent quota is sent as 429, bad credentials as 400.
PROVIDER_FIRST_CODES = _table(
    "provider",
    (_DENIED, "insufficient_quota billing_hard_limit_reached billing_not_active billing_error account_deactivated"),
    (_DENIED, "invalid_api_key authentication_error permission_error"),
    (_DENIED, "AccessDenied AccessDeniedException AuthFailure ExpiredToken ExpiredTokenException"),
    (_DENIED, "InvalidAccessKeyId InvalidClientTokenId SignatureDoesNotMatch UnrecognizedClientException"),
    (_NETWORK, "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException"),
    (_NETWORK, "TooManyRequestsException ProvisionedThroughputExceededException RequestLimitExceeded SlowDown"),
    (_NETWORK, "BandwidthLimitExceeded LimitExceededException EC2ThrottledException PriorRequestNotComplete"),
    (_NETWORK, "RequestTimeout RequestTimeoutException"),
)
PROVIDER_CODES = _table(
    "provider",
    (_NETWORK, "overloaded_error api_error rate_limit_error rate_limit_exceeded server_error timeout_error slow_down"),
    (_INVALID, "invalid_request_error not_found_error request_too_large"),
)


def _texts(*rows: tuple[_Verdict, tuple[str, ...]]) -> tuple[tuple[str, Classification], ...]:
    return tuple((text, verdict.named(f"message:{text}")) for verdict, texts in rows for text in texts)


# Looked for in errors that no class rule knows, and in torch's own. A dead
# context is looked for first: its messages may speak of memory as well.
TEXTS = _texts(
    (_DEAD_CONTEXT, ("device-side assert", "illegal memory access", "unspecified launch failure")),
    (_GPU_MEMORY, ("CUDA out of memory", "CUDA error: out of memory", "MPS backend out of memory")),
    (_GPU_MEMORY, ("HIP out of memory", "CUBLAS_STATUS_ALLOC_FAILED")),
    (_CORRUPT, ("Error(s) in loading state_dict", "size mismatch for", "PytorchStreamReader failed")),
)
JAX_TEXTS = _texts((_GPU_MEMORY, ("RESOURCE_EXHAUSTED",)))
REDIS_TEXTS = _texts((_NETWORK, ("BUSY Redis is busy", "LOADING Redis is loading", "READONLY You can't write")))
# HTTP clients put these into connection errors of their own.
NETWORK_TEXTS = _texts(
    (_UNTRUSTED, ("CERTIFICATE_VERIFY_FAILED",)),
    (_NO_HOST, ("Name or service not known", "nodename nor servname provided", "getaddrinfo failed")),
    (_NO_HOST, ("No address associated with hostname",)),
)
