"""
Errors as they are remembered: kept, told, as JSON.
"""

from __future__ import annotations

import json
import weakref
from types import MappingProxyType

import pytest

from resilient.analytics.records import jsonable, kept, member, never_failing, told
from resilient.errorinfo import ErrorSeverity
from resilient.errors import PolicyError
from resilient.redaction import readable, redact
from tests.harness import NOON, error_info


def remembered(error):
    """
    Return *error* as it is kept and told again.
    """
    error = kept(error)
    entry = (5.0, (5.0, NOON), "", error.error_type, "", error.category, error.severity, error)
    return told(entry, redact)


@pytest.mark.parametrize(
    "error",
    [
        error_info(),
        error_info(traceback="Traceback\n  line 1\nTimeout: late", recovery_attempted=True, recovery_successful=True),
        error_info(context={"function": "f", "attempt": 2, "share": 0.5, "last": False, "note": None}),
    ],
)
def test_harmless_errors_come_back_equal(error):
    """
    Where there is nothing to hide or to cut, what was recorded is what is read.
    """
    assert remembered(error) == error


def test_texts_are_cut():
    """
    Texts are bounded; of a traceback the end is kept.
    """
    error = remembered(
        error_info(
            error_type="T" * 5000,
            error_message="m" * 5000,
            traceback="start" + "t" * 5000 + "end",
            context={"k" * 5000: "v" * 5000, **{str(n): n for n in range(100)}},
        )
    )

    assert (len(error.error_type), len(error.error_message), len(error.traceback)) == (200, 2048, 2048)
    assert error.traceback.endswith("tend")
    assert len(error.context) == 32
    assert max((len(key), len(str(value))) for key, value in error.context.items()) == (200, 2048)


def test_no_object_of_the_context_is_kept():
    """
    Exceptions, tensors and all that is no plain value become text.
    """

    class Tensor:
        def __repr__(self):
            return "Tensor(1 GB)"

        def __eq__(self, other):
            raise AssertionError

        __hash__ = None

    class Name(str):
        __slots__ = ()

        def __len__(self):
            raise AssertionError

    tensor = Tensor()
    seen = weakref.ref(tensor)
    error = remembered(
        error_info(
            error_message=Name("late"),
            context=MappingProxyType({"t": tensor, "n": float("nan"), "i": 2**70, ("a", 1): [1], Name("s"): Name("v")}),
        )
    )
    del tensor

    assert seen() is None
    assert error.context == {
        "t": "Tensor(1 GB)",
        "n": "nan",
        "i": str(2**70),
        "('a', 1)": "[1]",
        "s": "v",
    }
    assert {type(key) for key in error.context} == {str} == {type(error.error_message)}


def test_later_changes_of_the_context_are_not_seen():
    """
    The caller's mapping is copied.
    """
    context = {"a": 1}
    error = kept(error_info(context=context))
    context["b"] = 2

    assert error.context == {"a": 1}


def test_secrets_are_hidden_everywhere():
    """
    Message, traceback and context are redacted and escaped, a secret's key hides any value.
    """
    error = remembered(
        error_info(
            error_message="password=abc \x1b",
            traceback="line\npassword=abc\r\tTimeout",
            context={"password": 1234, "url": "https://u:p@h", "token": None, "n": 3, "s": "x\ny"},
        )
    )

    assert error.error_message == r"password=[redacted] \x1b"
    assert error.traceback == "line\npassword=[redacted]\\r\\tTimeout"
    assert error.context == {
        "password": "[redacted]",
        "url": "https://[redacted]@h",
        "token": None,
        "n": 3,
        "s": r"x\ny",
    }


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (ValueError("x"), ["expected an ErrorInfo", "ValueError"]),
        (None, ["expected an ErrorInfo", "None"]),
        (
            error_info(category="network", severity=None, timestamp=12.5, context=[1], traceback=3, error_type=b"x"),
            ["category must be a ErrorCategory, got 'network' (str)", "severity", "timestamp", "context", "traceback"],
        ),
    ],
)
def test_wrong_input_is_told_at_once(error, parts):
    """
    What is no well-formed ErrorInfo is refused with everything that is wrong with it.
    """
    with pytest.raises(TypeError) as caught:
        kept(error)

    assert [part for part in parts if part not in str(caught.value)] == []


def test_jsonable():
    """
    A told error becomes values that JSON has.
    """
    values = jsonable(remembered(error_info(context={"n": 1})))

    assert json.loads(json.dumps(values)) == values
    assert (values["timestamp"], values["category"]) == ("2024-05-01T12:00:00+00:00", "network")


def test_member():
    """
    A member is found by itself and by its value; anything else is told what there is.
    """
    assert member(ErrorSeverity, "high") is member(ErrorSeverity, ErrorSeverity.HIGH) is ErrorSeverity.HIGH
    with pytest.raises(PolicyError, match=r"ErrorSeverity: got 'bad' \(str\); use a member or one of 'low', 'medium'"):
        member(ErrorSeverity, "bad")


def test_a_failing_redaction_hides_everything():
    """
    Where the function that redacts raises, nothing of the text is shown.
    """

    def redact_badly(_text):
        raise ValueError

    assert never_failing(redact_badly)("secret") == "[redacted]"
    assert never_failing(readable)("plain") == "plain"
