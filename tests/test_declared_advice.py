"""
Advice on declarations.
"""

from __future__ import annotations

import sys
import types

import pytest

from resilient import Fallback, retry
from resilient.declared.advice import advise, advise_imported
from resilient.declared.model import Declaration, Document, Origin, Rule, Value

LABEL = "resilient.toml"


def value(raw, line=1):
    """
    Return *raw* as if it stood in that line.
    """
    return Value(raw, Origin("file", f"{LABEL}:{line}"))


def document(policies=None, rules=None):
    """
    Return a document of these declarations; rules by pattern.
    """
    each = (rules or {}).items()
    found = tuple(Rule(name, rule, Origin("file", f"{LABEL}:{at}")) for at, (name, rule) in enumerate(each, start=90))
    return Document(LABEL, policies or {}, found)


def using(**kinds):
    """
    Return a document with one rule that has these kinds.
    """
    return document(rules={"m:f": Declaration(kinds)})


@pytest.mark.parametrize("raw", ["builtins:Exception", ["builtins:OSError", "builtins:BaseException"], Exception])
@pytest.mark.parametrize("option", ["on", "retryable_exceptions"])
def test_a_retry_of_every_error_is_advised_against(raw, option):
    """
    ``on`` should not name what nearly every error is.
    """
    (advice,) = advise(using(retry={option: value(raw, 7)}))

    assert advice[:2] == (f"{LABEL}:7", f'functions."m:f".retry.{option}')
    assert "retries every error" in advice.text


@pytest.mark.parametrize(
    ("order", "kinds", "told"),
    [
        (("timeout", "circuit"), {"timeout": {"seconds": "5s"}, "circuit": {}}, "@timeout above @circuit hides"),
        (("retry", "degradable"), {"retry": {"on": "m:f"}, "degradable": {}}, "@degradable below @retry adjusts"),
        (
            ("retry", "fallback_chain"),
            {"retry": {}, "fallback_chain": {"entries": "m:f"}},
            "@retry above @fallback_chain",
        ),
        (("timeout", "retry", "circuit"), {"timeout": {"seconds": 5}, "retry": {}, "circuit": {}}, None),
        (("timeout", "circuit"), {"timeout": {"in_thread": True}, "circuit": {}}, "has to"),
        (("circuit", "timeout"), {"timeout": {"seconds": 5}, "circuit": {}}, None),
        (None, {"timeout": {"seconds": 5}, "circuit": {}}, None),
    ],
)
def test_an_order_that_cannot_work_as_it_is_meant(order, kinds, told):
    """
    A file is told what a decorator would warn of; once, and not where the order is the usual one.
    """
    tables = {kind: {name: value(raw, 4) for name, raw in table.items()} for kind, table in kinds.items()}
    declaration = Declaration(tables, order)
    found = advise(document({"p": declaration}, {"m:f": declaration._replace(names=("p",))}))

    assert len(found) == (told is not None)
    assert all(told in one.text for one in found)


@pytest.mark.parametrize("raw", ["builtins:OSError", ["memory"], ["shop:Exception"], None])
def test_a_retry_of_some_errors_is_fine(raw):
    """
    Types and categories that leave something out give no advice.
    """
    assert advise(using(retry={"on": value(raw)})) == ()


def test_what_is_inherited_is_advised_on_once_and_where_it_is_written():
    """
    The advice names the policy that says it, and not each that extends it.
    """
    on = value("builtins:Exception", 3)
    child = Declaration({"retry": {"on": on}}, names=("a", "z"))
    parent = Declaration({"retry": {"on": on}}, names=("z",))
    found = advise(document({"a": child, "z": parent}, {"m:f": child, "m:g": child}))

    assert [(one.where, one.key) for one in found] == [(f"{LABEL}:3", "policies.z.retry.on")]


def test_a_retry_of_network_errors_wants_a_circuit():
    """
    Where network errors are retried, something should stop calling what is down; it is said once for each line.
    """
    on = value(["network"])
    kinds = {"retry": {"on": on}, "circuit": None}
    found = advise(document(rules={"m:f": Declaration(kinds), "m:g": Declaration({"retry": {"on": on}})}))

    assert [one[:2] for one in found] == [(f"{LABEL}:90", 'functions."m:f".retry')]
    assert "without a circuit" in found[0].text


@pytest.mark.parametrize(
    "kinds",
    [
        {"retry": {"on": value("network")}, "circuit": {}},
        {"retry": {"on": value("memory")}},
        {"retry": {}},
        {"retry": None},
        {"circuit": {}},
    ],
)
def test_no_circuit_is_wanted_where_there_is_one_or_no_network(kinds):
    """
    With a circuit, or without network errors, there is no advice.
    """
    assert advise(using(**kinds)) == ()


def test_a_policy_that_nothing_uses_is_named():
    """
    A policy is for functions, or for others to extend; one that is neither is named at its own first line.
    """
    inherited = value(3, 2)
    base = Declaration({"retry": {"max_attempts": inherited}}, names=("base",))
    used = Declaration({"retry": {"max_attempts": inherited}}, names=("used", "base"))
    alone = Declaration(
        {"circuit": None, "retry": {"max_attempts": inherited, "jitter": value("full", 8)}}, names=("alone", "base")
    )
    empty = Declaration({}, names=("empty",))
    policies = {"base": base, "used": used, "alone": alone, "empty": empty}
    found = advise(document(policies, {"m:f": Declaration({}, names=("used", "base"))}))

    assert {one[:2] for one in found} == {(f"{LABEL}:8", "policies.alone"), (LABEL, "policies.empty")}


@pytest.fixture
def shop(monkeypatch):
    """
    Return a module called ``shop`` with fallbacks that do nothing, and some that do.
    """
    code = '''
import functools
def nothing(shot, **options): pass
def documented(shot):
    """
    Give up.
    """
    return None
async def anothing(shot): return None
async def adocumented(shot):
    """Give up."""
class Cards:
    def nothing(self): ...
def card(shot): return "card"
def five(shot): return 5
def five_documented(shot):
    """Give five."""
    return 5
def told(shot): print(shot)
async def acard(shot): return await card(shot)
partial = functools.partial(nothing)
text = "s3cret"
'''
    module = types.ModuleType("shop")
    exec(code, vars(module))  # noqa: S102 - the samples are written here
    module.guarded = retry(module.nothing)
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("shop:nothing", "entries.0"),
        ("shop:documented", "entries.0"),
        ("shop:anothing", "entries.0"),
        ("shop:adocumented", "entries.0"),
        ("shop:Cards.nothing", "entries.0"),
        ("shop:guarded", "entries.0"),
        ({"call": "shop:nothing", "name": "none"}, "entries.0.call"),
    ],
)
def test_a_fallback_that_only_returns_none_is_named(shop, entry, key):
    """
    A function with nothing in it makes a failure look like a result.
    """
    (advice,) = advise_imported(using(fallback_chain={"entries": value([entry], 4)}))

    assert advice[:2] == (f"{LABEL}:4", f'functions."m:f".fallback_chain.{key}')
    assert "only returns None" in advice.text


@pytest.mark.parametrize(
    "entry",
    [
        "shop:card",
        "shop:five",
        "shop:five_documented",
        "shop:told",
        "shop:acard",
        "shop:partial",
        "shop:text",
        "shop:missing",
        "zzzzqqqq:x",
        {"call": "shop:card", "when": "shop:nothing"},
        Fallback(len),
    ],
)
def test_other_fallbacks_are_fine(shop, entry):
    """
    What does something, what cannot be looked into, and what is not there give no advice.
    """
    assert advise_imported(using(fallback_chain={"entries": value([entry])})) == ()


def test_without_fallbacks_nothing_is_imported(monkeypatch):
    """
    Only the references of fallbacks are followed.
    """
    monkeypatch.setattr("resilient.declared.advice.resolve", pytest.fail)

    assert advise_imported(using(retry={"on": value("shop:x")}, fallback_chain=None)) == ()
    assert advise(using(fallback_chain={"entries": value(["shop:nothing"])})) == ()
