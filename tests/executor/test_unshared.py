"""What an import leaves besides modules, each child has for itself: threads, loops, connections."""

import pytest

with_new_imports = pytest.mark.parametrize(
    "method", ["forkserver", pytest.param("spawn", marks=pytest.mark.once)]
)


# A task needs what runs in the background. It returns True when that runs in its own process.

PATCH = "from gevent import monkey; monkey.patch_all()\n"

LOCK = """
import threading
lock, held, asked = threading.Lock(), threading.Event(), threading.Event()

def hold_until_asked():
    with lock:
        held.set()
        asked.wait()

threading.Thread(target=hold_until_asked, daemon=True).start()
held.wait()

def task():
    asked.set()
    with lock:
        return True
"""

BACKGROUNDS = {
    "a thread that holds a lock": LOCK,
    "a pool of threads": """
from concurrent.futures import ThreadPoolExecutor
threads = ThreadPoolExecutor(1)
threads.submit(abs, -3).result()

def task():
    return threads.submit(abs, -3).result() == 3
""",
    "a greenlet": """
import gevent
from tests.processes import wait_cooperatively
ticks = []

def tick():
    while True:
        ticks.append(None)
        gevent.sleep(0.01)

gevent.spawn(tick)
gevent.sleep(0)

def task():
    before = len(ticks)
    return wait_cooperatively(lambda: len(ticks) > before)
""",
    "a patched thread that holds a lock": PATCH + LOCK,
    "a patched greenlet": PATCH
    + """
import time
import gevent
ticks = []

def tick():
    while True:
        ticks.append(None)
        time.sleep(0.01)

gevent.spawn(tick)
time.sleep(0)

def task():
    before = len(ticks)
    while len(ticks) == before:
        time.sleep(0.01)
    return True
""",
}

backgrounds = pytest.mark.parametrize("background", BACKGROUNDS.values(), ids=BACKGROUNDS)

MAIN = """
import sys
import gipc

if __name__ == "__main__":
    with gipc.ProcessPoolExecutor(2, sys.argv[1], max_tasks_per_child=1, timeout=20) as executor:
        executor.warm_up()
        print([executor.offload(task) for _ in range(4)])
"""

PRELOADED = """
import gipc

if __name__ == "__main__":
    from background import task
    with gipc.ProcessPoolExecutor(
        2, max_tasks_per_child=1, timeout=20, preload=["background"]
    ) as executor:
        executor.warm_up()
        print([executor.offload(task) for _ in range(4)])
"""


def check(ended, method, name):
    assert (ended.exitcode, ended.output) == (0, "[True, True, True, True]\n"), ended.errors
    lines = ended.errors.splitlines()
    if method == "spawn":
        assert not lines
    else:
        (warning,) = lines
        assert name in warning
        assert "thread" in warning or "event loop" in warning


@with_new_imports
@backgrounds
def test_what_the_main_program_has_in_the_background_runs_in_each_child(
    programs, method, background
):
    ended = programs.run(background + MAIN, method)
    check(ended, method, "main program")
    programs.wait_until_gone()


@backgrounds
def test_what_a_preloaded_module_has_in_the_background_runs_in_each_child(programs, background):
    (programs.folder / "background.py").write_text(background)
    ended = programs.run(PRELOADED)
    check(ended, "forkserver", "background")
    programs.wait_until_gone()


# A connection that a module makes

DATABASE = """
import os, socket
connection = socket.socket(socket.AF_UNIX)
connection.connect("\\0gipc-test-" + os.environ["GIPC_TEST_SERVER"])
answers = connection.makefile("rb")

def query(number):
    connection.sendall(b"%d\\n" % number)
    return int(answers.readline())
"""

ASKING = """
import os, sys
import gevent.server, gevent.socket
import gipc

def answer(connection, address):
    for question in connection.makefile("rb"):
        connection.sendall(question)

if __name__ == "__main__":
    os.environ["GIPC_TEST_SERVER"] = str(os.getpid())
    listener = gevent.socket.socket(gevent.socket.AF_UNIX)
    listener.bind("\\0gipc-test-" + os.environ["GIPC_TEST_SERVER"])
    listener.listen()
    gevent.server.StreamServer(listener, answer).start()

if __name__ == "__main__" or sys.argv[2] == "the main program":
    import database

if __name__ == "__main__":
    with gipc.ProcessPoolExecutor(4, sys.argv[1]) as executor:
        executor.offload(database.query, 0)
        executor.warm_up()
        numbers = range(400)
        answers = list(executor.map(database.query, numbers))
        print(sum(answer != number for answer, number in zip(answers, numbers)), "are wrong")
"""


@with_new_imports
@pytest.mark.parametrize("whose", ["the main program", "a module that calls need"])
def test_each_child_has_its_own_connection_to_a_database(programs, method, whose):
    (programs.folder / "database.py").write_text(DATABASE)
    ended = programs.run(ASKING, method, whose)
    assert (ended.exitcode, ended.output) == (0, "0 are wrong\n"), ended.errors
    if (method, whose) == ("forkserver", "the main program"):
        (warning,) = ended.errors.splitlines()
        assert "main program" in warning
        assert "descriptor" in warning or "event loop" in warning
    else:
        assert not ended.errors
    programs.wait_until_gone()
