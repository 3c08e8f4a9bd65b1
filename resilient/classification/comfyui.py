"""
What a ComfyUI server says of a workflow: refused, failed in a node, or interrupted.
"""

from __future__ import annotations

import builtins
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, cast

from resilient.classification.attributes import as_dict, dotted_names
from resilient.classification.rules import (
    CLASSES,
    FIRST_CLASSES,
    INTERRUPTED,
    PROMPT_REFUSED,
    PROMPT_WITHOUT_MODEL,
    TEXTS,
    UNKNOWN,
)
from resilient.text import LIMIT, cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from resilient.classification.rules import Classification

__all__ = ["read_message", "read_payload"]

_JSON_LIMIT = 1 << 20  # characters; longer bodies are not parsed
_ITEMS = 32  # nodes, and errors of a node, that are looked at
_HINT_LIMIT = 300

# What a text has to hold to be worth parsing.
_MARKS = ("node_errors", "prompt_no_outputs", "execution_error", "execution_interrupted")
_PROMPT_ERRORS = frozenset({"invalid_prompt", "no_prompt", "prompt_no_outputs", "prompt_outputs_failed_validation"})
_MODEL_FILES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".engine")
_MODEL_INPUTS = frozenset(
    f"{kind}_name" for kind in ("clip", "ckpt", "control_net", "lora", "model", "style_model", "unet", "vae")
)


def read_payload(payload: object) -> Classification | None:
    """
    Return what *payload* says, None where it is nothing of ComfyUI's.

    Args:
        payload: A decoded message or response body, or its JSON text.
    """
    if isinstance(payload, str | bytes | bytearray):
        payload = _decoded(payload)
    message = as_dict(payload)
    kind = message.get("type")
    data = as_dict(message.get("data")) or message
    if kind == "execution_interrupted":
        return replace(INTERRUPTED, hint=_at_node(data.get("node_id"), data.get("node_type"), INTERRUPTED.hint))
    if kind == "execution_error" or ("exception_type" in data and "node_id" in data):
        return _failed(data)
    return _refused(message)


def read_message(args: tuple[object, ...]) -> Classification | None:
    """
    Return what an exception's arguments say: a payload, or a message's name and its data.
    """
    first = args[0]
    if len(args) == 2 and isinstance(first, str) and first.startswith("execution_"):  # noqa: PLR2004 - a pair
        return read_payload({"type": first, "data": args[1]})
    return read_payload(first)


def _decoded(text: str | bytes | bytearray) -> object:
    if len(text) > _JSON_LIMIT:
        return None
    if text[:64].lstrip()[:1] not in ("{", b"{"):
        return None
    if not isinstance(text, str):
        text = text.decode("utf-8", "replace")
    if not any(mark in text for mark in _MARKS):
        return None
    import json  # few programs ever get here

    try:
        decoded: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return decoded


def _failed(data: Mapping[str, object]) -> Classification:
    """
    Return the classification of the exception that a node raised.
    """
    name, message = data.get("exception_type"), data.get("exception_message")
    found = _by_text(message) or _by_class(name) or UNKNOWN
    what = f"{_short(name)}: {_short(message)}" if found.hint is None else found.hint
    return replace(
        found,
        rule=f"comfyui:execution_error:{found.rule}",
        hint=_at_node(data.get("node_id"), data.get("node_type"), what),
    )


def _by_text(message: object) -> Classification | None:
    if not isinstance(message, str):
        return None
    head = message[:LIMIT]
    return next((found for text, found in TEXTS if text in head), None)


def _by_class(name: object) -> Classification | None:
    if not isinstance(name, str):
        return None
    # The server names built-in classes bare; their bases are known here.
    known = getattr(builtins, name, None)
    if isinstance(known, type):
        return next((CLASSES[key] for base in known.__mro__ for key in dotted_names(base)[:1] if key in CLASSES), None)
    key = f"{name.partition('.')[0]}.{name.rpartition('.')[2]}"
    return FIRST_CLASSES.get(key) or CLASSES.get(key)


def _refused(payload: Mapping[str, object]) -> Classification | None:
    """
    Return the classification of a refusal of ``POST /prompt``.
    """
    error, nodes = as_dict(payload.get("error")), payload.get("node_errors")
    kind = error.get("type")
    if nodes is None and kind not in _PROMPT_ERRORS:
        return None
    first = None
    for node, class_type, problem in _problems(nodes):
        hint = _at_node(node, class_type, problem.get("details") or problem.get("message"))
        if problem.get("type") == "value_not_in_list" and _is_model_input(as_dict(problem.get("extra_info"))):
            return replace(PROMPT_WITHOUT_MODEL, hint=hint)
        first = first or hint
    if first is None and error:
        first = _short(error.get("message") or kind)
    return replace(PROMPT_REFUSED, hint=first)


def _problems(nodes: object) -> Iterator[tuple[object, object, Mapping[str, object]]]:
    """
    Yield each problem of each node: node id, class, and what the server says.
    """
    for node, entry in islice(as_dict(nodes).items(), _ITEMS):
        report = as_dict(entry)
        errors = report.get("errors")
        for problem in cast("list[object]", errors)[:_ITEMS] if isinstance(errors, list) else ():
            yield node, report.get("class_type"), as_dict(problem)


def _is_model_input(extra: Mapping[str, object]) -> bool:
    name, value = extra.get("input_name"), extra.get("received_value")
    by_name = isinstance(name, str) and name.rstrip("0123456789") in _MODEL_INPUTS
    return by_name or (isinstance(value, str) and value.lower().endswith(_MODEL_FILES))


def _at_node(node: object, class_type: object, what: object) -> str:
    return f"node {_short(node)} ({_short(class_type)}): {_short(what)}"


def _short(value: object) -> str:
    if isinstance(value, str):
        return cut(value, _HINT_LIMIT)
    return str(value) if isinstance(value, int) else "?"
