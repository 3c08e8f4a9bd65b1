"""
From tables to a checked document: each policy with all that it inherits, each rule, and every problem at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from resilient.declared.environment import from_environment
from resilient.declared.lineage import MOST, joined, lineages
from resilient.declared.lines import DEPTH
from resilient.declared.model import Declaration, Document, Origin, Problem, Rule, Said
from resilient.declared.patterns import problem_of
from resilient.declared.reading import Text
from resilient.declared.references import imported, looked_for_in
from resilient.declared.tables import NAME, Tables, over
from resilient.declared.vocabulary import check_together
from resilient.declared.wording import did_you_mean, dotted, type_of
from resilient.errors import PolicyError
from resilient.kinds import in_order

if TYPE_CHECKING:
    from resilient.declared.model import Table

__all__ = ["build", "examine", "of_mapping"]

_KEYS = ("import", "policies", "functions")
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def build(text: Text, environ: Mapping[str, str] = _NO_VARIABLES, below: Document | None = None) -> Document:
    """
    Return what *text* declares, checked, with what the environment changes of it.

    Args:
        text: A file's tables, or `of_mapping`'s.
        environ: Where variables like ``RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS`` are looked for.
        below: The file that a mapping is laid over: it may name the file's policies, and change them.

    Raises:
        PolicyError: With every problem at once, in the order of the lines.
    """
    document, problems = examine(text, environ, below)
    if problems:
        # A mapping has no lines, and its label is said already.
        whole = text.label if text.layer == "runtime" else None
        told = (problem._replace(where="") if problem.where == whole else problem for problem in problems)
        raise PolicyError(text.label, [str(problem) for problem in told])
    return document


def examine(
    text: Text, environ: Mapping[str, str] = _NO_VARIABLES, below: Document | None = None
) -> tuple[Document, tuple[Problem, ...]]:
    """
    Return what *text* declares as far as it can be meant, and every problem in the order of the lines.
    """
    builder = _Builder(text, {} if below is None else below.said)
    document = builder.document(environ)
    return document, tuple(sorted(builder.tables.problems, key=builder.tables.rank))


def of_mapping(mapping: Mapping[str, Any], label: str = "configure()") -> Text:
    """
    Return *mapping*, which has the shape of a file, as if it had been read; it is copied.

    Raises:
        PolicyError: It is no mapping, has keys that are no strings, or is nested too deep.
    """
    if not isinstance(mapping, Mapping):
        raise PolicyError(label, [f"must be a mapping of the shape of a file, got {type_of(mapping)}"])
    return Text(label, _copied(mapping, (), label), {}, "runtime")


def _copied(value: Any, path: tuple[str, ...], label: str) -> Any:
    if len(path) > DEPTH:
        raise PolicyError(label, [str(Problem("", dotted(path[:3]), f"is nested more than {DEPTH} deep"))])
    if isinstance(value, Mapping):
        wrong = [type_of(key) for key in value if not isinstance(key, str)]
        if wrong:
            raise PolicyError(label, [str(Problem("", dotted(path), f"keys must be strings, got {wrong[0]}"))])
        return {key: _copied(one, (*path, key), label) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(one, (*path, str(at)), label) for at, one in enumerate(value)]
    return value


class _Builder:
    """
    Puts together what the tables of one text say.

    Args:
        text: The text.
        below: What the policies of the file below it say by themselves.
    """

    def __init__(self, text: Text, below: Mapping[str, Said]) -> None:
        self.text = text
        self.tables = Tables(text)
        self.below = below
        self.said: dict[str, Said] = {}
        self.of: Mapping[str, tuple[str, ...]] = {}
        self._told: set[object] = set()

    def document(self, environ: Mapping[str, str]) -> Document:
        for key in self.text.tables:
            if key not in _KEYS:
                self.tables.wrong((key,), f"is unknown{did_you_mean(key, _KEYS)}")
        self._import()
        section = self._section("policies")
        self.tables.policies = frozenset(section) | self.below.keys()
        self.said = {name: self._policy(name, table) for name, table in section.items()}
        overrides, problems = from_environment(environ, self.said)
        self.tables.problems += problems
        for override in overrides:
            self.tables.override(self.said[override.policy], override)
        self.of = self._lineages()
        # What a mapping says of one of the file's policies is laid over that wherever the file gives it.
        policies = {name: self._declared(name, said) for name, said in self.said.items()}
        rules = [self._rule(pattern, value) for pattern, value in self._section("functions").items()]
        return Document(self.text.label, policies, tuple(rule for rule in rules if rule), self.said)

    def _import(self) -> None:
        """
        Import the modules of policies of the user's own, so that their kinds are known.
        """
        names = self.text.tables.get("import", [])
        if not isinstance(names, list):
            self.tables.wrong(("import",), f"must be an array of modules, got {type_of(names)}")
            return
        for at, name in enumerate(names):
            path = ("import", str(at))
            if not isinstance(name, str):
                self.tables.wrong(path, f"must be a module, as in 'engine.policies', got {type_of(name)}")
            elif not all(part.isidentifier() for part in name.split(".")):
                # Not what it is: a secret may have got into the wrong place.
                self.tables.wrong(path, "is no module's name, which is like 'engine.policies'")
            else:
                self._import_one(path, name)

    def _import_one(self, path: tuple[str, ...], name: str) -> None:
        try:
            with looked_for_in(self.text.folder):
                imported(name)
        except PolicyError as error:
            self.tables.wrong(path, error.problems[0])

    def _section(self, name: str) -> dict[str, Any]:
        section = self.text.tables.get(name, {})
        if isinstance(section, dict):
            return section
        self.tables.wrong((name,), f"must be a table, got {type_of(section)}")
        return {}

    def _policy(self, name: str, table: object) -> Said:
        path = ("policies", name)
        if not name.strip():
            self.tables.wrong(path, "must have a name that is not empty")
        if isinstance(table, dict):
            return self.tables.table(path, table)
        self.tables.wrong(path, f"must be a table, got {type_of(table)}")
        return Said({}, {})

    def _lineages(self) -> Mapping[str, tuple[str, ...]]:
        nothing = Said({}, {})
        extends = {
            name: (*self.below.get(name, nothing).extends, *self.said.get(name, nothing).extends)
            for name in {**self.below, **self.said}
        }
        found = lineages(extends)
        for circle in found.circles:
            way = " -> ".join("..." if one == "..." else dotted([one]) for one in circle)
            self.tables.wrong(("policies", circle[0], "extends"), f"leads back to itself: {way}; take one of these out")
        for name in found.long:
            self.tables.wrong(("policies", name, "extends"), f"makes it of more than {MOST} policies; extend fewer")
        return found.of

    def _rule(self, pattern: str, value: object) -> Rule | None:
        path = ("functions", pattern)
        problem = problem_of(pattern)
        if problem:
            self.tables.wrong(path, problem)
        if isinstance(value, dict):
            own = self.tables.table(path, value)
        elif isinstance(value, str):
            own = Said({}, {}, self.tables.names(path, [value]))
        else:
            self.tables.wrong(path, f"must be {NAME}, or a table of the kinds of policies, got {type_of(value)}")
            return None
        names = joined(pattern, [self.of[one] for one in own.extends])[1:]
        declaration = self._merged(own, names, path, names)
        return None if problem else Rule(pattern, declaration, Origin(self.text.layer, self.tables.where(path)))

    def _declared(self, name: str, said: Said) -> Declaration:
        """
        Return what the text says of the policy *name*, with all that it lets it extend.
        """
        rest = joined(name, [self.of[one] for one in said.extends])[1:]
        if name in self.below:
            # It may be half of something: together with what is below it has to make sense.
            self._merged(said, (name, *rest), ("policies", name), (name, *rest))
            return self._merged(said, rest, None, (name, *rest))
        return self._merged(said, rest, ("policies", name), (name, *rest))

    def _merged(
        self, own: Said, rest: tuple[str, ...], path: tuple[str, ...] | None, names: tuple[str, ...]
    ) -> Declaration:
        """
        Return what *own* says over what the policies *rest* do, the nearest first.

        Args:
            own: What is nearest of all.
            rest: Names of policies.
            path: Where it stands; None: whether it makes sense is looked at elsewhere.
            names: The policies that it is made of, for people.
        """
        below = [self.below[one] for one in rest if one in self.below]
        chain = [own, *(self.said[one] for one in rest if one in self.said)]
        kinds: dict[str, Table | None] = {}
        _lay(kinds, below)
        _lay(kinds, chain)
        for kind, table in kinds.items():
            if table is not None and path is not None:
                self._together(kind, table, path)
        order = next((said.order for said in (*chain, *below) if said.order is not None), None)
        return Declaration({kind: kinds[kind] for kind in in_order() if kind in kinds}, order, names)

    def _together(self, kind: str, table: Table, path: tuple[str, ...]) -> None:
        for key, sentence in check_together(kind, {name: value.raw for name, value in table.items()}):
            value = table.get(key)
            # Once: what is wrong with a policy is wrong with all that extend it.
            once = (kind, sentence, frozenset(map(id, [value] if value else table.values())) or path)
            if once not in self._told:
                self._told.add(once)
                where = value.origin.where if value else self.tables.where((*path, kind))
                self.tables.wrong((*path, kind), sentence, where=where, key=key)


def _lay(kinds: dict[str, Table | None], chain: list[Said]) -> None:
    """
    Lay what *chain* says, the nearest first, over *kinds*.
    """
    above: dict[str, Table | None] = {}
    for said in reversed(chain):
        for kind, table in said.kinds.items():
            kinds[kind] = over(kind, kinds.get(kind), table)
            if table is None:
                # A kind that is removed is not inherited, whatever was to change in it.
                above.pop(kind, None)
        for kind, table in said.above.items():
            above[kind] = over(kind, above.get(kind), table)
    for kind, table in above.items():
        kinds[kind] = over(kind, kinds.get(kind), table)
