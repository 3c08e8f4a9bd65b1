"""
Resilience policies for functions that call things that fail.

Decorate a function, and read one shared registry of errors, recoveries and
health; the tutorial in ``docs/`` begins with three lines.
"""

from __future__ import annotations

# Not from typing: ``python -m resilient`` gets here while modules of the working folder still come first.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from resilient.analytics.recorder import ErrorAnalytics
    from resilient.breaker import CircuitBreaker
    from resilient.chain import FallbackChain
    from resilient.classify import Classification, Classifier, Transient
    from resilient.clock import Clock
    from resilient.configs import CircuitBreakerConfig, RetryConfig
    from resilient.control.degradation import GracefulDegradation
    from resilient.control.overrides import at_level
    from resilient.decorators import circuit, degradable, fallback_chain, recoverable, retry
    from resilient.errorinfo import ErrorCategory, ErrorInfo, ErrorSeverity
    from resilient.errors import (
        BlockingWaitWarning,
        CallRejectedError,
        CircuitBreakerOpenError,
        DecorationError,
        FallbackChainExhaustedError,
        PolicyError,
        PolicyOrderWarning,
        ResilientError,
        ResilientWarning,
    )
    from resilient.governing import governed
    from resilient.levels import DegradationLevel
    from resilient.mechanism import RetryMechanism
    from resilient.outcome import Outcome
    from resilient.playbooks.context import RecoveryContext
    from resilient.playbooks.procedure import RecoveryProcedure
    from resilient.policies.circuit import CircuitState
    from resilient.policies.circuit import CircuitState as CircuitBreakerState
    from resilient.policies.fallback import Fallback
    from resilient.policies.rules import cap, enabled_from, ladder, scale
    from resilient.registry import Registry, default_registry, health
    from resilient.resilience import AsyncResilience, Resilience, resilience_of
    from resilient.snapshot import HealthSnapshot
    from resilient.system import ErrorHandlingSystem
    from resilient.timeouts import CallTimeoutError, timeout
    from resilient.weaving import Weaving, unweave, weave
else:
    # Not for type checkers: they would take it for a promise that there is every name.

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        module, _, other_name = _HOMES[name].partition(":")
        found = getattr(importlib.import_module(f"{__name__}.{module}"), other_name or name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "AsyncResilience",
    "BlockingWaitWarning",
    "CallRejectedError",
    "CallTimeoutError",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenError",
    "CircuitBreakerState",
    "CircuitState",
    "Classification",
    "Classifier",
    "Clock",
    "DecorationError",
    "DegradationLevel",
    "ErrorAnalytics",
    "ErrorCategory",
    "ErrorHandlingSystem",
    "ErrorInfo",
    "ErrorSeverity",
    "Fallback",
    "FallbackChain",
    "FallbackChainExhaustedError",
    "GracefulDegradation",
    "HealthSnapshot",
    "Outcome",
    "PolicyError",
    "PolicyOrderWarning",
    "RecoveryContext",
    "RecoveryProcedure",
    "Registry",
    "Resilience",
    "ResilientError",
    "ResilientWarning",
    "RetryConfig",
    "RetryMechanism",
    "Transient",
    "Weaving",
    "at_level",
    "cap",
    "circuit",
    "default_registry",
    "degradable",
    "enabled_from",
    "fallback_chain",
    "governed",
    "health",
    "ladder",
    "recoverable",
    "resilience_of",
    "retry",
    "scale",
    "timeout",
    "unweave",
    "weave",
]

# Where each name is from. It is loaded when it is first asked for: pytest loads the plugin in
# projects that never use it, and who decorates a function has no use for the whole library.
_HOMES = {
    "AsyncResilience": "resilience",
    "BlockingWaitWarning": "errors",
    "CallRejectedError": "errors",
    "CallTimeoutError": "timeouts",
    "CircuitBreaker": "breaker",
    "CircuitBreakerConfig": "configs",
    "CircuitBreakerOpenError": "errors",
    "CircuitBreakerState": "policies.circuit:CircuitState",
    "CircuitState": "policies.circuit",
    "Classification": "classify",
    "Classifier": "classify",
    "Clock": "clock",
    "DecorationError": "errors",
    "DegradationLevel": "levels",
    "ErrorAnalytics": "analytics.recorder",
    "ErrorCategory": "errorinfo",
    "ErrorHandlingSystem": "system",
    "ErrorInfo": "errorinfo",
    "ErrorSeverity": "errorinfo",
    "Fallback": "policies.fallback",
    "FallbackChain": "chain",
    "FallbackChainExhaustedError": "errors",
    "GracefulDegradation": "control.degradation",
    "HealthSnapshot": "snapshot",
    "Outcome": "outcome",
    "PolicyError": "errors",
    "PolicyOrderWarning": "errors",
    "RecoveryContext": "playbooks.context",
    "RecoveryProcedure": "playbooks.procedure",
    "Registry": "registry",
    "Resilience": "resilience",
    "ResilientError": "errors",
    "ResilientWarning": "errors",
    "RetryConfig": "configs",
    "RetryMechanism": "mechanism",
    "Transient": "classify",
    "Weaving": "weaving",
    "at_level": "control.overrides",
    "cap": "policies.rules",
    "circuit": "decorators",
    "default_registry": "registry",
    "degradable": "decorators",
    "enabled_from": "policies.rules",
    "fallback_chain": "decorators",
    "governed": "governing",
    "health": "registry",
    "ladder": "policies.rules",
    "recoverable": "decorators",
    "resilience_of": "resilience",
    "retry": "decorators",
    "scale": "policies.rules",
    "timeout": "timeouts",
    "unweave": "weaving",
    "weave": "weaving",
}
