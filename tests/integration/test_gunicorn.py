"""What gunicorn does to its workers, and what becomes of the children."""

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from gipc._executor.settings import usable_cpus
from tests.integration.servers import gunicorn
from tests.processes import PATIENCE, is_running, wait_until

APPS = Path(__file__).parent / "apps"
PRELOAD = pytest.mark.parametrize("preload", [["--preload"], []], ids=["preload", "no preload"])


@PRELOAD
def test_sigterm_lets_a_running_call_finish_and_leaves_nothing(preload):
    with gunicorn(*preload) as server, ThreadPoolExecutor(1) as clients:
        sleeper = clients.submit(server.get, "/sleep/2")
        server.wait_until_running(1)
        server.signal(signal.SIGTERM)
        response = sleeper.result()
        assert response.status_code == 200
        assert response.json()["slept"] == 2
        assert server.wait() == 0
        server.wait_until_gone()
        assert "Traceback" not in server.log


def test_a_call_that_outlasts_the_graceful_timeout_is_cut_off():
    with gunicorn("--graceful-timeout", "1") as server, ThreadPoolExecutor(1) as clients:
        sleeper = clients.submit(server.get, "/sleep/60?timeout=60")
        server.wait_until_running(1)
        server.signal(signal.SIGTERM)
        with pytest.raises(requests.ConnectionError):
            sleeper.result()
        server.wait()
        server.wait_until_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["SIGINT", "SIGQUIT"])
def test_a_quick_stop_cuts_calls_off_and_leaves_nothing(number):
    with gunicorn() as server, ThreadPoolExecutor(1) as clients:
        sleeper = clients.submit(server.get, "/sleep/60?timeout=60")
        server.wait_until_running(1)
        server.signal(number)
        with contextlib.suppress(requests.ConnectionError):  # if the worker is faster
            assert sleeper.result().status_code == 500
        server.wait()
        server.wait_until_gone()
        assert "Traceback" not in server.log


def test_sigkill_of_the_server_leaves_no_process_and_no_bound_port():
    with gunicorn() as server, ThreadPoolExecutor(1) as clients:
        sleeper = clients.submit(server.get, "/sleep/60?timeout=60")
        server.wait_until_running(1)
        workers = server.workers()
        assert len(workers) == 1
        for pid in (server.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(requests.ConnectionError):
            sleeper.result()
        server.wait_until_gone()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", int(server.url.rpartition(":")[2])))


def test_sigkill_of_a_worker_takes_its_children_and_the_next_one_serves():
    with gunicorn() as server:
        (worker,) = wait_until(server.workers, "there is a worker")
        children = {child["pid"] for child in server.stats()["children"]}
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, children)), "the children are gone")
        wait_until(lambda: server.workers() - {worker}, "there is another worker")
        answer = server.get("/primes/100").json()
        assert answer["count"] == 25
        assert answer["pid"] not in children


@PRELOAD
def test_two_workers_share_no_child(preload):
    with gunicorn(*preload, "--workers", "2") as server:
        children = children_of_both_workers(server)
    one, other = children.values()
    assert one
    assert other
    assert not one & other


def test_processors_are_shared_out_between_the_workers():
    with gunicorn("--workers", "2") as server:
        assert server.stats()["max_workers"] == max(1, usable_cpus() // 2)


def test_max_workers_of_the_app_comes_first():
    with gunicorn("--workers", "2", FLASK_GIPC_MAX_WORKERS="3") as server:
        assert server.stats()["max_workers"] == 3


def test_hooks_of_the_user_run_beside_ours():
    with gunicorn(config=APPS / "own_hooks.conf.py") as server:
        assert server.stats()["started"] > 0  # ours had the children started
        assert "my post_fork ran" in server.log
        assert "my post_worker_init ran" in server.log


def test_children_that_cannot_start_do_not_keep_the_server_from_serving():
    with gunicorn(FLASK_GIPC_PRELOAD='["no_such_module"]') as server:
        assert server.get("/ping").text == "pong"
        response = server.get("/primes/10")
        assert response.status_code == 500
        assert "no_such_module" in server.log


def test_log_lines_go_to_gunicorns_log():
    with gunicorn() as server:
        pid = server.stats()["children"][0]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: f"child {pid} was killed by SIGKILL" in server.log, "the log says so")
        line = next(line for line in server.log.splitlines() if f"child {pid}" in line)
        assert "[WARNING]" in line


@PRELOAD
def test_any_wsgi_app_can_offload(preload):
    with gunicorn(
        *preload, app="wsgi:app", folder=APPS, config=APPS / "gunicorn.conf.py"
    ) as server:
        ready = server.stats()
        assert len(ready["children"]) == ready["max_workers"] == 1
        answer = server.get("/").json()
        assert answer["pid"] == ready["children"][0]["pid"]
        assert server.get("/late").status_code == 504


def children_of_both_workers(server) -> dict[int, set[int]]:
    """Children by worker. A connection that is kept alive stays with one worker."""
    found: dict[int, set[int]] = {}

    def both() -> bool:
        with requests.Session() as session:
            pid = session.get(f"{server.url}/primes/10?inline=1", timeout=PATIENCE).json()["pid"]
            session.get(f"{server.url}/primes/10", timeout=PATIENCE)
            stats = session.get(f"{server.url}/stats", timeout=PATIENCE).json()
            found[pid] = {child["pid"] for child in stats["children"]}
        return len(found) == 2

    wait_until(both, "both workers answered")
    assert set(found) == server.workers()
    return found
