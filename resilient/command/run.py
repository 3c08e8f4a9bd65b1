"""
``resilient run``: an unchanged program under declared policies.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from resilient.command import program as programs
from resilient.command.children import follow
from resilient.command.governor import Governor
from resilient.command.main import PROBLEMS, USAGE, declared_in, say
from resilient.command.report import Account, told_at_exit
from resilient.command.unhandled import told_without_us
from resilient.errors import PolicyError
from resilient.registry import default_registry
from resilient.weaving import weave

if TYPE_CHECKING:
    import argparse

__all__ = ["act"]


def act(arguments: argparse.Namespace) -> int:
    """
    Run what ``resilient run`` was given.

    Returns:
        The exit status; what the program raises, `SystemExit` included, is raised.
    """
    words = arguments.module if arguments.module is not None else arguments.program
    # What follows is the program's, whatever it looks like.
    words = words[words[:1] == ["--"] :]
    if not words:
        say("name a program to run, or a module after -m; see: resilient run --help")
        return USAGE
    policies = declared_in(arguments.policies)
    if policies is None:
        return USAGE
    # First of all: what is woven, or found by a program's name, is not to be this command itself.
    main = programs.fresh_main()
    sys.argv = ["-m" if arguments.module is not None else words[0], *words[1:]]
    registry = default_registry()
    # Patterns mean the program's modules, and policies of its own may lie beside it.
    folder = programs.enter(words[0], is_module=arguments.module is not None)
    try:
        weaving = weave(policies, registry=registry)
    except PolicyError as error:
        say(str(error))
        return USAGE
    follow(policies, folder)
    try:
        program = programs.by_name(words[0]) if arguments.module is not None else programs.by_path(words[0])
    except programs.NotFound as error:
        say(str(error))
        return error.status
    except BaseException:
        # The program, or a package around it, cannot be loaded.
        told_without_us(*programs.LAUNCH)
        raise
    programs.prepare(program, main)
    governor = Governor(registry)
    governor.install()
    account = Account(registry, weaving, governor)
    told_at_exit(account, full=arguments.report or arguments.json, as_json=arguments.json)
    try:
        programs.execute(program, main, governor.wanted)
    except SystemExit as stop:
        # As Python takes it: a text that is empty, and a float that is 0, are messages.
        if stop.code is not None and not (isinstance(stop.code, int) and stop.code == 0):
            raise
    except BaseException:
        account.broken_off = True
        # Python itself does the rest, so that hooks, status and signals are its own.
        told_without_us(*programs.LAUNCH)
        raise
    return PROBLEMS if arguments.strict and account.problems() else 0
