"""What multiprocessing has works in gipc's children, as in its own."""

import signal

import pytest

from tests.programs import Programs

from .support import METHODS, default_mode_only

pytestmark = default_mode_only  # the programs choose modes of their own


@pytest.fixture(params=[False, True], ids=["unpatched", "patched"])
def programs(request, tmp_path):
    with Programs(tmp_path, request.param, "-W", "error") as programs:
        yield programs


FAMILY = """
import multiprocessing, os
from multiprocessing import connection
from tests.core.children import METHODS, run_child

def look(*expected):
    own, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    assert (own.name, bytes(own.authkey), parent.pid, parent.name) == expected
    assert parent.is_alive()
    assert connection.wait([parent.sentinel], 0) == []

if __name__ == "__main__":
    own = multiprocessing.current_process()
    for key in (bytes(own.authkey), b"another"):
        own.authkey = key
        for method in METHODS:
            run_child(method, look, "Joe", key, os.getpid(), own.name, name="Joe")
"""


def test_children_know_their_parent_and_have_its_key(programs):
    assert programs.run(FAMILY) == (0, "", "")


BEREFT = """
import multiprocessing, os, signal
from pathlib import Path
import gipc
from tests.core.children import METHODS

def wait_for_end(writer, path):
    parent = multiprocessing.parent_process()
    writer.put("ready")
    parent.join(60)
    path.write_text("alive" if parent.is_alive() else "dead")

if __name__ == "__main__":
    for method in METHODS:
        with gipc.pipe() as (reader, writer):
            path = Path(__file__).with_name(method)
            gipc.start_process(wait_for_end, (writer, path), mp_context=method)
            reader.get()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_learn_of_the_sudden_end_of_their_parent(programs):
    assert programs.run(BEREFT) == (-signal.SIGKILL, "", "")
    programs.wait_until_gone()
    found = {method: (programs.folder / method).read_text() for method in METHODS}
    assert found == dict.fromkeys(METHODS, "dead")


OBJECTS = """
import multiprocessing
import gipc
from tests.core.children import METHODS
from tests.processes import PATIENCE

def use(lock, value, queue, event):
    with lock:
        value.value += 1
    queue.put("hello")
    event.set()

if __name__ == "__main__":
    for method in METHODS:
        context = multiprocessing.get_context(method)
        lock, value = context.Lock(), context.Value("i", 41)
        queue, event = context.Queue(), context.Event()
        child = gipc.start_process(use, (lock, value, queue, event), mp_context=context)
        assert event.wait(PATIENCE)
        assert queue.get(timeout=PATIENCE) == "hello"
        assert lock.acquire(timeout=PATIENCE)
        child.join()
        assert (child.exitcode, value.value) == (0, 42)
"""


def test_locks_values_queues_and_events_can_be_passed_to_children(programs):
    assert programs.run(OBJECTS) == (0, "", "")


SHARED = """
import os, signal, sys
from multiprocessing import resource_tracker, shared_memory
import gipc
from tests.core.children import METHODS, run_child
from tests.processes import pids_with_environment, wait_until

def write(name, number):
    memory = shared_memory.SharedMemory(name)
    memory.buf[0] = number
    memory.close()

def kill_fork_server(program):
    if os.getppid() != program:
        os.kill(os.getppid(), signal.SIGKILL)

if __name__ == "__main__":
    memory = shared_memory.SharedMemory(create=True, size=1)
    for number, method in enumerate(METHODS * 2, 1):
        run_child(method, write, memory.name, number)
        assert memory.buf[0] == number
        gipc.start_process(kill_fork_server, (os.getpid(),), mp_context=method).join()
        # A tracker of another process would remove the memory when that has ended.
        left = {os.getpid(), resource_tracker._resource_tracker._pid}
        wait_until(lambda: pids_with_environment(sys.argv[1]) == left, "all others have ended")
        shared_memory.SharedMemory(memory.name).close()
    memory.close()
    memory.unlink()
"""


def test_shared_memory_of_the_parent_outlives_the_children_that_attach_it(programs):
    assert programs.run(SHARED, programs.mark) == (0, "", "")
