"""
What holds memory that a failed call could use: caches, garbage, the GPU framework's reserve.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["clearer", "collect", "free_gpu", "holds_something"]


def clearer(cache: Any) -> Callable[[], object]:
    """
    Return the method that empties *cache*.
    """
    # `cache_clear` first: what functools wraps may have a `clear` of its own.
    clear: Callable[[], object] = getattr(cache, "cache_clear", None) or cache.clear
    return clear


def holds_something(cache: Any) -> bool:
    """
    Tell whether *cache* has entries, as far as it lets one see.
    """
    try:
        return bool(cache.cache_info().currsize if hasattr(cache, "cache_info") else len(cache))
    except Exception:  # noqa: BLE001 - a cache that does not tell is taken for a full one
        return True


def collect() -> bool:
    """
    Collect garbage; tell whether there was any.
    """
    return gc.collect() > 0


def free_gpu() -> bool:
    """
    Give the memory that torch keeps in reserve back to the device; torch is looked up, never imported.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return False
    if torch.cuda.is_available():
        devices = range(torch.cuda.device_count())
        before = sum(torch.cuda.memory_reserved(device) for device in devices)
        torch.cuda.empty_cache()
        return bool(sum(torch.cuda.memory_reserved(device) for device in devices) < before)
    if torch.backends.mps.is_available():
        before = torch.mps.driver_allocated_memory()
        torch.mps.empty_cache()
        return bool(torch.mps.driver_allocated_memory() < before)
    return False
