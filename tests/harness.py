"""
What several files of tests use to make functions, and to call them.
"""

from __future__ import annotations

import asyncio
import functools


class Colour:
    """
    Sync or async: makes functions of one colour, and calls them.
    """

    def __init__(self, name):
        self.is_async = name == "async"

    def of(self, fn):
        """
        Return *fn*, or a coroutine function that does the same.
        """
        if not self.is_async:
            return fn

        @functools.wraps(fn)
        async def same(*args, **kwargs):
            return fn(*args, **kwargs)

        return same

    def call(self, fn, *args, **kwargs):
        """
        Call *fn*, in an event loop of its own where it is async.
        """
        return asyncio.run(fn(*args, **kwargs)) if self.is_async else fn(*args, **kwargs)

    def drive(self, fn, *args, **kwargs):
        """
        Call *fn*, which waits for nothing, without an event loop: asyncio asks for a failed task's ``repr``.
        """
        if not self.is_async:
            return fn(*args, **kwargs)
        try:
            fn(*args, **kwargs).send(None)
        except StopIteration as stop:
            return stop.value
        message = "it waits"
        raise AssertionError(message)


def script(*outcomes):
    """
    Return a function that raises or returns *outcomes*, one a call, and then the last one again; it counts its calls.
    """

    def play(*args, **kwargs):
        outcome = outcomes[min(play.calls, len(outcomes) - 1)]
        play.calls += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    play.calls = 0
    return play
