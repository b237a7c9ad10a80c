"""A server that has no descriptors left."""

import os
import resource
import signal

import pytest
import requests

from tests.chaos.support import assert_at_full_size, children, gunicorn
from tests.processes import PATIENCE, descriptors_of, is_running, wait_until


# A start fails at the first descriptor that it needs, or at a later one.
@pytest.mark.parametrize("spare", [0, 3, 7])
def test_without_descriptors_each_failure_is_told_to_its_caller_and_service_resumes(spare):
    with gunicorn("--keep-alive", "60") as server, requests.Session() as session:

        def square(n: int) -> requests.Response:
            return session.get(f"{server.url}/square/{n}?timeout=5", timeout=PATIENCE)

        assert square(2).json()["square"] == 4
        assert_at_full_size(server)
        (worker,) = server.workers()
        before = len(descriptors_of(worker))
        usual = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        limit = first_descriptor_for_children(server, worker) + spare
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, usual[1]))
        doomed = children(server)
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, doomed)), "no child is left")
        wait_until(lambda: "no child could be started" in server.log, "the log says so")
        for n in range(5):
            response = square(n)
            assert response.status_code == 500
            assert response.json()["error"] == "OffloadError"
            assert "Too many open files" in response.json()["message"]
        assert session.get(f"{server.url}/ping", timeout=PATIENCE).text == "pong"

        resource.prlimit(worker, resource.RLIMIT_NOFILE, usual)
        wait_until(lambda: square(12).status_code == 200, "service resumes", 60)
        assert square(12).json()["square"] == 144
        assert server.workers() == {worker}
        wait_until(lambda: server.stats()["starting"] == 0, "the others have started, too")
        session.get(f"{server.url}/ping", timeout=PATIENCE)
        wait_until(lambda: len(descriptors_of(worker)) <= before, "no descriptor is left over")


def first_descriptor_for_children(server, worker: int) -> int:
    """The lowest number that is free when the children are gone."""
    held = {what for pid in children(server) for what in descriptors_of(pid).values()}
    return min(
        fd
        for fd, what in descriptors_of(worker).items()
        if what.startswith("pipe:") and what in held
    )
