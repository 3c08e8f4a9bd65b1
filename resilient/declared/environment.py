"""
Options from the environment: ``RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS=5``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from resilient.declared.model import Problem
from resilient.declared.reading import BrokenError, parse
from resilient.declared.wording import did_you_mean, dotted
from resilient.kinds import in_order
from resilient.text import compiled, escape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["PREFIX", "Override", "from_environment"]

PREFIX = "RESILIENT_POLICIES"
"""What the names of all such variables begin with."""

_FORM = f"must be {PREFIX}__<policy>__<kind>, or that with __<option> behind it"


class Override(NamedTuple):
    """
    What one variable says.

    Attributes:
        variable: Its name.
        policy: The policy, as the file calls it.
        kind: The kind of policy.
        option: The option in lower case; empty where the variable is about the whole kind.
        raw: The value.
    """

    variable: str
    policy: str
    kind: str
    option: str
    raw: Any


def from_environment(environ: Mapping[str, str], policies: Collection[str]) -> tuple[list[Override], list[Problem]]:
    """
    Return what the variables say, and what is wrong with their names.

    Names are compared without case, all but letters and digits as ``_``. A value is read as TOML; what is none is
    a text, so that ``500ms`` needs no quotes.

    Args:
        environ: The environment.
        policies: The names of the policies that there are.

    Returns:
        The overrides, those of whole kinds before those of single options, and the problems, by variable.
    """
    known: dict[str, list[str]] = {}
    for policy in policies:
        known.setdefault(_as_variable(policy), []).append(policy)
    overrides: dict[tuple[str, str, str], Override] = {}
    problems: list[Problem] = []
    for variable in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        try:
            policy, kind, option = _target(variable, known)
            other = overrides.setdefault(
                (policy, kind, option), Override(variable, policy, kind, option, _value(environ[variable]))
            )
            if other.variable != variable:
                _fail(f"says what {escape(other.variable)} says too; unset one of them")
        except _NameError as error:
            problems.append(Problem(escape(variable), "", error.problem))
    return sorted(overrides.values(), key=lambda one: bool(one.option)), problems


class _NameError(ValueError):
    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def _fail(problem: str) -> NoReturn:
    raise _NameError(problem)


def _target(variable: str, known: Mapping[str, list[str]]) -> tuple[str, str, str]:
    name = variable.upper()[len(PREFIX) :]
    if not name.startswith("__"):
        _fail(_FORM)
    name = name[2:]
    # The longest first: a policy's name may itself have two underscores.
    found = max((one for one in known if name.startswith(f"{one}__")), key=len, default="")
    if not found:
        word, _, rest = name.partition("__")
        close = did_you_mean(word, [one for names in known.values() for one in names])
        _fail(f"names no policy{close}" if word and rest else _FORM)
    if len(known[found]) > 1:
        listed = " and ".join(dotted([one]) for one in known[found])
        _fail(f"may mean {listed}; rename one of these policies")
    policy = known[found][0]
    kind, separator, option = name[len(found) + 2 :].lower().partition("__")
    if kind not in in_order():
        _fail(f"names no kind of policy{did_you_mean(kind, in_order())}")
    if bool(separator) != bool(option):
        _fail(_FORM)
    if "__" in option:
        whole, _, _ = option.partition("__")
        _fail(f"goes deeper than an option; give {dotted([whole])} its whole value, such as '{{ minimum = 8 }}'")
    return policy, kind, option


def _as_variable(policy: str) -> str:
    return compiled(r"[^A-Z0-9]").sub("_", policy.upper())


def _value(text: str) -> Any:
    try:
        tables, _ = parse(f"value = {text}")
    except BrokenError:
        return text
    return tables["value"] if len(tables) == 1 else text
