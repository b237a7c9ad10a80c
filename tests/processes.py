"""Looking at processes from outside, and waiting for what they do."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

import gevent

T = TypeVar("T")

PATIENCE = 60.0  # seconds; a test that waits longer has failed


def wait_until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Look again and again until *condition* returns something true, and return that."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain: {what}"
        time.sleep(0.01)
    return result


def wait_cooperatively(
    condition: Callable[[], T], what: str = "it came true", patience: float = PATIENCE
) -> T:
    """The same, with other greenlets running meanwhile."""
    return wait_until(lambda: (gevent.sleep(0), condition())[1], what, patience)


def is_running(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    """A process's parent; 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def all_pids() -> list[int]:
    """Every process that this one can see."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants_of(pid: int) -> set[int]:
    """The running processes below *pid*, however deep."""
    parents = {each: parent_of(each) for each in all_pids()}
    found: set[int] = set()
    new = {pid}
    while new:
        new = {each for each, parent in parents.items() if parent in new} - found
        found |= new
    return {each for each in found if is_running(each)}


def pids_with_environment(entry: str) -> set[int]:
    """The running processes that were started with *entry* ("NAME=value") set.

    That finds those, too, whose parent has ended.
    """
    found = set()
    for pid in all_pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if entry.encode() in environ.read().split(b"\0") and is_running(pid):
                    found.add(pid)
        except OSError:  # it has just ended
            continue
    return found


def descriptors_of(pid: int) -> dict[int, str]:
    """The open descriptors of a process and what they stand for."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:  # closed meanwhile
            continue
    return found
