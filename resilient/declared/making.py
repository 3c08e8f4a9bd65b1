"""
What a value of a file stands for: references are followed, and objects made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from resilient.declared.forms import Form, form, got
from resilient.declared.references import resolve
from resilient.errors import PolicyError
from resilient.text import type_name

if TYPE_CHECKING:
    from resilient.policies.options import Option

__all__ = ["followed", "made"]


def made(option: Option, value: object) -> Any:
    """
    Return what *value* means to *option*, in its normal form: references are followed, objects made.

    Raises:
        ValueError: It cannot be meant; a `PolicyError` where a reference leads nowhere.
    """
    shape = form(option)
    if shape.objects and value is not None:
        several = shape.several and isinstance(value, list | tuple)
        objects = [thing for one in (value if several else [value]) for thing in _objects(shape, one)]  # type: ignore[attr-defined]
        value = objects if shape.several else objects[0]
    try:
        return option.check(value)
    except ValueError as error:
        found = value[0] if isinstance(value, list) and len(value) == 1 else value
        msg = f"{error}, {got(found)}"
        raise ValueError(msg) from None


def _objects(shape: Form, value: object) -> Iterator[object]:
    if isinstance(value, str) and value in shape.words:
        yield value
        return
    found = followed(value)
    if shape.several and isinstance(found, list | tuple | set | frozenset):
        # What is named may be several itself, as a tuple of exception types is.
        yield from found
        return
    if not shape.words and isinstance(found, type) and found.__module__ != "builtins":
        msg = f"must be an object, and {found.__name__} is a class; write {{ call = ... }} to make one of it"
        raise ValueError(msg)
    yield found


def followed(value: object) -> Any:
    """
    Return what a reference names, or what a ``{ call = ... }`` table makes; any other value is itself.

    Raises:
        PolicyError: A reference leads nowhere, or the call fails.
    """
    if isinstance(value, str):
        return resolve(value)
    if not isinstance(value, Mapping):
        return value
    maker = resolve(value["call"])
    where = f"calling {value['call']!r}"
    if not callable(maker):
        raise PolicyError(where, [f"it must be callable, {got(maker)}"])
    try:
        return maker(*value.get("args", ()), **(value.get("kwargs") or {}))
    except Exception as error:
        raise PolicyError(where, [f"it raised {type_name(error)}; look at args and kwargs"]) from error
