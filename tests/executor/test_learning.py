"""Children have imported what calls need before they are ready."""

import importlib.util
import json
import os

import pytest

from tests.executor import tasks
from tests.processes import is_running, wait_cooperatively

with_new_imports = pytest.mark.parametrize(
    "method", ["forkserver", pytest.param("spawn", marks=pytest.mark.once)]
)
needs_numpy = pytest.mark.skipif(
    importlib.util.find_spec("numpy") is None, reason="needs the package numpy"
)


# Who imports

COUNTED = """
import os
with open({log!r}, "a") as file:
    print(os.getpid(), file=file)

def family():
    return os.getpid(), os.getppid()

"""

FAMILY = """
import json, os, sys
import gevent
import gipc

method, log = sys.argv[1:]

if __name__ == "__main__":
    import counted
    with gipc.ProcessPoolExecutor(3, method) as executor:
        first, its_parent = executor.offload(counted.family)
        executor.warm_up()
        with open(log) as file:
            imports = [int(line) for line in file]
        later = {child.pid for child in executor.stats().children} - {first}
        calls = [gevent.spawn(executor.offload, counted.family) for _ in range(3)]
        assert {call.get()[0] for call in calls} == {first, *later}
    print(json.dumps([imports, os.getpid(), first, its_parent, *later]))
"""


@pytest.fixture
def who_imports(programs):
    """Finds out who imports a module until children are ready that are started after a call.

    Who the processes are is told by the returned mapping, and how often each has imported it.
    """

    def find_out(method, rest="", **env):
        log = str(programs.folder / "log")
        (programs.folder / "counted.py").write_text(COUNTED.format(log=log) + rest)
        ended = programs.run(FAMILY, method, log, **env)
        assert (ended.exitcode, ended.errors) == (0, "")
        programs.wait_until_gone()
        imports, *pids = json.loads(ended.output)
        assert set(imports) <= set(pids)
        names = ["server", "first child", "its parent", "second child", "third child"]
        return {name: imports.count(pid) for name, pid in zip(names, pids, strict=True)}

    return find_out


IN_THE_FORK_SERVER = {
    "server": 1,
    "first child": 1,
    "its parent": 1,
    "second child": 0,
    "third child": 0,
}
IN_EACH_CHILD = {
    "server": 1,
    "first child": 1,
    "its parent": 1,
    "second child": 1,
    "third child": 1,
}


def test_what_a_call_has_needed_is_imported_once_for_all_later_children(who_imports):
    assert who_imports("forkserver") == IN_THE_FORK_SERVER


@pytest.mark.once
def test_what_a_call_has_needed_is_imported_by_later_children_that_share_nothing(who_imports):
    assert who_imports("spawn") == IN_EACH_CHILD


LEFTOVERS = {
    "a connection": "import socket; left = socket.socketpair()",
    "a database": "import sqlite3; left = sqlite3.connect(os.environ['GIPC_TEST_DATABASE'])",
    "a pipe": "left = os.pipe()",
    "a file": "left = open(__file__)",
    "a thread": "from tests.threads import start_native_thread as start; import time;"
    " start(time.sleep, (1000,))",
    "a greenlet": "import gevent; gevent.spawn(gevent.sleep, 1000)",
    "an event loop": "import gevent; gevent.sleep(0)",
}


@pytest.mark.parametrize("leftover", LEFTOVERS.values(), ids=LEFTOVERS)
def test_what_children_cannot_share_is_imported_by_each_of_them_before_it_is_ready(
    who_imports, leftover, tmp_path
):
    database = str(tmp_path / "database")
    assert who_imports("forkserver", leftover, GIPC_TEST_DATABASE=database) == IN_EACH_CHILD


def test_a_log_can_be_shared_and_is_no_reason_to_import_again(who_imports, tmp_path):
    rest = "import logging; logging.basicConfig(filename=os.environ['GIPC_TEST_LOG'])"
    log = str(tmp_path / "some.log")
    assert who_imports("forkserver", rest, GIPC_TEST_LOG=log) == IN_THE_FORK_SERVER


@needs_numpy
def test_threads_that_end_before_a_fork_do_no_harm_to_sharing(who_imports):
    # Those of OpenBLAS.
    rest = "import numpy; numpy.ones((500, 500)) @ numpy.ones((500, 500))"
    assert who_imports("forkserver", rest, OPENBLAS_NUM_THREADS="2") == IN_THE_FORK_SERVER


# Imports that take long

SLOW = """
import os
from gevent import monkey
if os.getpid() != int(os.environ["GIPC_TEST_SERVER"]):
    with open({log!r}, "a") as file:
        print(os.getpid(), file=file)
    while not os.path.exists({gate!r}):
        monkey.get_original("time", "sleep")(0.01)  # the patched one would leave an event loop

def answer():
    return 42
"""

SHORT_DEADLINE = """
import os, sys
import gipc
from tests.processes import wait_cooperatively

method, log, gate = sys.argv[1:]

def count_imports():
    with open(log) as file:
        return len(file.readlines())

if __name__ == "__main__":
    os.environ["GIPC_TEST_SERVER"] = str(os.getpid())
    import slow
    with gipc.ProcessPoolExecutor(1, method) as executor:
        executor.warm_up()
        try:
            executor.offload(slow.answer, timeout=1)
        except gipc.OffloadTimeout as error:
            assert error.pid is not None
        wait_cooperatively(lambda: count_imports() == 2, "it is imported without a call")
        print(executor.stats().starting)
        open(gate, "w").close()
        executor.warm_up()
        print(executor.offload(slow.answer, timeout=1))
        print(count_imports())
"""


@with_new_imports
def test_after_a_deadline_that_an_import_has_missed_the_next_call_need_not_import(
    programs, method, gate
):
    log = str(programs.folder / "log")
    (programs.folder / "slow.py").write_text(SLOW.format(log=log, gate=str(gate)))
    ended = programs.run(SHORT_DEADLINE, method, log, str(gate))
    assert (ended.exitcode, ended.output) == (0, "1\n42\n2\n"), ended.errors
    programs.wait_until_gone()


# Imports that fail

SPOILED = """
import os, sys
import gipc
from tests.executor import tasks

def lose_child():
    try:
        executor.offload(tasks.die)
    except gipc.ChildDied:
        pass

if __name__ == "__main__":
    import spoiled
    method, content = sys.argv[1:]
    with gipc.ProcessPoolExecutor(1, method) as executor:
        print(executor.offload(spoiled.answer))
        os.unlink(spoiled.__file__)
        if content:
            with open(spoiled.__file__, "w") as file:
                file.write(content)
        lose_child()
        print(executor.offload(abs, -3))
        try:
            executor.offload(spoiled.answer)
        except Exception as error:
            print(type(error).__name__)
        print(executor.offload(abs, -4))
"""

WAYS_TO_SPOIL = {
    "was removed": ("", "ModuleNotFoundError"),
    "raises": ("raise LookupError('spoiled')", "LookupError"),
    "ends the process": ("import os; os._exit(1)", "ChildDied"),
}


@with_new_imports
@pytest.mark.parametrize(("content", "error"), WAYS_TO_SPOIL.values(), ids=WAYS_TO_SPOIL)
def test_a_module_that_cannot_be_imported_any_more_fails_the_calls_alone_that_need_it(
    programs, method, content, error
):
    (programs.folder / "spoiled.py").write_text("def answer(): return 42\n")
    ended = programs.run(SPOILED, method, content)
    assert (ended.exitcode, ended.output) == (0, f"42\n3\n{error}\n4\n"), ended.errors


PICKY = """
import os, time
if os.getppid() == int(os.environ["GIPC_TEST_SERVER"]):
    {obstacle}

def answer():
    return 42
"""

WITH_PICKY = """
import os
import gipc
from tests.executor import tasks

if __name__ == "__main__":
    os.environ["GIPC_TEST_SERVER"] = str(os.getpid())
    import picky
    with gipc.ProcessPoolExecutor(1, start_timeout=2) as executor:
        print(executor.offload(picky.answer))
        try:
            executor.offload(tasks.die)
        except gipc.ChildDied:
            print(executor.offload(abs, -3, timeout=30))
        print(executor.offload(picky.answer))
"""


@pytest.mark.parametrize("obstacle", ["raise OSError", "raise SystemExit", "os._exit(1)"])
def test_a_module_that_only_the_fork_server_cannot_import_is_no_obstacle(programs, obstacle):
    (programs.folder / "picky.py").write_text(PICKY.format(obstacle=obstacle))
    ended = programs.run(WITH_PICKY)
    assert (ended.exitcode, ended.output) == (0, "42\n3\n42\n"), ended.errors


def test_a_module_whose_import_hangs_in_the_fork_server_alone_is_no_obstacle(programs):
    (programs.folder / "picky.py").write_text(PICKY.format(obstacle="time.sleep(1000)"))
    ended = programs.run(WITH_PICKY)
    assert (ended.exitcode, ended.output) == (0, "42\n3\n42\n"), ended.errors


# Which child takes a call


def test_calls_one_after_the_other_go_to_the_child_that_has_served(make):
    executor = make(2)
    pid = executor.offload(os.getpid)
    executor.warm_up()  # the other one is ready now, and younger
    assert len(executor.stats().children) == 2
    assert {executor.offload(os.getpid) for _ in range(20)} == {pid}


def test_a_child_that_is_not_needed_is_let_go_while_the_other_one_serves(make):
    executor = make(2, idle_timeout=0.5)
    executor.warm_up()
    served = executor.offload(os.getpid)
    (spare,) = {child.pid for child in executor.stats().children} - {served}

    def is_gone():
        executor.offload(tasks.square, 3)
        return not is_running(spare)

    wait_cooperatively(is_gone, "the child that is not needed is gone")
