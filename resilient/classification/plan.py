"""
What the class of an error decides for all errors of it; made once, and cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from resilient.classification import rules
from resilient.classification.added import AddedRule, deciding
from resilient.classification.attributes import dotted_names, get, getter, type_defines
from resilient.classification.codes import CODE_ATTRIBUTES, read_codes
from resilient.classification.comfyui import read_message
from resilient.classification.retry_after import WISH_ATTRIBUTES
from resilient.errors import FallbackChainExhaustedError
from resilient.text import safe_str

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from resilient.classification.rules import Classification

__all__ = ["WATCHED", "Plan", "make_plan"]

WATCHED = CODE_ATTRIBUTES | WISH_ATTRIBUTES
"""The attributes that hold codes and a server's wish."""

_NETWORK_PACKAGES = ("aiohttp.", "botocore.", "httpcore.", "httpx.", "requests.", "urllib3.")
_JAX_PACKAGES = ("jax.", "jaxlib.")


class Plan:
    """
    What is known of every error of one class, and what to look at in each of them.
    """

    __slots__ = ("base", "by_type", "errnos", "fixed", "group", "payload", "predicates", "stand_in", "texts")

    def __init__(self) -> None:
        # Users' predicates, asked in this order.
        self.predicates: tuple[AddedRule, ...] = ()
        # The answer, whatever an error carries.
        self.fixed: Classification | None = None
        # What the numbers in `errno` mean; None where there is no `errno`.
        self.errnos: Mapping[int, Classification] | None = None
        # Whether the arguments can be a server's message.
        self.payload: bool = False
        # What to look for in the message, in this order.
        self.texts: tuple[tuple[str, Classification], ...] = ()
        # The answer where an error carries nothing that says more.
        self.base: Classification | None = None
        # Whether it is a group of errors.
        self.group: bool = False
        # Whether the class itself defines attributes in which codes are found.
        self.by_type: bool = False
        # The attribute that stands for a missing `__cause__`.
        self.stand_in: str = ""

    def is_bare(self, exc: BaseException) -> bool:
        """
        Tell whether *exc* has none of the attributes that hold codes and a server's wish.
        """
        return not self.by_type and WATCHED.isdisjoint(exc.__dict__)

    def read(self, exc: BaseException, *, bare: bool) -> Classification | None:
        """
        Return what *exc* itself says: its codes and its message, else its class.

        Args:
            exc: An error of the class that this plan is for.
            bare: What `is_bare` said of it.
        """
        if self.fixed is not None:
            return self.fixed
        try:
            if self.errnos is not None:
                found = self.errnos.get(exc.errno)  # type: ignore[attr-defined]
                if found is not None:
                    return found
            if not bare:
                found = read_codes(exc, getter(exc, by_type=self.by_type))
                if found is not None:
                    return found
            return (self._read_text(exc) if self.payload or self.texts else None) or self.base
        except Exception:  # noqa: BLE001 - an attribute of a foreign exception raised; its class is known all the same
            return self.base

    def inner(self, exc: BaseException) -> object:
        """
        Return the error that *exc* was raised from, where there is one.
        """
        cause = get(exc, "__cause__")
        if cause is not None or not self.stand_in:
            return cause
        inner = get(exc, self.stand_in)
        return next(iter(cast("tuple[object, ...]", inner)), None) if isinstance(inner, tuple) else inner

    def _read_text(self, exc: BaseException) -> Classification | None:
        found = None
        if self.payload and exc.args:
            first = exc.args[0]
            # Most arguments are plain messages; few can be a server's.
            if type(first) is not str or first.startswith(("{", "execution_")):
                found = read_message(exc.args)
        if found is None and self.texts:
            message = safe_str(exc)
            for text, said in self.texts:
                if text in message:
                    return said
        return found


def make_plan(cls: type, added: Iterable[AddedRule]) -> Plan:
    """
    Return the plan for errors of *cls*.

    Args:
        cls: The class.
        added: Users' rules, in the order in which they are asked.
    """
    plan = Plan()
    if not issubclass(cls, Exception):
        plan.fixed = rules.CANCELLATION
        return plan
    names = [dotted_names(base) for base in cls.__mro__]
    shorts = [known[0] for known in names if known]
    plan.predicates, plan.fixed = deciding(added, cls, names)
    plan.group = issubclass(cls, BaseExceptionGroup)
    plan.by_type = type_defines(cls, WATCHED)
    if plan.fixed is not None or plan.group:
        return plan
    if issubclass(cls, FallbackChainExhaustedError):
        # As its cause; the first of its errors is the same one, and pickling loses a cause.
        plan.stand_in = "errors"
        return plan
    if "urllib.URLError" in shorts:
        plan.stand_in = "reason"
    plan.fixed = next((rules.FIRST_CLASSES[name] for name in shorts if name in rules.FIRST_CLASSES), None)
    plan.base = next((rules.CLASSES[name] for name in shorts if name in rules.CLASSES), None)
    plan.errnos = _errnos(cls, shorts)
    plan.payload = plan.errnos is None
    plan.texts = _texts(plan.base, shorts)
    return plan


def _errnos(cls: type, names: list[str]) -> Mapping[int, Classification] | None:
    if not issubclass(cls, OSError):
        return None
    if "socket.gaierror" in names or "aiohttp.ClientConnectorDNSError" in names:
        return rules.RESOLVER_ERRNOS
    # TLS errors carry numbers of their own.
    return {} if "ssl.SSLError" in names else rules.ERRNOS


def _texts(base: Classification | None, names: list[str]) -> tuple[tuple[str, Classification], ...]:
    texts: tuple[tuple[str, Classification], ...] = ()
    if any(name.startswith(_NETWORK_PACKAGES) for name in names):
        texts += rules.NETWORK_TEXTS
    if "redis.ResponseError" in names:
        texts += rules.REDIS_TEXTS
    if base is None or base.rule.startswith("class:torch."):
        texts += rules.TEXTS
    if any(name.startswith(_JAX_PACKAGES) for name in names):
        texts += rules.JAX_TEXTS
    return texts
