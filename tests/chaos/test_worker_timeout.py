"""gunicorn aborts a worker whose event loop is stuck."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.support import (
    ask,
    assert_at_full_size,
    children,
    gunicorn,
    running_children,
    serves,
    within,
)
from tests.processes import is_running, wait_until


@pytest.mark.parametrize("how", ["python", "c"])
def test_the_children_of_an_aborted_worker_go_too(how):
    stuck = "--timeout", "2", "--graceful-timeout", "1"
    with gunicorn(*stuck) as server, ThreadPoolExecutor(2) as clients:
        lost = [clients.submit(ask, server, "/hold")]
        running_children(server, 1)
        (worker,) = server.workers()
        doomed = children(server)
        lost.append(clients.submit(ask, server, f"/block/{how}"))
        wait_until(lambda: not is_running(worker), "the worker is aborted")
        wait_until(lambda: not any(map(is_running, doomed)), "its children are gone", within(1))
        assert {call.result().status for call in lost} <= {0, 500}
        assert "WORKER TIMEOUT" in server.log
        assert_at_full_size(server)
        assert serves(server)
