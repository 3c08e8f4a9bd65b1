"""
The options of a policy, and what its decorator leaves of them: a spec that compares, pickles and can be declared.
"""

from __future__ import annotations

import pickle
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from resilient.errors import PolicyError
from resilient.governing import governed
from resilient.policies.options import UNSET, same
from resilient.policies.spec import PolicySpec
from resilient.reading import checked
from resilient.registry import Registry
from resilient.testing.battery.check import promise
from resilient.text import safe_repr, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.policies.options import Option, OptionTable
    from resilient.policies.policy import Policy
    from resilient.policies.spec import Spec
    from resilient.testing.battery.trial import Trial

__all__ = ["CHECKS"]


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """
    Do nothing.
    """


def _spec(trial: Trial) -> Spec:
    spec: Spec = trial.function(_nothing).resilience.specs[0]
    return spec


def _policy(trial: Trial) -> Policy:
    policy: Policy = trial.function(_nothing).resilience.policies[0]
    return policy


def _table(trial: Trial) -> OptionTable:
    return _policy(trial).table


@promise("every option has a help text", "any")
def options_have_help(trial: Trial) -> None:
    """
    Read the table.
    """
    for option in _table(trial).options.values():
        if not option.help.strip():
            trial.broken(f"{option.name} has none")


@promise("an unknown option is refused with PolicyError, which says what was meant", "any")
def unknown_options_are_refused(trial: Trial) -> None:
    """
    Misspell each option.
    """
    table = _table(trial)
    names = {name for option in table.options.values() for name in (option.name, *option.aliases)}
    for name in sorted(names) or ["option"]:
        # By a letter that is there twice, of which no name is made.
        wrong = f"{name}{name[-1]}"
        try:
            checked(f"@{table.kind}", table, {wrong: 1})
        except PolicyError as error:
            told = str(error)
        else:
            trial.broken(f"{wrong}= was taken")
        if names and "did you mean" not in told:
            trial.broken(f"{wrong}= was refused without a suggestion: {told}")


@promise("two functions under one decorator have equal specs, which stay equal when they are made anew", "any")
def specs_are_values(trial: Trial) -> None:
    """
    Compare the specs of two functions, and of the same options checked again.
    """
    spec, table = _spec(trial), _table(trial)
    if spec != _spec(trial):
        trial.broken("they differ")
    for name, value in spec.given.items():
        try:
            again = table.options[name].check(value)
        except ValueError as error:
            trial.broken(f"{name} refuses its own normal form: it {error}")
        if not same(again, value):
            trial.broken(f"{name}, checked again, becomes {safe_repr(again, 80)} from {safe_repr(value, 80)}")


@promise("a spec pickles, and unpickles equal, where the objects that it was given do", "any")
def specs_pickle(trial: Trial) -> None:
    """
    Pickle the spec, where nothing that somebody has made keeps it from that.
    """
    from resilient.declared.forms import form

    spec, table = _spec(trial), _table(trial)
    own = [value for name, value in spec.given.items() if form(table.options[name]).objects]
    own += [value for name, value in _rest(spec).items() if name != "policy"]
    if any(_repickled(value) for value in own):
        return
    seen = _repickled(spec)
    if seen:
        trial.broken(seen)


def _rest(spec: Spec) -> Mapping[str, Any]:
    """
    Return what a spec holds beside its options: entries, rules, a name.
    """
    names = {name for kind in type(spec).__mro__ for name in getattr(kind, "__slots__", ())} - {"given"}
    return {name: getattr(spec, name) for name in names}


def _repickled(value: object) -> str:
    """
    Return what happens to *value* that should not; nothing: it comes out equal.
    """
    try:
        copy = pickle.loads(pickle.dumps(value))  # noqa: S301 - made right here
    except Exception as error:  # noqa: BLE001 - pickle raises what it meets
        return f"pickle raised {type_name(error)}"
    return "" if same(copy, value) else "it came out different"


@promise("repr() of the policy and of fn.resilience begins with its decorator, and works", "any")
def policies_are_shown(trial: Trial) -> None:
    """
    Ask for both.
    """
    fn = trial.function(_nothing)
    policy = fn.resilience.policies[0]
    try:
        shown, stack = repr(policy), repr(fn.resilience)
    except Exception as error:  # noqa: BLE001 - a policy may raise anything
        trial.broken(f"it raised {type_name(error)}")
    if not shown.startswith(f"@{policy.kind}") or shown not in stack:
        trial.broken(f"it is {safe_repr(shown, 200)}")


# -- files ---------------------------------------------------------------------------


@promise("a file of policies that gives the same options gives an equal spec", "any")
def files_say_the_same(trial: Trial) -> None:
    """
    Declare the same options, where a file can give them, for a function that nobody decorated.
    """
    spec, table = _spec(trial), _table(trial)
    written = {name: _written(table.options[name], value) for name, value in spec.given.items()}
    rest = {} if isinstance(spec, PolicySpec) else _rest(spec)
    # A circuit's name is an option there; entries and rules are references.
    name = rest.pop("name", None) if isinstance(rest, dict) else None
    if any(rest.values()) or any(value is UNSET for value in written.values()):
        return
    written |= {} if name is None else {"name": name}
    registry = Registry("declared", trial.registry.hub.clock)
    raw = trial.raw(_nothing)
    try:
        fn: Any = governed(registry=registry)(raw)
        registry.configure({"policies": {"p": {spec.kind: written or True}}, "functions": {"*:*": "p"}})
    except PolicyError as error:
        trial.broken(f"it is refused: {error}")
    # Some of ours remember that they were declared; what they were given decides.
    if [one if isinstance(one, PolicySpec) else spec.giving(one.given) for one in fn.resilience.in_force] != [spec]:
        trial.broken(f"{written} had become {fn.resilience.policies}")


def _written(option: Option, value: Any) -> Any:
    """
    Return how a file gives *value*; UNSET: it cannot.
    """
    if isinstance(value, timedelta):
        there: Any = f"{value.total_seconds()}s"
    else:
        there = value.name.lower() if isinstance(value, Enum) else value
    try:
        return there if isinstance(there, bool | int | float | str) and same(option.check(there), value) else UNSET
    except ValueError:
        return UNSET


CHECKS = (
    options_have_help,
    unknown_options_are_refused,
    specs_are_values,
    specs_pickle,
    policies_are_shown,
    files_say_the_same,
)
