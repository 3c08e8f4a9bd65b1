"""
The decorators: `retry`, `circuit`, `fallback_chain`, `degradable` and `recoverable`.

Here their options are checked; `resilient.decorating` puts the policy onto the
function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import tenacity

from resilient.adapters.tenacity import retrying_options
from resilient.configs import CircuitBreakerConfig, Config, RetryConfig
from resilient.decorating import decorate, name_of
from resilient.errors import DecorationError, PolicyError
from resilient.levels import DegradationLevel
from resilient.policies import circuit as circuit_policy
from resilient.policies import retry as retry_policy
from resilient.policies.fallback import FALLBACK_OPTIONS, as_fallback
from resilient.policies.options import Option, OptionTable, describe, text
from resilient.policies.recovery import RECOVERY_OPTIONS
from resilient.registry import Registry
from resilient.specs import CircuitSpec, DegradeSpec, FallbackSpec, RecoverSpec, RetrySpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from resilient.policies.fallback import Fallback
    from resilient.policies.matching import Errors
    from resilient.policies.rules import Rule

__all__ = ["circuit", "degradable", "fallback_chain", "recoverable", "retry"]

F = TypeVar("F", bound="Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any]")


def _registry(options: dict[str, Any], problems: list[str]) -> Registry | None:
    registry = options.pop("registry", None)
    if registry is not None and not isinstance(registry, Registry):
        problems.append(f"registry must be a Registry or None, got {describe(registry)}")
        return None
    return registry


def _checked(
    where: str,
    table: OptionTable,
    options: dict[str, Any],
    *,
    base: Mapping[str, Any] | None = None,
    check_together: Callable[[Mapping[str, Any]], list[str]] | None = None,
) -> tuple[dict[str, Any], Registry | None]:
    """
    Return the checked options, those of *base* included, and the registry.
    """
    problems: list[str] = []
    registry = _registry(options, problems)
    given, found = table.check(options)
    problems += found
    given = {**(base or {}), **given}
    if not problems and check_together is not None:
        problems = check_together(given)
    if problems:
        raise PolicyError(where, problems)
    return given, registry


def _config(kind: str, config: object, wanted: type[Config]) -> Mapping[str, Any]:
    if config is None:
        return {}
    if not isinstance(config, wanted):
        msg = f"@{kind}: a config must be a {wanted.__name__}, got {describe(config)}"
        raise PolicyError(msg)
    return config.given


def _is_target(value: object) -> bool:
    """
    Tell whether a decorator was used bare: on something to decorate, or on something that looks like it.
    """
    return callable(value) or isinstance(value, classmethod | staticmethod | property)


# -- retry -------------------------------------------------------------------


@overload
def retry(target: F, /) -> F: ...


@overload
def retry(
    config: RetryConfig | tenacity.BaseRetrying | None = None,
    /,
    *,
    on: Errors | None = ...,
    max_attempts: int = ...,
    initial_delay: float | timedelta | str = ...,
    max_delay: float | timedelta | str = ...,
    exponential_base: float = ...,
    jitter: bool | str = ...,
    max_duration: float | timedelta | str | None = ...,
    on_result: Callable[[Any], object] | None = ...,
    wait: Callable[..., Any] | None = ...,
    stop: Callable[..., Any] | None = ...,
    retry: Callable[..., Any] | None = ...,
    before_sleep: Callable[..., Any] | None = ...,
    registry: Registry | None = ...,
) -> Callable[[F], F]: ...


def retry(config: Any = None, /, **options: Any) -> Any:
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
    if _is_target(config) and not isinstance(config, tenacity.BaseRetrying):
        if options:
            msg = "@retry takes its options by keyword, as in @retry(max_attempts=5)"
            raise DecorationError(msg)
        return decorate(config, RetrySpec({}), None)
    raw = dict(options)
    if isinstance(config, tenacity.BaseRetrying):
        base: Mapping[str, Any] = {k: v for k, v in retrying_options(config).items() if not _replaced(k, raw)}
    else:
        base = _config("retry", config, RetryConfig)

    def decorator(target: F) -> F:
        given, registry = _checked(
            f"@retry on {name_of(_inner(target))}",
            retry_policy.RETRY_OPTIONS,
            dict(raw),
            base=base,
            check_together=retry_policy.check_together,
        )
        return decorate(target, RetrySpec(given), registry)  # type: ignore[no-any-return]

    return decorator


def _replaced(strategy: str, options: Mapping[str, Any]) -> bool:
    """
    Tell whether keywords beside a tenacity object stand in for its *strategy*.
    """
    return any(name in options for name in (strategy, *retry_policy.STANDS_FOR.get(strategy, ())))


def _inner(target: Any) -> Any:
    return target.__func__ if isinstance(target, classmethod | staticmethod) else target


# -- circuit -----------------------------------------------------------------


@overload
def circuit(target: F, /) -> F: ...


@overload
def circuit(
    name: str | CircuitBreakerConfig | None = None,
    config: CircuitBreakerConfig | None = None,
    /,
    *,
    failure_threshold: int = ...,
    success_threshold: int = ...,
    open_for: float | timedelta | str = ...,
    timeout: float | timedelta | str = ...,
    reopen_factor: float = ...,
    max_timeout: float | timedelta | str = ...,
    half_open_max_calls: int = ...,
    probe_lease: float | timedelta | str | None = ...,
    window: int | timedelta | str | None = ...,
    failure_rate: float | None = ...,
    min_calls: int = ...,
    slow_call: float | timedelta | str | None = ...,
    slow_call_rate: float = ...,
    critical: bool = ...,
    mode: str = ...,
    counts: Errors = ...,
    ignore: Errors = ...,
    listeners: object = ...,
    registry: Registry | None = ...,
) -> Callable[[F], F]: ...


def circuit(name: Any = None, config: Any = None, /, **options: Any) -> Any:
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
    if isinstance(name, CircuitBreakerConfig):
        name, config = None, name
    if _is_target(name):
        return decorate(name, CircuitSpec(None, {}), None)
    if name is not None:
        try:
            text(name)
        except ValueError as error:
            msg = f"@circuit: its name {error}, got {describe(name)}"
            raise PolicyError(msg) from None
    base = _config("circuit", config, CircuitBreakerConfig)
    raw = dict(options)

    def decorator(target: F) -> F:
        given, registry = _checked(
            f"@circuit on {name_of(_inner(target))}",
            circuit_policy.CIRCUIT_OPTIONS,
            dict(raw),
            base=base,
            check_together=circuit_policy.check_together,
        )
        return decorate(target, CircuitSpec(name, given), registry)  # type: ignore[no-any-return]

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
    options = {"name": name, "on": on, **unknown}
    if not entries:
        msg = f"@fallback_chain has nothing to fall back to; {_WRITE}"
        raise PolicyError(msg)

    def decorator(*targets: Any, **_: Any) -> Any:
        if len(targets) != 1 or not _is_target(targets[0]):
            msg = f"{name_of(entries[0])} stands under a bare @fallback_chain, which takes it for a fallback; {_WRITE}"
            raise DecorationError(msg)
        where = f"@fallback_chain on {name_of(_inner(targets[0]))}"
        given, home = _checked(where, FALLBACK_OPTIONS, {**options, "registry": registry})
        checked = tuple(as_fallback(entry) for entry in entries)
        return decorate(targets[0], FallbackSpec(checked, given), home)

    return decorator


# -- degradable ------------------------------------------------------------------


def _level(value: object) -> DegradationLevel | None:
    if value is None:
        return None
    try:
        return DegradationLevel.of(value)  # type: ignore[arg-type]  # what is neither raises
    except ValueError:
        names = ", ".join(repr(level.label) for level in DegradationLevel)
        msg = f"must be a DegradationLevel or one of {names}"
        raise ValueError(msg) from None


def _scope(value: object) -> str | None:
    return None if value is None else text(value)


_DEGRADE_OPTIONS = OptionTable(
    "degradable",
    Option("scope", _scope, None, "whose level is followed; None: the registry's"),
    Option("only_below", _level, None, "the level from which on the function is left alone"),
    Option("floor", _level, None, "the lowest level that the function follows"),
)


@overload
def degradable(target: F, /) -> F: ...


@overload
def degradable(
    *,
    scope: str | None = ...,
    only_below: DegradationLevel | str | None = ...,
    floor: DegradationLevel | str | None = ...,
    rules: Mapping[str, Rule | bool] | None = ...,
    registry: Registry | None = ...,
    **own: Rule | bool,
) -> Callable[[F], F]: ...


def degradable(target: Any = None, /, **options: Any) -> Any:
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
    if _is_target(target):
        return decorate(target, DegradeSpec({}, {}), None)
    if target is not None:
        msg = f"@degradable takes its rules by keyword, as in @degradable(steps=scale()), got {describe(target)}"
        raise PolicyError(msg)
    raw = dict(options)

    def decorator(fn: F) -> F:
        rest = dict(raw)
        rules = rest.pop("rules", None) or {}
        where = f"@degradable on {name_of(_inner(fn))}"
        if not isinstance(rules, dict):
            raise PolicyError(where, [f"rules must be a dict of rules by parameter, got {describe(rules)}"])
        named = {key: rest.pop(key) for key in (*_DEGRADE_OPTIONS.options, "registry") if key in rest}
        given, registry = _checked(where, _DEGRADE_OPTIONS, named)
        return decorate(fn, DegradeSpec({**rest, **rules}, given), registry)  # type: ignore[no-any-return]

    return decorator


# -- recoverable -------------------------------------------------------------------


@overload
def recoverable(target: F, /) -> F: ...


@overload
def recoverable(
    *, playbook: str | None = ..., max_runs: int = ..., registry: Registry | None = ...
) -> Callable[[F], F]: ...


def recoverable(target: Any = None, /, **options: Any) -> Any:
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
    if _is_target(target):
        return decorate(target, RecoverSpec({}), None)
    if target is not None:
        msg = f"@recoverable takes its options by keyword, as in @recoverable(max_runs=1), got {describe(target)}"
        raise PolicyError(msg)
    raw = dict(options)

    def decorator(fn: F) -> F:
        given, registry = _checked(f"@recoverable on {name_of(_inner(fn))}", RECOVERY_OPTIONS, dict(raw))
        return decorate(fn, RecoverSpec(given), registry)  # type: ignore[no-any-return]

    return decorator
