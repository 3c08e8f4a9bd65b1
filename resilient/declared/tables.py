"""
One table of policies: what it says by itself, and what is wrong with it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resilient.declared.model import Origin, Problem, Said, Value
from resilient.declared.vocabulary import as_table, check, expected, merge
from resilient.declared.wording import did_you_mean, dotted, type_of
from resilient.kinds import in_order
from resilient.text import cut, escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.declared.environment import Override
    from resilient.declared.model import Table
    from resilient.declared.reading import Text

__all__ = ["NAME", "Tables", "over"]

_HELPED = 1_000

NAME = "the name of a policy"
"""What is expected, in problems."""


class Tables:
    """
    Reads the tables of one text, and keeps what is wrong with them.

    Args:
        text: Where they are from.
    """

    def __init__(self, text: Text) -> None:
        self.text = text
        self.problems: list[Problem] = []
        self.policies: frozenset[str] = frozenset()  # the names of those that there are

    # -- Places -----------------------------------------------------------------

    @functools.cached_property
    def _lines(self) -> dict[str, int]:
        # Joined, as the vocabulary gives its key paths. Two paths may look the
        # same so; then one of them has the other's line.
        return {".".join(path): line for path, line in reversed(list(self.text.lines.items()))}

    def where(self, path: tuple[str, ...], key: str = "") -> str:
        """
        Return the place of *path*, or of the *key* within it, or of the nearest thing around it.
        """
        at = ".".join((*path, key) if key else path)
        while at:
            if at in self._lines:
                return f"{self.text.label}:{self._lines[at]}"
            at = at.rpartition(".")[0]
        return self.text.label

    def rank(self, problem: Problem) -> int:
        """
        Return where *problem* stands among the others; what has no line is last.
        """
        label, _, line = problem.where.rpartition(":")
        return int(line) if label == self.text.label and line.isdigit() else 1 << 60

    def wrong(self, path: tuple[str, ...], sentence: str, *, where: str = "", key: str = "") -> None:
        """
        Note a problem with *path*, or with the *key* within it.
        """
        shown = ".".join(part for part in (dotted(path), escape(cut(key, 200))) if part)
        self.problems.append(Problem(where or self.where(path, key), shown, sentence))

    # -- What a table says ------------------------------------------------------

    def table(self, path: tuple[str, ...], table: dict[str, Any]) -> Said:
        """
        Return what *table*, which stands at *path*, says.
        """
        keys = (*in_order(), "extends", "order")
        for key in table:
            if key not in keys:
                close = did_you_mean(key, keys)
                own = "" if "did you mean" in close else '; of your own, name the module: import = ["module"]'
                self.wrong((*path, key), f"is unknown{close}{own}")
        said = Said({}, {}, self._extends(path, table), self._order(path, table))
        for kind in in_order():
            if kind in table:
                where = functools.partial(self.where, (*path, kind))
                self._kind(said.kinds, (*path, kind), table[kind], self.text.layer, where)
        return said

    def _extends(self, path: tuple[str, ...], table: dict[str, Any]) -> tuple[str, ...]:
        value = table.get("extends", [])
        if isinstance(value, str):
            return self.names((*path, "extends"), [value])
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return self.names((*path, "extends"), value, numbered=True)
        wrong = next((one for one in value if not isinstance(one, str)), None) if isinstance(value, list) else value
        self.wrong((*path, "extends"), f"must be {NAME}, or an array of such names, got {type_of(wrong)}")
        return ()

    def names(self, path: tuple[str, ...], names: list[str], *, numbered: bool = False) -> tuple[str, ...]:
        """
        Return those of *names* that policies have.
        """
        for at, name in enumerate(names):
            if name not in self.policies:
                place = (*path, str(at)) if numbered else path
                # Comparing takes time, and nobody reads that many.
                close = did_you_mean(name, self.policies) if len(self.problems) < _HELPED else ""
                self.wrong(place, f"there is no policy of this name{close}")
        return tuple(dict.fromkeys(name for name in names if name in self.policies))

    def _order(self, path: tuple[str, ...], table: dict[str, Any]) -> tuple[str, ...] | None:
        value = table.get("order")
        if value is None:
            return None
        path = (*path, "order")
        if not isinstance(value, list):
            self.wrong(path, f"must be an array of kinds, outermost first, got {type_of(value)}")
            return None
        seen: dict[str, None] = {}  # in order
        for at, one in enumerate(value):
            if not isinstance(one, str):
                self.wrong((*path, str(at)), f"must be a kind of policy, got {type_of(one)}")
            elif one not in in_order():
                self.wrong((*path, str(at)), f"is no kind of policy{did_you_mean(one, in_order())}")
            elif one in seen:
                self.wrong((*path, str(at)), f"{one} is there already; a function has each kind once")
            else:
                seen[one] = None
        return tuple(seen)

    def _kind(
        self,
        kinds: dict[str, Table | None],
        path: tuple[str, ...],
        raw: Any,
        layer: str,
        where: Callable[[str], str],
    ) -> None:
        kind = path[-1]
        if raw is False:
            kinds[kind] = None
            return
        table = as_table(kind, raw)
        if table is None:
            self.wrong(path, f"must be {expected(kind)}, got {type_of(raw)}", where=where(""))
            return
        for key, sentence in check(kind, table):
            # What stands in the file as a value has become a table's only key.
            shown = key if isinstance(raw, Mapping) else key.removeprefix(next(iter(table), "")).removeprefix(".")
            self.wrong(path, sentence, where=where(shown), key=shown)
        kinds[kind] = {name: Value(value, Origin(layer, where(name))) for name, value in table.items()}

    def override(self, said: Said, override: Override) -> None:
        """
        Put what a variable says above what *said* says.
        """
        raw = {override.option: override.raw} if override.option else override.raw
        variable = escape(override.variable)
        new: dict[str, Table | None] = {}
        self._kind(new, ("policies", override.policy, override.kind), raw, "environment", lambda _: variable)
        for kind, table in new.items():
            said.above[kind] = over(kind, said.above.get(kind), table)


def over(kind: str, below: Table | None, table: Table | None) -> Table | None:
    """
    Return the options of *table* over those *below*; None removes the kind.
    """
    return None if table is None else merge(kind, below or {}, table)
