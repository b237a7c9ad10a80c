"""Real servers in processes of their own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.processes import (
    PATIENCE,
    children_of,
    command_of,
    is_running,
    pids_with_environment,
    wait_until,
)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "flask_app"

_LISTENING = re.compile(r"(?:Listening at|Running on|Serving on):? ((?:http://)?127\.0\.0\.1:\d+)")


class Server:
    """A server that was started, and what can be asked of it."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.mark = f"GIPC_TEST_SERVER={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self._log = tempfile.NamedTemporaryFile("w+b")  # noqa: SIM115  # closed in end()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment | {name: value},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.url = self._wait_until_listening()

    def _wait_until_listening(self) -> str:
        def listening() -> re.Match[str] | None:
            assert self._process.poll() is None, f"the server ended:\n{self.log}"
            return _LISTENING.search(self.log)

        return wait_until(listening, "the server listens").group(1)

    @property
    def log(self) -> str:
        """All that the server has written."""
        return Path(self._log.name).read_text()

    def get(self, path: str) -> requests.Response:
        """GET *path* on a connection of its own."""
        return requests.get(self.url + path, timeout=PATIENCE)

    def stats(self) -> dict:
        """What ``/stats`` says."""
        return self.get("/stats").json()

    def wait_until_running(self, running: int, queued: int = 0) -> dict:
        """Wait until so many calls run and wait; return the stats."""

        def reached() -> dict | None:
            stats = self.stats()
            return stats if (stats["running"], stats["queued"]) == (running, queued) else None

        return wait_until(reached, f"{running} calls run, {queued} wait")

    def workers(self) -> set[int]:
        """Process ids of gunicorn's workers."""
        return {
            pid
            for pid in children_of(self.pid)
            if is_running(pid) and "resource_tracker" not in command_of(pid)
        }

    def signal(self, number: int) -> None:
        """Send a signal to the server's main process."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the main process's end and return its exit code."""
        return self._process.wait(PATIENCE)

    def processes(self) -> set[int]:
        """All running processes that the server has started, and itself."""
        return pids_with_environment(self.mark)

    def wait_until_gone(self) -> None:
        """Wait until no process of the server is left."""
        wait_until(lambda: not self.processes(), "no process of the server is left")

    def end(self) -> None:
        """Kill what is left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._log.close()


@contextlib.contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(command, folder, environment)
    try:
        yield server
    except BaseException:
        print(server.log)  # noqa: T201  # pytest shows it with the failure
        raise
    finally:
        server.end()


def gunicorn(
    *options: str,
    app: str = "app:app",
    folder: Path = EXAMPLE,
    config: Path = EXAMPLE / "gunicorn.conf.py",
    bind: str = "127.0.0.1:0",
    **environment: str,
) -> contextlib.AbstractContextManager[Server]:
    """gunicorn with the example's app and settings, on a free port."""
    # The command, not the module: that one cannot start itself again for an upgrade.
    command = [str(Path(sys.executable).with_name("gunicorn")), "--config", str(config)]
    command += ["--bind", bind, *options, app]
    return running(command, folder, environment)


def python(*arguments: str, folder: Path = EXAMPLE, **environment: str):
    """A Python program that serves, and says where."""
    return running([sys.executable, *arguments], folder, environment)
