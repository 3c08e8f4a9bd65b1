"""
`timeout`: a limit on how long a call may take, written as anybody would write a policy of their own.
"""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

from resilient.policy import (
    UNSET,
    Await,
    Call,
    CallRejectedError,
    Option,
    OptionTable,
    Policy,
    Raised,
    ResilientError,
    Returned,
    Sleep,
    boolean,
    decorator,
    integer,
    perform,
    seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from datetime import timedelta

    from resilient.clock import Clock
    from resilient.faces import F
    from resilient.policy import Command, Operation, Outcome, Plan, Site, Spec
    from resilient.registry import Registry

__all__ = ["CallTimeoutError", "ThreadLimitError", "TimeoutDecorator", "TimeoutPolicy", "timeout"]


class CallTimeoutError(ResilientError, TimeoutError):
    """
    A call took longer than its ``@timeout`` allows.

    It is an error of the network that another attempt may mend, for that is what mostly hangs.

    Args:
        function: The function's name.
        seconds: The limit.
    """

    # The call has failed, and no policy has refused it.
    is_failure = True

    def __init__(self, function: str, seconds: float) -> None:
        # One argument: of two, the class for system errors would make a number and its meaning.
        super().__init__(f"{function} took longer than {seconds:g} s")
        self.function: str = function
        self.seconds: float = seconds

    def __reduce__(self) -> tuple[type[CallTimeoutError], tuple[str, float], dict[str, Any]]:
        # With its notes.
        return type(self), (self.function, self.seconds), self.__dict__


class ThreadLimitError(CallRejectedError):
    """
    A call was not made, for earlier ones take all the threads that there may be.

    Args:
        function: The function's name.
        threads: How many threads there may be.
        abandoned: How many of them were left behind, and still hang.
    """

    def __init__(self, function: str, threads: int, abandoned: int) -> None:
        super().__init__(function, threads, abandoned)
        self.function: str = function
        self.threads: int = threads
        self.abandoned: int = abandoned

    def __str__(self) -> str:
        return (
            f"{self.function} is not called: its calls take all of max_threads={self.threads}, and @timeout gave up"
            f" on {self.abandoned} of them; give what it calls a timeout of its own, or allow more"
        )


class _Threads:
    """
    The threads of one function, whatever becomes of its policies. Each step is one of a set's own: none is lost.
    """

    __slots__ = ("__weakref__", "_left_behind", "under_way")

    def __init__(self) -> None:
        # The calls that are under way.
        self.under_way: set[Operation] = set()
        self._left_behind: set[threading.Thread] = set()

    def leave_behind(self, thread: threading.Thread) -> None:
        """
        Count *thread* for as long as it runs.
        """
        self._left_behind.add(thread)

    def abandoned(self) -> int:
        """
        Return how many threads were left behind and still run; after a fork, none does.
        """
        if self._left_behind:
            self._left_behind.difference_update([one for one in tuple(self._left_behind) if not one.is_alive()])
        return len(self._left_behind)


_THREADS: WeakKeyDictionary[Any, _Threads] = WeakKeyDictionary()


def _threads_of(fn: Any) -> _Threads:
    """
    Return the threads of *fn*: a policy with other options has to go on counting those that are there.
    """
    try:
        return _THREADS.setdefault(fn, _Threads())
    except TypeError:
        # It cannot be a key.
        return _Threads()


class TimeoutPolicy(Policy):
    """
    Give up on a call that takes longer than *seconds*, with `CallTimeoutError`.

    Below ``@retry`` it limits each attempt, above it all attempts and waits together. What an async function awaits
    is cancelled, and its cleanup awaited; a cancellation from elsewhere, ``asyncio.timeout`` among them, passes
    unchanged. A thread cannot be stopped: on a sync function it takes ``in_thread=True``, and gives up on a call by
    leaving it behind.
    """

    __slots__ = ("_threads", "options", "site")

    table: ClassVar[OptionTable] = OptionTable(
        "timeout",
        Option(
            "seconds", seconds(zero=False), UNSET, "seconds that the call may take, a timedelta, or a text like '30s'"
        ),
        Option(
            "in_thread",
            boolean,
            False,  # noqa: FBT003 - an option's default
            "whether a sync function is called in a thread of its own, which is left behind when time is up",
        ),
        Option(
            "max_threads",
            integer(minimum=1),
            64,
            "with in_thread: threads at once, those left behind included; further calls are refused",
        ),
    )
    positional: ClassVar[tuple[str, ...]] = ("seconds",)
    every_call = True
    passes_rejections = True

    def __init__(self, options: Mapping[str, Any], site: Site) -> None:
        super().__init__(options, site)
        self.site: Site = site
        self._threads: _Threads = _threads_of(site.fn)

    def after_fork(self) -> None:
        """
        Forget calls of threads that there are none of any more.
        """
        self._threads.under_way.clear()

    @classmethod
    def check_together(cls, given: Mapping[str, Any]) -> list[str]:
        """
        Return what has no meaning without a thread.
        """
        if "max_threads" not in given or given.get("in_thread"):
            return []
        return [f"max_threads={given['max_threads']} has nothing to count without in_thread=True; leave it out"]

    @classmethod
    def check_function(cls, given: Mapping[str, Any], name: str, *, is_async: bool) -> list[str]:
        """
        Refuse sync functions, unless they may be called in a thread, and threads for async ones.
        """
        in_thread = given.get("in_thread", False)
        if is_async and in_thread:
            return [
                f"in_thread=True is for sync functions, and {name} is async: it is cancelled where it is; leave it out"
            ]
        if is_async or in_thread:
            return []
        problem = (
            f"{name} is sync, and a thread cannot be stopped; give what it calls a timeout of its own, as in"
            " requests.get(url, timeout=30), make it async, or let the thread be left behind with in_thread=True"
        )
        return [problem]

    @classmethod
    def misplaced(cls, given: Mapping[str, Any], below: Sequence[Spec]) -> str | None:
        """
        Return why a limit on what is *below* cannot work as it is meant.
        """
        kinds = [one.kind for one in below]
        if "fallback_chain" in kinds:
            return "@timeout above @fallback_chain cuts off the fallbacks as well; put @fallback_chain on top"
        attempts = kinds.index("retry") if "retry" in kinds else len(kinds)
        if "circuit" in kinds[:attempts]:
            return "@timeout above @circuit hides from it the calls that hang; put @timeout below @circuit"
        limit: float = given["seconds"]
        inner = next((one.given["seconds"] for one in below if one.kind == cls.kind), None)
        if inner is not None and inner >= limit:
            return f"@timeout({limit:g}) above @timeout({inner:g}) leaves nothing for that to do; let it allow less"
        return None

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Run what is below, each of its commands with what is left of the time.
        """
        if not self.options["in_thread"]:
            return (yield from self._limited(op, args, kwargs, inner))
        threads, most = self._threads, self.options["max_threads"]
        # Once, however many limits are in the stack. First: of two at once, both see the other.
        counts = op not in threads.under_way
        threads.under_way.add(op)
        try:
            if len(threads.under_way) + (abandoned := threads.abandoned()) > most:
                op.rejected += 1
                return Raised(ThreadLimitError(op.function, most, abandoned))
            return (yield from self._limited(op, args, kwargs, inner))
        finally:
            if counts:
                threads.under_way.discard(op)

    def _limited(
        self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]
    ) -> Plan:
        clock, limit = op.clock, self.options["seconds"]
        deadline = clock.monotonic() + limit
        below = inner(op, args, kwargs)
        answer: Any = None
        try:
            while True:
                attempts = op.attempts
                try:
                    command = below.send(answer)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                # What is below has seen it; here it would keep the failed call's frames.
                answer = None
                left = deadline - clock.monotonic()
                if left <= 0 and type(command) is not Await:
                    # What was about to begin has not. What is awaited has.
                    began, op.attempts = False, attempts
                    break
                began = op.attempts > attempts
                answer = yield from self._within(left, deadline, command, clock)
                if answer is None:
                    break
        finally:
            # It gives back what it has taken, and counts neither a failure nor a success.
            below.close()
        outcome = Raised(CallTimeoutError(op.function, limit))
        if began:
            op.attempt_failed(outcome)
        else:
            op.record(outcome)
        return outcome

    def _within(
        self, left: float, deadline: float, command: Command, clock: Clock
    ) -> Generator[Command, Outcome, Outcome | None]:
        """
        Have *command* done in *left* seconds, which end at *deadline*; None: time is up.
        """
        if type(command) is Sleep:
            # A wait that takes all of it leaves nothing for what comes after.
            cut_off = command.seconds >= left
            answer = yield Sleep(left) if cut_off else command
            return None if cut_off else answer
        if type(command) is Await:
            return (yield from self._wait(left, deadline, command))
        assert type(command) is Call  # noqa: S101 - there are three kinds
        if self.options["in_thread"]:
            return (yield from self._in_thread(left, deadline, command, clock))
        ours = command.timeout is None or left < command.timeout
        if ours:
            command.timeout = left
        answer = yield command
        return None if ours and command.expired else answer

    @staticmethod
    def _wait(left: float, deadline: float, command: Await) -> Generator[Command, Outcome, Outcome | None]:
        ends, limit = (command.timeout, left) if command.until is None else (command.until, deadline)
        if ends is not None and ends <= limit:
            return (yield command)
        future = command.future
        answer = yield Await(future, max(left, 0.0), deadline)
        if not future.done():
            return None
        # It may have come just as time was up: then its own answer is still to be had.
        return answer if type(answer) is Returned else (yield Await(future))

    # -- sync functions -----------------------------------------------------

    def _in_thread(
        self, left: float, deadline: float, call: Call, clock: Clock
    ) -> Generator[Command, Outcome, Outcome | None]:
        done: Future[None] = Future()
        # What came of it, and when: a box that is empty by the next attempt, when the thread may be on its way out.
        box: list[Any] = []
        # With what the caller has in context variables: a service level, a logger's bindings.
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(_work, call, clock, box, done),
            name=f"timeout of {self.site.name}",
            # One that hangs must not keep the process from ending.
            daemon=True,
        )
        try:
            thread.start()
            yield from self._wait(left, deadline, Await(done))
        finally:
            # Time is up, or the caller was interrupted.
            if not done.done():
                self._threads.leave_behind(thread)
        if not box or box.pop() >= deadline:
            return None
        return box.pop()  # type: ignore[no-any-return]

    def abandoned(self) -> int:
        """
        Return how many threads were left behind and still run, whatever policy has left them.
        """
        return self._threads.abandoned()

    def health(self) -> Mapping[str, Any] | None:
        """
        Tell of threads that were left behind.
        """
        if not self.options["in_thread"]:
            return None
        abandoned = self._threads.abandoned()
        return {
            "status": "warn" if abandoned else "pass",
            "abandoned_threads": abandoned,
            "max_threads": self.options["max_threads"],
        }


def _work(call: Call, clock: Clock, box: list[Any], done: Future[None]) -> None:
    """
    Make *call*, put what came of it, and when, into *box*, and say so.
    """
    try:
        # In one step, and nothing of it in a variable here.
        box += perform(call), clock.monotonic()
    except BaseException as error:  # noqa: BLE001 - it goes to whoever waits, without the two frames here
        traceback = error.__traceback__
        done.set_exception(error.with_traceback(traceback and traceback.tb_next and traceback.tb_next.tb_next))
    else:
        done.set_result(None)


class TimeoutDecorator(Protocol):
    """
    What `resilient.timeout` takes, and what it makes of a function.
    """

    def __call__(
        self,
        seconds: float | timedelta | str,
        *,
        in_thread: bool = ...,
        max_threads: int = ...,
        registry: Registry | None = ...,
    ) -> Callable[[F], F]:
        """
        Return the decorator.
        """
        ...


timeout: TimeoutDecorator = decorator(TimeoutPolicy)
