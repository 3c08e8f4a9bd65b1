"""
Processes that multiprocessing starts afresh: they load the program once more, and it is to be governed there too.

A forked child has everything. A spawned one gets a dictionary, unpickles it and
prepares itself by it: it loads the program as ``__mp_main__``. So something is
put into that dictionary that weaves when it is unpickled, and has the program
loaded as `resilient.command.program` does.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wrapt

from resilient.command import program as programs
from resilient.command.apart import make_way
from resilient.command.governor import Governor
from resilient.command.spawned import begin
from resilient.registry import default_registry
from resilient.weaving import weave

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.command.program import Program

__all__ = ["follow", "prepare"]

_CHILD = "__mp_main__"


class _Message:
    """
    What a child unpickles before it prepares itself.

    Args:
        policies: The file of policies.
        folder: Where the program's modules are looked for first.
    """

    def __init__(self, policies: str, folder: str) -> None:
        self.policies = policies
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str, str], None], tuple[str, str]]:
        return begin, (self.policies, self.folder)


def follow(policies: Path, folder: str) -> None:
    """
    Have the processes that this one spawns run under the same policies.

    Args:
        policies: The file of policies; a child may begin in another folder.
        folder: Where the program's modules are looked for first.
    """
    message = _Message(str(policies.absolute()), str(Path(folder).absolute()))

    def loaded(spawn: Any) -> None:
        prepared: Callable[[str], dict[str, Any]] = spawn.get_preparation_data

        def get_preparation_data(name: str) -> dict[str, Any]:
            return {**prepared(name), "resilient": message}

        spawn.get_preparation_data = get_preparation_data

    wrapt.register_post_import_hook(loaded, "multiprocessing.spawn")


def prepare(policies: str, folder: str) -> None:
    """
    Weave in a child, and see to it that the program is loaded governed.

    Args:
        policies: The file of policies.
        folder: Where the program's modules are looked for first.
    """
    from multiprocessing import spawn

    if not sys.flags.safe_path:
        # As in the parent: patterns mean the program's modules.
        make_way(folder)
        sys.path[0] = folder
    registry = default_registry()
    weave(policies, registry=registry)
    follow(Path(policies), folder)
    # There is no other way in.
    state: Any = spawn

    def load(program: Program) -> None:
        if not sys.flags.safe_path:
            make_way(folder)
        main = types.ModuleType(_CHILD)
        state.old_main_modules.append(sys.modules["__main__"])
        sys.modules["__main__"] = sys.modules[_CHILD] = main
        programs.prepare(program, main)
        governor = Governor(registry)
        governor.install()
        programs.execute(program, main, governor.wanted)

    def by_path(file: str) -> None:
        load(programs.script(file))

    def by_name(name: str) -> None:
        # As multiprocessing itself does: a package's ``__main__`` has nothing to give.
        if name != "__main__" and not name.endswith(".__main__"):
            load(programs.module(name))

    state._fixup_main_from_path = by_path  # noqa: SLF001 - see above
    state._fixup_main_from_name = by_name  # noqa: SLF001 - see above
