"""
The classifier: the table row by row, users' rules, causes and groups, and errors that fight back.
"""

from __future__ import annotations

import copy
import errno
import json
import pickle
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from resilient import classify as module
from resilient.classification import rules
from resilient.classify import Classification, Classifier, Transient
from resilient.errorinfo import ErrorCategory, ErrorSeverity
from resilient.errors import (
    CircuitBreakerOpenError,
    DecorationError,
    FallbackChainExhaustedError,
    PolicyError,
    ResilientError,
)


def made(dotted, *bases):
    """
    Return an exception class that goes by the name *dotted*.
    """
    where, _, name = dotted.rpartition(".")
    return type(name, bases or (Exception,), {"__module__": where})


def fake(dotted, *args, base=Exception, **attributes):
    """
    Return an error of a class that goes by the name *dotted*, with these attributes.
    """
    error = made(dotted, base)(*args)
    error.__dict__.update(attributes)
    return error


def chained(outer, inner):
    """
    Return *outer*, raised from *inner*.
    """
    outer.__cause__ = inner
    return outer


def shown(found):
    """
    Return a classification as a line: category, severity, transient.
    """
    return f"{found.category.value} {found.severity.value} {found.transient.value}"


def short(error):
    """
    Return what a fresh classifier knows of *error* as a line.
    """
    return shown(Classifier().classify(error))


class Rpc(made("grpc.RpcError")):
    """
    A failed call as grpc raises it.
    """

    def __init__(self, name):
        self.name = name

    def code(self):
        return SimpleNamespace(name=self.name, value=(0, "x"))


def status(number, **attributes):
    """
    Return an SDK's error for an HTTP status.
    """
    return fake("openai.APIStatusError", "x", status_code=number, **attributes)


def aws(code, number=400):
    """
    Return an error as botocore raises it.
    """
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": number}}
    return fake("botocore.exceptions.ClientError", "x", response=response)


def node_error(kind, name="seed", value="x", **more):
    """
    Return a ComfyUI server's refusal because of one input of one node.
    """
    problem = {"type": kind, "details": f"{name}: {value}", "extra_info": {"input_name": name, "received_value": value}}
    node = {"errors": [problem | more], "class_type": "KSampler", "dependent_outputs": ["9"]}
    return {"error": {"type": "prompt_outputs_failed_validation", "message": "failed"}, "node_errors": {"3": node}}


def execution_error(kind, message="x"):
    """
    Return a ComfyUI server's message about an exception in a node.
    """
    data = {"node_id": "5", "node_type": "VAEDecode", "exception_type": kind, "exception_message": message}
    return {"type": "execution_error", "data": data}


NETWORK = "network high yes"
REFUSED = "network high no"
INVALID = "validation medium no"
DENIED = "system critical no"
CONFLICT = "workflow medium yes"
WORKFLOW = "workflow medium no"
FINISHED = "model high no"
MEMORY = "memory critical after_recovery"
DEAD = "system critical no"
CORRUPT = "model high after_recovery"
BUSY = "system high yes"
SYSTEM = "system medium no"
UNKNOWN = "unknown low no"

HUB = "huggingface_hub.errors."
TABLE = {
    "connections": (
        NETWORK,
        [ConnectionError("x"), ConnectionRefusedError("x"), ConnectionAbortedError("x"), BrokenPipeError("x")],
    ),
    "connection errnos": (
        NETWORK,
        [
            OSError(errno.ECONNREFUSED, "x"),
            OSError(errno.ECONNRESET, "x"),
            OSError(errno.EPIPE, "x"),
            OSError(errno.ENETUNREACH, "x"),
            OSError(errno.EHOSTUNREACH, "x"),
            OSError(errno.ETIMEDOUT, "x"),
            socket.gaierror(socket.EAI_AGAIN, "x"),
        ],
    ),
    "no such host": (REFUSED, [socket.gaierror(socket.EAI_NONAME, "x")]),
    "timeouts": (
        NETWORK,
        [
            TimeoutError("x"),
            fake("httpx.TimeoutException"),
            fake("requests.exceptions.Timeout"),
            fake("aiohttp.client_exceptions.ClientConnectionError"),
            fake("urllib3.exceptions.TimeoutError"),
        ],
    ),
    "clients": (
        NETWORK,
        [
            fake("httpx.RemoteProtocolError"),
            fake("httpx.ReadError", base=made("httpx.NetworkError")),
            fake("requests.exceptions.ConnectionError"),
            fake("requests.exceptions.ChunkedEncodingError"),
            fake("aiohttp.client_exceptions.ClientPayloadError"),
            fake("urllib3.exceptions.ProtocolError"),
        ],
    ),
    "certificates and addresses": (
        INVALID,
        [
            fake("ssl.SSLCertVerificationError", base=ConnectionError),
            fake("httpx.UnsupportedProtocol", base=made("httpx.TimeoutException")),
            fake("httpx.InvalidURL"),
        ],
    ),
    "statuses to retry": (NETWORK, [status(number) for number in (408, 425, 429, 500, 502, 503, 504, 529)]),
    "statuses not offered": (REFUSED, [status(501), status(505)]),
    "statuses of bad requests": (INVALID, [status(number) for number in (400, 404, 405, 410, 413, 415, 422)]),
    "no access": (
        DENIED,
        [
            *(status(number) for number in (401, 402, 403)),
            status(429, code="insufficient_quota"),
            status(429, body={"code": "insufficient_quota"}),
            status(429, type="insufficient_quota"),
            status(429, body={"error": {"type": "insufficient_quota"}}),
            fake("openai.RateLimitError", "Error code: 429 - {'code': 'insufficient_quota'}", status_code=429),
            fake("openai.AuthenticationError"),
            fake("anthropic.PermissionDeniedError"),
            fake("redis.exceptions.AuthenticationError", base=made("redis.exceptions.ConnectionError")),
            fake("botocore.exceptions.NoCredentialsError"),
            fake(HUB + "LocalTokenNotFoundError", base=OSError),
            *(aws(name) for name in ("ExpiredToken", "AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch")),
            status(400, code="invalid_api_key"),
            status(429, code="billing_hard_limit_reached"),
            status(200, body={"error": {"type": "authentication_error"}}),
            Rpc("PERMISSION_DENIED"),
            aws("Other", 403),
            Rpc("UNAUTHENTICATED"),
            fake("psycopg.errors.InvalidPassword", sqlstate="28P01"),
        ],
    ),
    "conflicts": (
        CONFLICT,
        [
            status(409),
            status(423),
            Rpc("ABORTED"),
            fake("psycopg.errors.SerializationFailure", sqlstate="40001"),
            fake("asyncpg.exceptions.DeadlockDetectedError", sqlstate="40P01"),
            fake("psycopg2.errors.DeadlockDetected", pgcode="40P01"),
            fake("sqlalchemy.exc.OperationalError", orig=fake("psycopg.errors.DeadlockDetected", sqlstate="40P01")),
            fake("openai.ConflictError"),
        ],
    ),
    "services": (
        NETWORK,
        [
            fake("openai.APIConnectionError"),
            fake("openai.APITimeoutError", base=made("openai.APIConnectionError")),
            fake("openai.InternalServerError"),
            fake("anthropic.APIConnectionError"),
            fake("anthropic.OverloadedError"),
            fake("anthropic.APIStatusError", status_code=200, body={"error": {"type": "overloaded_error"}}),
            Rpc("UNAVAILABLE"),
            Rpc("DEADLINE_EXCEEDED"),
            Rpc("RESOURCE_EXHAUSTED"),
            fake("redis.exceptions.ConnectionError"),
            fake("redis.exceptions.BusyLoadingError"),
            fake("redis.exceptions.ReadOnlyError"),
            fake("psycopg.OperationalError", sqlstate="08006"),
            fake("psycopg.errors.AdminShutdown", sqlstate="57P01"),
            fake("psycopg.errors.TooManyConnections", sqlstate="53300"),
            *(status(200, body={"type": name}) for name in ("api_error", "rate_limit_error", "timeout_error")),
            *(aws(name) for name in ("Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout")),
            fake("botocore.exceptions.ReadTimeoutError", base=made("botocore.exceptions.HTTPClientError")),
            aws("SlowDown", 503),
            aws("Other", 500),
            fake("botocore.exceptions.EndpointConnectionError", base=made("botocore.exceptions.ConnectionError")),
        ],
    ),
    "finishes": (
        FINISHED,
        [fake("openai.LengthFinishReasonError"), fake("openai.ContentFilterFinishReasonError")],
    ),
    "memory": (MEMORY, [MemoryError(), OSError(errno.ENOMEM, "x")]),
    "GPU memory": (
        MEMORY,
        [
            fake("torch.OutOfMemoryError", "x", base=RuntimeError),
            fake("torch.cuda.OutOfMemoryError", "x", base=RuntimeError),
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
            RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
            RuntimeError("CUDA error: out of memory"),
            RuntimeError("HIP out of memory. Tried to allocate 2 GiB"),
            fake("jaxlib.xla_extension.XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory", base=RuntimeError),
            fake("jax.errors.JaxRuntimeError", "RESOURCE_EXHAUSTED: Out of memory", base=RuntimeError),
        ],
    ),
    "dead context": (
        DEAD,
        [
            RuntimeError("CUDA error: device-side assert triggered"),
            RuntimeError("CUDA error: an illegal memory access was encountered"),
            RuntimeError("CUDA error: unspecified launch failure"),
            fake("torch.AcceleratorError", "x", base=RuntimeError),
            fake("torch.OutOfMemoryError", "device-side assert triggered, CUDA out of memory", base=RuntimeError),
        ],
    ),
    "damaged files": (
        CORRUPT,
        [
            fake("safetensors_rust.SafetensorError", "header too large"),
            pickle.UnpicklingError("x"),
            fake("zipfile.BadZipFile"),
            RuntimeError("Error(s) in loading state_dict for UNet"),
            RuntimeError("size mismatch for conv.weight"),
            RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory"),
        ],
    ),
    "not on the hub": (
        INVALID,
        [
            fake(HUB + "RepositoryNotFoundError", base=OSError, response=SimpleNamespace(status_code=401)),
            fake(HUB + "GatedRepoError", response=SimpleNamespace(status_code=403)),
            fake(HUB + "RevisionNotFoundError", response=SimpleNamespace(status_code=404)),
            fake("huggingface_hub.utils._errors.EntryNotFoundError"),
        ],
    ),
    "offline": (SYSTEM, [fake(HUB + "OfflineModeIsEnabled", base=ConnectionError)]),
    "not cached": ("model medium no", [fake(HUB + "LocalEntryNotFoundError", base=FileNotFoundError)]),
    "ComfyUI refusals": (
        WORKFLOW,
        [
            status(400, body=node_error("required_input_missing")),
            status(400, body=json.dumps(node_error("required_input_missing"))),
            RuntimeError(json.dumps(node_error("value_not_in_list", "sampler_name", "dpm++"))),
            RuntimeError(node_error("value_bigger_than_max")),
            RuntimeError({"error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs"}}),
            ValueError({"error": {"type": "invalid_prompt"}, "node_errors": []}),
        ],
    ),
    "ComfyUI models": (
        "model medium no",
        [
            RuntimeError(node_error("value_not_in_list", "ckpt_name", "sdxl")),
            RuntimeError(node_error("value_not_in_list", "clip_name1", "t5")),
            RuntimeError(node_error("value_not_in_list", "anything", "Sdxl.SafeTensors")),
        ],
    ),
    "ComfyUI executions in want of memory": (
        MEMORY,
        [
            RuntimeError(execution_error("torch.OutOfMemoryError")),
            RuntimeError(execution_error("torch.cuda.OutOfMemoryError")),
            RuntimeError(execution_error("RuntimeError", "CUDA out of memory")),
            RuntimeError("execution_error", execution_error("MemoryError")["data"]),
            RuntimeError(json.dumps(execution_error("MemoryError"))),
            RuntimeError(json.dumps(execution_error("MemoryError")).encode()),
            RuntimeError(execution_error("MemoryError")["data"]),
        ],
    ),
    "ComfyUI executions": (NETWORK, [RuntimeError(execution_error("ConnectionResetError"))]),
    "ComfyUI executions of the hub": (INVALID, [RuntimeError(execution_error(HUB + "GatedRepoError"))]),
    "ComfyUI executions unheard of": (
        UNKNOWN,
        [
            RuntimeError(execution_error("custom_nodes.OddError")),
            RuntimeError(execution_error("RuntimeError")),
            RuntimeError(execution_error("print")),
            RuntimeError(execution_error(None, None)),
        ],
    ),
    "ComfyUI interruptions": (
        WORKFLOW,
        [
            RuntimeError({"type": "execution_interrupted", "data": {"node_id": "5", "node_type": "VAEDecode"}}),
            RuntimeError("execution_interrupted", {"node_id": "5"}),
            fake("comfy.model_management.InterruptProcessingException"),
            RuntimeError(execution_error("comfy.model_management.InterruptProcessingException")),
        ],
    ),
    "storage": (DENIED, [OSError(errno.ENOSPC, "x"), OSError(errno.EROFS, "x"), OSError(errno.EDQUOT, "x")]),
    "busy": (
        BUSY,
        [OSError(getattr(errno, name), "x") for name in ("EMFILE", "ENFILE", "EAGAIN", "EBUSY", "EINTR")],
    ),
    "system": (SYSTEM, [FileNotFoundError("x"), PermissionError("x"), IsADirectoryError("x"), ImportError("x")]),
    "interpreter": (DENIED, [SystemError("x")]),
    "validation": (
        INVALID,
        [
            ValueError("x"),
            TypeError("x"),
            KeyError("x"),
            AssertionError("x"),
            fake("pydantic_core._pydantic_core.ValidationError"),
            fake("msgspec.ValidationError"),
            fake("psycopg.errors.UniqueViolation", sqlstate="23505"),
            fake("psycopg.errors.SyntaxError", sqlstate="42601"),
            fake("psycopg.errors.DivisionByZero", sqlstate="22012"),
            fake("sqlalchemy.exc.IntegrityError"),
        ],
    ),
    "own errors": (WORKFLOW, [CircuitBreakerOpenError("api", 1.0), ResilientError("the budget is spent")]),
    "own options": (INVALID, [PolicyError("x"), DecorationError("x")]),
    "chains": (
        NETWORK,
        [
            chained(FallbackChainExhaustedError("x"), ConnectionError("x")),
            FallbackChainExhaustedError("x", [ConnectionError("x"), ValueError("x")]),
        ],
    ),
    "chains without a known error": (
        UNKNOWN,
        [FallbackChainExhaustedError("x"), chained(FallbackChainExhaustedError("x"), RuntimeError("x"))],
    ),
    "anything else": (
        UNKNOWN,
        [
            Exception(),
            RuntimeError("x"),
            LookupError("x"),
            OSError(errno.EIO, "x"),
            RuntimeError({"some": "dict"}),
            RuntimeError('{"some": "json"}'),
            RuntimeError('{"node_errors": broken'),
            RuntimeError('{"node_errors": "' + "x" * 2_000_000),
            RuntimeError(b"{"),
            RuntimeError("execution_time", 3),
            Rpc("CANCELLED"),
            Rpc(None),
            fake("psycopg.Error", sqlstate="XX000"),
            fake("redis.exceptions.ResponseError", "BUSYGROUP Consumer Group name already exists"),
            fake("jaxlib.xla_extension.XlaRuntimeError", "INTERNAL: x", base=RuntimeError),
            fake("somewhere.Error", status_code="429", status=True, code="e3q8", response=7, body="x", type=3),
            fake("somewhere.Error", response={}, body={}),
        ],
    ),
}


@pytest.mark.parametrize(
    ("row", "number"), [(row, number) for row, (_, errors) in TABLE.items() for number in range(len(errors))]
)
def test_table(row, number):
    """
    Each row of the table holds for each error that it names.
    """
    expected, errors = TABLE[row]

    assert expected == short(errors[number])


@pytest.mark.parametrize(
    ("error", "rule", "hint"),
    [
        (ConnectionResetError("x"), "class:ConnectionError", None),
        (OSError(errno.ENOSPC, "x"), "errno:ENOSPC", "the disk is full or read-only"),
        (status(429), "http:429", None),
        (Rpc("ABORTED"), "grpc:ABORTED", None),
        (fake("psycopg.Error", sqlstate="08006"), "sqlstate:08", None),
        (RuntimeError("CUDA out of memory"), "message:CUDA out of memory", rules.TEXTS[3][1].hint),
        (RuntimeError("x"), "unknown", None),
        (RuntimeError(node_error("x", "seed", -1)), "comfyui:node_errors", "node 3 (KSampler): seed: -1"),
        (
            RuntimeError(node_error("value_not_in_list", "lora_name", "a.pt")),
            "comfyui:value_not_in_list",
            "node 3 (KSampler): lora_name: a.pt",
        ),
        (RuntimeError({"error": {"type": "no_prompt"}}), "comfyui:node_errors", "no_prompt"),
        (RuntimeError({"node_errors": {"3": 7}}), "comfyui:node_errors", None),
        (RuntimeError({"node_errors": {3: {"errors": [7]}}}), "comfyui:node_errors", "node 3 (?): ?"),
        (
            RuntimeError(execution_error("OddError", "y" * 5000)),
            "comfyui:execution_error:unknown",
            f"node 5 (VAEDecode): OddError: {'y' * 282}...[cut]",
        ),
        (
            RuntimeError("execution_interrupted", {"node_id": 5, "node_type": "VAEDecode"}),
            "comfyui:interrupted",
            "node 5 (VAEDecode): the workflow was cancelled",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_rule_and_hint(error, rule, hint):
    """
    An answer names the rule that decided, and what helps where something is known to.
    """
    found = Classifier().classify(error)

    assert rule == found.rule
    assert hint == found.hint


def test_codes_of_classes():
    """
    A code that the class carries counts as one of the error's own, one in a slot too.
    """
    unavailable = type("GatewayError", (Exception,), {"status_code": 503})
    slotted = type("SlottedError", (Exception,), {"__slots__": ("sqlstate",)})("x")
    slotted.sqlstate = "40001"

    assert short(unavailable("x")) == NETWORK
    assert short(slotted) == CONFLICT


def test_code_beats_class():
    """
    What an error carries says more than its class, and rows on certificates say more than that.
    """
    assert short(fake("a.Error", base=ValueError, status_code=503)) == NETWORK
    assert short(fake("ssl.SSLCertVerificationError", base=ValueError, status_code=503)) == INVALID


# -- Users' rules ----------------------------------------------------------------


class GpuLostError(RuntimeError):
    """
    An error of the engine's own.
    """


@pytest.mark.parametrize(
    "match",
    [
        GpuLostError,
        RuntimeError,
        "RuntimeError",
        "builtins.RuntimeError",
        f"{__name__}.GpuLostError",
        lambda error: "lost" in str(error),
    ],
    ids=["type", "base", "bare name", "full name", "dotted name", "predicate"],
)
def test_added_rule(match):
    """
    A user's rule by type, name or predicate comes before the built-in ones.
    """
    classifier = Classifier()
    before = classifier.classify(GpuLostError("lost: CUDA out of memory"))
    classifier.add(match, "system", severity="high", transient="after_recovery")
    after = classifier.classify(GpuLostError("lost: CUDA out of memory"))

    assert shown(before) == MEMORY
    assert shown(after) == "system high after_recovery"
    assert after.rule.startswith("user:")


def test_public_name():
    """
    A class is found by its top package too, as packages export it.
    """
    classifier = Classifier()
    classifier.add("requests.ConnectionError", "workflow")

    assert shown(classifier.classify(fake("requests.exceptions.ConnectionError"))) == WORKFLOW


def test_latest_first():
    """
    The latest rule is asked first, whatever the kinds.
    """
    classifier = Classifier()
    classifier.add(OSError, "workflow")
    classifier.add(lambda error: "model" in str(error), "model")
    classifier.add("ConnectionError", "memory")

    assert classifier.classify(ConnectionError("model")).category is ErrorCategory.MEMORY
    assert classifier.classify(OSError("model")).category is ErrorCategory.MODEL
    assert classifier.classify(OSError("x")).category is ErrorCategory.WORKFLOW
    assert classifier.classify(ValueError("x")).category is ErrorCategory.VALIDATION


def test_replaced():
    """
    A rule for the same match replaces the earlier one, and moves to the front.
    """
    classifier = Classifier()
    for category in ("model", "memory"):
        classifier.add(ValueError, category)
    classifier.add("x.Y", "network")

    assert classifier.classify(ValueError("x")).category is ErrorCategory.MEMORY
    assert repr(classifier) == "Classifier(added=[<user:x.Y: network>, <user:ValueError: memory>])"


def test_unhashable_predicate():
    """
    A predicate may be any callable, hashable or not.
    """

    class Picky:
        __hash__ = None

        def __call__(self, error):
            return isinstance(error, ValueError)

    picky = Picky()
    classifier = Classifier()
    classifier.add(picky, "model")
    classifier.add(picky, "memory", transient=Transient.YES)

    assert shown(classifier.classify(ValueError("x"))) == "memory medium yes"
    assert classifier.is_transient(ValueError("x"))
    assert not classifier.is_transient(TypeError("x"))
    assert len(repr(classifier).split(",")) == 1


def test_wish_of_users_rule():
    """
    A server's wish is added to what a user's rule says.
    """
    classifier = Classifier()
    classifier.add(RuntimeError, "network", transient=True)

    assert classifier.classify(fake("a.Error", base=RuntimeError, retry_after=4)).retry_after == 4.0


async def eventually(error):
    """
    Return True, too late for a rule.
    """
    return True


class Eventually:
    """
    A callable that answers too late for a rule.
    """

    async def __call__(self, error):
        return True


@pytest.mark.parametrize(
    "match", [int, BaseException, KeyboardInterrupt, "GpuLostError", "int", "", ".", 7, None, eventually, Eventually()]
)
def test_wrong_match(match):
    """
    A match that cannot decide is refused.
    """
    with pytest.raises(PolicyError, match=r"classifier.add: match must be an exception type"):
        Classifier().add(match, "network")


def test_all_problems_at_once():
    """
    Every wrong argument is named, with the value and what it may be.
    """
    with pytest.raises(PolicyError) as raised:
        Classifier().add(7, "netwrok", severity="bad", transient="maybe")

    assert len(raised.value.problems) == 4
    assert "category must be one of 'network', 'memory'" in str(raised.value)
    assert "got 'netwrok' (str)" in str(raised.value)
    assert "severity must be one of 'low', 'medium', 'high', 'critical', got 'bad' (str)" in str(raised.value)
    assert "transient must be True, False or 'after_recovery', got 'maybe' (str)" in str(raised.value)


def test_enums():
    """
    Categories and severities may be given as members or as names in any case.
    """
    classifier = Classifier()
    classifier.add(KeyError, ErrorCategory.MODEL, severity=ErrorSeverity.LOW)
    classifier.add(IndexError, "Model", severity="LOW", transient=True)

    assert shown(classifier.classify(KeyError("x"))) == "model low no"
    assert shown(classifier.classify(IndexError("x"))) == "model low yes"


@pytest.mark.parametrize("by", ["call", "truth"])
def test_raising_predicate(by):
    """
    A predicate that raises makes the error unknown, and is reported once.
    """

    class NoTruth:
        def __bool__(self):
            raise ZeroDivisionError("truth")

    def broken(error):
        if by == "call":
            raise ZeroDivisionError("call")
        return NoTruth()

    told = []
    classifier = Classifier(report=lambda what, error: told.append((what, str(error))))
    classifier.add(broken, "network", transient=True)
    found = [classifier.classify(ConnectionError("x")) for _ in range(3)]

    assert [shown(one) for one in found] == [UNKNOWN] * 3
    assert found[0].hint == "the rule itself raised ZeroDivisionError"
    assert len(told) == 1
    assert told[0][0].endswith("broken")
    assert told[0][1] == by


def test_raising_report():
    """
    A reporter that raises harms nothing, and none is needed.
    """

    def broken(error):
        raise ZeroDivisionError

    for report in (None, lambda what, error: broken(error)):
        classifier = Classifier(report=report)
        classifier.add(broken, "network")

        assert shown(classifier.classify(ConnectionError("x"))) == UNKNOWN


def test_interrupted_predicate():
    """
    Ctrl-C in a predicate is no error of the predicate.
    """

    def pressed(error):
        raise KeyboardInterrupt

    classifier = Classifier()
    classifier.add(pressed, "network")

    with pytest.raises(KeyboardInterrupt):
        classifier.classify(ValueError("x"))


# -- Causes and groups -----------------------------------------------------------


def test_causes():
    """
    The outermost error that a rule knows decides; `__context__` does not count.
    """
    known = chained(RuntimeError("x"), ConnectionError("x"))
    outer = chained(ValueError("x"), ConnectionError("x"))
    context = RuntimeError("x")
    context.__context__ = ConnectionError("x")

    assert short(known) == NETWORK
    assert short(outer) == INVALID
    assert short(context) == UNKNOWN
    assert short(chained(RuntimeError("x"), KeyboardInterrupt())) == UNKNOWN


def test_causes_of_users():
    """
    Users' rules are asked about causes as well.
    """
    classifier = Classifier()
    classifier.add(lambda error: "inner" in str(error), "model")

    assert shown(classifier.classify(chained(RuntimeError("x"), RuntimeError("inner")))) == "model medium no"


def test_depth():
    """
    At most eight errors are looked at.
    """
    error = ConnectionError("x")
    for _ in range(7):
        error = chained(RuntimeError("x"), error)

    assert short(error) == NETWORK
    assert short(chained(RuntimeError("x"), error)) == UNKNOWN


def test_wish_of_cause():
    """
    A server's wish is found along the causes.
    """
    found = Classifier().classify(chained(RuntimeError("x"), status(429, retry_after=3)))

    assert found.rule == "http:429"
    assert found.retry_after == 3.0


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([ConnectionError("x"), TimeoutError("x")], NETWORK),
        ([ConnectionError("x"), ValueError("x")], REFUSED),
        ([ConnectionError("x"), MemoryError()], MEMORY),
        ([MemoryError(), ValueError("x")], "memory critical no"),
        ([ConnectionError("x"), RuntimeError("x")], REFUSED),
        ([RuntimeError("x")], UNKNOWN),
        ([MemoryError(), SystemError("x")], DENIED),
        ([SystemError("x"), MemoryError()], DENIED),
        ([ExceptionGroup("x", [ConnectionError("x")]), TimeoutError("x")], NETWORK),
        ([chained(RuntimeError("x"), ConnectionError("x"))], NETWORK),
    ],
)
def test_groups(members, expected):
    """
    A group is its worst member, and no more transient than any of them.
    """
    assert expected == short(ExceptionGroup("x", members))


def test_group_of_unknown():
    """
    A group that says nothing leaves it to its cause.
    """
    assert short(chained(ExceptionGroup("x", [RuntimeError("x")]), ConnectionError("x"))) == NETWORK
    assert short(chained(RuntimeError("x"), ExceptionGroup("x", [ConnectionError("x")]))) == NETWORK


def test_group_wish():
    """
    A group waits for the longest wish of its members.
    """
    members = [status(429, retry_after=3), status(503, retry_after=9), status(429, retry_after=0), TimeoutError("x")]

    assert Classifier().classify(ExceptionGroup("x", members)).retry_after == 9.0


def test_huge_group():
    """
    Of a huge group a part is looked at, and the rest counts as unknown.
    """
    group = ExceptionGroup("x", [ConnectionError("x") for _ in range(100_000)])
    start = time.thread_time()

    assert short(group) == REFUSED
    assert time.thread_time() - start < 0.25


def test_group_of_groups():
    """
    Groups that share members are looked at once.
    """
    group = ExceptionGroup("x", [ConnectionError("x")])
    for _ in range(6):
        group = ExceptionGroup("x", [group] * 200)
    start = time.thread_time()

    assert short(group) == NETWORK
    assert time.thread_time() - start < 0.25


# -- Errors that fight back ------------------------------------------------------


class HostileError(Exception):
    """
    An error whose attributes all raise.
    """

    def __getattribute__(self, name):
        raise ZeroDivisionError(name)

    def __str__(self):
        raise ZeroDivisionError


class LyingError(ConnectionError):
    """
    A connection error that raises whenever it is looked at.
    """

    @property
    def __class__(self):
        raise ZeroDivisionError

    @property
    def errno(self):
        raise ZeroDivisionError

    @property
    def response(self):
        raise ZeroDivisionError

    status_code = args = response


class LoopingError(Exception):
    """
    An error whose attributes never end.
    """

    def __getattr__(self, name):
        return getattr(self, name + "x")

    def __str__(self):
        return str(self)


class RaisingCodeError(Exception):
    """
    An error whose code raises when it is called.
    """

    def code(self):
        raise ZeroDivisionError


class Meta(type):
    """
    A metaclass that cannot be hashed.
    """

    def __hash__(cls):
        raise ZeroDivisionError


class UnhashableError(ConnectionError, metaclass=Meta):
    """
    An error whose class cannot be a key.
    """


class NamelessError(ConnectionError):
    """
    An error whose class has no proper module.
    """

    __module__ = 7


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (HostileError, UNKNOWN),
        (LyingError, NETWORK),
        (LoopingError, UNKNOWN),
        (RaisingCodeError, UNKNOWN),
        (UnhashableError, UNKNOWN),
        (NamelessError, NETWORK),
    ],
)
def test_hostile(make, expected):
    """
    An error that raises wherever it is touched is classified all the same.
    """
    assert expected == short(make("x"))


def test_circles():
    """
    Errors that cause themselves, or contain those that cause them, end.
    """
    alone = RuntimeError("x")
    alone.__cause__ = alone.__context__ = alone
    first, second = RuntimeError("x"), RuntimeError("x")
    first.__cause__, second.__cause__ = second, first
    member = RuntimeError("x")
    group = ExceptionGroup("x", [member])
    member.__cause__ = group

    assert [short(alone), short(first), short(group)] == [UNKNOWN] * 3


def test_deep():
    """
    Ten thousand causes and a thousand nested groups cost no more than eight.
    """
    chain = ConnectionError("x")
    for _ in range(10_000):
        chain = chained(RuntimeError("x"), chain)
    group = ConnectionError("x")
    for _ in range(1_000):
        group = ExceptionGroup("x", [group])
    classifier = Classifier()
    start = time.thread_time()

    assert shown(classifier.classify(chain)) == UNKNOWN
    assert shown(classifier.classify(group)) == UNKNOWN
    assert time.thread_time() - start < 0.05
    # Deallocating nested exceptions recurses in CPython: take them apart.
    while chain is not None:
        chain.__cause__, chain = None, chain.__cause__


def test_long_message():
    """
    Of a message its first 2,048 characters are read, however long it is.
    """
    message = "x" * 50_000_000
    start = time.thread_time()

    assert short(RuntimeError("CUDA out of memory" + message)) == MEMORY
    assert time.thread_time() - start < 0.25
    assert short(RuntimeError("x" * 3_000 + "CUDA out of memory")) == UNKNOWN


def test_many_types(monkeypatch):
    """
    What is kept of classes is bounded.
    """
    monkeypatch.setattr(module, "_MAX_TYPES", 8)
    classifier = Classifier()
    for number in range(50):
        assert shown(classifier.classify(fake(f"a.Error{number}", base=TimeoutError))) == NETWORK

    assert len(classifier._plans) <= 8  # noqa: SLF001 - what is bounded is private


def test_threads():
    """
    Rules added by many threads at once are all there, while others ask.
    """
    classifier = Classifier()
    classes = [made(f"a.Error{number}") for number in range(200)]

    def add(cls):
        classifier.classify(cls("x"))
        classifier.add(cls, "model")
        return shown(classifier.classify(cls("x")))

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(add, classes)) == {"model medium no"}
    assert {shown(classifier.classify(cls("x"))) for cls in classes} == {"model medium no"}


def test_values():
    """
    An answer is a frozen value that copies and pickles.
    """
    found = Classifier().classify(status(429, retry_after=2))

    assert found == copy.copy(found) == pickle.loads(pickle.dumps(found))
    assert isinstance(found, Classification)
    assert Transient("after_recovery") is Transient.AFTER_RECOVERY
    with pytest.raises(AttributeError):
        found.rule = "x"


def test_table_is_consistent():
    """
    No class stands both among those that decide first and among the others.
    """
    assert not rules.FIRST_CLASSES.keys() & rules.CLASSES.keys()
    assert not rules.PROVIDER_FIRST_CODES.keys() & rules.PROVIDER_CODES.keys()
