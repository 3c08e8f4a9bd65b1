"""
Modules that are still to come: told of when they have run.

wrapt's import hooks wait for one name each, fire once and cannot be taken back.
Patterns stand for names that nobody knows yet, a module may be reloaded, and
weaving can be undone; so this is a finder of our own, which finds nothing
itself and remembers nothing: it lets the finders behind it look, and has what
they find tell when it has run.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any, TypeGuard

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

if TYPE_CHECKING:
    # Only type checkers know it by its parameter.
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy

__all__ = ["ImportHook", "is_lazy", "is_module", "is_plain", "namespace", "unfinished"]

_LAZY: Any = getattr(importlib.util, "_LazyModule", ())

# Past what a module's class says: looking at a lazy module must not load it.
_dict_of = vars(types.ModuleType)["__dict__"].__get__


def namespace(module: ModuleType) -> dict[str, Any]:
    """
    Return the module's dictionary, and run nothing of the module's.
    """
    return _dict_of(module)  # type: ignore[no-any-return]


def is_module(value: object) -> TypeGuard[ModuleType]:
    """
    Tell whether *value* is a module, and not something that is in `sys.modules` in a module's place.
    """
    return issubclass(type(value), types.ModuleType)


def is_plain(value: object) -> TypeGuard[ModuleType]:
    """
    Tell whether *value* is a module that has run, or is running.
    """
    return is_module(value) and not is_lazy(value)


def is_lazy(module: ModuleType) -> bool:
    """
    Tell whether the module runs when somebody first asks it for something.
    """
    if type(module) is not _LAZY:
        return False
    # From Python 3.12.3 on its class changes only after it has run; until then its spec tells that it is running.
    state = getattr(namespace(module).get("__spec__"), "loader_state", None)
    return not (isinstance(state, dict) and state.get("is_loading"))


def unfinished(module: ModuleType) -> bool:
    """
    Tell whether the module is being imported now.
    """
    # importlib's own flag, the one by which it finds partly initialised modules.
    return bool(getattr(namespace(module).get("__spec__"), "_initializing", False))


class ImportHook:
    """
    A finder that has modules tell when they have run, reloads included.

    Args:
        wants: Tells by its name whether a module is of interest.
        loaded: Called with each such module when it has run.
    """

    def __init__(self, wants: Callable[[str], bool], loaded: Callable[[ModuleType], None]) -> None:
        self.wants: Callable[[str], bool] = wants
        self.loaded: Callable[[ModuleType], None] = loaded

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.wants!r}>"

    def install(self) -> None:
        """
        Look on at every import from now on; a second time changes nothing.
        """
        if not any(finder is self for finder in sys.meta_path):
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """
        Look on no longer.
        """
        # A new list: another thread may be walking the old one, and would pass over a finder if that shrank.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """
        Return what the finders behind this one find; None where the import should go on without.
        """
        if not self.wants(fullname):
            return None
        behind = iter(sys.meta_path)
        if not any(finder is self for finder in behind):
            return None
        for finder in behind:
            find = getattr(finder, "find_spec", None)
            if find is None:
                # A finder of old; only importlib knows how to ask it, in its turn.
                return None
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                self.watch(spec)
                return spec
        return None

    def watch(self, spec: ModuleSpec) -> None:
        """
        Have the module of *spec* tell when it has run.
        """
        # A namespace package has no loader and runs nothing.
        if hasattr(spec.loader, "exec_module") and not isinstance(spec.loader, _Telling):
            telling: Any = _Telling(spec.loader, self)
            spec.loader = telling

    def watch_lazy(self, module: ModuleType) -> None:
        """
        Have a module that is there, but has not run yet, tell when it has.
        """
        self.watch(namespace(module)["__spec__"])


class _Telling(_Proxy):
    """
    A loader that tells when its module has run; in all else it is the loader itself.
    """

    def __init__(self, loader: Any, hook: ImportHook) -> None:
        super().__init__(loader)
        self._self_hook = hook

    def exec_module(self, module: ModuleType) -> None:
        """
        Run the module, and tell.
        """
        if not is_module(module):
            self.__wrapped__.exec_module(module)
            return
        # It sees its own loader only, from its first line on.
        names = namespace(module)
        spec = names.get("__spec__")
        if names.get("__loader__") is self:
            names["__loader__"] = self.__wrapped__
        if getattr(spec, "loader", None) is self:
            spec.loader = self.__wrapped__  # type: ignore[union-attr]  # None has no loader
        try:
            self.__wrapped__.exec_module(module)
        except BaseException:
            # A reload that has failed leaves the module there, with some functions made anew.
            if not unfinished(module) and sys.modules.get(names.get("__name__", "")) is module:
                self._self_hook.loaded(module)
            raise
        if is_lazy(module) and spec is not None and spec.loader is not self.__wrapped__:
            # `LazyLoader` has only put it there; what runs it later is in its spec now.
            self._self_hook.watch(spec)
        else:
            self._self_hook.loaded(module)
