"""The server that is hurt, load for it, and what must hold afterwards."""

import contextlib
import dataclasses
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

import gipc
from tests.integration import servers
from tests.processes import PATIENCE, command_of, descriptors_of, parent_of, wait_until

#: Whether the suite is to take its time (``make chaos``).
LONG = os.environ.get("GIPC_CHAOS") == "long"

APP = Path(__file__).parent / "app"

_PYWSGI = """
from gevent import monkey; monkey.patch_all()
import logging, signal, gevent
from gevent.pywsgi import WSGIServer
logging.basicConfig(format="[%(levelname)s] [%(name)s] %(message)s")
from chaos_app import app
server = WSGIServer(("127.0.0.1", 0), app, log=None, spawn=100)
gevent.signal_handler(signal.SIGINT, server.close)
server.start()
print(f"Serving on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever(stop_timeout=10)
"""


@contextlib.contextmanager
def gunicorn(*options: str, port: int = 0, **environment: str) -> Iterator[servers.Server]:
    """gunicorn, one worker of which serves the app of this suite, with two children each."""
    with servers.gunicorn(
        *options,
        bind=f"127.0.0.1:{port}",
        app="chaos_app:app",
        folder=APP,
        config=APP / "gunicorn.conf.py",
        **{"FLASK_GIPC_MAX_WORKERS": "2"} | environment,
    ) as server:
        assert server.get("/ping").text == "pong"
        yield server


def pywsgi(**environment: str) -> contextlib.AbstractContextManager[servers.Server]:
    """gevent.pywsgi with the same; SIGINT stops it when the last request is served."""
    environment = {"FLASK_GIPC_MAX_WORKERS": "2"} | environment
    return servers.python("-c", _PYWSGI, folder=APP, **environment)


def port_of(server) -> int:
    return int(server.url.rpartition(":")[2])


def within(seconds: float) -> float:
    """How long to wait for what is promised within *seconds*.

    The long form takes the promise at its word. The short one runs beside other tests, on
    machines that may stand still for longer.
    """
    return seconds if LONG else PATIENCE


# Processes, seen from outside


def fork_servers(server) -> set[int]:
    """The processes that children are forked from, one for each worker."""
    return forked_and_forking(server)[1]


def children(server) -> set[int]:
    """The children of all workers, those that are starting included."""
    return forked_and_forking(server)[0]


def forked_and_forking(server) -> tuple[set[int], set[int]]:
    processes = server.processes()
    found = {pid for pid in processes if "gipc-forkserver" in command_of(pid)}
    # The parent of a child whose fork server was killed is none of the server's processes.
    forking = {pid for pid in found if parent_of(pid) in processes - found}
    return found - forking, forking


def programs(server) -> set[int]:
    """What the tasks of ``/spawn`` have started."""
    return {pid for pid in server.processes() if command_of(pid).startswith("sleep ")}


def assert_children_hold_nothing(server) -> None:
    """No socket, listening or connected, and no pipe that another child has, too."""
    found = what_children_should_not_hold(server)

    def let_go() -> bool:  # a child that has just been forked has yet to do so
        found.intersection_update(what_children_should_not_hold(server))
        return not found

    try:
        wait_until(let_go, "children hold nothing of others")
    except AssertionError as error:
        raise AssertionError(f"(child, what it holds): {found}") from error


def what_children_should_not_hold(server) -> set[tuple[int, str]]:
    """Process ids, and what ``/proc`` calls a descriptor that these have open."""
    # The pipes that tell a fork server and a resource tracker that nobody needs them.
    common = set[str]()
    for pid in server.processes():
        if re.search(r"gipc-forkserver|multiprocessing\.resource_tracker", command_of(pid)):
            common |= pipes_read_by(pid)
    held = {}
    for pid in children(server):
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            held[pid] = set(descriptors_of(pid).values()) - common
    holders = Counter(what for each in held.values() for what in each)
    return {
        (pid, what)
        for pid, each in held.items()
        for what in each
        if what.startswith("socket:") or (what.startswith("pipe:") and holders[what] > 1)
    }


def pipes_read_by(pid: int) -> set[str]:
    """The pipes of which a process has the read end."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
        for fd, what in descriptors_of(pid).items():
            flags = re.search(r"flags:\s*(\d+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text())
            if what.startswith("pipe:") and flags and not int(flags.group(1), 8) & os.O_ACCMODE:
                found.add(what)
    return found


def assert_at_full_size(server, workers: int = 1, each: int = 2) -> None:
    """Wait until there are just the workers and children that there should be."""
    # Each worker has a fork server and a resource tracker.
    total = 1 + workers * (3 + each)

    def complete() -> bool:
        sizes = len(server.workers()), len(fork_servers(server)), len(children(server))
        return (*sizes, len(server.processes())) == (workers, workers, workers * each, total)

    wait_until(complete, f"there are {workers} workers with {each} children each, and no others")
    assert_children_hold_nothing(server)


def assert_quiet(log: str) -> None:
    """Nothing in the log that reads like a defect."""
    for noise in ("Traceback", "Exception ignored", "Error handling request"):
        assert noise not in log


def assert_no_traceback_of_gipc(log: str) -> None:
    """No line of this package in the log, where gunicorn shows tracebacks of its own."""
    assert str(Path(gipc.__file__).parent) not in log


def running_children(server, running: int, queued: int = 0) -> set[int]:
    """Wait until so many calls run and wait; return the children that are at it."""
    stats = server.wait_until_running(running, queued)
    return {child["pid"] for child in stats["children"] if child["state"] == "busy"}


# Clients


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of a request; status 0 when the connection broke."""

    path: str
    status: int
    error: str = ""
    message: str = ""
    right: bool = False
    seconds: float = 0.0


def ask(server, path: str, check: Callable[[dict], bool] = bool) -> Answer:
    """Send one request, and check what comes if it is a result."""
    begun = time.monotonic()
    try:
        response = requests.get(server.url + path, timeout=PATIENCE)
    except requests.ConnectionError as error:
        return Answer(path, 0, message=str(error), seconds=time.monotonic() - begun)
    seconds = time.monotonic() - begun
    if response.status_code == 200:
        return Answer(path, 200, right=check(response.json()), seconds=seconds)
    told = {"error": "", "message": response.text}
    with contextlib.suppress(requests.JSONDecodeError):  # by the server, not by the app
        told = response.json()
    return Answer(path, response.status_code, **told, seconds=seconds)


def serves(server) -> bool:
    """Whether a request gets its result."""
    return ask(server, "/square/12", lambda told: told["square"] == 144).right


@contextlib.contextmanager
def load(server, clients: int = 6, seconds: float = 0.01) -> Iterator[list[Answer]]:
    """Clients that send request after request for the length of a block."""
    answers: list[Answer] = []
    over = threading.Event()

    def client(number: int) -> None:
        while not over.is_set():
            number += 1
            path = f"/square/{number}?seconds={seconds}"
            answers.append(ask(server, path, lambda told, n=number: told["square"] == n * n))

    with ThreadPoolExecutor(clients) as pool:
        sent = [pool.submit(client, 1000 * number) for number in range(clients)]
        try:
            wait_until(lambda: len(answers) > clients, "the load is on")
            yield answers
        finally:
            over.set()
    for each in sent:
        each.result()


def more_answers(answers: list[Answer], count: int) -> None:
    """Wait until so many more requests have been answered."""
    enough = len(answers) + count
    wait_until(lambda: len(answers) >= enough, f"{count} more requests are answered")


def failures(answers: list[Answer]) -> list[Answer]:
    """The requests that got no right result."""
    return [answer for answer in answers if not answer.right]


def pid_in(message: str) -> int:
    """The child that a message is about."""
    found = re.search(r"child (\d+)", message)
    assert found, message
    return int(found.group(1))
