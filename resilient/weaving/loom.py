"""
What is woven: guards put in the place of functions, in modules that are there and in those that come.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from resilient.callers import warn_caller
from resilient.declared.declarations import Deferred
from resilient.declared.rebinding import rebind
from resilient.errors import DecorationError, PolicyError
from resilient.governing import governed
from resilient.policies.fallback import FallbackPolicy
from resilient.resilience import Resilience
from resilient.weaving.finding import IN_C, Found, raw_of, things_of
from resilient.weaving.hooks import ImportHook, is_lazy, is_module, is_plain, namespace, unfinished
from resilient.weaving.reach import Reach
from resilient.weaving.telling import Told, listed, references
from resilient.weaving.woven import LOOM, Woven, restore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from resilient.registry import Registry

__all__ = ["Weaving"]

# The kinds of policies that lead to other functions.
_REFERRING = {FallbackPolicy.kind, Deferred.kind}


class _Batch(NamedTuple):
    """
    What one look at some modules has brought.
    """

    woven: list[Woven]
    problems: list[str]


class Weaving:
    """
    The functions that declared policies were woven into, and what was not reached.

    There is one for each registry; `weave` makes it.

    Args:
        registry: Whose declarations are woven.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry: Registry = registry
        self._hook = ImportHook(self._wants, self._loaded)
        # What is reached, and by which declarations: replaced in one step, for several threads may look.
        self._seen: tuple[Any, Reach] = None, Reach()
        self._woven: dict[tuple[int, str], Woven] = {}
        self._names: dict[str, set[str]] = {}
        self._skipped: dict[str, str] = {}
        self._problems: dict[str, tuple[str, ...]] = {}
        self._unfinished: list[ModuleType] = []
        # Those whose policies lead to a module that is still being imported, with its name.
        self._awaiting: list[tuple[str, Woven]] = []
        # Those whose policies lead to other functions.
        self._referring: WeakSet[Resilience[..., Any]] = WeakSet()
        self._told = Told()
        self._done = False

    def __repr__(self) -> str:
        undone = ", undone" * self._done
        return f"<Weaving of {len(self.functions)} functions on registry {self.registry.name!r}{undone}>"

    @property
    def functions(self) -> tuple[str, ...]:
        """
        The names of the functions that are woven now, sorted.
        """
        self._finish()
        return tuple(sorted({one.name for one in self._standing()}))

    @property
    def missed(self) -> tuple[tuple[str, str], ...]:
        """
        Who else holds a woven function as it was, past its policies: modules, classes and tables, each with the key.

        All loaded modules are looked through for it, each time.
        """
        self._finish()
        return tuple(sorted({(where, key) for where, key, _ in references(self._standing(), _modules())}))

    @property
    def skipped(self) -> dict[str, str]:
        """
        What patterns match and cannot be woven, by name, each with the reason.
        """
        self._finish()
        return dict(self._skipped)

    @property
    def problems(self) -> tuple[str, ...]:
        """
        What is declared and cannot be put on its function, each with the reason; such a function is not woven.

        It is about modules that were imported after weaving: `weave` raises for those that are there.
        """
        self._finish()
        return tuple(dict.fromkeys(one for problems in self._problems.copy().values() for one in problems))

    @property
    def unmatched(self) -> tuple[str, ...]:
        """
        The patterns that match no function so far; modules that are imported later may have one.
        """
        self._finish()
        names = {*self.registry.functions}.union(*self._names.copy().values())
        return tuple(rule.pattern for rule in self._reaching().unused(names.difference(self._skipped)))

    def undo(self) -> None:
        """
        Put back what was there before, and look on at imports no longer.

        What somebody else has put there meanwhile stays, with a warning. Whoever holds a woven function goes on
        calling it under its policies; decorated functions keep what is declared for them.
        """
        with LOOM.lock:
            self._done = True
            woven, self._woven = list(self._woven.values()), {}
            if LOOM.weavings.get(self.registry) is self:
                del LOOM.weavings[self.registry]
                self.registry.follower = None
        self._hook.remove()
        self._unfinished.clear()
        self._awaiting.clear()
        if left := restore(woven):
            warn_caller(f"left as they are, for somebody else has replaced them since they were woven: {listed(left)}")

    # -- looking at modules ----------------------------------------------------

    def look(self) -> None:
        """
        Weave what is imported, and from now on what will be.

        Raises:
            PolicyError: With every function that its policies cannot be put on; no function has changed.
        """
        # First, so that no module is imported between the two.
        self._hook.install()
        batch = _Batch([], [])
        modules = _modules()
        for _, module in modules:
            if is_module(module):
                self._weave(module, batch, running=unfinished(module))
        self._settle(batch)
        if batch.problems:
            for one in batch.woven:
                self._woven.pop(one.place, None)
            restore(batch.woven)
            where = "weave()"
            raise PolicyError(where, batch.problems)
        self._problems.clear()
        self._told.missed(batch.woven, modules)
        self._tell_unmatched(rule.pattern.partition(":")[0] for rule in self._reaching().rules)

    def follow(self) -> None:
        """
        Weave what other declarations mean by now. They are in force, so what is wrong with a function is told.
        """
        modules = _modules()
        batch = _Batch([], [])
        for _, module in modules:
            if is_module(module):
                self._weave(module, batch, running=unfinished(module))
        self._settle(batch)
        self._problems.clear()
        self._refuse("", batch)
        self._told.missed(batch.woven, modules)
        self._tell_unmatched(rule.pattern.partition(":")[0] for rule in self._reaching().rules)

    def _loaded(self, module: ModuleType) -> None:
        """
        Weave a module that has just run. Nothing that is wrong with it may keep it from being imported.
        """
        if self._done:
            return
        names = namespace(module)
        batch = _Batch([], [])
        self._weave(module, batch)
        # It may have put something else in its own place.
        name = names.get("__name__", "")
        instead = sys.modules.get(name)
        if instead is not module and is_module(instead):
            self._weave(instead, batch)
        self._settle(batch)
        self._problems.pop(name, None)
        self._refuse(name, batch)
        if batch.woven:
            # Who has it already was imported by it: later in the order of imports.
            modules = _modules()
            places = [index for index, (_, one) in enumerate(modules) if one is module]
            self._told.missed(batch.woven, modules[places[0] if places else 0 :])
        self._tell_unmatched([name])

    def _finish(self) -> None:
        """
        Look once more at modules that were being imported when they were looked at, or led to.
        """
        with LOOM.lock:
            come = [one for name, one in self._awaiting if not _under_way(sys.modules.get(name))]
            self._awaiting = [pair for pair in self._awaiting if not any(pair[1] is one for one in come)]
        for woven in come:
            batch = _Batch([woven], [])
            self._settle(batch)
            self._refuse(woven.name.partition(":")[0], batch)
        for module in self._unfinished.copy():
            with LOOM.lock:
                if unfinished(module) or not self._waits(module):
                    continue
                self._unfinished.remove(module)
            self._loaded(module)

    def _refuse(self, name: str, batch: _Batch) -> None:
        """
        Keep and tell the problems that functions of the module *name* have.
        """
        if batch.problems:
            self._problems[name] = (*self._problems.get(name, ()), *batch.problems)
            self._told.refused(name, batch.problems)

    def _waits(self, module: ModuleType) -> bool:
        return any(one is module for one in self._unfinished)

    def _wants(self, name: str) -> bool:
        if self._done:
            return False
        if self._unfinished or self._awaiting:
            self._finish()
        return self._reaching().module(name)

    def _reaching(self) -> Reach:
        declarations = self.registry.declarations
        seen, reach = self._seen
        if declarations is not seen:
            reach = Reach(declarations)
            self._seen = declarations, reach
        return reach

    def _weave(self, module: ModuleType, batch: _Batch, *, running: bool = False) -> None:
        name = namespace(module).get("__name__")
        reach = self._reaching()
        if type(name) is not str or self._done or not reach.module(name):
            return
        if is_lazy(module):
            self._hook.watch_lazy(module)
            return
        if running and not self._waits(module):
            self._unfinished.append(module)
        meant = reach.function
        for thing in things_of(module, name):
            if not meant(thing.name):
                continue
            if not isinstance(thing, Found):
                self._skipped[thing.name] = thing.what
            elif thing.native and not meant(thing.name, named=True):
                self._skipped[thing.name] = IN_C
            else:
                self._weave_function(name, thing, batch)

    def _weave_function(self, module: str, found: Found, batch: _Batch) -> None:
        self._names.setdefault(module, set()).add(found.name)
        self._skipped.pop(found.name, None)
        carried = getattr(raw_of(found.value), "resilience", None)
        if isinstance(carried, Resilience):
            if carried.registry is not self.registry:
                self._skipped[found.name] = f"it is on registry {carried.registry.name!r}, which declares for itself"
            return
        place = found.place
        with LOOM.lock:
            if place in LOOM.busy:
                return
            LOOM.busy.add(place)
        try:
            batch.woven.extend(self._put(place, found, governed(registry=self.registry)(found.value)))
        except DecorationError as error:
            self._skipped[found.name] = str(error)
        except PolicyError as error:
            batch.problems.append(str(error))
        finally:
            LOOM.busy.discard(place)

    def _put(self, place: tuple[int, str], found: Found, value: Any) -> list[Woven]:
        woven = []
        with LOOM.lock:
            # Meanwhile somebody may have put another function there, or have undone everything.
            if not self._done and found.stands:
                try:
                    woven.append(Woven(found, value, lambda: self._woven.pop(place, None)))
                    self._woven[place] = woven[0]
                except TypeError as error:
                    self._skipped[found.name] = f"its class cannot be changed: {error}"
        if not woven:
            raw_of(value).resilience.leave()
        return woven

    def _settle(self, batch: _Batch) -> None:
        """
        Follow references once more: what they lead to may have been woven since, or be complete now.
        """
        for woven in batch.woven:
            # None where what was imported for another function has replaced this one.
            resilience = woven.resilience
            policies = () if resilience is None else resilience.policies
            if any(type(policy) is Deferred for policy in policies):
                declarations: Any = self.registry.declarations
                try:
                    # The module has run: what it lacks now it lacks at the first call too. Another may be under way.
                    declarations.specs_for(resilience)
                except PolicyError as error:
                    awaited = declarations.awaited(woven.name)
                    if awaited is None:
                        batch.problems.append(str(error))
                        restore([woven])
                    elif awaited != "__main__":
                        self._awaiting.append((awaited, woven))
                    continue
            if resilience is not None and any(policy.kind in _REFERRING for policy in policies):
                with LOOM.lock:
                    self._referring.add(resilience)
        if batch.woven:
            with LOOM.lock:
                referring = list(self._referring)
            try:
                rebind(self.registry, referring)
            except PolicyError as error:
                batch.problems.append(str(error))

    def _tell_unmatched(self, names: Iterable[str]) -> None:
        reach = self._reaching()
        modules = {name: sys.modules.get(name) for name in names}
        # What is still running, and a program's own file, may yet define it.
        done = {
            name: module
            for name, module in modules.items()
            if name != "__main__" and is_plain(module) and reach.module(name) and not self._waits(module)
        }
        self._told.unmatched(reach, done, self._names, self._skipped)

    def _standing(self) -> list[Woven]:
        return [one for one in list(self._woven.values()) if one.resilience is not None]


def _under_way(module: Any) -> bool:
    return is_module(module) and unfinished(module)


def _modules() -> list[tuple[str, Any]]:
    # Copied in one step: another thread may be importing, and while a list of pairs is made garbage may be collected.
    return list(sys.modules.copy().items())
