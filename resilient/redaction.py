"""
Text from strangers, without secrets.

What people and logs get to see is redacted and escaped (`readable`), on reading
and not on recording: most errors are never looked at.

Redaction is by shape and by key name. It rather hides a harmless word than
shows a secret, but it cannot know a secret that looks like nothing; patterns
of your own cover those (`hide`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resilient.text import compiled, cut, escape, safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["REDACTED", "hide", "readable", "redact"]

REDACTED = "[redacted]"
"""What stands in the place of a secret."""

# Each pattern is linear: runs are possessive or end at a character they cannot
# contain, and what may stand between two parts is bounded.

# Secrets that are known by their looks alone.
_SHAPES = r"""(?x)
      -----BEGIN\ [A-Z ]{0,40}PRIVATE\ KEY-----(?s:.)*?(?:-----END\ [A-Z ]{0,40}-----|\Z)
    | (?<![A-Za-z0-9])(?:
        sk-[\w-]{6,}+
      | [prs]k_(?:live|test)_[\w-]++
      | hf_(?:(?=[a-z]*+[A-Z0-9])[A-Za-z0-9]{6,}+|[a-z]{14,}+)
      | gh[oprsu]_[\w-]{6,}+
      | github_pat_[\w-]{6,}+
      | glpat-[\w-]{6,}+
      | xox[abeoprs]-[\w-]{6,}+
      | A[KS]IA[A-Z0-9]{8,}+
      | AIza[\w-]{16,}+
      | eyJ[\w-]{6,}+(?:\.[\w-]*+){0,4}
      )
"""

# scheme://user:password@host
_USERINFO = r"(?<=://)[^\s/?#]*@"

# The schemes of an Authorization header, wherever they stand. "basic" is a word
# too: what follows it has to look encoded.
_SCHEMES = r"""(?x)
    (?<![A-Za-z0-9])
    (?: ((?i:bearer)\s{1,8}) (?!(?i:tokens?|auth\w*+|scheme|header)\b|\[redacted\]) [^\s,;"'<>]++
      | ((?i:basic)\s{1,8}) (?=[a-z]*+[A-Z0-9=+/]) [A-Za-z0-9+/=_.-]{4,}+ )
"""

# Headers whose whole line is secret.
_HEADERS = r"""(?i)(\b(?:cookie|set-cookie|authorization)\s{0,8}:\s{0,8})(?![\s"'\[({])[^\r\n]++"""

_KEY = r"""
    (?: (?: pass(?:word|wd|phrase|code) | pwd | secret | credential | cookie )s?
      | (?: api | access | private | secret | signing | encryption | account ) [_-]? key
      | token | authorization | session | signature
      | (?<=[?&]) (?: key | sig | code | auth | pass )
    )
    (?: [_-]? (?: id | key | value | data | hash | token | \d{1,4} ) )?
"""
_KEYED = rf"""(?xis)
    ( {_KEY} (?:\\{{0,8}}["'])? \]? \s{{0,8}} (?: => | [:=] ) \s{{0,8}} )
    (?! (?: none | null | true | false ) (?: [\s,;&)\]}}] | \Z ) )
    (?: (?: [bfru]{{0,2}} (?P<open> (\\{{0,8}}) ["'] ) (?: (?!(?P=open)) (?: \\. | . ) )*+ (?P<close> (?P=open) | \Z ) )
      | [\[({{] [^\])}}]*+ [\])}}]? [^\s&,;]*+
      | (?: (?: bearer | basic | digest | negotiate | token ) \s{{1,8}} )?
        (?P<bare> (?: [^\s&,;] | [,;] (?! \s{{0,8}} ["']? [a-z_][\w.-]{{0,40}} ["']? \s{{0,8}} [:=] ) )++ )
    )
"""
_CLOSERS = ",;.)]}>\"'"


# What `hide` was given; replaced whole, never changed.
_hidden: tuple[str | re.Pattern[str], ...] = ()


def hide(*patterns: str | re.Pattern[str]) -> Callable[[], None]:
    """
    Hide *patterns* too, in everything in this process that is redacted, and return how to stop that.

    Args:
        patterns: Substrings as they are, or compiled expressions; those see
            2,048 characters at most.

    Raises:
        TypeError: A pattern is neither a text with something in it nor a compiled expression.
    """
    given: tuple[object, ...] = patterns
    for pattern in given:
        if not isinstance(pattern, str | re.Pattern) or pattern == "":
            msg = f"hide() takes texts that are not empty, or compiled expressions, got {safe_repr(pattern, 80)}"
            raise TypeError(msg)
    _set_hidden((*_hidden, *patterns))

    def stop() -> None:
        _set_hidden(tuple(one for one in _hidden if not any(one is mine for mine in patterns)))

    return stop


def _set_hidden(patterns: tuple[str | re.Pattern[str], ...]) -> None:
    global _hidden  # noqa: PLW0603 - a secret is one wherever it turns up
    _hidden = patterns


def redact(text: str, patterns: Iterable[str | re.Pattern[str]] = ()) -> str:
    """
    Return *text* with what looks like a secret replaced by ``[redacted]``.

    Args:
        text: Any text. Where *patterns* has compiled ones, it is cut at 2,048
            characters first, which bounds what a bad expression can cost.
        patterns: More to hide: substrings as they are, or compiled expressions.
    """
    for pattern in (*_hidden, *patterns):
        if isinstance(pattern, str):
            text = text.replace(pattern, REDACTED) if pattern else text
        else:
            text = pattern.sub(REDACTED, cut(text))
    text = compiled(_SHAPES).sub(REDACTED, text)
    text = compiled(_USERINFO).sub(f"{REDACTED}@", text)
    text = compiled(_HEADERS).sub(rf"\1{REDACTED}", text)
    text = compiled(_KEYED).sub(_hide_value, text)
    return compiled(_SCHEMES).sub(lambda match: f"{match[1] or match[2]}{REDACTED}", text)


def _hide_value(match: re.Match[str]) -> str:
    if match["open"] is not None:
        return f"{match[1]}{match['open']}{REDACTED}{match['close']}"
    bare = match["bare"] or ""
    return f"{match[1]}{REDACTED}{bare[len(bare.rstrip(_CLOSERS)) :]}"


def readable(text: str) -> str:
    """
    Return *text* as people and logs get it: redacted, then escaped.
    """
    return escape(redact(text))
