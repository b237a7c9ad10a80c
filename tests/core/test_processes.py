"""The process object: a multiprocessing.Process that is cooperative."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import gevent
import pytest

import gipc
from gipc.gipc import _GProcess
from tests.processes import wait_cooperatively
from tests.threads import NativeThread

from .support import (
    METHOD,
    METHODS,
    block_for_ever,
    default_mode_only,
    every_method,
    exit_code,
    in_child,
    in_thread,
    run_script,
    send_greeting,
)


def exit_with(code):
    sys.exit(code)


def end():
    pass


@pytest.fixture
def blocked_child():
    child = gipc.start_process(block_for_ever)
    yield child
    child.kill()
    child.join()


def test_a_process_is_a_multiprocessing_process(blocked_child):
    assert isinstance(blocked_child, _GProcess)
    assert isinstance(blocked_child, multiprocessing.Process)
    assert blocked_child in multiprocessing.active_children()


def check_arguments(*args, **kwargs):
    assert args == (1, "two")
    assert kwargs == {"three": [3]}


def test_the_target_is_called_with_its_arguments():
    assert exit_code(gipc.start_process(check_arguments, (1, "two"), {"three": [3]})) == 0


def test_arguments_of_the_wrong_type_are_refused():
    with pytest.raises(TypeError, match="callable"):
        gipc.start_process("no function")
    with pytest.raises(TypeError, match="args"):
        gipc.start_process(end, [1])
    with pytest.raises(TypeError, match="kwargs"):
        gipc.start_process(end, kwargs=[("a", 1)])


def test_name_and_daemon_are_forwarded():
    child = gipc.start_process(end, name="worker", daemon=True)
    assert (child.name, child.daemon) == ("worker", True)
    other = gipc.start_process(end)
    assert other.daemon is False
    assert other.name.startswith("_GProcess-")
    assert [exit_code(child), exit_code(other)] == [0, 0]


def test_the_child_knows_its_name():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(put_name, (writer,), name="somebody")
        assert reader.get() == "somebody"
        assert exit_code(child) == 0


def put_name(writer):
    writer.put(multiprocessing.current_process().name)


def test_the_pid_is_that_of_the_child():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(put_pid, (writer,))
        assert child.pid == child.ident == reader.get() != os.getpid()
        assert exit_code(child) == 0


def put_pid(writer):
    writer.put(os.getpid())


def test_a_process_can_be_started_only_once(blocked_child):
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        blocked_child.start()


def test_a_process_with_handles_can_be_started_only_once():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(send_greeting, (writer,))
        with pytest.raises(AssertionError, match="cannot start a process twice"):
            child.start()
        assert reader.get() == "hello"
        assert exit_code(child) == 0
        child.close()
        with pytest.raises(ValueError, match="closed"):
            child.start()


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_that_of_the_child(code):
    assert exit_code(gipc.start_process(exit_with, (code,))) == code


def fail():
    raise RuntimeError("on purpose")


def test_an_exception_in_the_target_is_exit_code_1():
    assert exit_code(gipc.start_process(fail)) == 1


def test_the_exit_code_is_none_while_the_child_runs(blocked_child):
    assert blocked_child.exitcode is None
    assert blocked_child.is_alive()


def test_terminate_kills_by_sigterm(blocked_child):
    blocked_child.terminate()
    assert exit_code(blocked_child) == -signal.SIGTERM


def test_kill_kills_by_sigkill(blocked_child):
    blocked_child.kill()
    assert exit_code(blocked_child) == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGSEGV])
def test_any_deadly_signal_is_reported_as_a_negative_exit_code(number):
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(greet_and_block, (writer,))
        assert reader.get() == "hello"
        os.kill(child.pid, number)
        assert exit_code(child) == -number


def greet_and_block(writer):
    writer.put("hello")
    block_for_ever()


def test_terminate_and_kill_of_a_child_that_has_ended_do_nothing():
    child = gipc.start_process(end)
    assert exit_code(child) == 0
    child.terminate()
    child.kill()
    assert child.exitcode == 0


def test_a_child_that_is_terminated_at_once_dies_of_it():
    def ignore(*_):
        pass

    # A handler of the parent must not swallow the signal in the child.
    previous = signal.signal(signal.SIGTERM, ignore)
    try:
        for _ in range(20):
            child = gipc.start_process(block_for_ever)
            child.terminate()
            assert exit_code(child) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_join_waits_and_other_greenlets_run_meanwhile(blocked_child):
    joining = gevent.spawn(blocked_child.join)
    ticks = 0
    while ticks < 10:
        gevent.sleep(0)
        ticks += 1
    assert not joining.ready()
    blocked_child.kill()
    joining.get()
    assert blocked_child.exitcode == -signal.SIGKILL


def test_join_with_a_timeout_returns_when_it_is_over(blocked_child):
    blocked_child.join(0)
    blocked_child.join(timeout=0.01)
    assert blocked_child.is_alive()


def test_many_greenlets_can_join_one_child():
    child = gipc.start_process(end)
    greenlets = [gevent.spawn(child.join) for _ in range(10)]
    gevent.joinall(greenlets, raise_error=True)
    assert child.exitcode == 0


def test_a_killed_join_harms_nobody(blocked_child):
    joining = gevent.spawn(blocked_child.join)
    gevent.sleep(0)
    joining.kill()
    blocked_child.kill()
    assert exit_code(blocked_child) == -signal.SIGKILL


def test_children_are_collected_without_anybody_asking():
    child = gipc.start_process(end)
    # No method of the process object is called here: the event loop does it.
    wait_cooperatively(lambda: not os.path.exists(f"/proc/{child.pid}"))
    assert child.exitcode == 0
    assert not child.is_alive()


def test_the_sentinel_is_ready_when_the_child_has_ended(blocked_child):
    assert multiprocessing.connection.wait([blocked_child.sentinel], 0) == []
    blocked_child.kill()
    assert multiprocessing.connection.wait([blocked_child.sentinel], 60)


def test_a_running_process_cannot_be_closed(blocked_child):
    with pytest.raises(ValueError, match="still running"):
        blocked_child.close()


def test_a_process_can_be_closed_while_others_wait_for_its_end():
    child = gipc.start_process(block_for_ever)
    pipes = []

    def join_and_close():
        child.join()
        child.close()
        # These get the numbers that the process's descriptors had.
        pipes.extend(gipc.pipe() for _ in range(5))

    waiting = [gevent.spawn(child.join, patience) for patience in (None, 1000)]
    gevent.sleep(0)  # all of them wait
    waiting.append(gevent.spawn(join_and_close))
    waiting += [gevent.spawn(child.join, patience) for patience in (None, 1000)]
    gevent.sleep(0)
    child.kill()
    assert len(gevent.joinall(waiting, 60, raise_error=True)) == len(waiting)
    readers = [gevent.spawn(reader.get) for reader, _ in pipes]
    gevent.sleep(0)
    for number, (_, writer) in enumerate(pipes):
        writer.put(number)
    assert [each.get(timeout=60) for each in readers] == [0, 1, 2, 3, 4]
    for reader, writer in pipes:
        reader.close()
        writer.close()


def test_a_closed_process_refuses_everything():
    child = gipc.start_process(end)
    assert exit_code(child) == 0
    child.close()
    child.close()
    for operation in (child.join, child.is_alive, child.terminate, lambda: child.exitcode):
        with pytest.raises(ValueError, match="closed"):
            operation()
    assert "closed" in repr(child)


def test_repr_tells_name_pid_and_state(blocked_child):
    text = repr(blocked_child)
    assert text.startswith(f"<_GProcess name={blocked_child.name!r} pid={blocked_child.pid} ")
    assert "started" in text
    blocked_child.kill()
    blocked_child.join()
    assert "stopped exitcode=-SIGKILL" in repr(blocked_child)


# Start methods.


@every_method
@pytest.mark.parametrize("make", [str, multiprocessing.get_context], ids=["name", "context"])
def test_mp_context_chooses_the_start_method(method, make):
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(put_pid, (writer,), mp_context=make(method))
        assert reader.get() == child.pid
        assert exit_code(child) == 0
    assert type(child._popen).method == method


def test_an_mp_context_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=METHODS[0]):
        gipc.start_process(end, mp_context="teleport")
    with pytest.raises(TypeError):
        gipc.start_process(end, mp_context=1)


@every_method
def test_children_of_all_start_methods_report_their_end(method):
    child = gipc.start_process(exit_with, (3,), mp_context=method)
    assert exit_code(child) == 3
    child = gipc.start_process(block_for_ever, mp_context=method)
    child.terminate()
    assert exit_code(child) == -signal.SIGTERM


def descend(writer, generations):
    if not generations:
        writer.put(os.getpid())
        return
    child = gipc.start_process(descend, (writer, generations - 1))
    assert exit_code(child) == 0


@every_method
def test_grandchildren_work_three_levels_deep(method):
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(descend_by, (writer, method, 3), mp_context=method)
        assert reader.get() == "from the bottom"
        assert exit_code(child) == 0


def descend_by(writer, method, generations):
    if not generations:
        writer.put("from the bottom")
        return
    args = (writer, method, generations - 1)
    assert exit_code(gipc.start_process(descend_by, args, mp_context=method)) == 0


def test_grandchildren_work_with_the_start_method_of_the_program():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(descend, (writer, 3))
        assert isinstance(reader.get(), int)
        assert exit_code(child) == 0


def test_a_daemon_cannot_have_children():
    child = gipc.start_process(start_a_child, daemon=True)
    assert exit_code(child) == 0


def start_a_child():
    with pytest.raises(AssertionError, match="daemonic"):
        gipc.start_process(end)


def test_many_children_at_once():
    children = [gipc.start_process(exit_with, (number,)) for number in range(20)]
    assert [exit_code(child) for child in children] == list(range(20))


def test_greenlets_can_start_children_at_the_same_time():
    greenlets = [gevent.spawn(in_child, os.getpid) for _ in range(10)]
    gevent.joinall(greenlets, raise_error=True)
    assert len({greenlet.value for greenlet in greenlets}) == 10


# Native threads.


def start_and_join():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(send_greeting, (writer,))
        greeting = reader.get()
        child.join()
        return greeting, child.exitcode


def test_a_child_can_be_started_and_joined_in_another_native_thread():
    assert in_thread(start_and_join) == ("hello", 0)


def test_a_child_of_a_thread_that_the_threading_module_has_met_ends_in_order():
    assert in_thread(lambda: threading.current_thread() and start_and_join()) == ("hello", 0)


FIRST_IN_A_THREAD = """
import sys, threading, warnings
warnings.filterwarnings("ignore", "This process.*multi-threaded")
{outside}

def start_and_join():
    {inside}
    child = gipc.start_process(sys.exit, (3,), mp_context={method!r})
    child.join()
    print(child.exitcode)

if __name__ == "__main__":
    thread = threading.Thread(target=start_and_join)
    thread.start()
    thread.join()
"""


@default_mode_only
@every_method
@pytest.mark.parametrize("where", ["outside", "inside"])
def test_a_thread_can_be_the_first_to_use_gipc(method, where, tmp_path):
    imports = {"outside": "", "inside": ""} | {where: "import gipc"}
    result = run_script(tmp_path, FIRST_IN_A_THREAD.format(**imports, method=method))
    assert (result.stdout, result.stderr) == ("3\n", "")


def start_and_join_among_greenlets():
    gevent.sleep(0)  # so that the thread has a hub
    greenlets = [gevent.spawn(start_and_join) for _ in range(3)]
    gevent.joinall(greenlets, raise_error=True)
    return [greenlet.value for greenlet in greenlets]


def test_greenlets_of_another_native_thread_can_start_children():
    assert in_thread(start_and_join_among_greenlets) == [("hello", 0)] * 3


def test_children_can_be_started_in_gevents_thread_pool():
    pool = gevent.get_hub().threadpool
    assert pool.apply(start_and_join) == ("hello", 0)


def test_native_threads_can_start_children_at_the_same_time():
    for _ in range(10 if METHOD == "fork" else 1):
        threads = [NativeThread(start_and_join) for _ in range(5)]
        assert [thread.join() for thread in threads] == [("hello", 0)] * 5


def test_gevent_works_in_a_child_started_in_another_native_thread():
    assert in_thread(in_child, sleep_and_spawn) == "slept"
    assert in_thread(lambda: gevent.sleep(0) or in_child(sleep_and_spawn)) == "slept"


def sleep_and_spawn():
    gevent.sleep(0.001)
    return gevent.spawn(lambda: gevent.sleep(0.001) or "slept").get()


def test_a_child_of_another_thread_can_be_joined_in_this_one():
    child = in_thread(lambda: gipc.start_process(exit_with, (5,)))
    assert exit_code(child) == 5


def test_a_child_of_this_thread_can_be_joined_in_another_one(blocked_child):
    joining = NativeThread(blocked_child.join)
    blocked_child.kill()
    joining.join()
    assert blocked_child.exitcode == -signal.SIGKILL


def test_many_threads_and_greenlets_can_join_one_child(blocked_child):
    threads = [NativeThread(blocked_child.join) for _ in range(4)]
    greenlets = [gevent.spawn(blocked_child.join) for _ in range(4)]
    gevent.sleep(0)
    blocked_child.kill()
    for thread in threads:
        thread.join()
    gevent.joinall(greenlets, raise_error=True)
    assert blocked_child.exitcode == -signal.SIGKILL


# Processes that the program forks by itself.


FORKED = """
import os, sys, time
import gipc

if __name__ == "__main__":
    for daemon in (True, False):
        child = gipc.start_process(time.sleep, (1000,), daemon=daemon, mp_context={method!r})
        pid = os.fork()
        if pid == 0:
            sys.exit()
        print(os.waitpid(pid, 0)[1], child.is_alive())
        child.kill()
        child.join()
"""


@default_mode_only
@every_method
def test_a_forked_process_leaves_the_children_of_its_parent_alone(method, tmp_path):
    result = run_script(tmp_path, FORKED.format(method=method))
    assert (result.stdout, result.stderr) == ("0 True\n0 True\n", "")


FORKED_DURING_A_START = """
import os, signal, sys, threading, warnings
import gipc

class Slow:
    def __reduce__(self):
        starting.set()
        proceed.wait(60)
        return int, ()

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    starting, proceed = threading.Event(), threading.Event()
    start = {{"args": (Slow(),), "target": abs, "mp_context": "spawn"}}
    thread = threading.Thread(target=gipc.start_process, kwargs=start)
    thread.start()
    starting.wait()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # it must not outlive a test that fails
        child = gipc.start_process(sys.exit, (3,), mp_context={method!r})
        child.join()
        os._exit(child.exitcode)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    proceed.set()
    thread.join()
"""


@default_mode_only
@every_method
def test_a_process_that_is_forked_while_a_child_starts_can_start_its_own(method, tmp_path):
    result = run_script(tmp_path, FORKED_DURING_A_START.format(method=method))
    assert result.stdout == "3\n"


# The end of the program.


END_WITH_CHILDREN = """
import os, sys, time
import gevent, gipc

def work(writer):
    gevent.sleep({seconds})
    os.write(1, b"child done\\n")

if __name__ == "__main__":
    reader, writer = gipc.pipe()
    gipc.start_process(work, (writer,), daemon={daemon}, mp_context={method!r})
    print("parent done", flush=True)
"""


@every_method
def test_a_program_waits_for_its_children_at_its_end(method, tmp_path):
    source = END_WITH_CHILDREN.format(seconds=0.2, daemon=False, method=method)
    result = run_script(tmp_path, source)
    assert result.stdout.split("\n")[:2] == ["parent done", "child done"]
    assert result.stderr == ""


@every_method
def test_daemons_are_terminated_at_the_end_of_the_program(method, tmp_path):
    began = time.monotonic()
    source = END_WITH_CHILDREN.format(seconds=1000, daemon=True, method=method)
    result = run_script(tmp_path, source)
    assert (result.stdout, result.stderr) == ("parent done\n", "")
    assert time.monotonic() - began < 1000
