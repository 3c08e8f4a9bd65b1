"""
The public names.
"""

from __future__ import annotations

import importlib
import pkgutil

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


def test_nothing_public_is_left_out_of_all():
    """
    What `resilient` has beside its submodules is in ``__all__``.
    """
    submodules = {name.rpartition(".")[2] for name in MODULES}
    public = {name for name in vars(resilient) if name[0] not in "_@"} - submodules - {"annotations"}

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
