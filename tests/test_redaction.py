"""
Text from strangers: without secrets.
"""

from __future__ import annotations

import re
import time

import pytest

from resilient.redaction import REDACTED, hide, readable, redact
from resilient.text import LIMIT

SECRET = "hUnt3r2-Zx9"


@pytest.mark.parametrize(
    "template",
    [
        "password={}",
        "password = {}, host=db",
        "passwd: {}",
        "db_password='{}'",
        'password="{}',
        "pass\\'word and password=\\'it\\\\'s {}\\'",
        "PASSWORD={};host=db",
        "secret => '{}'",
        "client_secret={}&grant=code",
        '{{"token": "{}", "n": 1}}',
        "{{'api_key': '{}', 'n': 1}}",
        '"{{\\"apikey\\": \\"{}\\", \\"n\\": 1}}"',
        "X-Api-Key: {}",
        "accessToken={}",
        "session_id={}",
        "private_key: {}",
        "aws_secret_access_key={}/x+y",
        "headers['authorization'] = 'Basic {}'",
        "tokens['a'] secret=['{}', 'b']",
        "password=({}) rest",
        "password={{x}}{} rest",
        "token=b'{}'",
        "Authorization: Bearer {}",
        "authorization=Bearer {}",
        'Authorization: Digest username="u", response="{}"',
        "Cookie: a=1; b={}; c=2\nHost: x",
        "Set-Cookie: sid={}; Path=/",
        "Bearer {}",
        "bearer  {}",
        "Basic {}==",
        "https://user:{}@example.org/path",
        "postgres://u:p@{}@db:5432/x",
        "https://{}@github.com/x",
        "https://api.example.org/v1?key={}&k=1",
        "https://api.example.org/v1?a=1&X-Amz-Signature={}",
        "bad key sk-{}",
        "hf_{}",
        "ghp_{}",
        "github_pat_{}",
        "glpat-{}",
        "xoxb-{}",
        "sk_live_{}",
        "AIzaSyA1234567{}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.{}",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n{}\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n{}",
    ],
)
def test_secrets_are_hidden(template: str) -> None:
    """
    A secret is not in the redacted text, and redacting again changes nothing.
    """
    secret = SECRET.replace("-", "") if template.startswith(("hf_", "ghp_")) else SECRET
    text = redact(template.format(secret))

    assert secret not in text
    assert "Zx9" not in text
    assert "[redacted]" in text
    assert redact(text) == text


def test_aws_key_ids_are_hidden() -> None:
    """
    An access key id is a secret by its looks.
    """
    assert redact("key AKIAIOSFODNN7EXAMPLE denied") == "key [redacted] denied"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 23.69 GiB total capacity)",
        "max_tokens=512, tokens: 77",
        "api_key=None, token: null",
        "basic training failed",
        "Bearer token expired",
        "task-force and risk-averse with sk-learn",
        "hf_hub_download failed",
        "https://example.org/@user/video?page=2",
        "ValueError: passes=3 of session",
        "",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    """
    Diagnostics that only resemble secrets are left alone.
    """
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(password=abc) failed", "f(password=[redacted]) failed"),
        ("host=a,password=b,user=c;pwd=d", "host=a,password=[redacted],user=c;pwd=[redacted]"),
        ('{"token":"a","n":1}', '{"token":"[redacted]","n":1}'),
        ("https://u:p@h/x?token=a&n=1", "https://[redacted]@h/x?token=[redacted]&n=1"),
    ],
)
def test_only_the_secret_is_hidden(text: str, expected: str) -> None:
    """
    What stands around a secret stays readable.
    """
    assert redact(text) == expected


def test_own_patterns() -> None:
    """
    Substrings are taken literally, expressions as they are.
    """
    text = "ticket T-123 of a.c and abc"

    assert redact(text, ["a.c", "", re.compile(r"T-\d+")]) == "ticket [redacted] of [redacted] and abc"


def test_own_expressions_see_bounded_text() -> None:
    """
    A text of any length is cut before an expression of the user's runs on it.
    """
    assert redact("x" * 10_000 + "T-1", [re.compile(r"T-\d+")]) == "x" * (LIMIT - 8) + "...[cut]"


def test_readable_redacts_before_it_escapes() -> None:
    """
    People get one line without secrets.
    """
    assert readable("password=a\nb\x1b[0m") == r"password=[redacted]\nb\x1b[0m"


@pytest.mark.parametrize("seed", [
    "password=", "password:", "password='\\", "password=,", "password=,a", "password={", "password=[", "pass",
    "a://", "://@", "://a@", "://", "sk-", "eyJ.", "eyJ", "hf_a", "bearer ", "Bearer a", "basic ", "basica", "token ",
    "token \t", "cookie:", "cookie ", "=", "a", "\\", "'", "?key=", "api_", "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ", "\x1b", "token=\\\\", "secret'", "A", "_1",
])  # fmt: skip
def test_no_text_is_slow_to_read(seed: str) -> None:
    """
    2 KiB of anything are redacted and escaped in well under 10 ms.
    """
    text = (seed * LIMIT)[:LIMIT]

    def seconds() -> float:
        before = time.thread_time()
        readable(text)
        return time.thread_time() - before

    assert min(seconds() for _ in range(3)) < 0.010


def test_what_is_hidden_is_hidden_everywhere_until_it_is_stopped():
    """
    A user's patterns are redacted in everything that people read, and no longer once stopped.
    """
    stop = hide("project-x", re.compile(r"ticket \d+"))
    hidden = readable("project-x, ticket 17, ticket x")
    stop()

    assert hidden == f"{REDACTED}, {REDACTED}, ticket x"
    assert readable("project-x") == "project-x"


@pytest.mark.parametrize("wrong", ["", 3, None, b"secret"])
def test_only_texts_and_expressions_can_be_hidden(wrong):
    """
    Anything else is refused, and nothing is hidden by halves.
    """
    with pytest.raises(TypeError, match="takes texts that are not empty"):
        hide("fine", wrong)

    assert readable("fine") == "fine"
