"""SIGKILL, for children, workers and the arbiter."""

import contextlib
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.support import (
    LONG,
    ask,
    assert_at_full_size,
    assert_children_hold_nothing,
    children,
    failures,
    fork_servers,
    gunicorn,
    load,
    more_answers,
    pid_in,
    port_of,
    programs,
    running_children,
    serves,
    within,
)
from tests.processes import children_of, is_running, state_of, wait_until

KILLS = 300 if LONG else 25


@pytest.fixture
def clients():
    """Threads that send requests at the same time."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_killing_children_under_load_fails_their_own_requests_only():
    with gunicorn(FLASK_GIPC_MAX_WORKERS="4") as server:
        killed = set()
        with load(server) as answers:
            for _ in range(KILLS):
                ready = [child["pid"] for child in server.stats()["children"]]
                victim = random.choice(ready)
                killed.add(victim)
                kill(victim)
                assert_children_hold_nothing(server)
                more_answers(answers, 3)
        for failure in failures(answers):
            assert (failure.status, failure.error) == (500, "ChildDied"), failure
            assert "killed by SIGKILL" in failure.message
            assert pid_in(failure.message) in killed
        pids = [pid_in(failure.message) for failure in failures(answers)]
        assert len(pids) == len(set(pids))
        assert len(answers) > 3 * KILLS
        assert_at_full_size(server, each=4)
        stats = server.stats()
        assert stats["died"] == len(pids)
        assert stats["running"] == stats["queued"] == 0


def test_children_that_are_killed_before_they_are_ready_do_not_stop_the_service():
    with gunicorn(FLASK_GIPC_MAX_WORKERS="3") as server:
        with load(server) as answers:
            for _ in range(KILLS):
                victims = wait_until(lambda: children(server), "there is a child")
                kill(random.choice(sorted(victims)))
                more_answers(answers, 2)
        assert {failure.error for failure in failures(answers)} <= {"ChildDied"}
        assert_at_full_size(server, each=3)
        assert serves(server)


def test_killing_the_fork_server_does_not_stop_the_service():
    with gunicorn() as server:
        for _ in range(3):
            (maker,) = fork_servers(server)
            os.kill(maker, signal.SIGKILL)
            wait_until(lambda pid=maker: not is_running(pid), "the fork server is gone")
            assert ask(server, "/die/9").error == "ChildDied"
            assert serves(server)
            assert_children_hold_nothing(server)
        (worker,) = server.workers()
        wait_until(lambda: "Z" not in map(state_of, children_of(worker)), "no zombie is left")


def test_all_children_of_a_killed_worker_are_gone_within_a_second(clients):
    with gunicorn(FLASK_GIPC_MAX_WORKERS="4") as server:
        paths = "/spin", "/hold", "/sleep/600.0", "/spawn"
        lost = [clients.submit(ask, server, path) for path in paths]
        running_children(server, 4)
        wait_until(lambda: programs(server), "a task has started a program")
        assert_children_hold_nothing(server)
        (worker,) = server.workers()
        doomed = children(server) | programs(server)
        assert len(doomed) == 5
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, doomed)), "its children are gone", within(1))
        assert {each.result().status for each in lost} == {0}
        assert_at_full_size(server, each=4)
        assert serves(server)


@pytest.mark.parametrize("also_workers", [False, True], ids=["arbiter", "arbiter and workers"])
def test_nothing_is_left_of_a_killed_server_and_its_port_is_free_at_once(clients, also_workers):
    with gunicorn("--workers", "2", FLASK_GIPC_MAX_WORKERS="3") as server:
        lost = [clients.submit(ask, server, path) for path in ("/hold", "/spin", "/spawn")]
        wait_until(lambda: busy(server) == 2 and programs(server), "all calls run")
        assert_children_hold_nothing(server)
        victims = [server.pid, *(server.workers() if also_workers else ())]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        # Workers look for their arbiter once in a second, and end by themselves.
        patience = within(2 if also_workers else 5)
        wait_until(lambda: not server.processes(), "no process is left", patience)
        assert {each.result().status for each in lost} <= {0, 500}
        with gunicorn(port=port_of(server)) as successor:
            assert serves(successor)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended of the last kill
        os.kill(pid, signal.SIGKILL)


def busy(server) -> int:
    """Children that use the processor."""
    return sum(state_of(pid) == "R" for pid in children(server))
