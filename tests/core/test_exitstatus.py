"""No exit status is lost, whoever else looks after children."""

import multiprocessing
import os
import signal

import gevent
import pytest
from gevent import subprocess

import gipc
from gipc import _exitstatus
from tests.processes import wait_cooperatively

from .support import METHOD, counts, exit_code, in_thread, run_script


def exit_with(code):
    os._exit(code)


def start_both(code):
    program = subprocess.Popen(["/bin/sh", "-c", f"exit {code}"])
    child = gipc.start_process(exit_with, (code,))
    return program, child


@counts(20, 400)
def test_children_and_subprocesses_end_at_the_same_time(count):
    at_once = 10
    for first in range(0, count, at_once):
        pairs = [start_both((first + number) % 100) for number in range(at_once)]
        for number, (program, child) in enumerate(pairs):
            code = (first + number) % 100
            assert program.wait(60) == code
            assert exit_code(child) == code


def test_nobody_joins_and_no_status_is_lost():
    pairs = [start_both(number) for number in range(20)]
    wait_cooperatively(lambda: all(child.exitcode is not None for _, child in pairs))
    assert [child.exitcode for _, child in pairs] == list(range(20))
    assert [program.wait(60) for program, _ in pairs] == list(range(20))


def test_deaths_by_signal_are_not_lost_either():
    for _ in range(20):
        program = subprocess.Popen(["sleep", "1000"])
        child = gipc.start_process(gevent.sleep, (1000,))
        program.kill()
        child.kill()
        assert exit_code(child) == -signal.SIGKILL
        assert program.wait(60) == -signal.SIGKILL


def test_a_child_of_another_native_thread_keeps_its_status():
    for code in range(10):
        program = subprocess.Popen(["/bin/sh", "-c", f"exit {code}"])
        child = in_thread(gipc.start_process, exit_with, (code,))
        assert program.wait(60) == code
        assert exit_code(child) == code


LATE_SUBPROCESS = """
import os, sys
import gevent, gipc

def wait_and_exit(reader, code):
    reader.get()
    os._exit(code)

def main():
    if sys.argv[2] == "old":  # a kernel that does not tell of the dead
        from gipc import _exitstatus
        _exitstatus.status_of_the_dead = lambda pidfd: _exitstatus.UNKNOWN
    children = []
    for code in range(20):
        reader, writer = gipc.pipe()
        child = gipc.start_process(wait_and_exit, (reader, code), mp_context=sys.argv[1])
        children.append((child, writer))
    from gevent import subprocess
    for code, (child, writer) in enumerate(children):
        program = subprocess.Popen(["/bin/sh", "-c", f"exit {code}"])
        writer.put("end now")
        assert program.wait() == code
    for code, (child, writer) in enumerate(children):
        child.join()
        assert child.exitcode == code, (child.exitcode, code)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("kernel", ["new", "old"])
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_subprocess_used_for_the_first_time_after_children_were_started(method, kernel, tmp_path):
    run_script(tmp_path, LATE_SUBPROCESS, method, kernel)


def test_the_kernel_need_not_tell_of_the_dead(monkeypatch):
    monkeypatch.setattr(_exitstatus, "status_of_the_dead", lambda pidfd: _exitstatus.UNKNOWN)
    for code in range(10):
        program, child = start_both(code)
        assert program.wait(60) == code
        assert exit_code(child) == code


def test_without_pidfd_no_status_is_lost_either(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    for code in range(10):
        program, child = start_both(code)
        assert exit_code(child) == code
        assert program.wait(60) == code


def test_a_status_that_somebody_else_collected_does_not_hang_anything(monkeypatch):
    if METHOD == "forkserver":
        pytest.skip("the server alone can collect it")
    monkeypatch.setattr(_exitstatus, "status_of_the_dead", lambda pidfd: _exitstatus.UNKNOWN)
    child = gipc.start_process(gevent.sleep, (1000,))
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    assert exit_code(child) == _exitstatus.UNKNOWN


SIGCHLD_HANDLER = """
import signal, sys
import gevent, gipc

def end():
    pass

def main():
    calls = []
    signal.signal(signal.SIGCHLD, lambda *args: calls.append(args))
    for _ in range(3):
        before = len(calls)
        child = gipc.start_process(end, mp_context=sys.argv[1])
        child.join()
        assert child.exitcode == 0
        with gevent.Timeout(30):
            while len(calls) == before:
                gevent.sleep(0.001)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_sigchld_handler_of_the_program_stays_in_place(method, tmp_path):
    run_script(tmp_path, SIGCHLD_HANDLER, method)
