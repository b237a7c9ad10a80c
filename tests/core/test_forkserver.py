"""The fork server of start_process."""

import signal

import pytest

from tests.programs import DEADLY, PATCH, Programs

from .support import default_mode_only

pytestmark = default_mode_only  # the programs choose modes of their own


@pytest.fixture(params=[False, True], ids=["unpatched", "patched"])
def programs(request, tmp_path):
    with Programs(tmp_path, request.param, "-W", "error") as programs:
        yield programs


PRELOAD = """
import multiprocessing, os, sys
from tests.core.children import run_child

print("imported:", __name__, flush=True)

def look(preloaded):
    assert "preloaded" in sys.modules or not preloaded
    assert os.environ.get("GIPC_TEST_PRELOADED", "") == preloaded

if __name__ == "__main__":
    preloaded = sys.argv[1]
    if preloaded:
        multiprocessing.set_forkserver_preload(["__main__", "preloaded"])
    for number in range(3):
        run_child("forkserver", look, preloaded)
        os.environ["GIPC_TEST_OTHER"] = str(number)
"""

PRELOADED = """
import os
print("imported:", __name__)
os.environ["GIPC_TEST_PRELOADED"] = "yes"
"""


def test_modules_of_set_forkserver_preload_are_imported_once_for_all_children(programs):
    (programs.folder / "preloaded.py").write_text(PRELOADED)
    ended = programs.run(PRELOAD, "yes")
    assert ended.output.split("\n") == [
        "imported: __main__",
        "imported: __mp_main__",
        "imported: preloaded",
        "",
    ]
    assert (ended.exitcode, ended.errors) == (0, "")


def test_the_main_module_is_imported_once_for_all_children(programs):
    ended = programs.run(PRELOAD, "")
    assert ended == (0, "imported: __main__\nimported: __mp_main__\n", "")


CONTEXT = """
import multiprocessing
import gevent, gipc

def answer(reader, writer):
    gevent.sleep(0)
    writer.put(reader.get() + 1)

if __name__ == "__main__":
    {patch}
    context = multiprocessing.get_context("forkserver")
    for number in range(3):
        with gipc.pipe() as (r1, w1), gipc.pipe() as (r2, w2):
            child = gipc.start_process(answer, (r1, w2), mp_context=context)
            w1.put(number)
            assert r2.get() == number + 1
            child.join()
            assert child.exitcode == 0
"""


@pytest.mark.parametrize("patch", ["pass", PATCH.strip()], ids=["", "patched when it runs"])
def test_a_forkserver_context_can_be_given(programs, patch):
    assert programs.run(CONTEXT.format(patch=patch)) == (0, "", "")


STOPPED = """
import os, signal
import gipc
from tests.processes import state_of, wait_until

def parent(writer):
    writer.put(os.getppid())

if __name__ == "__main__":
    with gipc.pipe() as (reader, writer):
        gipc.start_process(parent, (writer,), mp_context="forkserver").join()
        fork_server = reader.get()
    os.kill(fork_server, signal.SIGSTOP)
    wait_until(lambda: state_of(fork_server) == "T", "it has stopped")
    {ending}
"""


@pytest.mark.parametrize(
    ("ending", "exitcode"),
    [("pass", 0), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
    ids=["itself", "SIGKILL"],
)
def test_a_fork_server_that_is_stopped_ends_with_a_program_that_ends_by(programs, ending, exitcode):
    assert programs.run(STOPPED.format(ending=ending)) == (exitcode, "", "")
    programs.wait_until_gone()


KILLED = """
import multiprocessing, os
from tests.core.children import run_child

if __name__ == "__main__":
    os.environ["GIPC_TEST_PID"] = str(os.getpid())
    multiprocessing.set_forkserver_preload(["deadly"])
    run_child("forkserver", print)
"""


def test_when_the_program_is_killed_while_a_module_is_preloaded_nothing_is_left(programs):
    (programs.folder / "deadly.py").write_text(DEADLY)
    assert programs.run(KILLED) == (-signal.SIGKILL, "", "")
    programs.wait_until_gone()
