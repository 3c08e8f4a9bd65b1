"""
The JSON Schema of declarations.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import referencing

from resilient.declared import schema, vocabulary
from resilient.declared.forms import row_names
from resilient.kinds import in_order

SHIPPED = Path(vocabulary.__file__).parent.parent / "resilient.schema.json"

EXAMPLE = """
[policies.external]
retry    = { max_attempts = 4, initial_delay = "500ms", max_delay = "30s", on = ["network"] }
circuit  = { failure_threshold = 5, open_for = "60s" }

[policies.gpu]
extends     = "external"
order       = ["retry", "circuit"]
recoverable = { playbook = "memory" }
degradable  = { steps = { minimum = 8 }, resolution = {}, seed = false, look = "engine.looks:plainer" }

[functions]
"engine.video:render_*" = "gpu"
"engine.video:VideoEngine.generate" = { extends = ["gpu"], fallback_chain = ["engine.video:VideoEngine.preview"] }
"engine.audio:*" = { retry = true, circuit = false }
"""


@pytest.fixture(scope="module")
def validator():
    """
    Return a validator for whole files.
    """
    return jsonschema.Draft202012Validator(schema.schema())


def errors(validator, text):
    """
    Return what the schema finds wrong with a TOML text.
    """
    return list(validator.iter_errors(tomllib.loads(text)))


def test_the_shipped_file_is_up_to_date():
    """
    The file in the package is what the option tables say today.
    """
    remedy = "run python -m resilient.declared.schema > resilient/resilient.schema.json"

    assert SHIPPED.read_text(encoding="utf-8") == schema.render(), remedy


def test_the_module_prints_the_schema():
    """
    ``python -m resilient.declared.schema`` prints it.
    """
    done = subprocess.run(
        [sys.executable, "-m", "resilient.declared.schema"], check=True, capture_output=True, text=True
    )

    assert json.loads(done.stdout) == schema.schema()


def test_the_schema_is_a_schema():
    """
    It keeps to the draft that it names, and each reference in it leads somewhere.
    """
    found = schema.schema()
    jsonschema.Draft202012Validator.check_schema(found)
    named = {part.split('"')[0] for part in json.dumps(found).split('"$ref": "#/$defs/')[1:]}

    assert named <= found["$defs"].keys()


@pytest.mark.parametrize("kind", in_order())
def test_each_option_is_in_it_with_its_help(kind):
    """
    Each option of each kind, under each of its names, is described by its help text.
    """
    table = next(one for one in schema.schema()["$defs"][kind]["anyOf"] if one.get("type") == "object")
    shown = {name: table["properties"][name]["description"] for name in row_names(vocabulary.table_of(kind))}

    assert all(option.help in shown[name] for name, option in row_names(vocabulary.table_of(kind)).items())


def test_a_whole_file_passes(validator):
    """
    The example of the contract, and what else it allows, is valid.
    """
    assert errors(validator, EXAMPLE) == []


def test_the_examples_of_the_docs_pass(validator):
    """
    Each declaration on the pages, and each ``resilient.toml`` beside them, is valid.

    The one that imports a user's own policies is held against a schema made with them, in tests/test_own_policies.py.
    """
    root = SHIPPED.parent.parent
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    blocks = [
        (page, block)
        for page in pages
        for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        if re.search(r"^\[(policies|functions)\b", block, re.MULTILINE) and not block.startswith("import = ")
    ]
    files = [(path, path.read_text(encoding="utf-8")) for path in sorted((root / "docs").rglob("resilient.toml"))]

    assert [(path.name, error.message) for path, text in blocks + files for error in errors(validator, text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "[policy.a]",
        "[policies.a]\nrety = true",
        "[policies.a.retry]\nmax_attemps = 3",
        "[policies.a.retry]\nmax_attempts = 0",
        "[policies.a.retry]\nmax_attempts = '3'",
        "[policies.a.retry]\ninitial_delay = '3 days'",
        "[policies.a.retry]\njitter = 'some'",
        "[policies.a.retry]\non = 'netwrk'",
        "[policies.a.retry]\nwait = { args = [2] }",
        "[policies.a.circuit]\nfailure_rate = 1.5",
        "[policies.a.circuit]\nwindow = 1.5",
        "[policies.a.circuit]\nmode = 'off'",
        "[policies.a]\nfallback_chain = true",
        "[policies.a]\nfallback_chain = []",
        "[policies.a]\nfallback_chain = [{ name = 'x' }]",
        "[policies.a]\ndegradable = { steps = true }",
        "[policies.a]\ndegradable = { steps = { rule = 'ladder' } }",
        "[policies.a]\norder = ['retries']",
        "[policies.a]\nrecoverable = { playbook = 'memry' }",
        "[functions]\n'a:b' = 3",
    ],
)
def test_what_cannot_be_meant_fails(validator, text):
    """
    Unknown names, wrong types, values out of range: an editor marks them.
    """
    assert errors(validator, text) != []


VALUES = [
    True,
    False,
    -1,
    0,
    1,
    2,
    7,
    1_000_000,
    1_000_001,
    10**13,
    -0.5,
    0.0,
    0.25,
    1.25,
    "30s",
    "500ms",
    "2 days",
    "",
    "network",
    "full",
    "decorrelated",
    "memory",
    "on",
    "low",
    "metrics_only",
    "any words",
    "module:attribute",
    "a.b:C.d",
    "a:",
    [],
    ["network", "a:b"],
    ["netwrk"],
    [1, 2],
    {},
    {"a": 1},
    {"call": "a:b", "args": [1], "kwargs": {"x": 1}},
    {"call": "a"},
    {"minimum": 3},
    {"rule": "ladder", "rungs": [2, 1]},
    {"rule": "cap", "low": 2.5},
    {"rule": "enabled_from", "level": "low"},
    {"rule": "enabled_from"},
]

OPTIONS = [(kind, name) for kind in in_order() for name in row_names(vocabulary.table_of(kind))] + [
    ("degradable", "steps"),
    ("degradable", "request.size"),
]


@pytest.mark.parametrize(("kind", "name"), OPTIONS)
def test_the_schema_takes_what_the_options_own_check_takes(validator, kind, name):
    """
    For each option and a good many values, the schema and the vocabulary agree.
    """
    differ = []
    for value in VALUES:
        takes = validator.is_valid({"policies": {"a": {kind: {name: value}}}})
        if takes is bool(vocabulary.check(kind, {name: value})):
            differ.append((value, takes))

    assert differ == []


def test_tool_resilient_has_the_same_schema():
    """
    A pyproject.toml is checked where it speaks of this library, and nowhere else.
    """
    resource = referencing.Resource.from_contents(schema.schema())
    validator = jsonschema.Draft202012Validator(
        {"$ref": "urn:resilient#/$defs/pyproject"},
        registry=referencing.Registry().with_resource("urn:resilient", resource),
    )

    assert errors(validator, "[project]\nname = 'x'\n[tool.other]\nretry = 1") == []
    assert errors(validator, "[tool.resilient.policies.a]\nretry = true") == []
    assert errors(validator, "[tool.resilient.policies.a]\nrety = true") != []
