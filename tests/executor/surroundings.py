"""What children can tell of their surroundings."""

import multiprocessing
import os
import time
from multiprocessing import connection

from tests.processes import PATIENCE


def environment():
    # Without what readline, which pytest imports, sets past os.environ.
    return {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}


def utc_offset():
    return time.localtime().tm_gmtoff


def family():
    """What multiprocessing says of this process, and of its parent."""
    own, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    return {
        "name": own.name,
        "authkey": bytes(own.authkey),
        "parent": (parent.pid, parent.name),
        "parent is alive": parent.is_alive(),
        "parent has ended": bool(connection.wait([parent.sentinel], 0)),
    }


def keep(*objects):
    """An initializer."""
    global _kept
    _kept = objects


def use_kept():
    """Use a lock, a value, a queue and an event."""
    lock, value, queue, event = _kept
    with lock:
        value.value += 1
    queue.put(value.value)
    queue.close()
    queue.join_thread()  # which writes it
    event.set()


def use_manager():
    with multiprocessing.Manager() as manager:
        numbers = manager.list([1, 2])
        numbers.append(3)
        return list(numbers)


def use_pool(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply_async(abs, (-3,)).get(PATIENCE)
