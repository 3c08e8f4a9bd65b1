"""
Everything in the documentation that a machine can check: code, output, tables, links.

Python blocks are executed in order, each document in a namespace and on a
default registry of its own whose clock moves by itself: examples are written
with real delays, and nobody waits. A block of the language ``text`` that stands
right after a Python block is what that one printed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import inspect
import io
import logging
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sybil.document import Document
from sybil.evaluators.doctest import OutputChecker
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import resilient
from resilient import Registry, decorators, events, unweave
from resilient.configs import CircuitBreakerConfig, RetryConfig
from resilient.control.thresholds import Timing
from resilient.policies.fallback import ENTRY_OPTIONS, FALLBACK_OPTIONS
from resilient.policies.recovery import RECOVERY_OPTIONS
from resilient.registry import swap_default
from resilient.testing import FakeClock
from resilient.timeouts import TimeoutPolicy
from tests.harness import kinds_put_back

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FEATURES = sorted((DOCS / "features").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


RETRY_OPTIONS, CIRCUIT_OPTIONS = RetryConfig.table, CircuitBreakerConfig.table


def relative(path):
    """
    Return how a document is called in the report of a test.
    """
    return str(path.relative_to(ROOT))


def prose(path):
    """
    Return a document without its blocks of code.
    """
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def tables(path):
    """
    Yield the name and the rows of each table that a comment gives a name.
    """
    for name, body in re.findall(r"<!-- (\S[^\n]*?) -->\n\n((?:\|[^\n]*\n)+)", prose(path)):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()]
        yield name, [[cell.strip("| ") for cell in row] for row in rows[2:]]


class NoSpread:
    """
    Chance that always takes the middle, so that jitter can be shown in documents.
    """

    def uniform(self, a, b):
        return (a + b) / 2


class Blocks:
    """
    A sybil parser: Python blocks, and what they print.
    """

    def __init__(self):
        self.run = PythonEvaluator()
        self.printed = ""
        self.printed_until = -1

    def __call__(self, document):
        yield from PythonCodeBlockParser(doctest_optionflags=FLAGS)(document)
        yield from CodeBlockParser("text", self.compare)(document)

    def python(self, example):
        if not isinstance(example.parsed, str) or example.region.evaluator == self.compare:
            return example.region.evaluator(example)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.run(example)
        self.printed = out.getvalue()
        self.printed_until = example.end
        return None

    def compare(self, example):
        between = example.document.text[self.printed_until : example.start]
        if self.printed_until < 0 or re.sub(r"[`\s]", "", between):
            return None
        checker = OutputChecker()
        if checker.check_output(str(example.parsed), self.printed, FLAGS):
            return None
        expected = doctest.Example("", str(example.parsed))
        return checker.output_difference(expected, self.printed, FLAGS)


@pytest.fixture
def offline_registry():
    """
    A default registry whose clock moves by itself.
    """
    log = logging.getLogger("resilient")
    level, handlers, propagate = log.level, log.handlers[:], log.propagate
    modules, path = set(sys.modules), sys.path[:]
    before = swap_default(Registry(clock=FakeClock(), rng=NoSpread()))
    with kinds_put_back():
        yield
        unweave()
    swap_default(before)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        # What an example has written into a folder of its own; this project may lie in such a folder too.
        file = Path(getattr(sys.modules[name], "__file__", None) or ROOT)
        if file.is_relative_to(tempfile.gettempdir()) and not file.is_relative_to(ROOT):
            del sys.modules[name]
    log.setLevel(level)
    log.handlers[:] = handlers
    log.propagate = propagate


@pytest.mark.usefixtures("offline_registry")
@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_examples_do_what_their_document_says(path):
    """
    Every Python block runs, and prints what is shown below it.
    """
    blocks = Blocks()
    document = Document.parse(str(path), blocks)
    document.namespace["__name__"] = "__main__"
    document.push_evaluator(blocks.python)

    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("path", FEATURES, ids=relative)
def test_a_feature_page_has_the_five_parts(path):
    """
    Usage, Defaults, Events, Diagram, Anti-patterns, in this order.
    """
    headings = re.findall(r"^## (.+)$", prose(path), re.MULTILINE)

    assert headings == ["Usage", "Defaults", "Events", "Diagram", "Anti-patterns"]


def from_table(table):
    """
    Return the default of each option, by its names.
    """
    return {(name, *option.aliases): option.default for name, option in table.options.items()}


def from_signature(function, *names):
    """
    Return the default of each parameter of *names*, or of all.
    """
    parameters = inspect.signature(function).parameters
    return {(name,): parameters[name].default for name in names or parameters}


DEFAULTS = {
    "retry": lambda: from_table(RETRY_OPTIONS),
    "circuit": lambda: from_table(CIRCUIT_OPTIONS),
    "recoverable": lambda: from_table(RECOVERY_OPTIONS),
    "timeout": lambda: from_table(TimeoutPolicy.table),
    "fallback_chain": lambda: from_table(FALLBACK_OPTIONS),
    "Fallback": lambda: from_table(ENTRY_OPTIONS),
    "degradable": lambda: {**from_table(decorators._DEGRADE_OPTIONS), ("rules",): None},  # noqa: SLF001 - the table is no API, its truth is
    "configure_triggers": lambda: {(field.name,): field.default for field in dataclasses.fields(Timing)},
    "step": lambda: from_signature(resilient.RecoveryProcedure.step, "name", "before", "scope", "timeout"),
    "ErrorAnalytics": lambda: from_signature(resilient.ErrorAnalytics, "history"),
    "ErrorHandlingSystem": lambda: from_signature(resilient.ErrorHandlingSystem),
    "execute_with_resilience": lambda: from_signature(
        resilient.ErrorHandlingSystem.execute_with_resilience,
        "circuit_breaker_name",
        "fallback_chain_name",
        "enable_retry",
        "enable_recovery",
        "retry_config",
    ),
}

# Names that only config objects have; their own documentation tells.
ELSEWHERE = {"retryable_exceptions"}


@pytest.mark.parametrize("what", DEFAULTS)
def test_a_table_of_defaults_is_true(what):
    """
    Each table of defaults has all options of what it is about, and what really holds when nobody gives them.
    """
    [rows] = [rows for path in FEATURES for name, rows in tables(path) if name == f"defaults: {what}"]
    told = {tuple(re.findall(r"`(\w+)`", names)): default.strip("`") for names, default, _ in rows}
    real = {
        tuple(name for name in names if name not in ELSEWHERE): default.__name__
        if isinstance(default, type)
        else repr(default)
        for names, default in DEFAULTS[what]().items()
    }

    assert told == real


def test_every_table_of_defaults_is_looked_at():
    """
    A marker that the test above does not know is a mistake.
    """
    marked = {name.removeprefix("defaults: ") for path in FEATURES for name, _ in tables(path) if "defaults" in name}

    assert marked == set(DEFAULTS)


def test_the_table_of_events_is_true():
    """
    Every event is there, with its dotted name and with what it tells.
    """
    common = {field.name for field in dataclasses.fields(events.Event)}
    [rows] = [rows for name, rows in tables(DOCS / "features" / "events.md") if name == "events"]
    told = {name.strip("`"): (dotted.strip("`"), re.findall(r"`(\w+)`", fields)) for name, dotted, fields in rows}
    real = {
        kind.__name__: (kind.name, [field.name for field in dataclasses.fields(kind) if field.name not in common])
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind.name != events.Event.name
    }

    assert told == {name: one for name, one in real.items() if name in events.__all__}


def test_the_fields_of_a_snapshot_are_told():
    """
    The page about health has all fields, in order.
    """
    [rows] = [rows for name, rows in tables(DOCS / "features" / "health.md") if name == "fields: HealthSnapshot"]

    assert [name.strip("`") for name, _ in rows] == [
        field.name for field in dataclasses.fields(resilient.HealthSnapshot)
    ]


def test_every_public_name_has_its_line():
    """
    The reference lists what the package exports, each once, and nothing else.
    """
    text = prose(DOCS / "reference" / "api.md").partition("## Modules")[0]
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)

    assert sorted(told) == sorted(resilient.__all__)


def anchors(path):
    """
    Return the anchors of the headings of a document, as the usual renderers name them.
    """
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path):
    """
    Return target and anchor of each link to another file, or within this one.
    """
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            yield (path.parent / file).resolve() if file else path, anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(path):
    """
    A link to a file of this project finds it, and the heading that it names.
    """
    broken = [
        f"{file}#{anchor}"
        for file, anchor in links(path)
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file))
    ]

    assert broken == []


def test_the_index_leads_to_every_document():
    """
    No document can be reached by chance only.
    """
    listed = {file for file, _ in links(DOCS / "index.md")}

    assert set(DOCS.rglob("*.md")) - {DOCS / "index.md"} <= listed


def test_the_first_example_is_that_of_the_package():
    """
    The README begins with a program that runs as it is, outside of any test.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code, shown = (re.search(rf"```{kind}\n(.+?)```", readme, re.DOTALL)[1] for kind in ("python", "text"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert done.stderr == ""
    assert _without_seconds(shown) == _without_seconds(done.stdout)


def _without_seconds(text):
    """
    Return *text* without the seconds that differ from run to run.
    """
    return re.sub(r"\d+\.\d s$", "... s", text, flags=re.MULTILINE)
