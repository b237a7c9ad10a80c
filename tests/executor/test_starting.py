"""Starts that hang: the log tells of them, they have an end, and they hold nothing up."""

import contextlib
import logging
import os
import signal
from concurrent.futures import CancelledError

import gevent
import pytest
from flask import Flask

import gipc
from gipc.integrations.flask import GIPC
from tests.executor import tasks
from tests.processes import descendants_of, is_running, parent_of, wait_cooperatively

#: Seconds that a start may take. There is room in them for a new interpreter, on a busy machine.
LIMIT = 2
#: So many that a fifth of them is such a time.
LONG_LIMIT = 5

only_with_a_fork_server = pytest.mark.parametrize("method", ["forkserver"])
without_a_fork_server = pytest.mark.parametrize(
    "method", [pytest.param("spawn", marks=pytest.mark.once), "fork"]
)
without_fork = pytest.mark.parametrize(
    "method", ["forkserver", pytest.param("spawn", marks=pytest.mark.once)]
)


BLOCKED = """
import os
from gevent import monkey
with open({log!r}, "a") as file:
    print(os.getpid(), file=file)
while not os.path.exists({gate!r}):
    monkey.get_original("time", "sleep")(0.01)  # the patched one would leave an event loop
"""


@pytest.fixture
def blocked(tmp_path, gate, monkeypatch):
    """A module. Who imports it leaves its pid in a file and waits for the gate."""
    source = BLOCKED.format(log=str(tmp_path / "importing"), gate=str(gate))
    (tmp_path / "blocked.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return "blocked"


def wait_for_import(tmp_path, number=1):
    """The pid of the process that has begun the import of ``blocked`` as the *number*-th one."""
    path = tmp_path / "importing"

    def pids():
        return path.read_text().split("\n")[:-1] if path.exists() else []

    return int(wait_cooperatively(lambda: pids()[number - 1 :], "somebody imports")[0])


def wait_for_initializer(executor):
    """The child that is starting, when it is in its initializer."""

    def starting():
        children = executor.stats().children
        return [child for child in children if child.state == "starting" and child.function]

    return wait_cooperatively(starting, "a child is in its initializer")[0]


def wait_until_calls_succeed(executor):
    """Call again and again: after a start that failed there is a pause."""

    def succeeds():
        try:
            return executor.offload(tasks.square, 3) == 9
        except gipc.OffloadError:
            return False

    wait_cooperatively(succeeds, "a call succeeds")


# The end of a start that hangs


def test_an_initializer_that_hangs_fails_the_call_in_time_and_later_calls_succeed(
    make, gate, caplog
):
    executor = make(initializer=tasks.wait_for, initargs=(str(gate),), start_timeout=LIMIT)
    call = gevent.spawn(executor.offload, tasks.square, 3)
    child = wait_for_initializer(executor)
    with pytest.raises(gipc.OffloadError) as caught:
        call.get()
    assert type(caught.value) is gipc.OffloadError
    told = str(caught.value)
    assert f"child {child.pid}" in told
    assert "not ready after 2 s" in told
    assert "running the initializer tests.executor.tasks.wait_for" in told
    assert "start_timeout" in told
    wait_cooperatively(lambda: not is_running(child.pid), "the child was killed")
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert any(f"child {child.pid}" in error and "was killed" in error for error in errors)
    gate.touch()
    wait_until_calls_succeed(executor)


def test_an_import_that_hangs_fails_the_call_in_time_and_later_calls_succeed(make, blocked, gate):
    executor = make(preload=[blocked], start_timeout=LIMIT)
    with pytest.raises(gipc.OffloadError) as caught:
        executor.offload(tasks.square, 3)
    assert type(caught.value) is gipc.OffloadError
    assert "blocked" in str(caught.value)
    assert "start_timeout" in str(caught.value)
    gate.touch()
    wait_until_calls_succeed(executor)


MAIN = """
import sys
from concurrent.futures import TimeoutError
import gipc
from tests.executor import tasks
from tests.processes import wait_cooperatively

method, gate = sys.argv[1:]

if __name__ != "__main__":
    tasks.wait_for(gate)
else:
    executor = gipc.ProcessPoolExecutor(1, method, start_timeout=2)

    def result():
        try:
            return executor.offload(abs, -3)
        except gipc.OffloadError as error:
            return str(error)

    print(result())
    open(gate, "w").close()
    print(wait_cooperatively(lambda: (last := result()) == 3 and last))
"""


@without_fork
def test_a_main_program_that_hangs_as_a_child_imports_it_fails_the_call_in_time(
    programs, method, gate
):
    ended = programs.run(MAIN, method, str(gate))
    assert ended.exitcode == 0, ended.errors
    told, result = ended.output.splitlines()
    assert "main program" in told
    assert "start_timeout" in told
    assert result == "3"
    programs.wait_until_gone()


def test_what_an_initializer_that_hangs_has_started_ends_with_it(make, tmp_path):
    executor = make(
        initializer=tasks.run_sleep, initargs=(str(tmp_path / "pid"),), start_timeout=LIMIT
    )
    call = gevent.spawn(executor.offload, tasks.square, 3)
    wait_cooperatively((tmp_path / "pid").exists, "the initializer has started a program")
    (program,) = descendants_of(int((tmp_path / "pid").read_text()))
    with pytest.raises(gipc.OffloadError, match="start_timeout"):
        call.get()
    wait_cooperatively(lambda: not is_running(program), "the program is gone")


# While it hangs


@pytest.fixture
def told(caplog):
    """Waits for a warning that names start_timeout, and returns it."""
    caplog.set_level(logging.WARNING, "gipc")

    def wait():
        named = [text for text in caplog.messages if "start_timeout" in text]
        return named[0] if named else None

    return lambda: wait_cooperatively(wait, "the log names start_timeout")


def test_the_log_tells_early_which_initializer_takes_long(make, gate, told):
    executor = make(initializer=tasks.wait_for, initargs=(str(gate),), start_timeout=LONG_LIMIT)
    call = gevent.spawn(executor.offload, tasks.square, 3)
    assert "initializer tests.executor.tasks.wait_for" in told()
    gate.touch()
    assert call.get() == 9


def test_the_log_tells_early_which_import_takes_long(make, blocked, gate, told):
    executor = make(preload=[blocked], start_timeout=LONG_LIMIT)
    call = gevent.spawn(executor.offload, tasks.square, 3)
    assert "importing blocked" in told()
    gate.touch()
    assert call.get() == 9


def test_stats_show_what_a_child_does_before_it_is_ready(make, gate):
    executor = make(initializer=tasks.wait_for, initargs=(str(gate),))
    call = gevent.spawn(executor.offload, os.getpid)
    child = wait_for_initializer(executor)
    assert child.function == "tests.executor.tasks.wait_for"
    assert child.seconds >= 0
    assert is_running(child.pid)
    stats = executor.stats()
    assert (len(stats.children), stats.starting, stats.started) == (1, 1, 0)
    gate.touch()
    assert call.get() == child.pid
    stats = executor.stats()
    assert [each.state for each in stats.children] == ["idle"]
    assert (stats.starting, stats.started) == (0, 1)


@without_a_fork_server
def test_a_child_that_imports_before_it_is_ready_is_starting_and_runs_no_function(
    make, blocked, gate
):
    executor = make(preload=[blocked])
    call = gevent.spawn(executor.offload, os.getpid)
    pid = wait_for_import(gate.parent)
    stats = executor.stats()
    assert stats.starting == 1
    children = [(each.pid, each.state, each.function) for each in stats.children]
    assert children == [(pid, "starting", None)]
    gate.touch()
    call.get()


@pytest.fixture(params=["initializer", "import"])
def hanging(request, make, blocked, gate, tmp_path):
    """An executor whose children are never ready, and how to get the pid of what hangs."""
    if request.param == "import":
        return make(preload=[blocked]), lambda: wait_for_import(tmp_path)
    path = tmp_path / "pid"

    def pid():
        wait_cooperatively(path.exists, "a child is in its initializer")
        return int(path.read_text())

    return make(initializer=tasks.leave_pid, initargs=(str(path),)), pid


def test_a_start_that_hangs_does_not_hold_up_a_shutdown_that_cancels(hanging):
    executor, pid = hanging
    calls = [gevent.spawn(executor.offload, tasks.square, 3) for _ in range(2)]
    future = executor.submit(tasks.square, 3)
    pid = pid()
    executor.shutdown(cancel_futures=True)
    for call in calls:
        with pytest.raises(CancelledError):
            call.get()
    assert future.cancelled()
    wait_cooperatively(lambda: not is_running(pid), "what hung is gone")
    assert executor.stats().starting == 0


def test_a_start_that_hangs_does_not_hold_up_a_shutdown_that_nobody_waits_with(hanging):
    executor, pid = hanging
    with pytest.raises(gipc.OffloadTimeout):
        executor.offload(tasks.square, 3, timeout=0.1)
    pid = pid()
    executor.shutdown()
    wait_cooperatively(lambda: not is_running(pid), "what hung is gone")
    assert executor.stats().starting == 0


def test_a_shutdown_lets_a_start_go_on_that_a_call_waits_for(make, gate):
    executor = make(initializer=tasks.wait_for, initargs=(str(gate),))
    call = gevent.spawn(executor.offload, tasks.square, 3)
    wait_for_initializer(executor)
    executor.shutdown(wait=False)
    gate.touch()
    assert call.get() == 9


END = """
import os, sys
import gevent
import gipc
from tests.executor import tasks
from tests.processes import wait_cooperatively

where, method, path = sys.argv[1:]

if __name__ != "__main__":
    if where == "main program":
        tasks.leave_pid(path)
else:
    settings = {
        "initializer": {"initializer": tasks.leave_pid, "initargs": (path,)},
        "import": {"preload": ["hangs"]},
        "main program": {},
    }
    executor = gipc.ProcessPoolExecutor(2, method, **settings[where])
    call = gevent.spawn(executor.offload, abs, -3)
    wait_cooperatively(lambda: os.path.exists(path))
    print("end")
"""


@pytest.mark.parametrize("where", ["initializer", "import"])
def test_a_start_that_hangs_does_not_hold_up_the_programs_end(programs, method, where, tmp_path):
    path = str(tmp_path / "pid")
    (tmp_path / "hangs.py").write_text(
        f"from tests.executor import tasks\ntasks.leave_pid({path!r})\n"
    )
    ended = programs.run(END, where, method, path)
    assert (ended.exitcode, ended.output, ended.errors) == (0, "end\n", "")
    programs.wait_until_gone()


@without_fork
def test_a_main_program_that_hangs_as_a_child_imports_it_does_not_hold_up_its_own_end(
    programs, method, tmp_path
):
    ended = programs.run(END, "main program", method, str(tmp_path / "pid"))
    assert (ended.exitcode, ended.output, ended.errors) == (0, "end\n", "")
    programs.wait_until_gone()


END_WITH_A_FUTURE = """
import sys
import gipc
from tests.executor import tasks
from tests.processes import wait_cooperatively

if __name__ == "__main__":
    executor = gipc.ProcessPoolExecutor(1, sys.argv[1], initializer=tasks.sleep, start_timeout=1)
    executor.submit(abs, -3).add_done_callback(lambda future: print(future.exception()))
    wait_cooperatively(lambda: executor.stats().children)
"""


def test_a_future_that_waits_for_a_start_that_hangs_delays_the_programs_end_to_the_limit(
    programs, method
):
    ended = programs.run(END_WITH_A_FUTURE, method)
    assert ended.exitcode == 0
    assert "start_timeout" in ended.output
    programs.wait_until_gone()


# The limit


def test_without_a_limit_a_start_takes_the_time_that_it_takes(make, gate, caplog):
    executor = make(initializer=tasks.wait_for, initargs=(str(gate),), start_timeout=None)
    call = gevent.spawn(executor.offload, tasks.square, 3)
    wait_for_initializer(executor)
    gate.touch()
    assert call.get() == 9
    assert not caplog.records


@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan")])
def test_a_limit_that_is_not_above_0_is_a_value_error(value):
    with pytest.raises(ValueError, match="start_timeout"):
        gipc.ProcessPoolExecutor(start_timeout=value)


@pytest.mark.parametrize("value", ["5", True, (5,)])
def test_a_limit_that_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="start_timeout"):
        gipc.ProcessPoolExecutor(start_timeout=value)


def test_a_flask_app_is_configured_with_the_limit():
    app = Flask(__name__)
    app.config.update(GIPC_MAX_WORKERS=1, GIPC_INITIALIZER=tasks.sleep, GIPC_START_TIMEOUT=LIMIT)
    extension = GIPC(app)
    with app.app_context():
        try:
            with pytest.raises(gipc.OffloadError, match="not ready after 2 s"):
                extension.offload(tasks.square, 3)
        finally:
            extension.executor.shutdown(cancel_futures=True)


# Processes that are killed, or stopped, in the middle of a start


def test_the_death_of_a_child_in_its_initializer_fails_the_call_alone(make, gate):
    executor = make(initializer=tasks.wait_for, initargs=(str(gate),))
    call = gevent.spawn(executor.offload, tasks.square, 3)
    os.kill(wait_for_initializer(executor).pid, signal.SIGKILL)
    with pytest.raises(gipc.ChildDied, match="SIGKILL before it was ready"):
        call.get()
    gate.touch()
    wait_until_calls_succeed(executor)


@only_with_a_fork_server
def test_fork_servers_that_die_in_an_import_fail_no_call(make, blocked, gate):
    executor = make(preload=[blocked])
    call = gevent.spawn(executor.offload, tasks.square, 3)
    for number in (1, 2):
        os.kill(wait_for_import(gate.parent, number), signal.SIGKILL)
    gate.touch()
    assert call.get() == 9


@only_with_a_fork_server
def test_the_death_of_a_fork_server_leaves_its_children_alone_that_are_starting(make, gate):
    executor = make(initializer=tasks.wait_for, initargs=(str(gate),))
    call = gevent.spawn(executor.offload, os.getpid)
    child = wait_for_initializer(executor)
    server = parent_of(child.pid)
    assert server != os.getpid()
    os.kill(server, signal.SIGKILL)
    gate.touch()
    assert call.get() == child.pid


@only_with_a_fork_server
def test_a_fork_server_that_was_stopped_is_replaced_in_time(make):
    executor = make(start_timeout=LIMIT)
    with pytest.raises(gipc.ChildDied):  # so that the next fork server has imported the tasks
        executor.offload(tasks.die)
    server = executor.offload(os.getppid)
    os.kill(server, signal.SIGSTOP)
    try:
        with pytest.raises(gipc.ChildDied):
            executor.offload(tasks.die)
        with pytest.raises(gipc.OffloadError, match="start_timeout"):
            executor.offload(tasks.square, 3)
        wait_until_calls_succeed(executor)
        wait_cooperatively(lambda: not is_running(server), "the stopped one is gone")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)
