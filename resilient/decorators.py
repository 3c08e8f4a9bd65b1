"""
The decorators: `retry`, `circuit`, `fallback_chain`, `degradable` and `recoverable`.

Here their options are checked, by `resilient.reading`; `resilient.decorating`
puts the policy onto the function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tenacity

from resilient.adapters.retrying import retrying_options, without_counterpart
from resilient.configs import CircuitBreakerConfig, RetryConfig
from resilient.decorating import decorate, name_of
from resilient.errors import DecorationError, PolicyError
from resilient.faces import CircuitDecorator, DegradeDecorator, F, RecoverDecorator, RetryDecorator
from resilient.policies.checks import text
from resilient.policies.circuit import CIRCUIT_OPTIONS
from resilient.policies.circuit import check_together as check_circuit
from resilient.policies.degradation_options import DEGRADE_OPTIONS as _DEGRADE_OPTIONS
from resilient.policies.fallback import FALLBACK_OPTIONS, as_fallbacks
from resilient.policies.options import describe
from resilient.policies.recovery_options import RECOVERY_OPTIONS
from resilient.policies.retry import RetryPolicy
from resilient.policies.retry_options import RETRY_OPTIONS, check_together, merge
from resilient.policies.spec import PolicySpec
from resilient.reading import checked, is_target, no_position, signed, where
from resilient.specs import CircuitSpec, DegradeSpec, FallbackSpec, RecoverSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.policies.fallback import Fallback
    from resilient.policies.matching import Errors
    from resilient.registry import Registry

__all__ = ["circuit", "degradable", "fallback_chain", "recoverable", "retry"]

# What bare decorators leave, the same on every function.
_RETRY, _CIRCUIT = PolicySpec(RetryPolicy, {}), CircuitSpec(None, {})
_DEGRADE, _RECOVER = DegradeSpec({}, {}), RecoverSpec({})


# -- retry -------------------------------------------------------------------


@signed(RetryDecorator, RETRY_OPTIONS, "config")
def retry(config: Any = None, /, **options: Any) -> Any:  # noqa: D417 - each option has its own line
    """
    Call again what fails in a way that another attempt may mend.

    Bare (``@retry``) or with options. The last error is raised as itself, with
    a note that says how many attempts were made.

    Args:
        config: A `RetryConfig` or a `tenacity.Retrying`; keywords win over it.
        on: What is retried: exception types, a predicate, or category names.
            Default: what the registry's classifier calls transient.
        max_attempts: Calls in all, the first included. Default 3.
        initial_delay: Seconds before the first retry. Default 1.0.
        max_delay: Seconds that no delay exceeds, jitter included. Default 60.0.
        exponential_base: What each delay is multiplied by, at least 1. Default 2.0.
            The delay before retry n is ``min(max_delay, initial_delay * base ** (n - 1))``.
        jitter: ``True`` (by up to 25 % either way, the default), ``"full"``,
            ``"decorrelated"`` or ``False``.
        max_duration: Seconds for all attempts and waits; no wait is begun that
            would overrun it. Default None: no limit.
        on_result: Predicate on the returned value that asks for another
            attempt; when attempts run out the last value is returned.
        wait: A tenacity wait strategy; stands for the delays, jitter and ``Retry-After``.
        stop: A tenacity stop strategy; stands for *max_attempts* and *max_duration*.
        retry: A tenacity retry strategy; stands for *on* and *on_result*.
        before_sleep: A tenacity callback before each wait.
        registry: The function's registry; None: the default one.

    Raises:
        PolicyError: At decoration, with everything that cannot be meant.
        DecorationError: At decoration: the target cannot carry policies.
    """
    base: Mapping[str, Any] = {}
    problems: list[str] = []
    if isinstance(config, tenacity.BaseRetrying):
        base, problems = retrying_options(config), without_counterpart(config)
    elif isinstance(config, RetryConfig):
        base = config.given
    elif isinstance(config, type) and issubclass(config, BaseException):
        msg = f"@retry takes what it retries by keyword; write @retry(on={config.__name__})"
        raise DecorationError(msg)
    elif is_target("retry", config, options):
        return decorate(config, _RETRY, None)
    else:
        problems = no_position("retry", config, "max_attempts=5")

    def decorator(target: F) -> F:
        given, registry = checked(
            where("retry", target),
            RETRY_OPTIONS,
            options,
            base=base,
            merge=merge,
            check_together=check_together,
            problems=problems,
        )
        return decorate(target, PolicySpec(RetryPolicy, given) if given else _RETRY, registry)  # type: ignore[no-any-return]

    return decorator


# -- circuit -----------------------------------------------------------------


@signed(CircuitDecorator, CIRCUIT_OPTIONS, "name", "config")
def circuit(name: Any = None, config: Any = None, /, **options: Any) -> Any:  # noqa: D417 - each option has its own line
    """
    Stop calling what keeps failing, and probe it after a while.

    Bare (``@circuit``) or with options. While the circuit is open, calls raise
    `CircuitBreakerOpenError` without being made.

    Args:
        name: The circuit's name; the same name on the same registry is the same
            circuit. Default: one of the function's own.
        config: A `CircuitBreakerConfig`; keywords win over it.
        failure_threshold: Consecutive failures that open; with a time window,
            failures within it. Default 5.
        success_threshold: Successful probes that close. Default 2.
        open_for: Seconds open before probing; ``inf``: never by itself. Default 60.0.
        timeout: Another name of *open_for*.
        reopen_factor: What each consecutive reopening multiplies the open time by. Default 1.0.
        max_timeout: Seconds that reopenings stretch the open time to. Default 300.0.
        half_open_max_calls: Probes in flight at once. Default 1.
        probe_lease: Seconds after which a silent probe gives its permit back.
            Default: the open time, at least 30 s.
        window: The last N calls (int), or a time (timedelta, ``"30s"``). Default None.
        failure_rate: With a window: the fraction of failures that opens.
        min_calls: Calls in the window below which no rate is defined. Default 10.
        slow_call: With a window: seconds from which a call is slow.
        slow_call_rate: The fraction of slow calls that opens. Default 1.0.
        critical: While it is open, health is ``"fail"`` and not ``"warn"``. Default False.
        mode: ``"on"``; ``"disabled"``: admits all; ``"metrics_only"``: admits all
            and reports once that it would have opened.
        counts: What is a failure: types, a predicate or category names. Default `Exception`.
        ignore: What is neither failure nor success; wins over *counts*. Default: nothing.
        listeners: pybreaker listener objects.
        registry: The function's registry; None: the default one.

    Raises:
        PolicyError: At decoration, with everything that cannot be meant.
        DecorationError: At decoration: the target cannot carry policies.
    """
    if isinstance(name, CircuitBreakerConfig) and config is None:
        name, config = None, name
    if is_target("circuit", name, options):
        return decorate(name, _CIRCUIT, None)
    base: Mapping[str, Any] = {}
    problems: list[str] = []
    try:
        name = None if name is None else text(name)
    except ValueError as error:
        problems.append(f"its name {error}, got {describe(name)}")
    if isinstance(config, CircuitBreakerConfig):
        base = config.given
    elif config is not None:
        problems.append(f"config must be a CircuitBreakerConfig, got {describe(config)}")

    def decorator(target: F) -> F:
        given, registry = checked(
            where("circuit", target),
            CIRCUIT_OPTIONS,
            options,
            base=base,
            check_together=check_circuit,
            problems=problems,
        )
        plain = name is None and not given
        return decorate(target, _CIRCUIT if plain else CircuitSpec(name, given), registry)  # type: ignore[no-any-return]

    return decorator


# -- fallback_chain ------------------------------------------------------------

_WRITE = "write @fallback_chain(other_function, ...) with the functions to fall back to"


def fallback_chain(
    *entries: Callable[..., Any] | Fallback,
    name: str | None = None,
    on: Errors = Exception,
    registry: Registry | None = None,
    **unknown: Any,
) -> Callable[[F], F]:
    """
    Call other functions, in order, when what is below has failed.

    Args:
        entries: Functions, or `Fallback` objects; each is called with exactly
            the call's arguments.
        name: The chain's name in ``registry.chains``. Default: it has none.
        on: Which errors of what is below it stands in for: types, a predicate
            or category names. Default `Exception`.
        registry: The function's registry; None: the default one.
        unknown: Refused, with the option that was probably meant.

    Raises:
        PolicyError: At decoration, with everything that cannot be meant.
        DecorationError: At decoration: the target cannot carry policies. At the
            first call of a function under a bare ``@fallback_chain``.
    """
    options = {"registry": registry, **unknown}
    # What is as by default needs no place on each function.
    options |= {} if name is None else {"name": name}
    options |= {} if on is Exception else {"on": on}
    if not entries:
        msg = f"@fallback_chain has nothing to fall back to; {_WRITE}"
        raise PolicyError(msg)

    def decorator(*targets: Any, **arguments: Any) -> Any:
        if arguments or len(targets) != 1 or not is_target("fallback_chain", targets[0], {}):
            msg = f"{name_of(entries[0])} stands under a bare @fallback_chain, which takes it for a fallback; {_WRITE}"
            raise DecorationError(msg)
        fallbacks, problems = as_fallbacks(entries)
        given, home = checked(where("fallback_chain", targets[0]), FALLBACK_OPTIONS, options, problems=problems)
        return decorate(targets[0], FallbackSpec(fallbacks, given), home)

    return decorator


# -- degradable ------------------------------------------------------------------


@signed(DegradeDecorator, _DEGRADE_OPTIONS, "target", rest="rules")
def degradable(target: Any = None, /, **options: Any) -> Any:  # noqa: D417 - each option has its own line
    """
    Let a call's arguments follow the service level.

    Bare (``@degradable``) or with options. At FULL the call is untouched.

    Args:
        target: What is decorated, where it is used bare.
        scope: Whose level is followed. Default: the registry's.
        only_below: Follow levels only below this one. Default: all.
        floor: Never follow a level lower than this one. Default: none.
        rules: Rules for parameters whose names are options, or paths such as
            ``{"request.steps": scale()}``.
        own: Rules by parameter name: `scale`, `ladder`, `cap`, `enabled_from` or
            any ``(value, level) -> value``. They add to the default ones,
            replace the one of the same name, and ``False`` switches it off.
        registry: The function's registry; None: the default one.

    Raises:
        PolicyError: At decoration: a rule for a parameter that the function
            cannot take, or nothing to adjust at all.
        DecorationError: At decoration: the target cannot carry policies.
    """
    if is_target("degradable", target, options):
        return decorate(target, _DEGRADE, None)
    problems = no_position("degradable", target, "steps=scale()")

    def decorator(fn: F) -> F:
        rest = dict(options)
        found = list(problems)
        rules = rest.pop("rules", None) or {}
        if not isinstance(rules, dict):
            found.append(f"rules must be a dict of rules by parameter, got {describe(rules)}")
        named = {key: rest.pop(key) for key in (*_DEGRADE_OPTIONS.options, "registry") if key in rest}
        given, registry = checked(where("degradable", fn), _DEGRADE_OPTIONS, named, problems=found)
        return decorate(fn, DegradeSpec({**rest, **rules}, given), registry)  # type: ignore[no-any-return]

    return decorator


# -- recoverable -------------------------------------------------------------------


@signed(RecoverDecorator, RECOVERY_OPTIONS, "target")
def recoverable(target: Any = None, /, **options: Any) -> Any:  # noqa: D417 - each option has its own line
    """
    Walk the recovery playbook for an error's category, and call again after each step that applies.

    Bare (``@recoverable``) or with options.

    Args:
        target: What is decorated, where it is used bare.
        playbook: The category whose playbook is walked. Default: the error's own.
        max_runs: Further calls at most. Default 3.
        registry: The function's registry; None: the default one.

    Raises:
        PolicyError: At decoration, with everything that cannot be meant.
        DecorationError: At decoration: the target cannot carry policies.
    """
    if is_target("recoverable", target, options):
        return decorate(target, _RECOVER, None)
    problems = no_position("recoverable", target, "max_runs=1")

    def decorator(fn: F) -> F:
        given, registry = checked(where("recoverable", fn), RECOVERY_OPTIONS, options, problems=problems)
        return decorate(fn, RecoverSpec(given) if given else _RECOVER, registry)  # type: ignore[no-any-return]

    return decorator
