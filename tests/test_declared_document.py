from __future__ import annotations

import functools
import time
from datetime import UTC, date, datetime
from datetime import time as hour

import pytest

from resilient import PolicyError
from resilient.declared.document import build, examine, of_mapping
from resilient.declared.lineage import MOST, lineages
from resilient.declared.model import Origin, Value
from resilient.declared.reading import Text, parse
from resilient.declared.wording import did_you_mean, dotted, type_of
from resilient.kinds import in_order

SAMPLE = """\
[policies.external]
retry    = { max_attempts = 4, initial_delay = "500ms" }
circuit  = { failure_threshold = 5 }

[policies.gpu]
extends     = "external"
recoverable = { playbook = "memory" }
[policies.gpu.degradable]
steps = { minimum = 8 }
resolution = {}

[functions]
"engine.video:render_*" = "gpu"
"engine.video:VideoEngine.generate" = { extends = "gpu", fallback_chain = ["engine.video:preview"], retry = false }
"""


def text_of(toml):
    """
    Return *toml* as if it had been read from a file.
    """
    return Text("resilient.toml", *parse(toml))


def declared(toml, environ=None):
    """
    Return the document of *toml*.
    """
    return build(text_of(toml), environ or {})


def problems(toml, environ=None):
    """
    Return the problems of *toml*, none of which shows a secret.
    """
    with pytest.raises(PolicyError) as caught:
        declared(toml, environ)
    assert "hunter2" not in str(caught.value)
    return [problem.removeprefix("resilient.toml:") for problem in caught.value.problems]


def plain(declaration):
    """
    Return what a declaration says, without where it says so.
    """
    return {
        kind: table if table is None else {name: value.raw for name, value in table.items()}
        for kind, table in declaration.kinds.items()
    }


# -- What a document is -------------------------------------------------------------------


def test_a_document():
    """
    A file becomes its policies, with all that they inherit, and its rules in order.
    """
    document = declared(SAMPLE)
    retry = {"max_attempts": 4, "initial_delay": "500ms"}
    gpu = {
        "degradable": {"steps": {"minimum": 8}, "resolution": {}},
        "recoverable": {"playbook": "memory"},
        "retry": retry,
        "circuit": {"failure_threshold": 5},
    }
    generate = {**gpu, "fallback_chain": {"entries": ["engine.video:preview"]}, "retry": None}

    assert document.label == "resilient.toml"
    assert {name: plain(one) for name, one in document.policies.items()} == {
        "external": {"retry": retry, "circuit": {"failure_threshold": 5}},
        "gpu": gpu,
    }
    assert [(rule.pattern, plain(rule.declaration)) for rule in document.rules] == [
        ("engine.video:render_*", gpu),
        ("engine.video:VideoEngine.generate", generate),
    ]
    assert [rule.declaration.names for rule in document.rules] == [("gpu", "external")] * 2
    assert list(document.rules[1].declaration.kinds) == [kind for kind in in_order() if kind != "timeout"]


def test_each_value_knows_where_it_was_written():
    """
    Each value, and each rule, has its file and line.
    """
    document = declared(SAMPLE)
    gpu = document.policies["gpu"].kinds

    assert gpu["retry"]["max_attempts"] == Value(4, Origin("file", "resilient.toml:2"))
    assert gpu["degradable"]["resolution"] == Value({}, Origin("file", "resilient.toml:10"))
    assert [rule.origin for rule in document.rules] == [
        Origin("file", "resilient.toml:13"),
        Origin("file", "resilient.toml:14"),
    ]


def test_nothing_declared():
    """
    An empty file declares nothing, and that is no error.
    """
    document = declared("")

    assert (document.policies, document.rules, document.said) == ({}, (), {})


@pytest.mark.parametrize("bare", ["true", "{}"])
def test_bare_and_removed(bare):
    """
    True and an empty table are the bare decorator, false removes.
    """
    document = declared(f"[policies.a]\nretry = {bare}\ncircuit = false")

    assert plain(document.policies["a"]) == {"retry": {}, "circuit": None}


@pytest.mark.parametrize(
    ("value", "entries"),
    [('["m:f", "m:g"]', ["m:f", "m:g"]), ('{ entries = ["m:f"] }', ["m:f"]), ('[{ call = "m:f" }]', [{"call": "m:f"}])],
)
def test_forms_of_a_chain(value, entries):
    """
    A chain is an array of fallbacks, or a table that has them.
    """
    document = declared(f"[policies.a]\nfallback_chain = {value}")

    assert plain(document.policies["a"]) == {"fallback_chain": {"entries": entries}}


def test_order():
    """
    An order is as given, the nearest one in a lineage; without one there is none.
    """
    document = declared(
        '[policies.a]\norder = ["retry", "circuit"]\n[policies.b]\nextends = "a"\n'
        '[policies.c]\nextends = "b"\norder = ["circuit"]\n[policies.d]\n'
    )

    assert [one.order for one in document.policies.values()] == [
        ("retry", "circuit"),
        ("retry", "circuit"),
        ("circuit",),
        None,
    ]


# -- Inheritance --------------------------------------------------------------------------


def test_tables_merge_by_kind_and_key():
    """
    Along a lineage tables merge kind by kind and key by key; false removes, and what removed can be given again.
    """
    document = declared(
        """
        [policies.c]
        extends = "b"
        circuit = { success_threshold = 7 }
        [policies.a]
        retry = { max_attempts = 1, jitter = false }
        circuit = { failure_threshold = 1 }
        [policies.b]
        extends = "a"
        retry = { max_attempts = 2 }
        circuit = false
        """
    )

    assert plain(document.policies["b"]) == {"retry": {"max_attempts": 2, "jitter": False}, "circuit": None}
    assert plain(document.policies["c"]) == {
        "retry": {"max_attempts": 2, "jitter": False},
        "circuit": {"success_threshold": 7},
    }


def test_of_several_the_later_wins():
    """
    Of several policies that are extended the later one wins; what both extend stands behind both.
    """
    document = declared(
        """
        [policies.base]
        retry = { max_attempts = 1, jitter = false }
        [policies.slow]
        extends = "base"
        retry = { max_attempts = 9, max_delay = 90 }
        [policies.calm]
        extends = ["base"]
        retry = { max_delay = 80 }
        [functions]
        "m:f" = { extends = ["slow", "calm"] }
        "m:g" = { extends = ["calm", "slow", "calm"] }
        """
    )
    f, g = (rule.declaration for rule in document.rules)

    assert f.names == ("calm", "slow", "base")
    assert plain(f) == {"retry": {"max_attempts": 9, "jitter": False, "max_delay": 80}}
    assert g.names == ("slow", "calm", "base")
    assert plain(g) == {"retry": {"max_attempts": 9, "jitter": False, "max_delay": 90}}


def test_an_option_under_its_other_name():
    """
    An option that is inherited under one name is replaced under the other.
    """
    document = declared(
        '[policies.a]\ncircuit = { timeout = "5s" }\n[policies.b]\nextends = "a"\ncircuit = { open_for = "6s" }'
    )

    assert plain(document.policies["b"]) == {"circuit": {"open_for": "6s"}}


def test_lineages():
    """
    Each policy comes before what it extends, and once.
    """
    found = lineages({"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []})

    assert found.of == {"a": ("a",), "b": ("b", "a"), "c": ("c", "a"), "d": ("d", "c", "b", "a")}
    assert (found.circles, found.long) == ([], [])


def test_circles():
    """
    Each circle is found, one over the policy itself, two over one policy, a long one in short.
    """
    long = [f"p{at}" for at in range(20)]
    found = lineages(
        {
            "self": ["self"],
            "x": ["a", "y"],
            "a": ["b"],
            "b": ["a"],
            "y": ["x"],
            **{one: [other] for one, other in zip(long, [*long[1:], "p0"], strict=True)},
        }
    )

    assert found.circles == [
        ("self", "self"),
        ("a", "b", "a"),
        ("x", "y", "x"),
        ("p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "...", "p0"),
    ]
    assert set(found.of) == {"self", "x", "a", "b", "y", *long}


def test_a_chain_of_many_policies():
    """
    However many policies extend each other, it takes no stack, and little time to say that it is too many.
    """
    names = [str(at) for at in range(20_000)]
    before = time.perf_counter()
    found = lineages({one: [other] for one, other in zip(names, [*names[1:], "0"], strict=True)})

    assert time.perf_counter() - before < 1
    assert len(found.circles) == 1
    assert max(map(len, found.of.values())) == MOST
    assert found.long


# -- The environment ----------------------------------------------------------------------


def test_the_environment_wins_over_the_file():
    """
    A variable wins over the file, in the policy that it names and in all that inherit from it.
    """
    variable = "RESILIENT_POLICIES__EXTERNAL__RETRY__MAX_ATTEMPTS"
    document = declared(
        """
        [policies.external]
        retry = { max_attempts = 4 }
        [policies.gpu]
        extends = "external"
        [policies.own]
        extends = "external"
        retry = { max_attempts = 2 }
        [policies.none]
        extends = "external"
        retry = false
        [policies.other]
        retry = { max_attempts = 3 }
        [functions]
        "m:f" = { extends = "gpu", retry = { jitter = false } }
        """,
        {variable: "5"},
    )
    value = Value(5, Origin("environment", variable))

    assert document.policies["external"].kinds["retry"] == {"max_attempts": value}
    assert document.policies["gpu"].kinds["retry"] == {"max_attempts": value}
    assert document.policies["own"].kinds["retry"] == {"max_attempts": value}
    assert document.policies["none"].kinds == {"retry": None}
    assert plain(document.policies["other"]) == {"retry": {"max_attempts": 3}}
    assert plain(document.rules[0].declaration) == {"retry": {"max_attempts": 5, "jitter": False}}


def test_the_nearest_variable_wins():
    """
    Of two variables the one for the nearer policy wins; one for a whole kind removes it or brings it back.
    """
    document = declared(
        """
        [policies.a]
        retry = { max_attempts = 4 }
        circuit = true
        [policies.b]
        extends = "a"
        [policies.c]
        extends = "a"
        retry = false
        """,
        {
            "RESILIENT_POLICIES__A__RETRY__MAX_ATTEMPTS": "5",
            "RESILIENT_POLICIES__A__CIRCUIT": "false",
            "RESILIENT_POLICIES__B__RETRY": "{ max_attempts = 6, jitter = false }",
            "RESILIENT_POLICIES__B__RETRY__JITTER": "full",
            "RESILIENT_POLICIES__B__CIRCUIT__OPEN_FOR": "5s",
            "RESILIENT_POLICIES__C__RETRY": "true",
        },
    )

    assert plain(document.policies["a"]) == {"retry": {"max_attempts": 5}, "circuit": None}
    assert plain(document.policies["b"]) == {
        "retry": {"max_attempts": 6, "jitter": "full"},
        "circuit": {"open_for": "5s"},
    }
    assert plain(document.policies["c"]) == {"retry": {}, "circuit": None}


def test_what_is_wrong_with_a_variable():
    """
    What the environment says is checked like the file, alone and together with it, and told with the variable.
    """
    found = problems(
        '[policies.gpu]\nretry = { initial_delay = "5s" }',
        {
            "RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS": "hunter2",
            "RESILIENT_POLICIES__GPU__RETRY__MAX_ATEMPTS": "5",
            "RESILIENT_POLICIES__GPU__RETRY__MAX_DELAY": "3s",
            "RESILIENT_POLICIES__GPU__CIRCUIT": "hunter2",
            "RESILIENT_POLICIES__GUP__RETRY": "false",
        },
    )

    assert [one.partition(": ")[0].removeprefix("RESILIENT_POLICIES__") for one in found] == [
        "GUP__RETRY",
        "GPU__CIRCUIT",
        "GPU__RETRY__MAX_ATEMPTS",
        "GPU__RETRY__MAX_ATTEMPTS",
        "GPU__RETRY__MAX_DELAY",
    ]
    assert ": policies.gpu.circuit: must be a table of options, true or false, got a string" in found[1]
    assert "did you mean 'max_attempts'?" in found[2]
    assert ": policies.gpu.retry.max_delay: " in found[4]


# -- What is wrong ------------------------------------------------------------------------


WRONG = """\
polices = 3
[policies.external]
retry    = { max_atempts = 4, initial_delay = "hunter2" }
extends = ["gpu", "hunter2"]
[policies.gpu]
extends = "external"
recoverable = "hunter2"
retry = { initial_delay = "50s", max_delay = "3s" }
circut = true
fallback_chain = ["m:f",
    { call = "m:f", nme = "x" }]
order = ["retry", "circit", 3, "retry"]
[policies.child]
extends = "gpu"
order = "hunter2"

[functions]
"engine.video.render_*" = "gup"
"m:f" = { extends = "gup", fallback_chain = "hunter2" }
"m:g" = 3
"""

EXPECTED = [
    ("1: polices: is unknown; did you mean 'policies'?", ""),
    ("3: policies.external.retry.max_atempts: ", "did you mean 'max_attempts'?"),
    ("3: policies.external.retry.initial_delay: ", "must be seconds"),
    ("4: policies.external.extends.1: there is no policy of this name; known are 'child', 'external', 'gpu'", ""),
    ("4: policies.external.extends: leads back to itself: external -> gpu -> external; take one of these out", ""),
    ("7: policies.gpu.recoverable: must be a table of options, true or false, got a string", ""),
    ("8: policies.gpu.retry.max_delay: ", "at least initial_delay"),
    ("9: policies.gpu.circut: is unknown; did you mean 'circuit'?", ""),
    ("11: policies.gpu.fallback_chain.1.nme: ", "did you mean 'name'?"),
    ("12: policies.gpu.order.1: is no kind of policy; did you mean 'circuit'?", ""),
    ("12: policies.gpu.order.2: must be a kind of policy, got an integer", ""),
    ("12: policies.gpu.order.3: retry is there already; a function has each kind once", ""),
    ("15: policies.child.order: must be an array of kinds, outermost first, got a string", ""),
    ('18: functions."engine.video.render_*": must be module:qualname', "'engine.video:render_*'"),
    ("18: functions.\"engine.video.render_*\": there is no policy of this name; did you mean 'gpu'?", ""),
    ("19: functions.\"m:f\".extends: there is no policy of this name; did you mean 'gpu'?", ""),
    ('19: functions."m:f".fallback_chain: must be a table of options, an array of references, true or false', "string"),
    ('20: functions."m:g": must be the name of a policy, or a table of the kinds of policies, got an integer', ""),
]


def test_all_problems_in_the_order_of_the_lines():
    """
    Everything that is wrong is told at once, each with its line, key, what was expected and what may be meant.
    """
    found = problems(WRONG)

    assert len(found) == len(EXPECTED)
    for problem, (start, part) in zip(found, EXPECTED, strict=True):
        assert problem.startswith(start)
        assert part in problem


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("policies = 3", "1: policies: must be a table, got an integer"),
        ("functions = ['m:f']", "1: functions: must be a table, got an array"),
        ("[policies]\ngpu = 2.5", "2: policies.gpu: must be a table, got a float"),
        ("[policies.' ']", '1: policies." ": must have a name that is not empty'),
        (
            "[policies.gpu]\nextends = true",
            "2: policies.gpu.extends: must be the name of a policy, or an array of such names, got a boolean",
        ),
        (
            "[policies.gpu]\nextends = [2024-01-01]",
            "2: policies.gpu.extends: must be the name of a policy, or an array of such names, got a date or time",
        ),
        ("[policies.gpu]\nextends = 'gpu'", "2: policies.gpu.extends: leads back to itself: gpu -> gpu; take one"),
        ("[functions]\n'm:f' = 'hunter2'", '2: functions."m:f": there is no policy of this name; there is none yet'),
        (
            "[policies.gpu]\nretry = 3",
            "2: policies.gpu.retry: must be a table of options, true or false, got an integer",
        ),
        ("[policies.gpu]\n'a\tb' = 3", '2: policies.gpu."a\\tb": is unknown; known are'),
    ],
)
def test_each_problem(toml, expected):
    """
    What cannot be meant is told with its line, its key and the type that came.
    """
    (found,) = problems(toml)

    assert found.startswith(expected)


def test_a_policy_that_is_no_table_is_still_a_name():
    """
    Who extends a policy that is wrong is not wrong too.
    """
    assert len(problems("[policies]\ngpu = 3\n[functions]\n'm:f' = 'gpu'\n'm:g' = { extends = 'gpu' }")) == 1


def test_a_contradiction_is_told_once():
    """
    Options that contradict each other are told where they meet, and not again for all who inherit both.
    """
    found = problems(
        """\
[policies.a]
retry = { max_delay = "3s" }
[policies.b]
extends = "a"
retry = { initial_delay = "50s" }
[policies.c]
extends = "b"
[functions]
"m:f" = "c"
"m:g" = { fallback_chain = true }
"m:h" = { fallback_chain = true }
"""
    )

    assert [one.partition(": ")[0] for one in found] == ["2", "10", "11"]
    assert "policies.b.retry.max_delay: " in found[0]


def test_too_many_policies_in_one():
    """
    A policy that is made of very many is refused, with its line.
    """
    toml = "[policies.p0]\n" + "".join(f"[policies.p{at}]\nextends = 'p{at - 1}'\n" for at in range(1, MOST + 1))

    assert problems(toml) == [
        f"{2 * MOST + 1}: policies.p{MOST}.extends: makes it of more than 100 policies; extend fewer"
    ]


def test_what_can_be_meant_is_there_beside_the_problems():
    """
    Who asks for the problems gets them as data, and the rest of the document.
    """
    document, found = examine(text_of(WRONG))

    assert [one.where for one in found[:2]] == ["resilient.toml:1", "resilient.toml:3"]
    assert (found[0].key, found[0].text) == ("polices", "is unknown; did you mean 'policies'?")
    assert set(document.policies) == {"external", "gpu", "child"}
    assert [rule.pattern for rule in document.rules] == ["m:f"]


def test_a_check_that_names_no_key(monkeypatch):
    """
    What is wrong with a kind as a whole has the kind's place.
    """
    monkeypatch.setattr("resilient.declared.tables.check", lambda kind, table: [("", "is wrong")])
    monkeypatch.setattr("resilient.declared.document.check_together", lambda kind, table: [("", "cannot be")])

    assert problems("[policies.a]\nretry = { max_attempts = 3 }") == [
        "2: policies.a.retry: is wrong",
        "2: policies.a.retry: cannot be",
    ]


# -- Mappings -----------------------------------------------------------------------------


def test_a_mapping():
    """
    A mapping of a file's shape is a document whose values come from a call, and a copy.
    """
    mapping = {"policies": {"a": {"retry": {"max_attempts": 2, "on": ("network",)}}}, "functions": {"m:*": "a"}}
    text = of_mapping(mapping)
    mapping["policies"]["a"]["retry"]["max_attempts"] = 3
    document = build(text)

    assert document.label == "configure()"
    assert document.policies["a"].kinds["retry"] == {
        "max_attempts": Value(2, Origin("runtime", "configure()")),
        "on": Value(["network"], Origin("runtime", "configure()")),
    }
    assert document.rules[0].origin == Origin("runtime", "configure()")


def test_objects_in_a_mapping_are_kept():
    """
    What no file can hold stays the object that it is.
    """
    predicate = functools.partial(isinstance, 3)
    text = of_mapping({"policies": {"a": {"retry": {"on_result": predicate}}}}, "here")

    assert text.tables["policies"]["a"]["retry"]["on_result"] is predicate
    assert text.label == "here"


def test_problems_of_a_mapping():
    """
    What is wrong with a mapping is told with its key, in its own order, each thing.
    """
    with pytest.raises(PolicyError) as caught:
        build(of_mapping({"polices": {}, "policies": {"a": {"retri": {}}, "b": {"retri": {}}, "c": 3}}))

    assert list(caught.value.problems) == [
        "polices: is unknown; did you mean 'policies'?",
        "policies.a.retri: is unknown; did you mean 'retry'?",
        "policies.b.retri: is unknown; did you mean 'retry'?",
        "policies.c: must be a table, got an integer",
    ]


def endless():
    """
    Return a mapping that holds itself.
    """
    mapping = {}
    mapping["policies"] = mapping
    return mapping


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (["hunter2"], "must be a mapping of the shape of a file, got an array"),
        (None, "must be a mapping of the shape of a file, got NoneType"),
        ({"policies": {"a": {3: True}}}, "policies.a: keys must be strings, got an integer"),
        (endless(), "policies.policies.policies: is nested more than 64 deep"),
    ],
    ids=["list", "None", "key", "endless"],
)
def test_what_is_no_mapping_of_a_file(mapping, expected):
    """
    What has not the shape of a file is refused.
    """
    with pytest.raises(PolicyError) as caught:
        of_mapping(mapping)

    assert caught.value.problems == (expected,)


# -- Words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "a boolean"),
        (1, "an integer"),
        (1.0, "a float"),
        ("", "a string"),
        ([], "an array"),
        ({}, "a table"),
        (date(2024, 1, 1), "a date or time"),
        (datetime(2024, 1, 1, tzinfo=UTC), "a date or time"),
        (hour(1), "a date or time"),
        (None, "NoneType"),
        ((), "tuple"),
    ],
)
def test_types(value, expected):
    """
    Types are called what they are called in TOML, and otherwise by their name.
    """
    assert type_of(value) == expected


def test_keys_are_shown_as_toml_writes_them():
    """
    Parts that are no bare keys are quoted, on one line and no longer than people read.
    """
    assert dotted(["a-b", "c_1", "m:f", "", "x\ny"]) == 'a-b.c_1."m:f".""."x\\ny"'
    assert len(dotted(["x" * 1000])) == 82


def test_suggestions():
    """
    A suggestion is the closest name in any case, else what there is, unless that is too much.
    """
    assert did_you_mean("RETYR", ["retry", "circuit"]) == "; did you mean 'retry'?"
    assert did_you_mean("Gpu", ["GPU"]) == "; did you mean 'GPU'?"
    assert did_you_mean("x", ["b", "a"]) == "; known are 'a', 'b'"
    assert did_you_mean("x", "abcdefghijk") == "; known are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ..."
    assert did_you_mean("x", []) == "; there is none yet"
    assert did_you_mean("name7", [f"name{at}" for at in range(5_000)]) == ""
