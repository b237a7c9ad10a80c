"""Python 3.12 and newer warn of a fork beside threads; 3.15 raises it, if told so, afterwards."""

import pytest

from tests.programs import Programs

from .support import default_mode_only

FORK = """
import gc, os
import gevent, gipc
from tests.processes import children_of, descriptors_of, wait_until
from tests.threads import start_native_thread

def run(path):
    with open(path, "a") as file:
        print(os.getpid(), file=file)

def start(path):
    try:
        child = gipc.start_process(run, (path,), mp_context="fork")
    except DeprecationWarning:
        return 0
    child.join()
    assert child.exitcode == 0, child.exitcode
    child.close()
    return 1

if __name__ == "__main__":
    path = os.path.join(os.path.dirname(__file__), "pids")
    open(path, "x").close()
    reader, writer = os.pipe()
    start_native_thread(os.read, (reader, 1))
    wait_until(lambda: len(os.listdir("/proc/self/task")) > 1, "there is another thread")
    gevent.sleep(0)  # makes the hub, which stays
    before = descriptors_of(os.getpid())
    started = sum(start(path) for _ in range(5))
    with open(path) as file:
        assert len(file.readlines()) == started
    assert not children_of(os.getpid())
    gc.collect()
    assert descriptors_of(os.getpid()) == before
    os.write(writer, b"x")
"""


@default_mode_only
@pytest.mark.parametrize("patched", [False, True], ids=["unpatched", "patched"])
def test_a_fork_that_a_warning_forbids_leaves_nothing(tmp_path, patched):
    with Programs(tmp_path, patched, "-W", "error") as programs:
        assert programs.run(FORK) == (0, "", "")
