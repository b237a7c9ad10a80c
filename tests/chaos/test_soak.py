"""Mixed load for a long time. Only in the long form."""

import os
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.support import LONG, Answer, ask, assert_at_full_size, gunicorn
from tests.processes import descriptors_of, wait_until

WARMING_UP, SECONDS = 60, 600
CLIENTS = 8

#: What is asked for, how often, and the status that is due.
MIX = {
    "/square/12?seconds=0.01": (60, 200),
    "/ping": (20, 200),
    "/count/20/0.001": (5, 200),
    "/eat/20": (5, 200),
    "/sleep/600.0?timeout=0.05": (3, 504),
    "/die/9": (2, 500),
    "/eat_too_much": (2, 500),
}


@pytest.mark.skipif(not LONG, reason="takes ten minutes: make chaos")
@pytest.mark.timeout(2 * SECONDS)
def test_after_minutes_of_mixed_load_a_server_is_as_large_as_after_the_first():
    with gunicorn(FLASK_GIPC_MAX_QUEUE="1000") as server, ThreadPoolExecutor(CLIENTS) as pool:
        (worker,) = server.workers()
        first = size_after(WARMING_UP, server, pool)
        last = size_after(SECONDS - WARMING_UP, server, pool)
        assert server.workers() == {worker}
        for what, before in first.items():
            assert last[what] <= 1.05 * before, (what, first, last)


def size_after(seconds: float, server, pool: ThreadPoolExecutor) -> dict[str, int]:
    """What the server's worker holds after so long a load, when all of it is done."""
    (worker,) = server.workers()
    over = threading.Event()
    sent = [pool.submit(client, server, over) for _ in range(CLIENTS)]
    over.wait(seconds)
    over.set()
    assert [answer for each in sent for answer in each.result()] == []
    assert_at_full_size(server)
    return size_at_rest(worker)


def client(server, over: threading.Event) -> list[Answer]:
    """Send requests until it is over; return those whose answer was not the due one."""
    weights = [weight for weight, _ in MIX.values()]
    wrong = []
    while not over.is_set():
        (path,) = random.choices(list(MIX), weights)
        if path.startswith("/count") or path == "/ping":
            due = server.get(path).status_code == 200
            answer = Answer(path, 200 if due else 500)
        else:
            answer = ask(server, path)
        if answer.status != MIX[path][1]:
            wrong.append(answer)
    return wrong


def size_at_rest(pid: int) -> dict[str, int]:
    """The least of several looks: what ended last may still be being closed."""
    looks = []

    def enough() -> bool:
        status = Path(f"/proc/{pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+)", status)
        assert resident
        looks.append(
            {
                "resident memory": int(resident.group(1)),
                "descriptors": len(descriptors_of(pid)),
                "threads": len(os.listdir(f"/proc/{pid}/task")),
            }
        )
        return time.monotonic() > begun + 5

    begun = time.monotonic()
    wait_until(enough, "there were looks enough")
    return {what: min(look[what] for look in looks) for what in looks[0]}
