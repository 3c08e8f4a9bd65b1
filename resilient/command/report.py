"""
What there is to tell when a program has ended: what is declared in vain, and, when asked, what the policies did.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from resilient import modes
from resilient.declared.effective import spellings
from resilient.declared.patterns import matches
from resilient.declared.wording import counted, did_you_mean
from resilient.redaction import readable

if TYPE_CHECKING:
    from resilient.command.governor import Governor
    from resilient.events import Event
    from resilient.registry import Registry
    from resilient.weaving.loom import Weaving

__all__ = ["Account", "told_at_exit"]

# As many different things are counted; a program that has more gets the first.
_MOST = 1000

_OFF = "nothing: they are off, for RESILIENT_DISABLED is set"


class Account:
    """
    What became of a program's policies.

    Args:
        registry: Where they are.
        weaving: What they were woven into.
        governor: Who governed the program's own functions.

    Attributes:
        broken_off: Whether an error has ended the program, so that nobody knows what would have been reached.
    """

    def __init__(self, registry: Registry, weaving: Weaving, governor: Governor) -> None:
        self._registry = registry
        self._weaving = weaving
        self._governor = governor
        self._did: Counter[tuple[str, str]] = Counter()
        self.broken_off = False

    def __repr__(self) -> str:
        return f"<Account of {self._registry!r}: {self._did.total()} events>"

    def listen(self) -> None:
        """
        Count from now on what the policies do.
        """
        self._registry.on(self._count)

    def _count(self, event: Event) -> None:
        names = (getattr(event, kind, None) for kind in ("circuit", "scope", "function"))
        key = event.name, next((name for name in names if name), "")
        if key in self._did or len(self._did) < _MOST:
            self._did[key] += 1

    def problems(self) -> list[str]:
        """
        Return what a strict run does not pass over: what matched nothing, and what cannot be put in force.
        """
        unmatched = [] if self.broken_off else self._unmatched()
        return [*(f"{pattern!r} matched no function{self._hint(pattern)}" for pattern in unmatched), *self._refused()]

    def _hint(self, pattern: str) -> str:
        """
        Return the end of a sentence that says what may have been meant in the program itself; weaving warns of others.
        """
        home, _, path = pattern.partition(":")
        own = home in {name.partition(":")[0] for name in spellings("__main__:")}
        known = self._governor.defined
        return did_you_mean(path, known) if own and known and "*" not in path else ""

    def _refused(self) -> list[str]:
        return [*self._weaving.problems, *self._governor.problems]

    def _unmatched(self) -> list[str]:
        # The program's own functions have two names.
        own = {name for function in self._governor.functions for name in spellings(function)}
        return [pattern for pattern in self._weaving.unmatched if not any(matches(pattern, name) for name in own)]

    def to_dict(self) -> dict[str, Any]:
        """
        Return everything, JSON-ready.
        """
        skipped = {**self._weaving.skipped, **self._governor.skipped}
        return {
            "functions": sorted({*self._weaving.functions, *self._governor.functions}),
            "disabled": modes.disabled,
            "unmatched": self._unmatched(),
            "problems": [readable(one) for one in self._refused()],
            "skipped": {name: readable(why) for name, why in skipped.items()},
            "missed": [list(one) for one in self._weaving.missed],
            "did": [{"what": what, "whom": readable(whom), "times": times} for (what, whom), times in self._sorted()],
            "health": self._registry.health().to_dict(),
        }

    def _sorted(self) -> list[tuple[tuple[str, str], int]]:
        return sorted(self._did.copy().items(), key=lambda item: (item[0][1], -item[1], item[0][0]))

    def __str__(self) -> str:
        told = self.to_dict()
        lines = [f"resilient: {counted(len(told['functions']), 'function')} under declared policies"]
        lines += [f"  {name}" for name in told["functions"]]
        lines += _titled("not governed", [f"{name}: {why}" for name, why in told["skipped"].items()])
        lines += _titled(
            "held past their policies, by who took them before", [f"{where}: {key}" for where, key in told["missed"]]
        )
        width = max((len(one["what"]) for one in told["did"]), default=0)
        did = [f"{one['what'].ljust(width)}  {one['times']:>6}  {one['whom']}" for one in told["did"]]
        lines += _titled("what the policies did", did or [_OFF if modes.disabled else "nothing: every call went well"])
        return "\n".join([*lines, "", str(self._registry.health())])


def _titled(title: str, lines: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {line}" for line in lines)] if lines else []


def told_at_exit(account: Account, *, full: bool, as_json: bool) -> None:
    """
    Tell on standard error what there is to tell, when everything else of the program has ended.

    Args:
        account: What of.
        full: Whether health and what the policies did are asked for.
        as_json: Whether as one line of JSON, which has the problems in it.
    """
    if full:
        account.listen()
    process = os.getpid()

    def tell() -> None:
        # A fork of the program ends as well, and has less to tell.
        if os.getpid() != process:
            return
        if full:
            print(json.dumps(account.to_dict()) if as_json else account, file=sys.stderr)
        if not (full and as_json):
            for problem in account.problems():
                print(f"resilient: {problem}", file=sys.stderr)

    # What is registered first runs last.
    atexit.register(tell)
