"""An executor's arguments, checked."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Iterable
from multiprocessing.context import BaseContext
from typing import Any

from gipc._core.pickles import Rehearsal, pickled_for
from gipc._executor.worker import Orders
from gipc._process import start_method_of


@dataclasses.dataclass(frozen=True)
class Settings:
    """What does not change in an executor's life."""

    max_workers: int
    method: str
    orders: Orders
    max_tasks: int | None
    max_queue: int | None
    timeout: float | None
    idle_timeout: float | None
    start_timeout: float | None


def check_settings(
    max_workers: int | None,
    mp_context: BaseContext | str | None,
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
    max_tasks_per_child: int | None,
    max_memory_per_child: int | None,
    max_queue: int | None,
    timeout: float | None,
    idle_timeout: float | None,
    nice: int | None,
    preload: Iterable[str],
    start_timeout: float | None,
) -> Settings:
    """Turn an executor's arguments into settings.

    :raises TypeError: one is of the wrong type.
    :raises ValueError: one is out of its range.
    """
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be callable, not {initializer!r}")
    if isinstance(preload, str):
        raise TypeError("preload must be a sequence of module names, not one string")
    modules = tuple(preload)
    for module in modules:
        if not isinstance(module, str):
            raise TypeError(f"preload must hold names of modules, not {module!r}")
    if nice is not None:
        _check_integer("nice", nice, minimum=None)
    method = _method(mp_context)
    orders = Orders(
        initializer=initializer,
        initargs=tuple(initargs),
        preload=modules,
        needed=(),
        nice=nice,
        max_memory=_check_integer("max_memory_per_child", max_memory_per_child, 1),
    )
    if method != "fork":
        pickled_for(Rehearsal(), orders)  # fails here rather than in every child
    return Settings(
        max_workers=_check_integer("max_workers", max_workers, 1) or usable_cpus(),
        method=method,
        orders=orders,
        max_tasks=_check_integer("max_tasks_per_child", max_tasks_per_child, 1),
        max_queue=_check_integer("max_queue", max_queue, 0),
        timeout=check_seconds("timeout", timeout),
        idle_timeout=check_seconds("idle_timeout", idle_timeout),
        start_timeout=check_seconds("start_timeout", start_timeout),
    )


def check_seconds(name: str, value: float | None) -> float | None:
    """A number of seconds above 0, or None.

    :raises TypeError: it is no number.
    :raises ValueError: it is not above 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    return float(value)


def usable_cpus() -> int:
    """The number of processors that this process may use."""
    count = getattr(os, "process_cpu_count", None)  # Python 3.13
    if count is not None:
        return count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_integer(name: str, value: int | None, minimum: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer or None, not {value!r}")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")
    return value


def _method(mp_context: BaseContext | str | None) -> str:
    if mp_context is not None:
        method = start_method_of(mp_context)
        if method is not None:
            return method
    known = multiprocessing.get_all_start_methods()
    return "forkserver" if "forkserver" in known else "spawn"
