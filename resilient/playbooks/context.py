"""
What a recovery step is given: the failed call, which it may change for the next one.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from resilient.clock import SYSTEM_CLOCK
from resilient.policies.arguments import MISSING
from resilient.policies.rules import equal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from resilient.clock import Clock
    from resilient.errorinfo import ErrorInfo
    from resilient.levels import DegradationLevel
    from resilient.policies.arguments import Parameters
    from resilient.registry import Registry

    _State: TypeAlias = tuple[tuple[Any, ...], dict[str, Any], DegradationLevel | None, frozenset[str], bool]

__all__ = ["RecoveryContext", "is_offline"]

_OFFLINE: ContextVar[bool] = ContextVar("resilient_offline", default=False)


def is_offline() -> bool:
    """
    Tell whether the operation around this code was put into offline mode by its recovery.
    """
    return _OFFLINE.get()


class RecoveryContext:
    """
    A failed call, for recovery steps; one per operation.

    Args:
        error: What failed, as text.
        function: The function's name, ``module:qualname``; "" where there is none.
        args: The call's positional arguments.
        kwargs: The call's keyword arguments, copied.
        registry: The function's registry; None where the playbook stands alone.
        parameters: What the function takes; None where nobody will call again.
        is_async: Whether the operation is async.
        level: The service level that the call ran at; None: the function does
            not follow one.
        features: The parameters that are feature flags (`enabled_from`).

    Attributes:
        args, kwargs: Change them for the next call.
        level_override: The level for the next call where a step lowered it.
        disabled_features: Features that are off for the next call.
        offline: Whether the next call is made with `is_offline` true.
        failure: The text of the error that the last step failed with, or None.
    """

    __slots__ = (
        "_before",
        "_clock",
        "_deadline",
        "_fields",
        "_original",
        "args",
        "disabled_features",
        "error",
        "failure",
        "features",
        "function",
        "is_async",
        "kwargs",
        "level",
        "level_override",
        "offline",
        "parameters",
        "registry",
    )

    def __init__(
        self,
        error: ErrorInfo,
        *,
        function: str = "",
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        registry: Registry | None = None,
        parameters: Parameters | None = None,
        is_async: bool = False,
        level: DegradationLevel | None = None,
        features: Iterable[str] = (),
    ) -> None:
        self.error: ErrorInfo = error
        self.function: str = function
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = dict(kwargs or {})
        self.registry: Registry | None = registry
        self.parameters: Parameters | None = parameters
        self.is_async: bool = is_async
        self.level: DegradationLevel | None = level
        self.level_override: DegradationLevel | None = None
        self.features: tuple[str, ...] = tuple(features)
        self.disabled_features: set[str] = set()
        self.offline: bool = False
        self.failure: str | None = None
        self._original = (args, dict(self.kwargs))
        self._before = self._state()
        self._clock: Clock = SYSTEM_CLOCK
        self._deadline: float | None = None
        self._fields: set[str] = set()

    def begin(self, clock: Clock, timeout: float | None) -> None:
        """
        Begin a step that has *timeout* seconds; None: all the time there is.
        """
        self._clock = clock
        self._deadline = None if timeout is None else clock.monotonic() + timeout
        self._before = self._state()
        self._fields = set()
        self.failure = None

    def undo(self) -> None:
        """
        Take back what the step has changed: it does not apply.
        """
        self.args, kwargs, self.level_override, features, self.offline = self._before
        self.kwargs = dict(kwargs)
        self.disabled_features = set(features)

    def _state(self) -> _State:
        return self.args, dict(self.kwargs), self.level_override, frozenset(self.disabled_features), self.offline

    def remaining(self) -> float | None:
        """
        Return the seconds until the step's timeout, at least 0; None: it has none.
        """
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._clock.monotonic())

    def values(self, names: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
        """
        Yield name, path and value of those *names* that the call has, fields of a request object included.
        """
        if self.parameters is None:
            return
        for name in names:
            path = self.parameters.find(name, self.args, self.kwargs)
            if path is not None:
                yield name, path, self.parameters.get(path, self.args, self.kwargs)

    def put(self, values: Mapping[str, Any]) -> None:
        """
        Give the next call *values* at the paths that `values` has yielded.
        """
        if self.parameters is not None:
            self.args, self.kwargs = self.parameters.replace_all(values, self.args, self.kwargs)
            self._fields.update(path for path in values if "." in path)

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """
        Return what the step has changed so far: parameter to (before, after).

        A field that `put` has changed is told by its path, without the rest of
        its request object. A parameter that the call did not have is None.
        """
        parameters = self.parameters
        names = dict.fromkeys((*(parameters.names if parameters else ()), *self._before[1], *self.kwargs))
        found: dict[str, tuple[Any, Any]] = {}
        for name in names:
            fields = sorted(path for path in self._fields if path.startswith(f"{name}."))
            for path in fields or [name]:
                before, after = (
                    kwargs.get(path) if parameters is None else parameters.get(path, args, kwargs)
                    for args, kwargs in (self._before[:2], (self.args, self.kwargs))
                )
                if not equal(before, after):
                    found[path] = tuple(None if one is MISSING else one for one in (before, after))  # type: ignore[assignment]
        return found

    def restore(self) -> None:
        """
        Give the next call the arguments that the operation began with.
        """
        self.args, kwargs = self._original
        self.kwargs = dict(kwargs)

    @contextlib.contextmanager
    def in_force(self) -> Generator[None]:
        """
        Put what no argument can say into force around the next call: `is_offline`.
        """
        if not self.offline:
            yield
            return
        token = _OFFLINE.set(True)
        try:
            yield
        finally:
            # A plan that was thrown away is closed wherever the collector runs.
            with contextlib.suppress(ValueError):
                _OFFLINE.reset(token)

    def __repr__(self) -> str:
        # No arguments: they may be secret, and large.
        kind = "async" if self.is_async else "sync"
        return f"<RecoveryContext of {kind} {self.function or 'no function'}: {self.error.error_type}>"
