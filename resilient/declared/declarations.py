"""
What is declared for a registry: a file's document and a mapping's, and what they mean for each function.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from resilient.declared.effective import Effective, best, effective, fitted, made, spellings
from resilient.declared.patterns import Patterns
from resilient.declared.references import parse, program_name
from resilient.declared.vocabulary import references_in
from resilient.errors import PolicyError
from resilient.policies.base import Plan, Raised
from resilient.policies.policy import Policy
from resilient.specs import DegradeSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resilient.declared.model import Document
    from resilient.declared.reading import Text
    from resilient.operation import Operation
    from resilient.policies.spec import Spec
    from resilient.resilience import Resilience

__all__ = ["Declarations", "Deferred", "Refusal"]


class Refusal(NamedTuple):
    """
    Why a file is not in force.

    Attributes:
        label: The file.
        problems: What is wrong with it.
    """

    label: str
    problems: tuple[str, ...]


class Declarations:
    """
    What is declared for a registry. Never changed: a reload makes another one.

    Args:
        file: What the file says, the environment included; None: no file.
        runtime: What `configure` was given last; None: nothing.
        mapping: That mapping: over another file it means something else.
    """

    __slots__ = ("_made", "documents", "file", "mapping", "runtime")

    def __init__(
        self, file: Document | None = None, runtime: Document | None = None, mapping: Text | None = None
    ) -> None:
        self.file: Document | None = file
        self.runtime: Document | None = runtime
        self.mapping: Text | None = mapping
        layers = (("file", file), ("runtime", runtime))
        self.documents: tuple[tuple[Patterns, Document, str], ...] = tuple(
            (Patterns(document.rules), document, layer) for layer, document in layers if document is not None
        )
        # What the same rules mean for functions that nobody has decorated, by the rules.
        self._made: dict[tuple[int, ...], tuple[Spec, ...]] = {}

    def __repr__(self) -> str:
        told = ", ".join(f"{document.label}: {len(document.rules)} rules" for _, document, _ in self.documents)
        return f"<Declarations {told or 'of nothing'}>"

    def effective(self, name: str, decorated: Sequence[Spec] = ()) -> Effective:
        """
        Return what is in force on the function *name*, whose decorators have left *decorated*, outermost first.
        """
        return effective(name, decorated, self.documents)

    def governs(self, name: str) -> bool:
        """
        Tell whether a rule matches the function *name*.
        """
        names = spellings(name)
        return any(best(patterns, names) is not None for patterns, _, _ in self.documents)

    def specs_for(self, function: Resilience[..., Any]) -> tuple[Spec, ...]:
        """
        Return the specs that are to be in force on *function*, outermost first; references are followed.

        Raises:
            PolicyError: With everything that cannot be meant for it.
        """
        fn: Any = function.pipeline.fn
        specs = self._specs(function.name, function.specs)
        specs = specs if specs is function.specs else fitted(specs, function.specs, fn)
        problems: list[str] = []
        for spec in specs:
            # A degradation is checked when it is bound, and reading signatures takes time.
            if not isinstance(spec, DegradeSpec) and not any(spec is one for one in function.specs):
                try:
                    spec.check(fn, function.name, is_async=function.is_async)
                except PolicyError as error:
                    problems += [f"{error.where}: {problem}" for problem in error.problems] or [str(error)]
        if problems:
            raise PolicyError(_where(function.name), problems)
        return specs

    def _specs(self, name: str, decorated: tuple[Spec, ...]) -> tuple[Spec, ...]:
        names = spellings(name)
        rules = tuple(best(patterns, names) for patterns, _, _ in self.documents)
        if not any(rules):
            return decorated
        if decorated:
            return made(self.effective(name, decorated), decorated, _where(name))
        # Their rules live as long as this object, and so do their ids.
        key = tuple(map(id, rules))
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = made(self.effective(name), (), _where(name))
        return found

    def follow_again(self) -> None:
        """
        Forget where references have led to: it changes when a function is woven.
        """
        self._made = {}

    # -- what a function that is being decorated asks for ----------------------------------

    def specs_when_decorated(self, function: Resilience[..., Any]) -> tuple[Spec, ...] | None:
        """
        Do what `specs_for` does, while the function's module may still be under way.

        Returns:
            None where something that is referred to is not there yet: see `Deferred`.
        """
        try:
            return self.specs_for(function)
        except PolicyError:
            if not _under_way(function.name.partition(":")[0]):
                raise
            return None

    def awaited(self, name: str) -> str | None:
        """
        Return the module, if any, that the function *name* of another one refers to, and that is still being imported.

        A reference into a package's module may need what the package itself is about to define.
        """
        home = name.partition(":")[0]
        for kind, table in self.effective(name).tables.items():
            for _, reference in references_in(kind, {option: value.raw for option, value in table.items()}):
                module = parse(reference)[0]
                if module in {"__main__", program_name()}:
                    return "__main__"
                parts = [] if module == home else module.split(".")
                found = (".".join(parts[: end + 1]) for end in range(len(parts)))
                under_way = next((one for one in found if one != home and _under_way(one)), None)
                if under_way is not None:
                    return under_way
        return None

    @staticmethod
    def deferred(function: Resilience[..., Any]) -> Deferred:
        """
        Return what stands for the policies of *function* until its first call.
        """
        return Deferred(function)

    def put_on(self, function: Resilience[..., Any]) -> None:
        """
        Put what is declared by now in force on *function*, if it is not.

        Raises:
            PolicyError: It cannot be meant for it; nothing has changed.
        """
        from resilient.declared.rebinding import catch_up

        catch_up(function.registry, [function])


def _where(name: str) -> str:
    return f"policies of {name}"


def _under_way(module: str) -> bool:
    """
    Tell whether *module* is still being imported, or may be: nobody knows when the main program is complete.
    """
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return module == "__main__" or bool(getattr(spec, "_initializing", False))


class Deferred(Policy):
    """
    Stands for policies whose references are followed at the first call, for their module was still being imported.

    Args:
        function: Whose policies they are.
    """

    __slots__ = ("function",)

    kind = "declared"
    every_call = True

    def __init__(self, function: Resilience[..., Any]) -> None:
        self.function: Resilience[..., Any] = function

    def __repr__(self) -> str:
        return "@declared, at the first call"

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:  # noqa: ARG002 - a policy's signature
        """
        Put the policies in force, and go on under them.
        """
        from resilient.gates import planned

        function = self.function
        try:
            function.follow()
            if function.policies[:1] == (self,):
                # It is not there even now. That is to be told, and not to be waited for once more.
                function.registry.declarations.specs_for(function)  # type: ignore[union-attr]  # it has come from there
        except PolicyError as error:
            return Raised(error)
        op.policies = function.policies
        return (yield from planned(op, args, kwargs))
