"""
What a declaration is, from the text of a file to what is in force: the data that all of this package shares.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LAYERS", "Declaration", "Document", "Origin", "Problem", "Rule", "Said", "Table", "Value"]

LAYERS = ("default", "decorator", "file", "environment", "runtime")
"""Where a value may come from; a later one wins."""


class Origin(NamedTuple):
    """
    Where a value comes from.

    Attributes:
        layer: One of `LAYERS`.
        where: The place, for people: ``resilient.toml:12``, the name of a variable, ``@retry``, ``configure()``.
    """

    layer: str
    where: str = ""


class Value(NamedTuple):
    """
    A value as it was written, and where.

    Attributes:
        raw: As the file has it: a reference is still a text, a duration still ``"500ms"``. In the layer of
            decorators it is the checked value.
        origin: Where it was written.
    """

    raw: Any
    origin: Origin


# The options of one policy of one kind, by name.
Table: TypeAlias = "Mapping[str, Value]"


class Problem(NamedTuple):
    """
    Something that cannot be meant, or that is worth a second look.

    Attributes:
        where: The place: ``resilient.toml:12``, the name of a variable, ``configure()``.
        key: The key's path, as in ``policies.gpu.retry.max_attempts``; empty for a file as a whole.
        text: What was expected, what type came - never a text's contents, which may be a secret - and a remedy.
    """

    where: str
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class Declaration(NamedTuple):
    """
    What one table says, all that it extends included.

    Attributes:
        kinds: The options by kind; None where the kind is removed (``retry = false``).
        order: The kinds, outermost first, where the table gives them.
        names: The policies that it is made of, the nearest first; for people.
    """

    kinds: Mapping[str, Table | None]
    order: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()


class Said(NamedTuple):
    """
    What one table says by itself.

    Attributes:
        kinds: Its options by kind; None: removed.
        above: What the environment says of it, which wins over the file wherever the table is inherited.
        extends: Names of policies that there are.
        order: The order that it gives.
    """

    kinds: dict[str, Table | None]
    above: dict[str, Table | None]
    extends: tuple[str, ...] = ()
    order: tuple[str, ...] | None = None


class Rule(NamedTuple):
    """
    One line of ``[functions]``.

    Attributes:
        pattern: ``module:qualname``, ``*`` crosses dots.
        declaration: What the functions get that match it.
        origin: Where it stands.
    """

    pattern: str
    declaration: Declaration
    origin: Origin


class Document(NamedTuple):
    """
    A checked file, or a checked mapping of its shape.

    Attributes:
        label: The file's path, or ``configure()``.
        policies: By name.
        rules: In the file's order.
        said: What each policy says by itself, by name: what a mapping for `configure` is understood over.
    """

    label: str
    policies: Mapping[str, Declaration]
    rules: tuple[Rule, ...]
    said: Mapping[str, Said] = MappingProxyType({})
