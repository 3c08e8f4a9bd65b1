"""
What a registry knows by name: functions, circuits and chains, kept for good or for as long as they live.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakValueDictionary

from resilient.breaker import CircuitBreaker
from resilient.callers import warn_caller
from resilient.chain import FallbackChain
from resilient.configs import CircuitBreakerConfig
from resilient.errors import PolicyError
from resilient.policies.checks import text
from resilient.policies.circuit import CIRCUIT_OPTIONS, CircuitState
from resilient.policies.options import describe, same

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.hub import Hub
    from resilient.resilience import Resilience

__all__ = ["LIMIT", "Shelf", "Shelves", "contradictions", "not_a_text", "put_over"]

T = TypeVar("T")

LIMIT = 10_000
"""How many circuits, and how many chains, a registry keeps that nobody else holds."""

_LOOK_AT = 64


class Shelf(Mapping[str, T], Generic[T]):
    """
    A mapping by name, read-only for those who are handed it.

    Iterating works on a copy: what is put there or dies meanwhile does no harm.

    Attributes:
        kept: What stays.
        weak: What goes with whoever else holds it; no name is in both.
    """

    def __init__(self) -> None:
        self.kept: dict[str, T] = {}
        self.weak: WeakValueDictionary[str, T] = WeakValueDictionary()
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def _living(self) -> dict[str, T]:
        living = self.kept.copy()
        # A list of references is made in one step; the dictionary's own
        # iterators fail when another thread puts something in.
        for ref in self.weak.valuerefs():
            one = ref()
            if one is not None:
                living[ref.key] = one
        return living

    def __getitem__(self, name: str) -> T:
        try:
            return self.kept[name]
        except KeyError:
            return self.weak[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._living())

    def __len__(self) -> int:
        return len(self._living())

    # Looked up one by one, something might have died since its name was read.

    def values(self) -> ValuesView[T]:
        """
        Return what is there now.
        """
        return self._living().values()

    def items(self) -> ItemsView[str, T]:
        """
        Return what is there now, with its names.
        """
        return self._living().items()

    def forget(self, name: str, one: T) -> None:
        """
        Take *one*, which is called *name*, out of sight, if it is here only as long as somebody else holds it.
        """
        if self.weak.get(name) is one:
            del self.weak[name]

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}"

    def make_room(self, stays: Callable[[T], bool]) -> bool:
        """
        Where more is kept than `LIMIT`, let the oldest go, unless somebody else holds it.

        Args:
            stays: Tells whether one has to be kept all the same.

        Returns:
            Whether there was too much.
        """
        if len(self.kept) <= LIMIT:
            return False
        for name in list(itertools.islice(self.kept, _LOOK_AT)):
            one = self.kept.pop(name)
            if not stays(one):
                self.weak[name] = one
                break
            # Behind the others: the next look begins elsewhere.
            self.kept[name] = one
        return True

    def free_name(self, name: str) -> str:
        """
        Return *name*, or where it is taken ``name#2``, ``name#3`` and so on.
        """
        if name not in self:
            return name
        # One after the other would make ten thousand closures of one name
        # cost fifty million look-ups.
        taken, free = 1, 2
        while f"{name}#{free}" in self:
            taken, free = free, free * 2
        while free - taken > 1:
            middle = (taken + free) // 2
            if f"{name}#{middle}" in self:
                taken = middle
            else:
                free = middle
        return f"{name}#{free}"


class Shelves:
    """
    What has a name on a registry, each name once.

    Attributes:
        functions: The decorated functions by name.
        circuits: The circuits by name.
        chains: The fallback chains by name.
    """

    hub: Hub
    name: str

    def __init__(self) -> None:
        self.functions: Shelf[Resilience[..., Any]] = Shelf()
        self.circuits: Shelf[CircuitBreaker] = Shelf()
        self.chains: Shelf[FallbackChain] = Shelf()
        # Names that code has asked for: their circuits stay, whoever goes through them.
        self._asked_for: set[str] = set()
        # Circuits that are not closed, and that nobody goes through for now: those who went hold them.
        self._aside: WeakValueDictionary[str, CircuitBreaker] = WeakValueDictionary()
        # What there has been too much of, once: it is warned about once.
        self._crowded: set[str] = set()

    def _renew_locks(self) -> None:
        for shelf in (self.functions, self.circuits, self.chains):
            shelf._renew_locks()  # noqa: SLF001 - one convention, all the way down

    def circuit(
        self, name: str, config: CircuitBreakerConfig | None = None, *, defaults: Mapping[str, Any] | None = None
    ) -> CircuitBreaker:
        """
        Return the circuit called *name*, made now if there is none.

        A function's own circuit has the function's name, with a number where
        several functions share it.

        Args:
            name: Its name.
            config: Its options. A circuit first named without options takes
                the first that are given.
            defaults: Checked options that a circuit made now has until it is given some.

        Raises:
            PolicyError: *name* or *config* is something else, or *config*
                contradicts the options that the circuit was given before.
        """
        problems = not_a_text("name", name)
        if config is not None and not isinstance(config, CircuitBreakerConfig):
            problems.append(f"config must be a CircuitBreakerConfig or None, got {describe(config)}")
        if problems:
            where = "circuit()"
            raise PolicyError(where, problems)
        given = {} if config is None else config.given
        breaker = self.claim_circuit(name, given, f"circuit {name!r}", defaults)
        if name in self.circuits.kept:
            self._asked_for.add(name)
        return breaker

    def claim_circuit(
        self,
        name: str,
        given: Mapping[str, Any],
        where: str,
        defaults: Mapping[str, Any] | None = None,
        declared: Mapping[str, tuple[int, Any]] | None = None,
    ) -> CircuitBreaker:
        """
        Return the shared circuit called *name* under the checked options *given*.

        Args:
            name: Its name.
            given: Checked options.
            where: Who gives them, for people.
            defaults: Checked options that a circuit made now has until it is given some.
            declared: Checked options that are declared over those, each with the rank of its layer.

        Raises:
            PolicyError: The circuit was given others before.
        """
        with self.circuits._lock:  # noqa: SLF001 - the registry's own shelf
            breaker = self.circuits.get(name)
            if breaker is None and (aside := self._aside.pop(name, None)) is not None:
                breaker = self.circuits.kept[name] = aside
                aside.adopt(given, {})
            elif breaker is None:
                breaker = self.circuits.kept[name] = CircuitBreaker(name, registry=self)  # type: ignore[arg-type]  # a registry is the only one that has shelves
                if defaults:
                    breaker.adopt(defaults)
                    breaker.given = {}
            # Under the lock: of two that give the first options, one is the first.
            if given and not breaker.given:
                breaker.adopt(given)
            crowded = self.circuits.make_room(lambda one: one.state is not CircuitState.CLOSED or one is breaker)
        self._warn_once("circuits", crowded=crowded)
        problems = contradictions(breaker, given)
        if problems:
            raise PolicyError(where, problems)
        if declared:
            self._declare(breaker, declared, where)
        return breaker

    def _declare(self, breaker: CircuitBreaker, declared: Mapping[str, tuple[int, Any]], where: str) -> None:
        while True:
            before = breaker.declared
            together, problems = put_over(breaker.name, before, declared)
            if problems:
                raise PolicyError(where, problems)
            if same(together, before):
                return
            # Options are compared outside of the lock, for they may be objects of the user's.
            with self.circuits._lock:  # noqa: SLF001 - the registry's own shelf
                if breaker.declared is before:
                    breaker.adopt(breaker.given, together)

    def own_circuit(self, name: str, given: Mapping[str, Any], *, replace: bool) -> CircuitBreaker:
        """
        Return a new circuit that lives as long as its function.

        Args:
            name: The function's name; a number is added where it is taken.
            given: Its checked options.
            replace: Whether it takes the place of an own circuit of the same name.
        """
        shelf = self.circuits
        with shelf._lock:  # noqa: SLF001 - the registry's own shelf
            if not replace or name in shelf.kept:
                name = shelf.free_name(name)
            breaker = shelf.weak[name] = CircuitBreaker(name, registry=self)  # type: ignore[arg-type]  # a registry is the only one that has shelves
            if given:
                breaker.adopt(given)
        return breaker

    def drop_circuit(self, breaker: CircuitBreaker) -> None:
        """
        Forget a circuit that nobody goes through, and that no code has asked for.
        """
        name = breaker.name
        with self.circuits._lock:  # noqa: SLF001 - the registry's own shelf
            if not breaker.used and name not in self._asked_for and self.circuits.kept.get(name) is breaker:
                del self.circuits.kept[name]

    def lay_aside(self, breaker: CircuitBreaker, *, own: bool) -> bool:
        """
        Forget a circuit that a declaration has taken away from the last one who went through it.

        Args:
            breaker: The circuit.
            own: Whether it is a function's own, which nobody else can ask for.

        Returns:
            Whether it is to be held, for when it is given back: it is not closed.
        """
        name = breaker.name
        if breaker.used:
            return False
        self.drop_circuit(breaker)
        # An own one would stay in sight until the collector comes by.
        self.circuits.forget(name, breaker)
        if name in self.circuits or breaker.state is CircuitState.CLOSED:
            return False
        if not own:
            # Whoever names it next has it.
            self._aside[name] = breaker
        return True

    def take_back(self, breaker: CircuitBreaker, given: Mapping[str, Any]) -> bool:
        """
        Put a function's own circuit, which was laid aside, back in its place, under these checked options.

        Returns:
            Whether its place was free.
        """
        with self.circuits._lock:  # noqa: SLF001 - the registry's own shelf
            if breaker.name in self.circuits:
                return False
            self.circuits.weak[breaker.name] = breaker
            breaker.adopt(given, {})
        return True

    def chain(self, name: str) -> FallbackChain:
        """
        Return the fallback chain called *name*, made now if there is none.

        Raises:
            PolicyError: *name* is no name.
        """
        problems = not_a_text("name", name)
        if problems:
            where = "chain()"
            raise PolicyError(where, problems)
        with self.chains._lock:  # noqa: SLF001 - the registry's own shelf
            chain = self.chains.get(name)
            if chain is None:
                chain = self.chains.kept[name] = FallbackChain(name, registry=self)  # type: ignore[arg-type]  # a registry is the only one that has shelves
            crowded = self.chains.make_room(lambda one: one is chain)
        self._warn_once("chains", crowded=crowded)
        return chain

    def _warn_once(self, what: str, *, crowded: bool) -> None:
        if crowded and what not in self._crowded:
            self._crowded.add(what)
            msg = (
                f"registry {self.name!r} keeps {LIMIT} {what} and lets older ones go that nobody else holds;"
                " is a name made for each call or user? Use one name per dependency"
            )
            warn_caller(msg)


def contradictions(breaker: CircuitBreaker, given: Mapping[str, Any]) -> list[str]:
    """
    Return one sentence for each option of *given* that differs from what *breaker* was given before.
    """
    before = CIRCUIT_OPTIONS.filled(breaker.given) if breaker.declared else breaker.options
    return [
        f"{option}={value!r} contradicts {option}={before[option]!r}, which circuit {breaker.name!r} was given"
        " before; give the same, or leave the options to one place"
        for option, value in given.items()
        if not same(value, before[option])
    ]


def put_over(
    name: str, declared: Mapping[str, tuple[int, Any]], more: Mapping[str, tuple[int, Any]]
) -> tuple[dict[str, tuple[int, Any]], list[str]]:
    """
    Return what is declared for the circuit *name* with *more*, and what of it contradicts itself.

    Of two layers the higher one wins; within one they have to agree.
    """
    together = dict(declared)
    problems: list[str] = []
    for option, (rank, value) in more.items():
        below = together.get(option)
        if below is None or rank > below[0]:
            together[option] = rank, value
        elif rank == below[0] and not same(value, below[1]):
            problems.append(
                f"{option}={value!r} contradicts {option}={below[1]!r}, which is declared for circuit {name!r}"
                " elsewhere; declare the same, or leave the options to one place"
            )
    return together, problems


def not_a_text(what: str, value: object) -> list[str]:
    """
    Return what is wrong with *value* as the text that *what* has to be, if anything is.
    """
    try:
        text(value)
    except ValueError as error:
        return [f"{what} {error}, got {describe(value)}"]
    return []
