"""Signals that stop a server, with calls that run and calls that wait."""

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.chaos.support import (
    Answer,
    ask,
    assert_children_hold_nothing,
    assert_no_traceback_of_gipc,
    assert_quiet,
    gunicorn,
    pywsgi,
    running_children,
)
from tests.processes import wait_until


@contextlib.contextmanager
def calls(server, seconds: float) -> Iterator[list[Future[Answer]]]:
    """Two calls that run, and one that waits."""
    with ThreadPoolExecutor(3) as clients:
        sent = [clients.submit(ask, server, f"/sleep/{seconds}") for _ in range(3)]
        running_children(server, 2, queued=1)
        assert_children_hold_nothing(server)
        yield sent


def signal_main(server, number: int) -> None:
    os.kill(server.pid, number)


def signal_all(server, number: int) -> None:
    """As a terminal does to a foreground group, and systemd to a control group."""
    for pid in server.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


EVERY_WAY = pytest.mark.parametrize("send", [signal_main, signal_all], ids=["main", "all"])


@EVERY_WAY
@pytest.mark.parametrize(
    ("serve", "number"),
    [(gunicorn, signal.SIGTERM), (pywsgi, signal.SIGINT)],
    ids=["gunicorn, SIGTERM", "gevent.pywsgi, Ctrl-C"],
)
def test_a_graceful_stop_finishes_calls_that_run_and_calls_that_wait(serve, number, send):
    with serve() as server:
        with calls(server, 3.0) as sent:
            send(server, number)
        assert [call.result().status for call in sent] == [200, 200, 200]
        assert server.wait() == 0
        server.wait_until_gone()
        assert_quiet(server.log)


@EVERY_WAY
def test_what_outlasts_the_graceful_timeout_is_cut_off(send):
    with gunicorn("--graceful-timeout", "1") as server:
        with calls(server, 600.0) as sent:
            send(server, signal.SIGTERM)
        assert {call.result().status for call in sent} <= {0, 500}
        server.wait()
        server.wait_until_gone()
        assert_quiet(server.log)


@EVERY_WAY
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["SIGINT", "SIGQUIT"])
def test_a_quick_stop_cuts_off_calls_that_run_and_calls_that_wait(send, number):
    with gunicorn("--graceful-timeout", "300") as server:
        with calls(server, 600.0) as sent:
            send(server, number)
        assert {call.result().status for call in sent} <= {0, 500}
        server.wait()
        server.wait_until_gone()
        assert_no_traceback_of_gipc(server.log)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["SIGINT", "SIGQUIT"])
def test_a_second_signal_hurries_a_graceful_stop_up(number):
    with gunicorn("--graceful-timeout", "300") as server:
        with calls(server, 600.0) as sent:
            server.signal(signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in server.log, "it is stopping")
            signal_all(server, number)
        assert {call.result().status for call in sent} <= {0, 500}
        server.wait()
        server.wait_until_gone()
        assert_no_traceback_of_gipc(server.log)
