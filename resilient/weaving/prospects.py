"""
Whether weaving would guard what stands at a name, and why not; nothing is woven.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any, NamedTuple

from resilient.decorating import refuse
from resilient.errors import DecorationError
from resilient.weaving.finding import IN_C, Found, contents, own_name, raw_of, things_of
from resilient.weaving.hooks import is_module, is_plain

if TYPE_CHECKING:
    from resilient.weaving.reach import Reach

__all__ = ["Prospect", "prospect"]


class Prospect(NamedTuple):
    """
    What weaving would do with a function that nobody decorated.

    Attributes:
        name: The name that patterns have to match; None where it has none, for it is no function.
        why_not: Why it would not be guarded; None where it would be.
    """

    name: str | None
    why_not: str | None


def prospect(value: Any, holder: Any, key: str, reach: Reach) -> Prospect:
    """
    Return what weaving would do with *value*.

    Args:
        value: What ``getattr(holder, key)`` returns.
        holder: The module, class or object that has it.
        key: Its name there.
        reach: What is declared.
    """
    # A method of a class or an object is looked at; one that a module has taken is a thing of its own.
    fn = value.__func__ if type(value) is types.MethodType and not is_module(holder) else value
    name = own_name(fn)
    try:
        refuse(fn, "governed")
    except DecorationError as error:
        return Prospect(name, str(error))
    if name is None:
        return Prospect(None, f"weaving guards functions and methods, and this is of the type {type(fn).__name__}")
    return Prospect(name, reach.why_not(name) or _unreached(fn, name, holder, key, reach))


def _unreached(fn: Any, name: str, holder: Any, key: str, reach: Reach) -> str | None:
    """
    Return why weaving does not come upon *fn*, which a pattern means, or not where it was asked for.
    """
    home = name.partition(":")[0]
    module = sys.modules.get(home)
    things = things_of(module, home) if is_plain(module) else ()
    found = next((thing for thing in things if isinstance(thing, Found) and raw_of(thing.value) is fn), None)
    if found is None:
        return f"neither the module {home!r} nor a class in it has it"
    if found.native and not reach.function(name, named=True):
        return IN_C
    if _is_alias(fn, holder, key, found, home):
        return f"{key!r} is another name for it, taken before {home!r} is woven; call it as {found.key!r}"
    return None


def _is_alias(fn: Any, holder: Any, key: str, found: Found, home: str) -> bool:
    """
    Tell whether *holder* is of the function's own module, and has it a second time.
    """
    if not (is_module(holder) or issubclass(type(holder), type)):
        return False
    names = contents(holder)
    own = names.get("__name__" if is_module(holder) else "__module__")
    return own == home and raw_of(names.get(key)) is fn and (id(holder), key) != found.place
