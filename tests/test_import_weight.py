"""
What importing the library loads, and what it leaves until it is used.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# What the core needs to work at all.
CORE = {"pybreaker", "resilient", "tenacity", "typing_extensions", "wrapt"}

# Of the standard library: what a library that waits and counts has no use for.
HEAVY = ["ctypes", "http", "multiprocessing", "pdb", "sqlite3", "tomllib", "unittest", "urllib.request", "xml"]

# pybreaker and tenacity load redis and tornado where they are installed: their choice, not ours.
LIST_MODULES = """
import json, sys
sys.modules.update(dict.fromkeys(("redis", "tornado")))
before = set(sys.modules)
import resilient
from resilient import circuit, degradable, fallback_chain, recoverable, retry
{then}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_after(then=""):
    """
    Return the modules that a fresh interpreter has loaded after importing the decorators and *then*.
    """
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES.format(then=then)], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def imported():
    """
    Return the modules that the import alone has loaded.
    """
    return modules_after()


def test_import_loads_no_package_but_the_core_dependencies(imported):
    """
    Importing the library loads its three import-time dependencies and the standard library, nothing else.
    """
    packages = {name.partition(".")[0] for name in imported}

    assert packages - set(sys.stdlib_module_names) - CORE == set()


def test_import_leaves_structlog_alone(imported):
    """
    Logging's library is loaded when something is logged through it, not before.
    """
    assert [name for name in imported if name.partition(".")[0] == "structlog"] == []


@pytest.mark.parametrize("module", HEAVY)
def test_import_loads_nothing_heavy_of_the_standard_library(imported, module):
    """
    Importing the library loads none of the large modules that it has no use for.
    """
    assert module not in imported


@pytest.mark.parametrize("module", ["resilient.testing", "resilient.plugin"])
def test_import_leaves_the_test_tools_alone(imported, module):
    """
    What is there for tests is loaded by tests.
    """
    assert module not in imported


@pytest.mark.parametrize(
    "module",
    [
        "resilient.control.degradation",
        "resilient.outcome",
        "resilient.playbooks.procedure",
        "resilient.policies.adjusting",
        "resilient.policies.recovery",
        "resilient.system",
    ],
)
def test_decorators_leave_alone_what_not_every_program_uses(imported, module):
    """
    Service levels, playbooks and the facade are loaded where they are used.
    """
    assert module not in imported


def test_the_package_alone_loads_nothing():
    """
    ``import resilient`` loads no other module of its own: names are loaded when they are asked for.
    """
    code = "import sys, resilient; print(sorted(name for name in sys.modules if name.startswith('resilient')))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "['resilient']"


def test_a_failing_call_loads_nothing():
    """
    What a failing call needs is loaded at decoration: a signal handler, or a forked child, may be in the middle of it.
    """
    then = """
def lost(quality=1.0):
    raise MemoryError("cuda out of memory")

def saved(quality=1.0):
    return quality

run = degradable(fallback_chain(saved)(recoverable(retry(max_attempts=2, initial_delay=0.0)(circuit(lost)))))
lower = resilient.default_registry().lower_after_memory_failures()
loaded = set(sys.modules)
assert run() == 1.0
late = sorted(name for name in set(sys.modules) - loaded)
assert not late, late
"""

    assert "resilient.policies.recovery" in modules_after(then)


def test_decorated_calls_load_nothing_more_of_others():
    """
    A decorated call that succeeds, and one that fails, load no further package.
    """
    then = """
@resilient.fallback_chain(lambda: None)
@resilient.retry(max_attempts=2, initial_delay=0.0)
@resilient.circuit
def render():
    raise ConnectionError("refused")

render()
resilient.health().to_dict()
"""
    packages = {name.partition(".")[0] for name in modules_after(then)}

    assert packages - set(sys.stdlib_module_names) - CORE == set()
