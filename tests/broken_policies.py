"""
Policies as users write them - a bulkhead and an audit - and many that break one promise each.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from concurrent.futures import Future

from resilient import modes
from resilient.decorating import decorate
from resilient.drivers import stripped
from resilient.events import Event, FallbackUsed
from resilient.light import dataclass
from resilient.policies.spec import PolicySpec
from resilient.policy import (
    Await,
    Call,
    CallRejectedError,
    Option,
    OptionTable,
    Policy,
    Raised,
    Returned,
    boolean,
    decorator,
    integer,
    text,
)

# -- two that keep all promises ------------------------------------------------


class FullError(CallRejectedError):
    pass


class Bulkhead(Policy):
    """
    Let only so many calls in at once; the others wait, or are refused.
    """

    table = OptionTable(
        "bulkhead",
        Option("limit", integer(minimum=1), 2, "calls at once"),
        Option("waits", boolean, False, "whether a call waits for room"),
    )
    positional = ("limit",)
    every_call = True

    def __init__(self, options, site):
        super().__init__(options, site)
        self.after_fork()

    def after_fork(self):
        self.lock = threading.Lock()
        self.free = self.options["limit"]
        self.line = deque()

    def enter(self):
        """
        Return None where there is room, else what to wait for.
        """
        with self.lock:
            if self.free:
                self.free -= 1
                return None
            turn = Future()
            if self.options["waits"]:
                self.line.append(turn)
            return turn

    def leave(self, turn):
        """
        Give the room of a call to the next one; a call that has waited in vain has none.
        """
        with self.lock:
            if turn in self.line:
                self.line.remove(turn)
                return
            following = self.line.popleft() if self.line else None
            self.free += following is None
        if following is not None:
            following.set_result(None)

    def plan(self, op, args, kwargs, inner):
        turn = self.enter()
        if turn is not None and not self.options["waits"]:
            op.rejected += 1
            return Raised(FullError(f"{op.function} is full"))
        try:
            if turn is not None:
                yield Await(turn)
            return (yield from inner(op, args, kwargs))
        finally:
            self.leave(turn)

    def health(self):
        return {"status": "pass" if self.free else "warn", "free": self.free}


@dataclass(frozen=True, slots=True)
class Audited(Event):
    """
    A call has failed.
    """

    name = "audit.failed"
    log_level = "info"

    purpose: str


class Audit(Policy):
    """
    Tell of failures, and of nothing else; it can do nothing about them.
    """

    table = OptionTable("audit", Option("purpose", text, "audit", "what it is for"))
    events = (Audited,)
    passes_rejections = True

    def plan(self, op, args, kwargs, inner):
        outcome = yield from inner(op, args, kwargs)
        if type(outcome) is Raised:
            self.failed(op, outcome)
        return outcome

    def failed(self, op, outcome):
        op.emit(Audited, purpose=self.options["purpose"])


class Closed(Policy):
    """
    Refuse all calls.
    """

    table = OptionTable("closed")
    every_call = True

    def plan(self, op, args, kwargs, inner):
        op.rejected += 1
        return Raised(FullError(op.function))
        yield


# -- those that break one ---------------------------------------------------------

BROKEN = []
"""
Each broken policy, by its decorator's maker, with the one check that tells so, and what it tells.
"""


def breaks(check, seen, make=decorator, also=()):
    """
    Say which check a policy fails in, and what of it is told; and in which others it has to fail for that.
    """

    def note(policy):
        BROKEN.append((policy.__name__, functools.partial(make, policy), check, seen, set(also)))
        return policy

    return note


class Broken(Policy):
    table = OptionTable("broken")
    every_call = True

    def plan(self, op, args, kwargs, inner):
        return (yield from inner(op, args, kwargs))


class Answering(Broken):
    """
    One that changes what comes of a call.
    """

    def plan(self, op, args, kwargs, inner):
        return self.answer((yield from inner(op, args, kwargs)), op, args)


class Around(Broken):
    """
    One that puts something around the function, which no traceback of an Exception shows.
    """

    def plan(self, op, args, kwargs, inner):
        if len(op.policies) > 1:
            # It would pass by what stands between.
            return (yield from inner(op, args, kwargs))
        op.attempts += 1
        outcome = yield Call(self.awork if op.is_async else self.work, (op, *args), kwargs)
        if type(outcome) is Returned and type(outcome.value) is Raised:
            outcome = outcome.value
            op.attempt_failed(outcome)
        return outcome

    def work(self, op, /, *args, **kwargs):
        try:
            return op.fn(*args, **kwargs)
        except Exception as error:
            return Raised(stripped(error))
        except BaseException as error:
            return self.interrupted(error, op, lambda: op.fn(*args, **kwargs))

    async def awork(self, op, /, *args, **kwargs):
        try:
            return await op.fn(*args, **kwargs)
        except Exception as error:
            return Raised(stripped(error))
        except BaseException as error:
            again = self.interrupted(error, op, lambda: op.fn(*args, **kwargs))
            return await again if asyncio.iscoroutine(again) else again

    def interrupted(self, error, op, again):
        raise error


def cancelled(error):
    """
    Tell whether a call is being cancelled, and not only raises the error for that.
    """
    return isinstance(error, asyncio.CancelledError) and "down" not in error.args and "leave" not in error.args


@breaks("results_arrive", "where it returned None, there was 0 returned")
class NoneBecomesNought(Answering):
    def answer(self, outcome, op, args):
        return Returned(0) if type(outcome) is Returned and outcome.value is None else outcome


@breaks("errors_arrive", "where it raised ValueError, there was RuntimeError raised")
class Wraps(Answering):
    def answer(self, outcome, op, args):
        if type(outcome) is Raised and type(outcome.error) is ValueError and outcome.error.args == ("down",):
            return Raised(RuntimeError("wrapped"))
        return outcome


@breaks("stop_iterations_arrive", "there was RuntimeError raised")
class RaisesInItsPlan(Answering):
    def answer(self, outcome, op, args):
        if type(outcome) is Raised and type(outcome.error) is StopIteration:
            raise outcome.error
        if type(outcome) is Raised and type(outcome.error) is StopAsyncIteration:
            return Raised(RuntimeError())
        return outcome


@breaks("errors_without_text_arrive", "where it raised _UntoldError, there was ValueError raised")
class TellsOfErrors(Answering):
    def answer(self, outcome, op, args):
        if type(outcome) is Raised:
            str(outcome.error)
        return outcome


@breaks("tracebacks_are_short", "ConnectionError had 3")
class OneFrameMore(Broken):
    def plan(self, op, args, kwargs, inner):
        fn = op.fn

        async def awork(*args, **kwargs):
            return await fn(*args, **kwargs)

        def work(*args, **kwargs):
            return fn(*args, **kwargs)

        op.fn = awork if op.is_async else work
        try:
            return (yield from inner(op, args, kwargs))
        finally:
            op.fn = fn


@breaks("interruptions_leave_at_once", "where KeyboardInterrupt was raised, there was None returned")
class SwallowsInterruptions(Around):
    def interrupted(self, error, op, again):
        if isinstance(error, KeyboardInterrupt) and error.args == ("leave",):
            return
        raise error


@breaks("interruptions_leave_at_once", "after SystemExit, the function was called again")
class CallsTwice(Around):
    def interrupted(self, error, op, again):
        if isinstance(error, SystemExit) and error.args == ("leave",):
            return again()
        raise error


@breaks("interruptions_leave_at_once", "GeneratorExit had got a cause or a note")
class AddsNotes(Around):
    def interrupted(self, error, op, again):
        if isinstance(error, GeneratorExit):
            error.add_note("left")
        raise error


@breaks("interruptions_leave_at_once", "after SystemExit, failures were 1")
class CountsInterruptions(Around):
    def interrupted(self, error, op, again):
        if isinstance(error, SystemExit):
            op.pipeline.counts.add(op, failed=True, recovered=False)
        raise error


@breaks("cancellation_leaves_at_once", "after task.cancel(), there was a result")
class SwallowsCancellation(Around):
    def interrupted(self, error, op, again):
        if cancelled(error):
            return
        raise error


@breaks("cancellation_leaves_at_once", "after asyncio.timeout(), there was a result")
class SwallowsTimeouts(Around):
    def interrupted(self, error, op, again):
        if cancelled(error) and "enough" not in error.args:
            return
        raise error


@breaks("cancellation_leaves_at_once", "after task.cancel(), there was another CancelledError")
class CancelsAnew(Around):
    def interrupted(self, error, op, again):
        if cancelled(error):
            raise asyncio.CancelledError("too late") from None
        raise error


@breaks("cancellation_leaves_at_once", "after task.cancel(), there was call, finally, call, finally")
class BeginsAnew(Around):
    def interrupted(self, error, op, again):
        if cancelled(error):
            coroutine = again()
            coroutine.send(None)
            coroutine.close()
        raise error


@breaks("cancellation_leaves_at_once", "after task.cancel(), failures were 1")
class CountsCancellation(Around):
    def interrupted(self, error, op, again):
        if cancelled(error):
            op.pipeline.counts.add(op, failed=True, recovered=False)
        raise error


class Leaks(Bulkhead):
    table = OptionTable("broken", *Bulkhead.table.options.values())
    kind = "broken"


@breaks(
    "permits_are_given_back",
    "calls that ended by KeyboardInterrupt, 0 calls were admitted at once, and 2 after as many successes",
)
class LeaksPermits(Leaks):
    def plan(self, op, args, kwargs, inner):
        turn = self.enter()
        if turn is not None:
            op.rejected += 1
            return Raised(FullError(op.function))
        outcome = yield from inner(op, args, kwargs)
        self.leave(turn)
        return outcome


@breaks("permits_are_given_back", "closing the plan, the oldest first, 0 calls were admitted at once")
class LosesItsTurn(Leaks):
    """
    A call that is closed while it waits does not hand on the turn that it was given meanwhile.
    """

    def plan(self, op, args, kwargs, inner):
        turn = self.enter()
        if turn is not None:
            self.line.append(turn)
            yield Await(turn)
        try:
            return (yield from inner(op, args, kwargs))
        finally:
            self.leave(turn)


@breaks("permits_are_given_back", "calls that ended by KeyboardInterrupt, there was FullError raised")
class BearsAGrudge(Broken):
    interrupted = False

    def plan(self, op, args, kwargs, inner):
        try:
            outcome = yield from inner(op, args, kwargs)
        except GeneratorExit:
            self.interrupted = True
            raise
        if self.interrupted:
            op.rejected += 1
            return Raised(FullError(op.function))
        return outcome


@breaks("refusals_are_counted", "the last was refused, and op.rejected was 0")
class DoesNotCount(Leaks):
    def plan(self, op, args, kwargs, inner):
        outcome = yield from super().plan(op, args, kwargs, inner)
        op.rejected = 0
        return outcome


@breaks("refusals_are_counted", "of 100 failing calls 95 were refused, and 0 counted", also=["failures_are_survived"])
class ShutsUp(Broken):
    def __init__(self, options, site):
        super().__init__(options, site)
        self.failures = 0

    def plan(self, op, args, kwargs, inner):
        if self.failures >= 5:
            return Raised(FullError(op.function))
        outcome = yield from inner(op, args, kwargs)
        self.failures += type(outcome) is Raised
        return outcome


@breaks("failed_frames_are_free", "where it raised ConnectionError, the frame was there after the call")
class KeepsErrors(Answering):
    def answer(self, outcome, op, args):
        if type(outcome) is Raised:
            self.latest = outcome.error
        return outcome


@breaks("failed_frames_are_free", "the frame was there when the function was called again")
class RetriesAtOnce(Broken):
    def plan(self, op, args, kwargs, inner):
        outcome = yield from inner(op, args, kwargs)
        if type(outcome) is Raised:
            # With the first outcome still in its variable.
            outcome = yield from inner(op, args, kwargs)
        return outcome


@breaks("calls_keep_nothing", "1 arguments were still there")
class KeepsArguments(Broken):
    def plan(self, op, args, kwargs, inner):
        self.latest = kwargs.get("keyword")
        return (yield from inner(op, args, kwargs))


@breaks("calls_keep_nothing", "1 results were still there")
class KeepsResults(Answering):
    def answer(self, outcome, op, args):
        self.latest = outcome.value if type(outcome) is Returned else None
        return outcome


@breaks("coroutines_are_awaited", "was never awaited")
class MakesCoroutines(Broken):
    def plan(self, op, args, kwargs, inner):
        if op.is_async:
            op.fn(*args, **kwargs)
        return (yield from inner(op, args, kwargs))


@breaks("quiet_and_planned_calls_are_alike", "where quiet, FullError raised after 4 attempts")
class RefusesPlannedCalls(Broken):
    """
    Refuse the fifth call that is planned.
    """

    every_call = False

    def __init__(self, options, site):
        super().__init__(options, site)
        self.calls = 0

    def plan(self, op, args, kwargs, inner):
        self.calls += op.replayed is None
        if op.replayed is None and self.calls == 5:
            op.rejected += 1
            return Raised(FullError(op.function))
        return (yield from inner(op, args, kwargs))


@breaks("quiet_and_planned_calls_are_alike", "events differ: [")
class TellsOfPlannedCalls(Broken):
    every_call = False

    def plan(self, op, args, kwargs, inner):
        outcome = yield from inner(op, args, kwargs)
        if type(outcome) is Returned:
            op.emit(FallbackUsed, entry="none", success=True, error=None)
        return outcome


@breaks("calls_may_overlap", "another thread's call stood still while one waited for Call")
class HoldsALock(Broken):
    def __init__(self, options, site):
        super().__init__(options, site)
        self.lock = threading.RLock()

    def plan(self, op, args, kwargs, inner):
        with self.lock:
            return (yield from inner(op, args, kwargs))


class Busy(Around):
    """
    One that minds who else runs.
    """

    def __init__(self, options, site):
        super().__init__(options, site)
        self.running = set()

    def mark(self, op):
        return None

    def work(self, op, /, *args, **kwargs):
        mark = self.mark(op)
        if mark in self.running:
            return Raised(RuntimeError("busy"))
        self.running |= {mark} - {None}
        try:
            return super().work(op, *args, **kwargs)
        finally:
            self.running -= {mark}

    async def awork(self, op, /, *args, **kwargs):
        mark = self.mark(op)
        if mark in self.running:
            return Raised(RuntimeError("busy"))
        self.running |= {mark} - {None}
        try:
            return await super().awork(op, *args, **kwargs)
        finally:
            self.running -= {mark}


@breaks("calls_may_overlap", "a call within a call, or around one, had RuntimeError raised")
class RefusesItself(Busy):
    def mark(self, op):
        return asyncio.current_task() if op.is_async else threading.get_ident()


@breaks("calls_may_overlap", "of 16 tasks at once, one had RuntimeError raised")
class MindsTasks(Around):
    def __init__(self, options, site):
        super().__init__(options, site)
        self.running = {}

    async def awork(self, op, /, *args, **kwargs):
        here, this = asyncio.get_running_loop(), asyncio.current_task()
        if self.running.setdefault(here, this) is not this:
            return Raised(RuntimeError("busy"))
        try:
            return await super().awork(op, *args, **kwargs)
        finally:
            self.running.pop(here, None)


@breaks("crowds_keep_apart", "and not its own result")
class MixesCalls(Broken):
    latest = ()

    def plan(self, op, args, kwargs, inner):
        self.latest = args
        try:
            outcome = yield from inner(op, args, kwargs)
            if type(outcome) is Returned and self.latest and args and outcome.value is args[0]:
                return Returned(self.latest[0])
            return outcome
        finally:
            self.latest = ()


@breaks("crowds_keep_apart", "one had RuntimeError raised, and not its own result")
class BelongsToALoop(Busy):
    loop = None

    async def awork(self, op, /, *args, **kwargs):
        here = asyncio.get_running_loop()
        self.loop = self.loop or here
        if here is not self.loop:
            return Raised(RuntimeError("bound to a different event loop"))
        return await super().awork(op, *args, **kwargs)


def twice(policy):
    """
    Make a decorator that puts the policy on twice.
    """
    once = decorator(policy)
    return lambda fn: once(once(fn))


@breaks("stacks_fuse", "had become broken, broken", make=twice)
class StandsTwice(Broken):
    pass


@breaks("stacks_fuse", "a call through broken, retry, circuit had RuntimeError raised")
class StandsAlone(Broken):
    def plan(self, op, args, kwargs, inner):
        if len(op.policies) > 1:
            return Raised(RuntimeError("not alone"))
        return (yield from inner(op, args, kwargs))


@breaks("methods_are_bound", "had (")
class KeepsItsOwner(Broken):
    owner = None

    def plan(self, op, args, kwargs, inner):
        if type(args[:1]) is tuple and type(args[0] if args else None).__name__ == "Owner":
            self.owner = self.owner or args[0]
            args = (self.owner, *args[1:])
        return (yield from inner(op, args, kwargs))


@breaks("registries_are_apart", "the first one heard of FallbackUsed from calls on the second")
class RemembersItsHub(Broken):
    hubs = {}  # noqa: RUF012 - what is wrong with it

    def plan(self, op, args, kwargs, inner):
        outcome = yield from inner(op, args, kwargs)
        if type(outcome) is Returned:
            event = FallbackUsed(
                at=op.clock.now(),
                operation=op.id,
                parent=None,
                function=op.function,
                entry="x",
                success=True,
                error=None,
            )
            self.hubs.setdefault(op.pipeline.uid, op.hub).deliver(event)
        return outcome


@breaks("registries_are_apart", "on the first one, and FullError raised after", also=["failures_are_survived"])
class CountsForEver(Broken):
    calls = {}  # noqa: RUF012 - what is wrong with it

    def plan(self, op, args, kwargs, inner):
        self.calls[op.pipeline.uid] = self.calls.get(op.pipeline.uid, 0) + 1
        if self.calls[op.pipeline.uid] > 60:
            op.rejected += 1
            return Raised(FullError(op.function))
        return (yield from inner(op, args, kwargs))


@breaks("registries_are_apart", "events on the first one, and")
class TellsOnce(Broken):
    told = set()  # noqa: RUF012 - what is wrong with it

    def plan(self, op, args, kwargs, inner):
        if op.pipeline.uid not in self.told:
            self.told.add(op.pipeline.uid)
            op.emit(FallbackUsed, entry="x", success=True, error=None)
        return (yield from inner(op, args, kwargs))


def hidden(policy):
    """
    Make a decorator of functions that their registry does not know.
    """
    plain = decorator(policy)

    def hide(fn):
        fn = plain(fn)
        if hasattr(fn, "resilience"):
            fn.resilience.give_up_name()
        return fn

    return hide


@breaks("registries_are_apart", "the function had stayed on the first one", make=hidden)
class Stays(Broken):
    pass


def while_disabled(answer, policy):
    """
    Make a decorator that forgets the function while policies are switched off.
    """
    plain = decorator(policy)

    def decorate_with(fn):
        return plain(answer(fn) if modes.disabled else fn)

    return decorate_with


def stubbed(fn):
    """
    Return a function that does nothing.
    """

    def stub(*args, **kwargs):
        pass

    async def astub(*args, **kwargs):
        pass

    return astub if asyncio.iscoroutinefunction(fn) else stub


def shouted(fn):
    """
    Return a function with a louder result.
    """

    def shout(*args, **kwargs):
        return fn(*args, **kwargs).upper()

    async def ashout(*args, **kwargs):
        return (await fn(*args, **kwargs)).upper()

    return ashout if asyncio.iscoroutinefunction(fn) else shout


@breaks("disabled_is_raw", "0 calls and 0 events ended in None", make=functools.partial(while_disabled, stubbed))
class StubsOut(Broken):
    pass


@breaks("disabled_is_raw", "a call had 'DONE' returned", make=functools.partial(while_disabled, shouted))
class Shouts(Broken):
    pass


@breaks("health_is_told", "it told {'status': 'fine'}")
class FeelsFine(Broken):
    def health(self):
        return {"status": "fine"}


@breaks("health_is_told", "it told {'status': 'pass', 'seen': ")
class TellsOfASet(Broken):
    def health(self):
        return {"status": "pass", "seen": {1}}


@breaks("options_have_help", "limit has none")
class HelpsNobody(Broken):
    table = OptionTable("broken", Option("limit", integer(minimum=1), 2, " "))


class LaxTable(OptionTable):
    def check(self, given):
        values, _ = super().check(given)
        return values, []


class SilentTable(OptionTable):
    def _did_you_mean(self, keyword):
        return ""


@breaks("unknown_options_are_refused", "limitt= was taken")
class TakesAnything(Broken):
    table = LaxTable("broken", Option("limit", integer(minimum=1), 2, "calls at once"))


@breaks("unknown_options_are_refused", "limitt= was refused without a suggestion")
class SuggestsNothing(Broken):
    table = SilentTable("broken", Option("limit", integer(minimum=1), 2, "calls at once"))


def given(value, policy):
    """
    Make a decorator that is given a limit.
    """
    return decorator(policy)(limit=value)


def doubled(value):
    """
    Return a limit that means something else each time.
    """
    return integer(minimum=1)(value) * 2


def spelt(value):
    """
    Return a number that was written as a text, and takes no number.
    """
    if not isinstance(value, str):
        message = "must be a text"
        raise ValueError(message)
    return int(value)


@breaks("specs_are_values", "limit, checked again, becomes 4 from 2", make=functools.partial(given, 1))
class Doubles(Broken):
    table = OptionTable("broken", Option("limit", doubled, 2, "calls at once"))


@breaks("specs_are_values", "limit refuses its own normal form: it must be a text", make=functools.partial(given, "2"))
class TakesTexts(Broken):
    table = OptionTable("broken", Option("limit", spelt, 2, "calls at once"))


def by_chance(policy):
    """
    Make a decorator that gives another option each time.
    """
    plain, limits = decorator(policy), iter(range(1, 10_000))

    def decorate_with(fn):
        return plain(limit=next(limits))(fn)

    return decorate_with


@breaks("specs_are_values", "they differ", make=by_chance)
class Varies(Broken):
    table = OptionTable("broken", Option("limit", integer(minimum=1), 2, "calls at once"))


def local(policy):
    """
    Make a decorator of a class that nobody finds.
    """
    return decorator(type("Local", (policy,), {"table": OptionTable("broken")}))


@breaks("specs_pickle", "pickle raised", make=local)
class CannotBeFound(Broken):
    pass


@breaks("policies_are_shown", "it raised RuntimeError")
class ShowsNothing(Broken):
    def __repr__(self):
        raise RuntimeError


@breaks("policies_are_shown", "it is '<ShowsItsClass>'")
class ShowsItsClass(Broken):
    def __repr__(self):
        return "<ShowsItsClass>"


def unknown(policy):
    """
    Make a decorator that no file knows of.
    """
    return lambda fn: decorate(fn, PolicySpec(policy, {}), None)


def replaced(policy):
    """
    Make a decorator whose kind means another class by now.
    """
    plain = decorator(policy)
    name = {"__module__": policy.__module__, "__qualname__": policy.__qualname__, "table": policy.table}
    decorator(type(policy.__name__, (Broken,), name))
    return plain


@breaks("files_say_the_same", "it is refused", make=unknown)
class NoFileKnows(Broken):
    pass


@breaks("files_say_the_same", "{} had become (@broken,)", make=replaced)
class WasReplaced(Broken):
    pass


@breaks("failures_are_survived", "8 calls after 100 failing ones")
class LeaksOnFailure(Broken):
    """
    One with so many places, of which those of failures are never free again.
    """

    def __init__(self, options, site):
        super().__init__(options, site)
        self.places = list(range(60))

    def plan(self, op, args, kwargs, inner):
        if not self.places:
            op.rejected += 1
            return Raised(FullError(op.function))
        place, outcome = self.places.pop(), None
        try:
            outcome = yield from inner(op, args, kwargs)
            return outcome
        finally:
            if type(outcome) is not Raised:
                self.places.append(place)


@breaks("plans_below_run", "there were 1 attempts")
class PassesBy(Broken):
    """
    One that calls the function itself, past what stands between.
    """

    def plan(self, op, args, kwargs, inner):
        if len(op.policies) == 1:
            return (yield from inner(op, args, kwargs))
        op.attempts += 1
        outcome = yield Call(op.fn, args, kwargs)
        if type(outcome) is Raised:
            op.attempt_failed(outcome)
        return outcome
