"""The example app under other servers than gunicorn."""

import os
import signal
import socket

import pytest

from tests.integration.servers import python
from tests.processes import wait_until

PYWSGI = """
from gevent import monkey; monkey.patch_all()
import sys
from gevent.pywsgi import WSGIServer
from app import app
server = WSGIServer(("127.0.0.1", 0), app, log=None)
server.start()
print(f"Serving on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


def flask_run():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return python("-m", "flask", "--app", "app", "run", "--port", str(port))


def pywsgi():
    return python("-c", PYWSGI)


@pytest.fixture(params=[flask_run, pywsgi], ids=["flask run", "gevent.pywsgi"])
def server(request):
    with request.param() as server:
        yield server


def test_it_works_alike_and_ends_with_the_server(server):
    assert server.stats()["children"] == []  # nothing is started before the first call
    answer = server.get("/primes/1000").json()
    assert answer["count"] == 168
    assert answer["pid"] != server.pid
    assert server.get("/sleep/60?timeout=0.2").status_code == 504
    assert server.get("/crash").status_code == 500
    assert server.get("/primes/100").json()["count"] == 25
    server.signal(signal.SIGKILL)
    server.wait()
    server.wait_until_gone()


def test_requests_leave_no_descriptors_behind(server):
    for _ in range(5):
        server.get("/primes/1000")
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    for _ in range(50):
        server.get("/primes/1000")
    wait_until(
        lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= before,
        f"not more than {before} descriptors are open",
    )
