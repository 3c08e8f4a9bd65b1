"""
Text from strangers: bounded, and on one line.
"""

from __future__ import annotations

import json
import tracemalloc
from pathlib import PurePosixPath

import pytest

from resilient.text import LIMIT, cut, escape, safe_repr, safe_str, type_name
from tests.harness import shown


class CustomError(Exception):
    """
    An exception whose message is whatever its ``say`` returns.
    """

    def __init__(self, say: object) -> None:
        self.say = say

    def __str__(self) -> str:
        return self.say()  # type: ignore[operator, no-any-return]


def raising(error: BaseException) -> object:
    """
    Return a function that raises *error*.
    """

    def say() -> str:
        raise error

    return say


def peak_of(call: object) -> int:
    """
    Return the bytes that *call* allocated at its peak.
    """
    tracemalloc.start()
    try:
        call()  # type: ignore[operator]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -- Bounded text ---------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("one"),
        ValueError(None),
        ValueError(b"raw"),
        ValueError("one", 2, b"three", None, 4.5),
        ValueError(["a", {"b": (1,), "c": ()}, {2}, frozenset({3}), set()]),
        ValueError(("one",)),
        KeyError("missing"),
        KeyError(),
        KeyError(("a", "b")),
        OSError(2, "No such file", "name"),
        OSError("plain"),
        ImportError("no module"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ExceptionGroup("several", [ValueError("x"), KeyError("y")]),
        CustomError(lambda: "its own words"),
    ],
    ids=shown,
)
def test_safe_str_is_str(error: Exception) -> None:
    """
    A short message reads exactly as `str` gives it.
    """
    assert str(error) == safe_str(error)


@pytest.mark.parametrize("problem", [ValueError("no"), RecursionError("loop"), MemoryError()])
def test_safe_str_swallows_what_str_raises(problem: Exception) -> None:
    """
    An exception whose ``__str__`` raises is named as unprintable.
    """
    assert safe_str(CustomError(raising(problem))) == "<unprintable CustomError>"


def test_safe_str_of_a_str_that_returns_no_str() -> None:
    """
    An exception whose ``__str__`` returns something else is named as unprintable.
    """
    assert safe_str(CustomError(lambda: 42)) == "<unprintable CustomError>"


def test_safe_str_of_a_str_that_calls_itself() -> None:
    """
    An exception whose ``__str__`` recurses for ever is named as unprintable.
    """
    error = CustomError(None)
    error.say = lambda: str(error)

    assert safe_str(error) == "<unprintable CustomError>"


def test_safe_str_lets_base_exceptions_pass() -> None:
    """
    Ctrl-C during a ``__str__`` leaves at once.
    """
    with pytest.raises(KeyboardInterrupt):
        safe_str(CustomError(raising(KeyboardInterrupt())))


def test_safe_str_returns_a_plain_str() -> None:
    """
    Text of a subclass of str comes back as str itself, without calling its methods.
    """

    class Loud(str):
        __slots__ = ()

        def __len__(self) -> int:
            raise AssertionError

        def __getitem__(self, _key: object) -> str:
            raise AssertionError

    texts = safe_str(CustomError(lambda: Loud("hush"))), safe_str(ValueError(Loud("hush")))

    assert texts == ("hush", "hush")
    assert [type(text) for text in texts] == [str, str]


def test_safe_str_asks_a_str_subclass_with_its_own_str() -> None:
    """
    An argument that renders itself is asked.
    """

    class Shouted(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self.upper()

    assert safe_str(ValueError(Shouted("hey"))) == "HEY"


class Vague:
    """
    An argument that renders itself.
    """

    def __str__(self) -> str:
        return "something vague"


@pytest.mark.parametrize("kind", [ValueError, OSError, ImportError])
@pytest.mark.parametrize("arg", [42, None, PurePosixPath("frames/0001.png"), Vague()], ids=str)
def test_an_argument_of_any_other_kind_is_asked(kind: type[Exception], arg: object) -> None:
    """
    An only argument that is no text, no container and no exception reads as `str` gives it.
    """
    assert safe_str(kind(arg)) == str(arg) == str(kind(arg))


@pytest.mark.parametrize("kind", [ValueError, OSError, ImportError])
@pytest.mark.parametrize(
    ("arg", "message"),
    [
        (KeyError("missing"), "'missing'"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (RuntimeError(ConnectionError("down")), "down"),
        (CustomError(lambda: "its own words"), "its own words"),
    ],
    ids=["KeyError", "OSError", "nested", "CustomError"],
)
def test_an_argument_that_is_an_exception_reads_as_its_message(
    kind: type[Exception], arg: Exception, message: str
) -> None:
    """
    An exception around another one says what that one says.
    """
    assert safe_str(kind(arg)) == message == str(kind(arg))


class Sub(str):
    """
    A plain subclass of str.
    """

    __slots__ = ()


HUGE = "x" * (1 << 24)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(HUGE),
        ValueError(Sub("y" * (1 << 22))),
        ValueError("first", HUGE),
        ValueError(HUGE.encode()),
        ValueError([HUGE, HUGE]),
        ValueError({"key": HUGE}),
        ValueError(*range(1_000_000)),
        ValueError(list(range(1_000_000))),
        KeyError(HUGE),
        KeyError(*range(1_000_000)),
        OSError(5, HUGE),
        OSError(*range(1_000_000)),
        ImportError(HUGE),
        ExceptionGroup(HUGE, [ValueError()]),
        RuntimeError(KeyError(HUGE)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_huge_messages_cost_nothing(error: Exception) -> None:
    """
    A message of gigabytes or of a million arguments is cut without being built.
    """
    text = ""

    def render() -> None:
        nonlocal text
        text = safe_str(error)

    assert peak_of(render) < 64 * 1024
    assert len(text) == LIMIT
    assert text.endswith("...[cut]")


def test_a_long_message_of_its_own_is_cut() -> None:
    """
    What a ``__str__`` returns is cut at the limit.
    """
    assert safe_str(CustomError(lambda: "abcdefghijkl"), limit=10) == "ab...[cut]"


def test_a_message_that_nests_for_ever_is_rendered() -> None:
    """
    A list that holds itself is rendered to a bounded depth.
    """
    ring: list[object] = []
    ring.append(ring)

    assert safe_str(ValueError(ring)) == "[" * 8 + "..." + "]" * 8


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("exactly 10", 10, "exactly 10"),
        ("more than ten", 10, "mo...[cut]"),
        ("more", 3, "..."),
    ],
)
def test_cut(text: str, limit: int, expected: str) -> None:
    """
    A text is at most as long as its limit, marker included.
    """
    assert cut(text, limit) == expected


def test_type_name_is_that_of_the_real_class() -> None:
    """
    A lying ``__class__`` and a metaclass with a raising ``__name__`` change nothing.
    """

    class Meta(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise AssertionError

    class LiarError(Exception, metaclass=Meta):
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise AssertionError

    assert type_name(LiarError()) == "LiarError"
    assert safe_str(type("N" * 5000, (LiarError,), {"__str__": raising(ValueError())})()).startswith("<unprintable NNN")
    assert len(type_name(type("N" * 5000, (Exception,), {})())) == 200


def test_safe_repr() -> None:
    """
    A repr is bounded, and a raising one is named as unprintable.
    """

    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    assert safe_repr({"a": [1, "b"]}) == "{'a': [1, 'b']}"
    assert safe_repr("x" * 100, limit=12) == "'xxx...[cut]"
    assert safe_repr([Broken()]) == "<unprintable list>"
    assert safe_repr(Broken()) == "<unprintable Broken>"


def test_an_error_in_an_error_is_shown_by_its_own_text():
    """
    The text of an exception that was made of another one is that one's, as bounded as its own.
    """
    assert safe_str(RuntimeError(ValueError("inner"))) == "inner"
    assert safe_str(RuntimeError(ValueError("x" * 5000)), 100) == safe_str(ValueError("x" * 5000), 100)


# -- One line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain Grüße 你好 👩\u200d💻 \u3000!", "plain Grüße 你好 👩\u200d💻 \u3000!"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("nul\x00 del\x7f c1\x9b", r"nul\x00 del\x7f c1\x9b"),
        ("bidi\u202egnp.exe\u2066", r"bidi\u202egnp.exe\u2066"),
        ("lone\ud800", r"lone\ud800"),
        ("line\u2028para\u2029", r"line\u2028para\u2029"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("tag\U000e0041", r"tag\U000e0041"),
        (r"C:\temp", r"C:\temp"),
    ],
)
def test_escape(raw: str, shown: str) -> None:
    """
    What steers a terminal, hides text or breaks a line becomes visible; the rest stays.
    """
    assert escape(raw) == shown


def test_escape_leaves_nothing_unsafe() -> None:
    """
    Any text at all comes out as one line of valid UTF-8 and JSON.
    """
    everything = "".join(map(chr, range(0x10000))) + "".join(map(chr, range(0xE0000, 0xE0100)))
    shown = escape(everything)

    assert len(shown.splitlines()) == 1
    assert json.loads(json.dumps(shown, ensure_ascii=False).encode()) == shown
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in shown)
