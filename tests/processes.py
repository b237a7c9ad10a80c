"""Looking at processes from outside, and waiting for what they do."""

import os
import time
from collections.abc import Callable
from pathlib import Path
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


def state_and_parent_of(pid: int) -> tuple[str, int]:
    """A process's state, as ``ps`` calls it, and its parent; "" and 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            state, parent = stat.read().rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(parent)


def state_of(pid: int) -> str:
    """``"R"`` for a process that uses the processor, ``"Z"`` for a zombie."""
    return state_and_parent_of(pid)[0]


def is_running(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    return state_of(pid) not in ("", "Z")


def parent_of(pid: int) -> int:
    """A process's parent; 0 when it has ended."""
    return state_and_parent_of(pid)[1]


def children_of(pid: int) -> set[int]:
    """A process's children, zombies included."""
    return {each for each in all_pids() if parent_of(each) == pid}


def command_of(pid: int) -> str:
    """A process's command line; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


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
