"""A real gunicorn with one gevent worker, and connections to it that are kept alive."""

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

from gevent import socket as cooperative_socket

WEB = Path(__file__).parent.parent / "web"


@contextlib.contextmanager
def running(dirty=False):
    """Run gunicorn; yields its process id and its port."""
    port = _free_port()
    command = [str(Path(sys.executable).with_name("gunicorn")), "--chdir", str(WEB)]
    command += ["--worker-class", "gevent", "--bind", f"127.0.0.1:{port}"]
    command += ["--log-level", "error", "--keep-alive", "600", "--graceful-timeout", "1"]
    if dirty:
        command += ["--dirty-app", "app:Dirty", "--dirty-workers", "2"]
    # The dirty arbiter complains at length of being stopped.
    errors = subprocess.DEVNULL if dirty else None
    server = subprocess.Popen(
        [*command, "app:app"], stdin=subprocess.DEVNULL, stdout=2, stderr=errors
    )
    try:
        _wait_until(lambda: Connection(port).get("/ping"))
        if dirty:
            _wait_until(lambda: Connection(port).get("/square/dirty"))
        yield server.pid, port
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until(question):
    for _ in range(200):
        with contextlib.suppress(OSError, EOFError, RuntimeError):
            return question()
        time.sleep(0.05)
    raise TimeoutError("gunicorn does not answer")


class Connection:
    """A connection that is kept alive."""

    def __init__(self, port):
        self._socket = cooperative_socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        """Ask for *path* and return the answer's body."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        answer = b""
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError(f"{path}: the connection was closed after {answer!r}")
            answer += data
            head, separator, body = answer.partition(b"\r\n\r\n")
            if separator and len(body) >= _length(head):
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"{path}: {answer!r}")
                return body


def _length(head):
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(fields[b"content-length"])
