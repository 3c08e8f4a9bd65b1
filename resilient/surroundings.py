"""
What surrounds a call: the decorated operations around it, read from the stack's frames.

A quiet call announces itself nowhere: that would cost more than the call. But
its wrapper's frame is on the stack while the function runs, and has in its
variables which call it is. So an operation that has failed looks up the stack.
What runs in another thread or task stands alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

__all__ = ["Key", "Surroundings", "carries", "mark", "marked", "surroundings"]

# A pipeline's number and a call's: unique in this process.
Key: TypeAlias = tuple[int, int]

# The operation around a call, if there is one, and the outermost one.
Surroundings: TypeAlias = "tuple[Key | None, Key]"

# By id, for a code object hashes all that is in it each time it is asked. The
# value holds the code object, so that no other one gets its id.
_carriers: dict[int, CodeType] = {}

# As deep as Python lets a stack get by default; where somebody has raised that,
# operations further out are not seen. A frame costs about 50 ns.
_STEPS = range(1000)

_MARK = "_resilient_operation"

# A mark means something in the process that made it: a copy from another one has another object here.
_HERE = object()

# Past whatever an error's class defines itself.
_set = BaseException.__setattr__
_dict_of = BaseException.__getattribute__


def carries(function: Callable[..., Any]) -> None:
    """
    Declare that frames of *function* have an operation's key in their variables ``self`` (the pipeline) and ``number``.

    Those variables, and whatever else such a frame has, are copied by a look up
    the stack, and the copy lives as long as the frame: so no failed call's
    error may be among them at that time.
    """
    code = function.__code__
    _carriers[id(code)] = code


def surroundings(own: Key, frame: FrameType | None) -> Surroundings:
    """
    Return the keys of the operation around the one that asks, and of the outermost one.

    Args:
        own: The key of the one that asks.
        frame: Where to begin to look; frames of the one that asks are passed over.
    """
    carriers = _carriers
    parent: Key | None = None
    root = own
    for _ in _STEPS:
        if frame is None:
            break
        if id(frame.f_code) in carriers:
            names = frame.f_locals
            number = names.get("number")
            # A signal handler may run before the wrapper has counted its call.
            if number is not None:
                root = names["self"].uid, number
                if parent is None and root != own:
                    parent = root
        frame = frame.f_back
    return parent, root


def mark(error: BaseException, key: Key, root: Key) -> None:
    """
    Note on *error* that the operation *key* within *root* has recorded it.
    """
    try:
        # Not setattr(): the class may define one that raises.
        _set(error, _MARK, (_HERE, key, root))
    except Exception:  # noqa: BLE001, S110 - then a surrounding function records it once more
        pass


def marked(error: BaseException) -> tuple[Key, Key] | None:
    """
    Return which operation has recorded *error*, and within which one; None: nobody has.
    """
    try:
        found = _dict_of(error, "__dict__").get(_MARK)
    except Exception:  # noqa: BLE001 - a class may hide its __dict__
        return None
    return found[1:] if type(found) is tuple and found[0] is _HERE else None
