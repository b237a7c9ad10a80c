"""Starts that fail: no such interpreter, no threads or processes left, a child that dies early."""

import gc
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.executor import tasks

of_new_interpreters = pytest.mark.parametrize(
    "method", ["forkserver", pytest.param("spawn", marks=pytest.mark.once)]
)


# The interpreter

EXECUTABLES = {
    "hangs": "#!/bin/sh\nexec sleep 1000\n",
    "fails": "/bin/false",
    "does nothing": "/bin/true",
    "complains": "/bin/cat",
    "is missing": "/nowhere/python",
    "is not executable": __file__,
    "is unknown": "",
}


@pytest.fixture(params=EXECUTABLES)
def executable(request, tmp_path):
    """The path of something that is no Python interpreter; empty for no path at all."""
    what = EXECUTABLES[request.param]
    if not what.startswith("#!"):
        return what
    path = tmp_path / "interpreter"
    path.write_text(what)
    path.chmod(0o755)
    return str(path)


NO_INTERPRETER = """
import multiprocessing, sys
import gevent
import gipc
from tests.processes import wait_cooperatively

def succeeds():
    try:
        return executor.offload(abs, -3) == 3
    except gipc.OffloadError:
        return False

if __name__ == "__main__":
    method, executable = sys.argv[1:]
    multiprocessing.set_executable(executable or None)
    with gipc.ProcessPoolExecutor(1, method, start_timeout=2) as executor:
        try:
            executor.offload(abs, -3)
        except gipc.OffloadError as error:
            print(error)
        multiprocessing.set_executable(sys.executable)
        print(wait_cooperatively(succeeds))
"""


@of_new_interpreters
def test_calls_fail_with_what_to_do_while_there_is_no_python_and_succeed_later(
    programs, method, executable
):
    ended = programs.run(NO_INTERPRETER, method, executable)
    assert ended.exitcode == 0, ended.errors
    told, succeeds = ended.output.splitlines()
    assert executable in told
    assert "multiprocessing.set_executable" in told
    assert succeeds == "True"
    programs.wait_until_gone()  # also of what should have been the resource tracker


NO_INTERPRETER_FOR_A_PROCESS = """
import multiprocessing, sys
import gevent
import gipc

def start():
    process = None
    try:
        with gevent.Timeout(2, False):
            process = gipc.start_process(sys.exit, (3,), mp_context=method)
            process.join()
    except OSError as error:
        assert "multiprocessing.set_executable" in str(error), error
    if process is not None:
        process.kill()
        process.join()
        return process.exitcode

if __name__ == "__main__":
    method, executable = sys.argv[1:]
    multiprocessing.set_executable(executable or None)
    assert start() != 3
    multiprocessing.set_executable(sys.executable)
    print(start())
"""


@of_new_interpreters
def test_a_process_is_not_started_or_ends_while_there_is_no_python_and_is_started_later(
    programs, method, executable
):
    ended = programs.run(NO_INTERPRETER_FOR_A_PROCESS, method, executable)
    assert (ended.exitcode, ended.output) == (0, "3\n"), ended.errors


# The system's limits


@pytest.fixture(scope="module")
def under_limits():
    """The beginning of a command that RLIMIT_NPROC holds for. It does not for root."""
    command = []
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs the command setpriv, to be another user than root")
        # One that nobody else is, and who may read what root may.
        user, right = 100_000 + os.getpid(), "-all,+dac_override"
        command = ["setpriv", "--clear-groups", f"--reuid={user}", f"--regid={user}"]
        command += [f"--{which}={right}" for which in ("inh-caps", "ambient-caps", "bounding-set")]
    code = "from tests.executor.limits import Limit\nwith Limit(): print(Limit.holds())"
    tried = subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    if tried.stdout != "True\n":
        pytest.skip(f"needs an RLIMIT_NPROC that holds: {tried.stdout}{tried.stderr}")
    return tuple(command)


NO_THREAD = """
import json, sys
import gipc
from tests.executor import tasks
from tests.executor.limits import Limit, outcome

WAYS = {
    "offload": lambda executor: executor.offload(abs, -3),
    "stream": lambda executor: list(executor.stream(tasks.count_to, 3)),
    "submit": lambda executor: executor.submit(abs, -3).result(),
    "map": lambda executor: list(executor.map(abs, [-3, -4])),
    "warm_up": lambda executor: executor.warm_up(),
}

def counts(executor):
    stats = executor.stats()
    ended = ("completed", "failed", "timed_out", "cancelled", "died", "refused")
    lost = stats.submitted - sum(getattr(stats, name) for name in ended)
    return [lost, stats.running, stats.queued, stats.starting]

if __name__ == "__main__":
    told = {}
    for name, way in WAYS.items():
        with gipc.ProcessPoolExecutor(1, sys.argv[1]) as executor:
            with Limit():
                told[name] = [outcome(way, executor), outcome(way, executor), counts(executor)]
            told[name] += [outcome(way, executor), counts(executor)]
    print(json.dumps(told))
"""


def test_a_call_fails_when_no_thread_can_be_started_and_the_next_one_succeeds(
    programs, method, under_limits
):
    ended = programs.run(NO_THREAD, method, under=under_limits)
    assert (ended.exitcode, ended.errors) == (0, "")
    results = {"offload": 3, "stream": [0, 1, 2], "submit": 3, "map": [3, 4], "warm_up": None}
    nothing, error = [0, 0, 0, 0], "OffloadError"
    assert json.loads(ended.output) == {
        name: [error, error, nothing, result, nothing] for name, result in results.items()
    }
    programs.wait_until_gone()


def test_a_stream_that_gets_no_child_is_counted_once(make):
    executor = make(initializer=tasks.fail_to_initialize)
    for _ in range(3):
        with pytest.raises(LookupError):
            executor.stream(tasks.count_to, 3)
    gc.collect()
    with pytest.raises(LookupError):  # done by the thread that has done all that was left to do
        executor.submit(tasks.square, 3).result()
    stats = executor.stats()
    assert (stats.submitted, stats.failed, stats.queued) == (4, 4, 0)


END_WITHOUT_A_THREAD = """
import sys
import gipc
from tests.executor.limits import Limit, outcome

if __name__ == "__main__":
    with Limit():
        executor, other = (gipc.ProcessPoolExecutor(2, sys.argv[1]) for _ in range(2))
        print(outcome(executor.offload, abs, -3))
        print(outcome(other.offload, abs, -3))
        executor.shutdown()
        sys.exit()
"""


def test_an_executor_that_could_start_no_thread_ends_as_any_other(programs, method, under_limits):
    ended = programs.run(END_WITHOUT_A_THREAD, method, under=under_limits)
    assert (ended.exitcode, ended.output, ended.errors) == (0, "OffloadError\n" * 2, "")


NO_PROCESS = """
import os, signal, sys
import gipc
from tests.executor.limits import Limit, outcome
from tests.processes import descendants_of, wait_cooperatively

def lose_all():
    for pid in descendants_of(os.getpid()):
        os.kill(pid, signal.SIGKILL)
    wait_cooperatively(lambda: not executor.stats().children)

if __name__ == "__main__":
    with gipc.ProcessPoolExecutor(1, sys.argv[1]) as executor:
        executor.warm_up()
        with Limit():
            lose_all()
            print(outcome(executor.offload, abs, -3))
        print(wait_cooperatively(lambda: outcome(executor.offload, abs, -3) == 3))
"""


def test_calls_fail_while_no_process_can_be_started_and_succeed_later(
    programs, method, under_limits
):
    ended = programs.run(NO_PROCESS, method, under=under_limits)
    assert (ended.exitcode, ended.output) == (0, "OffloadError\nTrue\n"), ended.errors
    assert "Resource temporarily unavailable" in ended.errors
    programs.wait_until_gone()


NO_FORK = """
import os
import gipc
from tests.executor import tasks
from tests.executor.limits import Limit, outcome
from tests.processes import wait_cooperatively

if __name__ == "__main__":
    with gipc.ProcessPoolExecutor(1, "forkserver") as executor:
        outcome(executor.offload, tasks.die)  # the fork server of the next child knows it
        server = executor.offload(os.getppid)
        with Limit(server):
            print(outcome(executor.offload, tasks.die))
            print(outcome(executor.offload, abs, -3))
        print(wait_cooperatively(lambda: outcome(executor.offload, os.getppid) == server))
"""


def test_a_fork_server_that_cannot_fork_for_a_while_says_so_and_lives_on(programs, under_limits):
    ended = programs.run(NO_FORK, under=under_limits)
    assert (ended.exitcode, ended.output) == (0, "ChildDied\nOffloadError\nTrue\n"), ended.errors
    assert "Resource temporarily unavailable" in ended.errors
    programs.wait_until_gone()


NO_PROCESS_AT_ALL = """
import sys
import gipc
from tests.executor.limits import Limit

if __name__ == "__main__":
    with Limit():
        try:
            gipc.start_process(sys.exit, (3,), mp_context=sys.argv[1])
        except OSError as error:
            print(error.strerror)
    process = gipc.start_process(sys.exit, (3,), mp_context=sys.argv[1])
    process.join()
    print(process.exitcode)
"""


def test_no_process_is_started_when_the_system_has_none_left_and_one_is_later(
    programs, method, under_limits
):
    ended = programs.run(NO_PROCESS_AT_ALL, method, under=under_limits)
    assert (ended.exitcode, ended.output) == (0, "Resource temporarily unavailable\n3\n")
    programs.wait_until_gone()


# A child that dies before it has read its arguments

EARLY_DEATH = """
import gc, os, sys
import gevent
import gipc
from tests.executor import tasks
from tests.processes import wait_cooperatively

kind, method, size, gate = sys.argv[1:]

def open_gate():
    for _ in range(10):
        gevent.sleep(0.01)
    open(gate, "w").close()

def count_descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

def outcome_of_a_call():
    with gipc.ProcessPoolExecutor(1, method, initializer=len, initargs=arguments) as executor:
        try:
            executor.offload(abs, -3)
        except gipc.ChildDied as error:
            return error.exitcode

def outcome_of_a_process():
    process = gipc.start_process(len, arguments, mp_context=method)
    process.join()
    exitcode = process.exitcode
    process.close()
    return exitcode

if __name__ != "__main__":
    tasks.wait_for(gate)
    os._exit(7)
else:
    arguments = (bytes(int(size)),)
    outcome = outcome_of_a_call if kind == "call" else outcome_of_a_process
    gevent.spawn(open_gate)  # which a start that blocks the event loop would keep closed
    print(outcome())
    descriptors = count_descriptors()
    print(outcome())
    wait_cooperatively(lambda: count_descriptors() <= descriptors, "all are closed")
"""


@of_new_interpreters
@pytest.mark.parametrize("size", [1_000_000, 30_000_000])
@pytest.mark.parametrize("kind", ["call", "process"])
def test_a_child_that_dies_before_it_has_read_its_arguments_blocks_nothing(
    programs, kind, method, size, gate
):
    ended = programs.run(EARLY_DEATH, kind, method, str(size), str(gate))
    assert (ended.exitcode, ended.output) == (0, "7\n7\n"), ended.errors
    programs.wait_until_gone()
