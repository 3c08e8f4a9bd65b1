"""
Faults 16 and 17: secrets in texts that people read (16), and characters in them that steer (17).
"""

from __future__ import annotations

import functools
import json
from contextlib import suppress

import pytest
import structlog

from resilient import (
    CircuitBreakerOpenError,
    Fallback,
    FallbackChainExhaustedError,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
)
from resilient.redaction import hide
from tests.harness import script, stack, state

# -- row 16: secrets --------------------------------------------------

SECRETS = {
    "keyword": ("s3cr3t-value", "call(api_key='s3cr3t-value', size=3) failed"),
    "json": ("s3cr3t-value", '{"password": "s3cr3t-value", "user": "me"}'),
    "query": ("s3cr3t-value", "GET https://api.example.com/v1?token=s3cr3t-value&size=3"),
    "userinfo": ("hunter2", "postgres://admin:hunter2@db.example.com/films is down"),
    "bearer": ("abcdef123456", "401 for Authorization: Bearer abcdef123456"),
    "basic": ("YWRtaW46aHVudGVyMg==", "headers={'Authorization': 'Basic YWRtaW46aHVudGVyMg=='}"),
    "cookie": ("0123456789abcdef", "Cookie: session=0123456789abcdef; theme=dark"),
    "sk": ("sk-proj-abcdefghijklmnop", "Incorrect API key provided: sk-proj-abcdefghijklmnop."),
    "old sk": ("sk-abcdefghijklmnop1234567890", "key sk-abcdefghijklmnop1234567890 refused"),
    "token of parts": ("eyJhbGciOi", "Authorization: Bearer eyJhbGciOi.payload.signature"),
    "assignment": ("s3cr3t", "api_key=s3cr3t is wrong"),
    "hugging face": ("hf_AbCdEfGhIjKlMnOp", "401 with hf_AbCdEfGhIjKlMnOp"),
    "pattern": ("ZEBRA-1234", "tenant ZEBRA-1234 is locked"),
}


@pytest.fixture
def secret_circuit(registry):
    """
    Return a function that makes a stack over a circuit that opens at the first failure.
    """
    return functools.partial(stack, registry=registry, attempts=2, on=Exception, failure_threshold=1)


@pytest.mark.parametrize("kind", SECRETS)
def test_row_16_secrets_in_messages_are_redacted(colour, entries, registry, secret_circuit, kind):
    """
    In logs, history, report, health, recovery history, the outcome's story and the errors that we raise.
    """
    secret, message = SECRETS[kind]
    stop = hide(secret) if kind == "pattern" else lambda: None
    fn = secret_circuit(colour.of(script(ConnectionError(message))))
    try:
        first = colour.drive(fn.resilience.outcome)
        second = colour.drive(fn.resilience.outcome)
        texts = {
            "log": str(entries),
            "history": str(registry.analytics.error_history),
            "report": json.dumps(registry.analytics.generate_report()),
            "health": json.dumps(registry.health().to_dict()),
            "table": str(registry.health()),
            "recovery": str(registry.playbooks.get_recovery_history()),
            "story": str(first) + str(second),
            "rejection": f"{second.error} {second.error!r} {second.error.last_error}",
            "circuit": f"{state(registry)} {registry.circuits['c'].snapshot()} {registry.circuits['c']!r}",
            "function": repr(fn.resilience),
        }
    finally:
        stop()

    assert isinstance(second.error, CircuitBreakerOpenError)
    assert {name: text for name, text in texts.items() if secret in text} == {}
    for name in ("log", "history", "story", "rejection"):
        assert "[redacted]" in texts[name], name


@pytest.mark.parametrize("kind", [kind for kind in SECRETS if kind != "pattern"])
def test_row_16_the_standard_log_tells_no_secret(colour, caplog, secret_circuit, kind):
    """
    The same without a structlog that somebody has configured; arguments are not in it either.
    """
    secret, message = SECRETS[kind]
    fn = secret_circuit(colour.of(script(ConnectionError(message))))
    with caplog.at_level("DEBUG"):
        for _ in range(2):
            with pytest.raises(CircuitBreakerOpenError):
                colour.drive(fn, "positional-argument", prompt="keyword-argument")

    assert "[redacted]" in caplog.text
    assert secret not in caplog.text
    assert "-argument" not in caplog.text


def test_row_16_a_secret_at_the_cut_is_redacted(colour, registry, secret_circuit):
    """
    What is cut off a long message does not uncover the rest of a secret.
    """
    for padding in range(140, 220, 4):
        error = ConnectionError("x" * padding + " password=" + "z" * 40 + "q9")
        fn = secret_circuit(colour.of(script(error)))
        registry.circuits["c"].close()
        colour.drive(fn.resilience.outcome)

        assert "zzz" not in str(colour.drive(fn.resilience.outcome).error)


def test_row_16_an_exhausted_chain_tells_no_secret(colour, entries, registry):
    """
    Neither its text nor its ``repr`` has the messages of the errors that it holds.
    """
    secret, message = SECRETS["keyword"]
    fn = stack(colour.of(script(ConnectionError(message))), registry, script(ValueError(message)))
    with pytest.raises(FallbackChainExhaustedError) as raised:
        colour.drive(fn)

    assert secret not in f"{raised.value} {raised.value!r} {entries}"


def test_row_16_arguments_are_not_shown(colour, entries, registry):
    """
    Arguments, positional or by keyword, are in no log, and in nothing that the registry tells.
    """
    work = script(*[ConnectionError("down")] * 4, "done")
    fn = stack(colour.of(work), registry, script(ConnectionError("down")), attempts=2)
    with suppress(FallbackChainExhaustedError):
        colour.drive(fn, "positional-argument", prompt="keyword-argument")
    outcome = colour.drive(fn.resilience.outcome, "positional-argument", prompt="keyword-argument")
    texts = f"{entries} {registry.analytics.error_history} {registry.health()} {outcome}"
    texts += json.dumps([registry.analytics.generate_report(), registry.health().to_dict()])

    assert entries
    assert "-argument" not in texts


# -- row 17: characters that steer --------------------------------------------------

UGLY = "two\nlines \x1b[31mred\x1b[0m \x00 \x07 \x9b2J \u202egnol\u202c \u2028 \ud800 \r\n [fake] level=info"
UNSAFE = set("\n\r\x1b\x00\x07\x9b\u202e\u202c\u2028\ud800")


def check_safe(text):
    """
    Check that nothing in *text* steers a terminal or breaks a line.
    """
    assert not UNSAFE & set(text), text
    text.encode()


@pytest.fixture
def ugly(colour, registry, entries):
    """
    Return a function whose name, circuit, chain, fallback, step and errors have all kinds of bad characters in them.
    """
    here = {"registry": registry}
    error = type(f"Ugly{UGLY.replace(chr(0), '').replace(chr(0xD800), '')}", (ConnectionError,), {})(UGLY)

    def fallback(*args, **kwargs):
        raise error

    def work(*args, quality=1.0):
        raise error

    work = colour.of(work)
    work.__name__ = work.__qualname__ = f"work {UGLY}"
    registry.playbooks.step("network", name=f"step {UGLY}", before="retry_connection")(lambda _ctx: True)
    fn = circuit(f"circuit {UGLY}", failure_threshold=3, **here)(work)
    fn = recoverable(max_runs=1, **here)(retry(max_attempts=2, initial_delay=0, **here)(fn))
    fn = fallback_chain(Fallback(fallback, name=f"entry {UGLY}"), name=f"chain {UGLY}", **here)(fn)
    registry.degradation.scope(f"scope {UGLY}").degrade(f"reason {UGLY}")
    registry.degradation.degrade(f"reason {UGLY}")
    return degradable(rules={"quality": lambda value, _level: f"{value}{UGLY}"}, **here)(fn)


def test_row_17_logs_are_one_safe_line_each(colour, ugly, entries):
    """
    No value of any entry has a character that steers, and each entry is valid JSON.
    """
    colour.drive(ugly.resilience.outcome)
    colour.drive(ugly.resilience.outcome)
    events = {entry["event"] for entry in entries}

    assert {"resilient.attempt.failed", "resilient.circuit.opened", "resilient.level.changed"} <= events
    assert {"resilient.recovery.run", "resilient.fallback.used", "resilient.call.rejected"} <= events
    for entry in entries:
        check_safe(json.dumps(entry, ensure_ascii=False, allow_nan=False))
        for value in (*entry.keys(), *map(str, entry.values())):
            check_safe(value)


def test_row_17_the_standard_log_has_one_line_for_each_entry(colour, ugly, caplog):
    """
    The same without a structlog that somebody has configured.
    """
    structlog.reset_defaults()
    with caplog.at_level("DEBUG", "resilient"):
        colour.drive(ugly.resilience.outcome)

    assert len(caplog.records) > 5
    for record in caplog.records:
        check_safe(record.getMessage())


def test_row_17_health_and_report_are_safe_and_valid_json(colour, registry, ugly):
    """
    Each line of the table, and JSON without NaN, infinity or lone surrogates.
    """
    colour.drive(ugly.resilience.outcome)
    health = registry.health()
    documents = [
        health.to_dict(),
        registry.analytics.generate_report(),
        [str(info) for info in registry.analytics.error_history],
    ]

    for line in str(health).split("\n"):
        check_safe(line)
    for document in documents:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        check_safe(text)
        assert document == json.loads(text)


def test_row_17_a_circuit_is_safe_that_is_named_after_its_function(colour, registry, caplog):
    """
    In logs, health and report, as one that was given its name.
    """

    def work():
        raise ValueError(UGLY)

    work.__qualname__ = f"work {UGLY}"
    fn = circuit(failure_threshold=1, registry=registry)(colour.of(work))
    with caplog.at_level("DEBUG"):
        outcome = colour.drive(fn.resilience.outcome)
    texts = [
        *str(registry.health()).split("\n"),
        *str(outcome).split("\n"),
        json.dumps([registry.health().to_dict(), registry.analytics.generate_report()], ensure_ascii=False),
        *(record.getMessage() for record in caplog.records),
    ]

    assert caplog.records
    for text in texts:
        check_safe(text)


def test_row_17_the_story_of_an_outcome_is_safe(colour, ugly):
    """
    Each of its lines; so are the errors that we raise.
    """
    first = colour.drive(ugly.resilience.outcome)
    second = colour.drive(ugly.resilience.outcome)

    assert "rejected" in str(second) or isinstance(second.error, FallbackChainExhaustedError)
    for outcome in (first, second):
        for line in str(outcome).split("\n"):
            check_safe(line)
        check_safe(str(outcome.error))
        check_safe(repr(outcome.error))


def test_row_17_a_rejection_is_safe(colour, registry, ugly):
    """
    What an open circuit says of itself and of what has opened it.
    """
    colour.drive(ugly.resilience.outcome)
    breaker = registry.circuits[f"circuit {UGLY}"]
    assert breaker.get_state()["state"] == "open"
    with pytest.raises(CircuitBreakerOpenError) as raised:
        breaker.call(lambda: "never")

    for text in (str(raised.value), repr(raised.value), repr(breaker), raised.value.last_error):
        check_safe(text)
