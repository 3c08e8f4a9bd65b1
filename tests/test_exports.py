"""
The public names.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import resilient

MODULES = sorted(module.name for module in pkgutil.walk_packages(resilient.__path__, "resilient."))


def test_all_is_sorted_and_importable():
    """
    ``resilient.__all__`` is sorted, without repetition, and each name is there.
    """
    names = resilient.__all__

    assert sorted(set(names)) == list(names)
    assert [name for name in names if not hasattr(resilient, name)] == []


def test_each_name_is_loaded_from_where_type_checkers_see_it():
    """
    The table of homes agrees with the imports that only type checkers read, and with ``__all__``.
    """
    tree = ast.parse(Path(resilient.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        for alias in node.names:
            other = "" if alias.asname is None else f":{alias.name}"
            seen[alias.asname or alias.name] = node.module.removeprefix("resilient.") + other

    assert seen == resilient._HOMES  # noqa: SLF001 - the table itself is looked at
    assert sorted(seen) == sorted(resilient.__all__)


def test_no_public_name_is_a_modules():
    """
    No name has a submodule's name: whichever is loaded last would stand for both.
    """
    assert set(resilient.__all__).isdisjoint(name.rpartition(".")[2] for name in MODULES if name.count(".") == 1)


def test_names_are_listed_before_they_are_loaded():
    """
    ``dir`` lists every public name, a star import brings them all, and what there is not is an AttributeError.
    """
    code = """
import resilient
assert set(resilient.__all__) <= set(dir(resilient))
try:
    resilient.nothing_of_this_name
except AttributeError as error:
    assert "nothing_of_this_name" in str(error)
else:
    raise AssertionError
from resilient import *
missing = [name for name in resilient.__all__ if name not in globals()]
assert not missing, missing
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert set(resilient.__all__) <= set(dir(resilient))


def test_names_may_be_asked_for_by_many_threads_at_once():
    """
    Threads that ask for names before anything is loaded all get the same objects.
    """
    code = """
import sys, threading, resilient
sys.setswitchinterval(1e-6)
start, found, failed = threading.Barrier(8), [], []

def ask(names):
    start.wait()
    try:
        found.append({name: getattr(resilient, name) for name in names})
    except BaseException as error:
        failed.append(error)

names = resilient.__all__
threads = [threading.Thread(target=ask, args=(names[at:] + names[:at],)) for at in range(0, 40, 5)]
for one in threads:
    one.start()
for one in threads:
    one.join()
assert not failed, failed
assert all(one == found[0] for one in found) and len(found) == 8
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_nothing_public_is_left_out_of_all():
    """
    What `resilient` has beside its submodules is in ``__all__``.
    """
    submodules = {name.rpartition(".")[2] for name in MODULES}
    public = {name for name in vars(resilient) if name[0] not in "_@"} - submodules - {"TYPE_CHECKING", "annotations"}

    assert set(resilient.__all__) >= public


def test_the_contract_is_importable_from_the_top():
    """
    Each name of the contract can be imported from `resilient` itself.
    """
    contract = [
        "retry",
        "circuit",
        "fallback_chain",
        "degradable",
        "recoverable",
        "resilience_of",
        "RetryConfig",
        "CircuitBreakerConfig",
        "CircuitBreaker",
        "CircuitState",
        "CircuitBreakerState",
        "Fallback",
        "FallbackChain",
        "CircuitBreakerOpenError",
        "FallbackChainExhaustedError",
        "PolicyError",
        "PolicyOrderWarning",
        "BlockingWaitWarning",
        "ResilientError",
        "Registry",
        "default_registry",
        "health",
        "HealthSnapshot",
        "ErrorAnalytics",
        "ErrorInfo",
        "ErrorCategory",
        "ErrorSeverity",
        "Classification",
        "RecoveryProcedure",
        "RecoveryContext",
        "GracefulDegradation",
        "DegradationLevel",
        "at_level",
        "scale",
        "ladder",
        "cap",
        "enabled_from",
        "Outcome",
        "Clock",
        "ErrorHandlingSystem",
        "RetryMechanism",
    ]

    assert [name for name in contract if name not in resilient.__all__] == []


@pytest.mark.parametrize("name", MODULES)
def test_each_module_states_its_public_names_in_order(name):
    """
    Each module has a docstring, and a sorted ``__all__`` of names that exist (a package may have none).
    """
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [] if hasattr(module, "__path__") else None)

    assert module.__doc__
    assert all(hasattr(module, one) for one in names)
    assert sorted(names, key=_order) == list(names)


def _order(name):
    # As ruff sorts: constants, then classes, then the rest.
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
