"""
Play a storyboard through a farm: once with the bare functions, once with those under policies.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from docs.examples.render_farm.farm import Farm
from docs.examples.render_farm.knowledge import prepare
from docs.examples.render_farm.plain_engine import SERVERS, Clients, Look, RenderOrder, Take
from docs.examples.render_farm.recorder import Recorder
from docs.examples.render_farm.results import LOST, Report, RunResult, ShotResult
from resilient import resilience_of
from resilient.events import AttemptFailed

if TYPE_CHECKING:
    from types import ModuleType

    from docs.examples.render_farm.storyboard import Scene, Shot, Storyboard
    from resilient import Outcome, Registry

__all__ = ["Told", "call_bare", "call_guarded", "play_bare", "play_resilient"]

# A hanging server costs this much before a caller gives it up that has no @timeout, or is sync.
_TIMEOUT = httpx.Timeout(2.0, connect=0.5)
_AT_ONCE = 3
# Shots come in at this pace, in seconds, so that a dead server does not take the whole film with it in no time.
_PACE = 0.48

Progress: TypeAlias = Callable[[ShotResult], None]


@dataclass(frozen=True, slots=True)
class Told:
    """
    What came of one call: the value, or the error as text, and how it was made.
    """

    value: Any
    error: str | None
    route: str
    level: str
    attempts: int


Call: TypeAlias = Callable[..., Coroutine[Any, Any, Told]]


async def call_bare(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Told:
    """
    Call the function beneath the policies of *fn*.
    """
    raw = inspect.unwrap(fn)
    try:
        if inspect.iscoroutinefunction(raw):
            value = await raw(*args, **kwargs)
        else:
            value = await asyncio.to_thread(raw, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - whatever it is, this shot is lost
        return Told(None, _text(type(error).__name__, str(error)), LOST, "full", 1)
    return Told(value, None, "first try", "full", 1)


async def call_guarded(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Told:
    """
    Call *fn* under its policies, and tell what they made of it.
    """
    outcome_of: Callable[..., Any] = resilience_of(fn).outcome
    outcome: Outcome[Any]
    if inspect.iscoroutinefunction(fn):
        outcome = await outcome_of(*args, **kwargs)
    else:
        outcome = await asyncio.to_thread(outcome_of, *args, **kwargs)
    failed = [event.error for event in outcome.events if isinstance(event, AttemptFailed)]
    text = _text(failed[-1].error_type, failed[-1].error_message) if failed else None
    route = LOST if outcome.error is not None else outcome.route
    return Told(outcome.value, text, route, outcome.level.label, outcome.attempts)


def _text(kind: str, message: str) -> str:
    # Without the address: the same error of two servers, or of two runs, is one kind of error.
    first_line = message.partition("\n")[0]
    return f"{kind}: {first_line.partition(' for url ')[0]}"


class _Player:
    """
    One run over a storyboard.

    Args:
        engine: Its functions: `engine`, or `plain_engine` where policies are woven into that.
        clients: The run's.
        call: How engine functions are called.
        done: Told of each shot as it is finished.
    """

    def __init__(self, engine: ModuleType, clients: Clients, call: Call, done: Progress) -> None:
        self.errors: Counter[str] = Counter()
        self._engine = engine
        self._clients = clients
        self._call = call
        self._done = done
        self._looks: dict[str, Look] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._library = asyncio.Lock()

    async def play(self, board: Storyboard) -> tuple[ShotResult, ...]:
        """
        Make every shot, some at once, and return them in the storyboard's order.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._shot(scene, shot)) for scene in board.scenes for shot in scene.shots]
        return tuple(task.result() for task in tasks)

    async def _shot(self, scene: Scene, shot: Shot) -> ShotResult:
        await asyncio.sleep((shot.number - 1) * _PACE)
        async with self._gate:
            start = time.monotonic()
            told = await self._look(scene.title)
            if told is None:
                told = await self._render(scene, shot)
            result = _result(scene, shot, told, time.monotonic() - start)
        if told.error is not None:
            self.errors[told.error] += 1
        self._done(result)
        return result

    async def _look(self, scene: str) -> Told | None:
        """
        Make sure that the scene's look is there; return the failure if it cannot be had.
        """
        async with self._library:
            if scene in self._looks:
                return None
            told = await self._call(self._engine.fetch_look, self._clients, scene)
            if told.route == LOST:
                return told
            self._looks[scene] = told.value
            return None

    async def _render(self, scene: Scene, shot: Shot) -> Told:
        look, url = self._looks[scene.title], self._clients.urls["atlas"]
        if shot.kind == "still":
            how = {"seed": shot.seed, "look": look, "resolution": shot.resolution, "steps": shot.steps}
            still = self._engine.render_still
            return await self._call(still, self._clients, url, shot.title, shot.prompt, scene.palette, **how)
        order = RenderOrder(
            url, shot.title, shot.prompt, scene.palette, shot.seed, look, shot.resolution, shot.steps, shot.batch
        )
        return await self._call(self._engine.render_shot, self._clients, order)


def _result(scene: Scene, shot: Shot, told: Told, seconds: float) -> ShotResult:
    frames = 1 if shot.kind == "still" else shot.batch
    ordered = _words(shot.resolution, shot.steps, frames)
    take: Take | None = told.value if isinstance(told.value, Take) else None
    delivered = "" if take is None else _words(take.resolution, take.steps, len(take.frames))
    return ShotResult(
        number=shot.number,
        title=shot.title,
        scene=scene.title,
        ordered=ordered,
        delivered=delivered,
        as_ordered=delivered == ordered,
        route=told.route,
        level=told.level,
        attempts=told.attempts,
        seconds=round(seconds, 3),
        error=told.error,
        picture=None if take is None else take.frames[0],
    )


def _words(resolution: str, steps: int, frames: int) -> str:
    if not steps:
        return f"{resolution} title card"
    return f"{resolution}, {steps} steps, {frames} {'frame' if frames == 1 else 'frames'}"


async def _play(engine: ModuleType, board: Storyboard, farm: Farm, call: Call, done: Progress) -> RunResult:
    async with AsyncExitStack() as stack:
        # Without the environment: a proxy would not find servers on loopback.
        asynchronous = await stack.enter_async_context(httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False))
        sync = stack.enter_context(httpx.Client(timeout=_TIMEOUT, trust_env=False))
        player = _Player(engine, Clients(sync, asynchronous, farm.urls), call, done)
        start = time.monotonic()
        try:
            shots = await player.play(board)
        except asyncio.CancelledError:
            # Ctrl-C: threads that wait for an answer are let go by its server's end.
            farm.stop()
            raise
        seconds = time.monotonic() - start
    return RunResult(seconds=round(seconds, 3), shots=shots, errors=tuple(player.errors.most_common()))


def play_bare(engine: ModuleType, board: Storyboard, done: Progress) -> RunResult:
    """
    Play *board* with the bare functions, on a farm of its own.
    """
    with Farm(SERVERS, board.seed) as farm:
        return asyncio.run(_play(engine, board, farm, call_bare, done))


def play_resilient(
    engine: ModuleType, board: Storyboard, registry: Registry, bare: RunResult, done: Progress
) -> Report:
    """
    Play *board* with the functions under their policies, on a farm with the same faults, and report on both runs.
    """
    with Farm(SERVERS, board.seed) as farm:
        recorder = Recorder()
        prepare(registry, farm.urls, recorder, engine)
        run = asyncio.run(_play(engine, board, farm, call_guarded, done))
        health = registry.health()
        marks = recorder.marks(farm.outages)
    # By type, as analytics count them, each with the latest text for an example.
    latest = {info.error_type: _text(info.error_type, info.error_message) for info in registry.analytics.error_history}
    top = tuple((latest.get(kind, kind), times) for kind, times in registry.analytics.get_most_common_errors())
    return Report(
        title=board.title,
        seed=board.seed,
        bare=bare,
        resilient=replace(run, errors=top),
        circuits=tuple(registry.circuits),
        marks=tuple(mark for mark in marks if mark.at <= run.seconds),
        health=health.to_dict(),
        health_text=str(health),
    )
