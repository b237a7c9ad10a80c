"""Calls: results, errors, deadlines, cancellation and back-pressure."""

import functools
import importlib
import os
import pickle
import signal
import traceback
from pathlib import Path

import gevent
import pytest

import gipc
from tests.executor import tasks
from tests.processes import is_running, wait_cooperatively, wait_until


def pid_in(path: Path) -> int:
    """The pid that a task has written to a file."""
    wait_cooperatively(lambda: path.exists() and path.read_text(), "the task has begun")
    return int(path.read_text())


def test_a_call_runs_in_a_child_and_returns(executor):
    assert executor.offload(tasks.square, 7) == 49
    assert executor.offload(os.getpid) != os.getpid()


def test_keyword_arguments_go_through_partial(executor):
    assert executor.offload(functools.partial(int, "ff", base=16)) == 255


def test_children_stay_warm(make):
    executor = make()
    assert executor.offload(os.getpid) == executor.offload(os.getpid)


def test_calls_of_many_greenlets_get_their_own_results(executor):
    calls = [gevent.spawn(executor.offload, tasks.square, number) for number in range(200)]
    assert [call.get() for call in calls] == [number**2 for number in range(200)]


def test_other_greenlets_run_meanwhile(executor, gate):
    call = gevent.spawn(executor.offload, tasks.wait_for, gate)
    for _ in range(10):
        gevent.sleep(0.001)
    assert not call.ready()
    gate.touch()
    assert call.get()


def test_a_large_result_arrives(executor):
    assert executor.offload(tasks.zeros, 50_000_000) == bytes(50_000_000)


def test_an_exception_comes_back_with_type_arguments_attributes_and_traceback(executor):
    with pytest.raises(ValueError, match="bad") as caught:
        executor.offload(functools.partial(tasks.fail, "bad", hint="look here"))
    error = caught.value
    assert error.args == ("bad", 7)
    assert error.hint == "look here"
    printed = "".join(traceback.format_exception(error))
    assert "in fail" in printed
    assert "raise error" in printed


@pytest.mark.parametrize(
    ("function", "args", "text"),
    [
        (tasks.fail_oddly, (), "1 and 2"),
        (tasks.leave, (3,), "SystemExit: 3"),
        (tasks.interrupt, (), "KeyboardInterrupt"),
        (tasks.Explosive, (), "cannot be unpickled"),
    ],
)
def test_what_cannot_come_back_as_it_is_comes_back_in_words(make, function, args, text):
    executor = make()
    before = executor.offload(os.getpid)
    with pytest.raises(gipc.OffloadError, match=text):
        executor.offload(function, *args)
    assert executor.offload(os.getpid) == before  # and the child lives on


def test_a_result_that_cannot_be_pickled_is_an_error_of_that_call_alone(make):
    executor = make()
    before = executor.offload(os.getpid)
    with pytest.raises(pickle.PicklingError, match=r"make_generator returned.*'generator'"):
        executor.offload(tasks.make_generator)
    assert executor.offload(os.getpid) == before


def test_arguments_that_cannot_be_pickled_cost_no_child(make):
    executor = make()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        executor.offload(lambda: None)
    assert executor.stats().submitted == 0


def test_a_function_is_what_its_name_means_in_the_child_at_that_time(make):
    executor = make()
    assert executor.offload(tasks.square, 7) == 49
    executor.offload(tasks.replace_square, abs)
    assert executor.offload(tasks.square, -7) == 7
    executor.offload(tasks.replace_square, None)
    with pytest.raises(AttributeError, match="square"):
        executor.offload(tasks.square, 7)


def test_a_function_that_its_name_no_longer_means_is_refused(executor, monkeypatch):
    square = tasks.square
    assert executor.offload(square, 7) == 49
    monkeypatch.setattr(tasks, "square", abs)
    with pytest.raises(pickle.PicklingError, match="not the same object"):
        executor.offload(square, 7)


def test_a_module_that_cannot_be_imported_in_the_child_fails_the_call(make, tmp_path, monkeypatch):
    name = tmp_path.name  # that no other test has
    (tmp_path / f"{name}.py").write_text("def double(x): return 2 * x")
    executor = make()
    executor.warm_up()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=name):
        executor.offload(importlib.import_module(name).double, 4)
    assert executor.offload(tasks.square, 7) == 49


def test_endless_recursion_is_a_recursion_error(executor):
    with pytest.raises(RecursionError):
        executor.offload(tasks.recurse)
    assert executor.offload(tasks.square, 2) == 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_child_fails_its_call_and_says_how_it_died(make, number):
    executor = make()
    with pytest.raises(gipc.ChildDied, match=f"{number.name}.*die") as caught:
        executor.offload(tasks.die, number)
    assert caught.value.signal == number
    assert caught.value.exitcode == -number
    assert executor.offload(tasks.square, 3) == 9


def test_a_child_that_exits_fails_its_call_with_its_code(make):
    with pytest.raises(gipc.ChildDied, match="code 5") as caught:
        make().offload(os._exit, 5)
    assert (caught.value.exitcode, caught.value.signal) == (5, None)


def test_a_child_that_dies_idle_fails_no_call(make):
    executor = make()
    pid = executor.offload(os.getpid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), "the child is dead")
    assert executor.offload(os.getpid) != pid


@pytest.mark.parametrize("task", [tasks.leave_pid, tasks.ignore_and_sleep, tasks.compute_for_ever])
def test_at_the_deadline_the_child_is_killed_whatever_it_does(make, tmp_path, task):
    executor = make()
    executor.warm_up()
    path = tmp_path / "pid"
    with pytest.raises(gipc.OffloadTimeout, match=rf"{task.__name__} .* 1 s") as caught:
        executor.offload(task, str(path), timeout=1)
    pid = pid_in(path)
    assert (caught.value.pid, caught.value.seconds) == (pid, 1)
    assert isinstance(caught.value, TimeoutError)
    wait_until(lambda: not is_running(pid), "the child is gone")
    assert executor.offload(tasks.square, 3, timeout=20) == 9


def test_the_deadline_counts_the_wait_for_a_child(make):
    executor = make()
    executor.warm_up()
    hog = gevent.spawn(executor.offload, tasks.sleep)
    wait_cooperatively(lambda: executor.stats().running, "the child is taken")
    with pytest.raises(gipc.OffloadTimeout, match="no child") as caught:
        executor.offload(tasks.square, 1, timeout=0.05)
    assert caught.value.pid is None
    assert executor.stats().queued == 0
    hog.kill()


def test_the_executors_timeout_holds_unless_a_call_has_its_own(make):
    executor = make(timeout=0.2)
    executor.warm_up()
    with pytest.raises(gipc.OffloadTimeout):
        executor.offload(tasks.sleep)
    executor.warm_up()
    assert executor.offload(tasks.sleep, 0.4, timeout=None)


@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_a_caller_that_is_interrupted_takes_its_child_with_it(make, tmp_path, how):
    def interrupted():
        with gevent.Timeout(None if how == "kill" else 1, False):
            executor.offload(tasks.leave_pid, str(path))

    executor = make()
    path = tmp_path / "pid"
    executor.warm_up()
    call = gevent.spawn(interrupted)
    pid = pid_in(path)
    if how == "kill":
        call.kill()
    call.get()
    wait_until(lambda: not is_running(pid), "the child is gone")
    assert executor.offload(os.getpid) != pid
    assert executor.stats().cancelled == 1


@pytest.mark.parametrize("error", [gipc.OffloadError("mine"), ConnectionResetError("mine")])
def test_an_error_thrown_into_the_caller_is_not_taken_for_the_childs(make, tmp_path, error):
    executor = make()
    call = gevent.spawn(executor.offload, tasks.leave_pid, str(tmp_path / "pid"))
    pid_in(tmp_path / "pid")
    call.kill(error)
    assert call.exception is error
    stats = executor.stats()
    assert (stats.cancelled, stats.died) == (1, 0)


def test_a_waiting_caller_that_is_killed_leaves_no_trace(make):
    executor = make()
    executor.warm_up()
    hog = gevent.spawn(executor.offload, tasks.sleep)
    waiting = gevent.spawn(executor.offload, tasks.square, 1)
    wait_cooperatively(lambda: executor.stats().queued, "one call waits")
    waiting.kill()
    assert executor.stats().queued == 0
    hog.kill()
    assert executor.offload(tasks.square, 3) == 9


def test_a_waiting_caller_that_an_error_is_thrown_into_is_cancelled_not_failed(make):
    executor = make()
    hog = gevent.spawn(executor.offload, tasks.sleep)
    waiting = gevent.spawn(executor.offload, tasks.square, 1)
    wait_cooperatively(lambda: executor.stats().queued, "one call waits")
    waiting.kill(ConnectionResetError)
    assert executor.stats().cancelled == 1
    assert executor.stats().failed == 0
    hog.kill()


def test_waiters_are_served_first_come_first_served(make, gate):
    executor = make()
    order = []
    hog = gevent.spawn(executor.offload, tasks.wait_for, gate)
    wait_cooperatively(lambda: executor.stats().running, "the child is taken")

    def call(number):
        executor.offload(tasks.square, number)
        order.append(number)

    waiting = [gevent.spawn(call, number) for number in range(10)]
    wait_cooperatively(lambda: executor.stats().queued == 10, "all of them wait")
    gate.touch()
    gevent.joinall([hog, *waiting], raise_error=True)
    assert order == list(range(10))


def test_above_the_queue_limit_calls_are_refused_at_once(make, gate):
    executor = make(max_queue=1)
    executor.warm_up()
    calls = [gevent.spawn(executor.offload, tasks.wait_for, gate) for _ in range(2)]
    wait_cooperatively(lambda: executor.stats().queued, "one call waits")
    with pytest.raises(gipc.QueueFull):
        executor.offload(tasks.square, 1)
    with pytest.raises(gipc.QueueFull):
        executor.submit(tasks.square, 1)
    gate.touch()
    gevent.joinall(calls, raise_error=True)
    assert executor.offload(tasks.square, 3) == 9
    assert executor.stats().refused == 2


def test_what_is_not_callable_is_refused(executor):
    for method in (executor.offload, executor.stream, executor.submit):
        with pytest.raises(TypeError, match="callable"):
            method(42)
    with pytest.raises(ValueError, match="timeout"):
        executor.offload(tasks.square, 1, timeout=0)


def test_the_counters_add_up(make):
    executor = make()
    executor.offload(tasks.square, 1)
    for error, call in [
        (ValueError, functools.partial(executor.offload, tasks.fail, "x")),
        (gipc.ChildDied, functools.partial(executor.offload, tasks.die)),
        (gipc.OffloadTimeout, functools.partial(executor.offload, tasks.sleep, timeout=0.2)),
    ]:
        with pytest.raises(error):
            call()
    stats = executor.stats()
    assert (stats.completed, stats.failed, stats.died, stats.timed_out) == (1, 1, 1, 1)
    assert stats.submitted == 4
    assert stats.running == stats.queued == 0
