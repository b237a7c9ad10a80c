"""The children of an executor: how they live, and that they end."""

import functools
import os
import signal
import socket
import subprocess
import sys

import gevent
import pytest

import gipc
from tests.executor import tasks
from tests.processes import is_running, pids_with_environment, wait_until


def test_children_are_started_when_calls_need_them(make):
    executor = make(2)
    assert executor.stats().children == ()
    executor.offload(tasks.square, 1)
    assert len(executor.stats().children) == 1


def test_warm_up_starts_all_of_them(make):
    executor = make(2)
    executor.warm_up()
    assert [child.state for child in executor.stats().children] == ["idle", "idle"]


def test_each_child_is_initialised_once(make):
    executor = make(initializer=tasks.initialize, initargs=("model",))
    assert executor.offload(tasks.state) == ["model"]
    assert executor.offload(tasks.state) == ["model"]


def test_when_the_initializer_fails_calls_fail_with_its_error(make):
    executor = make(initializer=tasks.fail_to_initialize)
    for _ in range(3):
        with pytest.raises(LookupError, match="no model") as caught:
            executor.offload(tasks.square, 1)
        assert "fail_to_initialize" in str(caught.value.__cause__)
    assert executor.stats().starting == 0  # it is not tried again and again


def test_an_initializer_that_ends_the_child_is_reported(make):
    with pytest.raises(Exception, match="code 9 before it was ready"):
        make(initializer=os._exit, initargs=(9,)).offload(tasks.square, 1)


def test_a_child_is_replaced_after_so_many_calls(make):
    executor = make(max_tasks_per_child=2)
    pids = [executor.offload(os.getpid) for _ in range(6)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]


def test_one_call_per_child_never_runs_two_at_once(make):
    executor = make(max_tasks_per_child=1)
    calls = [gevent.spawn(executor.offload, os.getpid) for _ in range(5)]
    assert len({call.get() for call in calls}) == 5


def test_a_child_that_has_grown_is_replaced(make):
    executor = make(max_memory_per_child=1_000_000_000)
    small = executor.offload(os.getpid)
    assert executor.offload(os.getpid) == small
    executor = make(max_memory_per_child=1)
    assert executor.offload(os.getpid) != executor.offload(os.getpid)


def test_a_child_that_idles_is_let_go(make):
    executor = make(idle_timeout=0.1)
    pid = executor.offload(os.getpid)
    wait_until(lambda: not is_running(pid), "the child is gone")
    assert executor.offload(tasks.square, 2) == 4


def test_children_are_nicer_than_the_server(make):
    assert make(nice=3).offload(tasks.niceness) == os.nice(0) + 3


def test_children_hold_nothing_of_the_server(make):
    executor = make(2)
    with socket.socket() as listener, open(__file__) as file:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        executor.warm_up()
        for held in (executor.offload(tasks.descriptors) for _ in range(2)):
            beyond_stdio = {what for fd, what in held.items() if fd > 2 and what != "/dev/null"}
            assert not {what for what in beyond_stdio if what.startswith("socket:")}
            assert file.name not in beyond_stdio


def test_a_child_takes_what_its_task_started_with_it(make):
    executor = make()
    pid = executor.offload(tasks.start_sleep)
    assert is_running(pid)
    executor.shutdown()
    wait_until(lambda: not is_running(pid), "the program is gone")


def test_a_child_that_dies_takes_what_its_task_started_with_it(make, tmp_path):
    path = tmp_path / "pid"
    with pytest.raises(gipc.ChildDied):
        make().offload(tasks.start_sleep_and_die, str(path))
    pid = int(path.read_text())
    wait_until(lambda: not is_running(pid), "the program is gone")


WAYS_TO_LEAVE = {
    "return": (os.getpid, 0),
    "raise": (functools.partial(tasks.fail, "bad"), 1),
    "exit": (functools.partial(tasks.leave, 3), 3),
}


@pytest.mark.parametrize(("end", "code"), WAYS_TO_LEAVE.values(), ids=WAYS_TO_LEAVE)
def test_a_process_that_a_task_has_forked_does_not_answer_for_it(make, end, code):
    executor = make()
    assert executor.offload(tasks.fork, end) == code
    assert [executor.offload(tasks.square, n) for n in range(3)] == [0, 1, 4]


def test_what_a_forked_process_yields_is_not_in_the_stream(make):
    executor = make()
    for _ in range(2):
        assert list(executor.stream(tasks.fork_and_count_to, 3)) == [0, 1, 2]


@pytest.fixture
def detached(tmp_path):
    """Where a process that detaches itself writes its pid."""
    path = tmp_path / "pid"
    yield path
    os.kill(int(path.read_text()), signal.SIGKILL)


def test_a_childs_death_is_noticed_when_its_task_has_detached_a_process(make, detached):
    with pytest.raises(gipc.ChildDied):
        make().offload(tasks.detach, str(detached), tasks.die, timeout=10)


def test_shutdown_does_not_wait_for_a_process_that_a_task_has_detached(make, detached):
    executor = make()
    executor.offload(tasks.detach, str(detached), os.getpid)
    executor.shutdown()
    assert is_running(int(detached.read_text()))


def test_signals_to_everybody_leave_a_running_call_alone(make, gate):
    executor = make()
    executor.warm_up()
    call = gevent.spawn(executor.offload, tasks.wait_for, gate)
    wait_until(lambda: (gevent.sleep(0), executor.stats().running)[1], "the call runs")
    (child,) = executor.stats().children
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        os.kill(child.pid, number)
    gate.touch()
    assert call.get() == child.pid


def test_a_forked_process_has_children_of_its_own(make):
    executor = make()
    ours = executor.offload(os.getpid)
    told, tell = os.pipe()
    if os.fork() == 0:
        try:
            os.write(tell, str(executor.offload(os.getpid, timeout=30)).encode())
        finally:
            os._exit(0)
    os.close(tell)
    theirs = int(os.read(told, 20))
    os.close(told)
    assert theirs != ours
    assert executor.offload(os.getpid) == ours
    wait_until(lambda: not is_running(theirs), "its child ended with it")


def test_a_child_process_that_forgets_an_executor_ends(method):
    child = gipc.start_process(tasks.use_and_forget, (method,), mp_context=method)
    assert exit_code_of(child) == 3


def test_a_forked_child_process_that_uses_its_parents_executor_ends(make):
    executor = make()
    child = gipc.start_process(lambda: sys.exit(executor.offload(abs, -3)), mp_context="fork")
    assert exit_code_of(child) == 3
    assert executor.offload(abs, -4) == 4


def exit_code_of(child):
    child.join(20)
    try:
        return child.exitcode
    finally:
        child.kill()


PROGRAM = """
import os, shutil, sys, warnings
from multiprocessing import util
import gevent, gipc
from tests.executor import tasks

def fork():
    with warnings.catch_warnings(action="ignore"):  # it has threads: Python 3.12 warns
        os.fork()

if __name__ == "__main__":
    executor = gipc.ProcessPoolExecutor(2, sys.argv[1])
    executor.offload(tasks.square, 3)
    {ending}
"""


@pytest.fixture
def run_program(method, tmp_path):
    """Runs a program; returns what came of it, and what its processes are known by."""
    path = tmp_path / "program.py"
    name, value = "GIPC_TEST_PROGRAM", str(tmp_path)
    mark = f"{name}={value}"

    def run(ending):
        path.write_text(PROGRAM.format(ending=ending))
        result = subprocess.run(
            [sys.executable, str(path), method, str(tmp_path / "pid")],
            env=os.environ | {name: value, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return result, mark

    yield run
    for pid in pids_with_environment(mark):  # of a test that has failed
        os.kill(pid, signal.SIGKILL)


ENDINGS = {
    "a forgotten executor": "pass",
    "a future nobody waits for": "executor.submit(tasks.sleep, 0.2)",
    "a call in a greenlet": "gevent.spawn(executor.offload, tasks.sleep); gevent.sleep(0.1)",
    "an exception": "raise SystemExit(0)",
    "a copy of it that was forked": "fork(); executor.offload(tasks.square, 3)",
    "a program that a task has started": "executor.offload(tasks.start_sleep)",
    "an executor that nobody used": "unused = gipc.ProcessPoolExecutor(2, sys.argv[1])",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_program_ends_without_hanging_and_leaves_nothing(run_program, ending):
    result, mark = run_program(ending)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    wait_until(lambda: not pids_with_environment(mark), "no process is left")


KILLED = """
    call = gevent.spawn(executor.offload, {task}, sys.argv[2])
    while not os.path.exists(sys.argv[2]):
        gevent.sleep(0.01)
    os.kill(os.getpid(), 9)
"""


BEREFT = """
    shutil.rmtree(util.get_temp_dir())
    try:
        executor.offload(tasks.die)
    except gipc.ChildDied:
        print(executor.offload(tasks.square, 3))
"""


def test_children_are_started_after_the_temporary_files_were_removed(run_program):
    result, _ = run_program(BEREFT)
    assert (result.returncode, result.stdout) == (0, "9\n")


@pytest.mark.parametrize("task", [tasks.leave_pid, tasks.compute_for_ever, tasks.run_sleep])
def test_when_the_server_is_killed_its_children_are_gone(run_program, task):
    result, mark = run_program(KILLED.format(task=f"tasks.{task.__name__}"))
    assert result.returncode == -signal.SIGKILL
    wait_until(lambda: not pids_with_environment(mark), "no process is left")
