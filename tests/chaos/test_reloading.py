"""Workers that are replaced while there is load: nobody notices."""

import os
import signal

from tests.chaos.support import (
    LONG,
    assert_at_full_size,
    assert_quiet,
    children,
    failures,
    fork_servers,
    gunicorn,
    load,
    more_answers,
)
from tests.processes import is_running, wait_until

RELOADS = 10 if LONG else 4


def test_no_request_fails_while_workers_are_reloaded():
    with gunicorn("--workers", "2") as server:
        assert_at_full_size(server, workers=2)
        with load(server, clients=3) as answers:
            for _ in range(RELOADS):
                before = server.workers() | children(server)
                server.signal(signal.SIGHUP)
                wait_until(
                    lambda old=before: not any(map(is_running, old)),
                    "the old workers and their children are gone",
                )
                more_answers(answers, 5)
        assert failures(answers) == []
        assert_at_full_size(server, workers=2)
        assert_quiet(server.log)


def test_no_request_fails_while_workers_reach_max_requests():
    with gunicorn("--workers", "2", "--max-requests", "30") as server:
        assert_at_full_size(server, workers=2)
        before = server.workers() | children(server)
        with load(server, clients=3) as answers:
            wait_until(
                lambda: not any(map(is_running, before)),
                "the first workers and their children are gone",
            )
            more_answers(answers, 500 if LONG else 50)
        assert failures(answers) == []
        assert_at_full_size(server, workers=2)
        assert_quiet(server.log)


def test_no_request_fails_while_the_server_is_upgraded():
    with gunicorn() as server:
        before = server.processes()
        with load(server, clients=3) as answers:
            server.signal(signal.SIGUSR2)
            wait_until(lambda: len(fork_servers(server)) == 2, "both servers have their children")
            wait_until(lambda: len(children(server)) == 4, "both servers have their children")
            more_answers(answers, 20)
            os.kill(server.pid, signal.SIGTERM)
            server.wait()
            wait_until(lambda: not any(map(is_running, before)), "the old server is gone")
            more_answers(answers, 20)
        assert failures(answers) == []
        assert (len(fork_servers(server)), len(children(server))) == (1, 2)
        assert_quiet(server.log)
