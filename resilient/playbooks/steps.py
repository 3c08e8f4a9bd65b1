"""
The twelve built-in recovery steps: each really does what its name says, or does not apply.

A step answers True where it changed, freed or proved something. One that calls
what users registered, or waits, is a plan (`resilient.policies.base`) with that
answer at its end: one text serves sync and async operations alike.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

from resilient.levels import DegradationLevel
from resilient.playbooks.caches import clearer, collect, free_gpu, holds_something
from resilient.playbooks.endpoints import aconnect, connect, following, place
from resilient.playbooks.kit import perform
from resilient.policies.base import Call, Raised
from resilient.policies.rules import equal

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.playbooks.context import RecoveryContext
    from resilient.playbooks.endpoints import Place
    from resilient.playbooks.kit import Kit
    from resilient.playbooks.single_flight import Decision

__all__ = ["BUILT_IN", "SHARED", "BuiltIn"]

_MEMORY_FLAGS = ("low_vram", "memory_efficient", "offload")


BuiltIn: TypeAlias = "Callable[[RecoveryContext, Kit], bool | Decision]"


# -- network -------------------------------------------------------------------------


def retry_connection(ctx: RecoveryContext, kit: Kit) -> Decision:
    """
    Probe the operation's endpoint; applies when the probe succeeds.

    The probe is a registered callable if there is one, else a TCP connection to
    the call's own endpoint, else to the first one registered. Without an
    endpoint that has a port, it does not apply.
    """
    probe = next((one for one in kit.provided.endpoints if callable(one)), None)
    if probe is None:
        there = _probed(kit)
        if there is None or there.port is None:
            return False
        if ctx.is_async:
            command = Call(aconnect, (there.host, there.port), timeout=ctx.remaining())
        else:
            command = Call(connect, (there.host, there.port, ctx.remaining()))
        # A probe that fails has answered: it is no error of the step.
        return not isinstance((yield command), Raised)
    try:
        return (yield from perform(ctx, probe))
    except Exception:  # noqa: BLE001 - as above
        return False


def _probed(kit: Kit) -> Place | None:
    """
    Return the operation's endpoint, the one that its next call will use.
    """
    registered = [place(one) for one in kit.provided.endpoints]
    found = kit.find("endpoint", lambda value: place(value) is not None)
    here = place(found[2]) if found else None
    if here is None or here.port is not None:
        return here or next(iter(registered), None)
    # A bare host: another host's answer would prove nothing about it.
    return next((one for one in registered if one is not None and one.holds(here)), None)


def use_backup_endpoint(ctx: RecoveryContext, kit: Kit) -> bool:
    """
    Put the registered endpoint that comes next into the call's endpoint argument.
    """
    found = kit.find("endpoint", lambda value: value is None or place(value) is not None)
    if found is None:
        return False
    name, path, current = found
    endpoints = [one for one in kit.provided.endpoints if not callable(one)]
    backup = following(current, endpoints, keep_path=name == "url")
    if backup is None or backup == current:
        return False
    ctx.put({path: backup})
    return True


def enable_offline_mode(ctx: RecoveryContext, kit: Kit) -> bool:
    """
    Work offline for the rest of this operation, by the call's ``offline`` argument or by `is_offline`.
    """
    own = next(ctx.values(("offline",)), None)
    if own is not None:
        _, path, value = own
        if value is not False:
            return False
        ctx.put({path: True})
    # Without parameters there is no operation that could go on offline.
    elif ctx.offline or ctx.parameters is None or not kit.provided.offline:
        return False
    ctx.offline = True
    return True


# -- memory --------------------------------------------------------------------------


def clear_cache(ctx: RecoveryContext, kit: Kit) -> Decision:
    """
    Clear the registered caches, collect garbage, and return the GPU framework's cached memory.
    """
    caches = kit.provided.caches

    def work() -> Decision:
        freed = False
        failure: Exception | None = None
        jobs = [(clearer(cache), holds_something(cache)) for cache in caches]
        for job, counts in (*jobs, (collect, True), (free_gpu, True)):
            # One cache that cannot be cleared must not keep the others full.
            try:
                done = yield from perform(ctx, job)
            except Exception as error:  # noqa: BLE001 - raised below if nothing else helped
                failure = error.with_traceback(None)
            else:
                freed = (done and counts) or freed
        if failure is not None and not freed:
            try:
                raise failure
            finally:
                # The traceback holds this frame; the frame must not hold the error.
                del failure
        return freed

    key = ("clear_cache", *sorted(map(id, caches)))
    return (yield from kit.once(key, work))


def reduce_batch_size(ctx: RecoveryContext, kit: Kit) -> bool:
    """
    Halve the call's batch argument, rounded down; does not apply at 1.
    """
    found = kit.find("batch", lambda value: isinstance(value, int) and not isinstance(value, bool))
    if found is None or found[2] <= 1:
        return False
    _, path, size = found
    ctx.put({path: size // 2})
    return True


def enable_memory_optimization(ctx: RecoveryContext, _kit: Kit) -> bool:
    """
    Turn the call's ``low_vram``, ``memory_efficient`` and ``offload`` flags on where they are off.
    """
    on = {path: True for _, path, value in ctx.values(_MEMORY_FLAGS) if value is False}
    ctx.put(on)
    return bool(on)


# -- model ---------------------------------------------------------------------------


def reload_model(_ctx: RecoveryContext, kit: Kit) -> Decision:
    """
    Call the registered loader, with the model's name where the function has one.
    """
    return (yield from _with_model("reload_model", kit.provided.loader, kit))


def use_fallback_model(ctx: RecoveryContext, kit: Kit) -> bool:
    """
    Put the registered model that comes next into the call's model argument.
    """
    models = kit.provided.models
    # A name does not take the place of an object, nor an object that of a name.
    found = kit.find("model", lambda value: value is None or any(isinstance(value, type(one)) for one in models))
    if found is None or not models:
        return False
    _, path, current = found
    index = next((i for i, one in enumerate(models, 1) if equal(one, current)), 0)
    if index == len(models):
        return False
    ctx.put({path: models[index]})
    return True


def download_model(_ctx: RecoveryContext, kit: Kit) -> Decision:
    """
    Call the registered fetcher, with the model's name where the function has one.
    """
    return (yield from _with_model("download_model", kit.provided.fetcher, kit))


def _with_model(step: str, fn: Callable[..., Any] | None, kit: Kit) -> Decision:
    if fn is None:
        return False
    # A model that is an object has no name: nothing is guessed.
    found = kit.find("model", lambda value: isinstance(value, str | os.PathLike))
    names = () if found is None else (found[2],)
    return (yield from kit.perform_once(step, fn, *names))


# -- workflow ------------------------------------------------------------------------


def restart_workflow(ctx: RecoveryContext, kit: Kit) -> Decision:
    """
    Call the registered restart, then go back to the original arguments.
    """
    restart = kit.provided.restart
    if restart is None or not (yield from kit.perform_once("restart_workflow", restart)):
        return False
    # Each one's own arguments, whoever did the restart.
    ctx.restore()
    return True


def use_simpler_workflow(ctx: RecoveryContext, _kit: Kit) -> bool:
    """
    Make this call one service level lower.
    """
    level = ctx.level if ctx.level_override is None else ctx.level_override
    if level is None or level is DegradationLevel.MINIMAL:
        return False
    ctx.level_override = level.lower()
    return True


def skip_optional_steps(ctx: RecoveryContext, kit: Kit) -> bool:
    """
    Turn off, for this call, its feature flags and the arguments registered as optional.
    """
    changed = {}
    for name, path, value in ctx.values(dict.fromkeys((*ctx.features, *kit.provided.optional))):
        off = _off(value)
        if not equal(value, off):
            changed[path] = off
            if name in ctx.features:
                ctx.disabled_features.add(name)
    ctx.put(changed)
    return bool(changed)


def _off(value: object) -> object:
    """
    Return what stands for "no": False, 0, an empty container of its kind, else None.
    """
    kinds = (bool, int, float, list, tuple, dict, set, frozenset)
    return next((kind() for kind in kinds if isinstance(value, kind)), None)


BUILT_IN: dict[str, tuple[BuiltIn, ...]] = {
    "network": (retry_connection, use_backup_endpoint, enable_offline_mode),
    "memory": (clear_cache, reduce_batch_size, enable_memory_optimization),
    "model": (reload_model, use_fallback_model, download_model),
    "workflow": (restart_workflow, use_simpler_workflow, skip_optional_steps),
}
SHARED: frozenset[BuiltIn] = frozenset({clear_cache, reload_model, download_model, restart_workflow})
