"""The example app under gunicorn, as its clients see it."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes import descriptors_of, is_running, wait_until

pytestmark = pytest.mark.xdist_group("example")  # one server serves them all

COUNTS = {10: 4, 100: 25, 1000: 168, 10_000: 1229, 100_000: 9592, 1_000_000: 78498}


@pytest.fixture
def clients():
    """Threads that send requests at the same time."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def unlimited(example):
    """The example, where no call of an earlier test runs any more."""
    example.wait_until_running(0)
    return example


def test_children_are_ready_before_the_first_request(example):
    stats = example.stats()
    assert stats["submitted"] == 0
    assert [child["state"] for child in stats["children"]] == ["idle", "idle"]


def test_the_page_explains_and_lets_a_person_try(example):
    response = example.get("/")
    assert response.headers["Content-Type"].startswith("text/html")
    for path in ("/ping", "/primes/", "/sleep/", "/crash", "/stats"):
        assert path in response.text


def test_ping_is_answered(example):
    assert example.get("/ping").text == "pong"


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, *COUNTS])
def test_primes_are_counted_right_in_a_child(unlimited, n):
    answer = unlimited.get(f"/primes/{n}").json()
    assert answer["n"] == n
    assert answer["count"] == {0: 0, 1: 0, 2: 0, 3: 1, 4: 2, **COUNTS}[n]
    assert answer["pid"] in {child["pid"] for child in unlimited.stats()["children"]}
    assert answer["seconds"] >= 0


def test_inline_primes_are_counted_in_the_server(unlimited):
    answer = unlimited.get("/primes/1000?inline=1").json()
    assert answer["count"] == COUNTS[1000]
    assert answer["pid"] in unlimited.workers()


def test_concurrent_requests_get_their_own_results(unlimited, clients):
    wanted = [n for n in COUNTS for _ in range(10)]

    def count(n):
        # More clients than the queue has room for: they come again when refused.
        return wait_until(
            lambda: (answer := unlimited.get(f"/primes/{n}")).ok and answer.json(), "an answer"
        )

    for n, answer in zip(wanted, clients.map(count, wanted), strict=True):
        assert (answer["n"], answer["count"]) == (n, COUNTS[n])


def test_ping_is_answered_while_every_child_is_busy(unlimited, clients):
    sleepers = [clients.submit(unlimited.get, "/sleep/60?timeout=5") for _ in range(4)]
    unlimited.wait_until_running(2, queued=2)
    assert unlimited.get("/ping").text == "pong"
    assert not any(sleeper.done() for sleeper in sleepers)
    assert {sleeper.result().status_code for sleeper in sleepers} == {504}


def test_a_missed_deadline_is_a_504_and_the_child_is_gone(unlimited):
    response = unlimited.get("/sleep/60?timeout=0.2")
    assert response.status_code == 504
    answer = response.json()
    assert answer["error"] == "OffloadTimeout"
    pid = int(re.search(r"child (\d+) was killed", answer["message"]).group(1))
    wait_until(lambda: not is_running(pid), "the child is gone")
    assert unlimited.get("/sleep/0.01?timeout=20").json()["pid"] != pid


def test_a_crash_is_a_500_that_names_the_signal_and_the_next_request_is_served(unlimited):
    response = unlimited.get("/crash")
    assert response.status_code == 500
    answer = response.json()
    assert answer["error"] == "ChildDied"
    assert "SIGKILL" in answer["message"]
    assert unlimited.get("/primes/100").json()["count"] == 25


def test_a_child_that_is_killed_fails_its_own_request_only(unlimited, clients):
    victim = clients.submit(unlimited.get, "/sleep/60")
    stats = unlimited.wait_until_running(1)
    (pid,) = [child["pid"] for child in stats["children"] if child["state"] == "busy"]
    other = clients.submit(unlimited.get, "/primes/1000000")
    os.kill(pid, signal.SIGKILL)
    response = victim.result()
    assert response.status_code == 500
    assert response.json()["error"] == "ChildDied"
    assert other.result().json()["count"] == COUNTS[1_000_000]
    wait_until(lambda: len(unlimited.stats()["children"]) == 2, "both children are there again")


def test_saturation_is_a_503_with_retry_after(unlimited, clients):
    waiting = [clients.submit(unlimited.get, "/sleep/60?timeout=5") for _ in range(4)]
    unlimited.wait_until_running(2, queued=2)
    response = unlimited.get("/primes/10")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["error"] == "QueueFull"
    assert {each.result().status_code for each in waiting} == {504}
    unlimited.wait_until_running(0)
    assert unlimited.get("/primes/10").json()["count"] == 4


def test_stats_count_every_call(unlimited):
    before = unlimited.stats()
    unlimited.get("/primes/10")
    unlimited.get("/crash")
    unlimited.get("/sleep/60?timeout=0.1")
    after = unlimited.stats()
    for name in ("completed", "died", "timed_out"):
        assert after[name] == before[name] + 1
    assert after["submitted"] == before["submitted"] + 3


def test_a_stream_tells_each_block_and_its_end(unlimited):
    events = unlimited.get("/stream/3")
    assert events.headers["Content-Type"].startswith("text/event-stream")
    *items, end = events.text.strip().split("\n\n")
    items = [json.loads(item.removeprefix("data: ")) for item in items]
    assert [(item["done"], item["blocks"]) for item in items] == [(1, 3), (2, 3), (3, 3)]
    assert [item["count"] for item in items] == [
        283_146,
        539_777,
        788_060,
    ]  # primes below 4, 8, 12 million
    assert end == "event: end\ndata: {}"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/stream/999999", 400, "BadRequest"),
        ("/nowhere", 404, "NotFound"),
        ("/primes/999999999999", 400, "BadRequest"),
        ("/sleep/1?timeout=soon", 400, "BadRequest"),
        ("/sleep/1?timeout=0", 400, "BadRequest"),
    ],
)
def test_every_error_is_json(example, path, status, error):
    response = example.get(path)
    assert response.status_code == status
    assert response.json()["error"] == error
    assert response.json()["message"]


def test_children_hold_nothing_of_the_server(unlimited):
    def both():  # an earlier test may have killed one
        children = unlimited.stats()["children"]
        return children if len(children) == 2 else None

    for child in wait_until(both, "both children are there"):
        held = descriptors_of(child["pid"])
        assert not [what for what in held.values() if what.startswith("socket:")]
