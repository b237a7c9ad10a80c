"""Bad starts, broken output, streams that end from outside, and what the log says."""

import functools
import logging
import os
import signal
import time

import gevent
import gevent.event
import pytest

import gipc
from tests.executor import tasks
from tests.processes import wait_cooperatively


def sum_of_outcomes(stats):
    return (
        stats.completed
        + stats.failed
        + stats.timed_out
        + stats.cancelled
        + stats.died
        + stats.refused
    )


def test_an_initializers_error_carries_the_childs_traceback_to_every_call(make):
    executor = make(initializer=tasks.fail_to_initialize)
    for _ in range(2):  # the second within the pause
        with pytest.raises(LookupError, match="no model") as caught:
            executor.offload(tasks.square, 1)
        assert "in fail_to_initialize" in str(caught.value.__cause__)


def test_failing_starts_are_few_and_calls_succeed_once_the_cause_is_gone(make, tmp_path):
    obstacle, tries = tmp_path / "obstacle", tmp_path / "tries"
    obstacle.touch()
    initargs = (str(obstacle), str(tries))
    executor = make(4, initializer=tasks.initialize_unless, initargs=initargs)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        with pytest.raises(LookupError):
            executor.offload(tasks.square, 1)
        gevent.sleep(0.001)
    assert 1 <= len(tries.read_text()) <= 12
    obstacle.unlink()

    def works():
        try:
            return executor.offload(tasks.square, 3) == 9
        except LookupError:
            return False

    wait_cooperatively(works)


def test_a_call_that_comes_after_an_idle_childs_sudden_death_is_served(make):
    executor = make(1)
    executor.warm_up()
    (child,) = executor.stats().children
    os.kill(child.pid, signal.SIGKILL)
    wait_cooperatively(lambda: child.pid not in [each.pid for each in executor.stats().children])
    assert executor.offload(tasks.square, 3, timeout=20) == 9


def test_a_closed_stdout_is_no_reason_to_die(make):
    executor = make(1)
    pid = executor.offload(tasks.close_stdout)
    assert executor.offload(os.getpid) == pid


def test_a_stream_closed_by_another_greenlet_ends_for_the_one_that_waits(make, tmp_path):
    executor = make(1)
    stream = executor.stream(tasks.write_and_stall, str(tmp_path / "pid"))
    next(stream)
    waiting = gevent.spawn(list, stream)
    wait_cooperatively((tmp_path / "pid").exists)
    stream.close()
    assert waiting.get(timeout=10) == []
    assert executor.offload(tasks.square, 3, timeout=20) == 9
    stats = executor.stats()
    assert stats.running == stats.queued == 0
    assert (stats.cancelled, stats.died) == (1, 0)
    assert stats.submitted == sum_of_outcomes(stats)


def test_an_item_that_cannot_be_unpickled_is_an_error_of_that_stream(make):
    executor = make(1)
    with pytest.raises(gipc.OffloadError, match="cannot be unpickled"):
        list(executor.stream(tasks.yield_explosive))
    assert executor.stats().failed == 1
    assert executor.offload(tasks.square, 3) == 9


def test_a_stream_that_was_complete_at_its_deadline_leaves_no_dying_child_behind(make):
    executor = make(1)
    executor.warm_up()
    stream = executor.stream(tasks.count_to, 3, timeout=2)
    assert next(stream) == 0
    (child,) = executor.stats().children
    wait_cooperatively(lambda: _is_gone(child.pid))  # at the deadline; all items are in the pipe
    assert list(stream) == [1, 2]
    for _ in range(20):
        assert executor.offload(tasks.square, 3) == 9


def _is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_done_callback_may_shut_the_executor_down(make):
    executor = make(1)
    future = executor.submit(tasks.square, 3)
    ended = gevent.get_hub().loop.async_()
    waiter = gevent.event.Event()
    ended.start(waiter.set)

    def shut_down(_):
        executor.shutdown()
        ended.send()

    future.add_done_callback(shut_down)
    assert waiter.wait(20)
    ended.close()
    with pytest.raises(RuntimeError):
        executor.submit(tasks.square, 3)


def test_all_futures_are_done_and_counted_when_shutdown_returns(make):
    executor = make(2)
    futures = [executor.submit(tasks.square, n) for n in range(50)]
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert executor.stats().completed == 50


def test_a_call_is_counted_before_its_future_is_done(make):
    executor = make(1)
    for number in range(1, 50):
        executor.submit(tasks.square, number).result()
        assert executor.stats().completed == number


def test_the_log_tells_which_child_was_killed_or_died_in_what(make, caplog):
    executor = make(1)
    executor.warm_up()  # or the deadline may pass without any child
    with caplog.at_level(logging.WARNING, "gipc"):
        with pytest.raises(gipc.OffloadTimeout):
            executor.offload(functools.partial(tasks.sleep, 1000), timeout=1)
        with pytest.raises(gipc.ChildDied):
            executor.offload(tasks.die)
    killed, died = (record.getMessage() for record in caplog.records)
    assert "tests.executor.tasks.sleep took longer than 1 s: child " in killed
    assert "was killed by SIGKILL after " in died
    assert "in tests.executor.tasks.die; it is replaced" in died


def test_the_log_tells_which_child_was_started_in_place_of_one_that_died(make, caplog):
    executor = make()
    with caplog.at_level(logging.INFO, "gipc"):
        executor.warm_up()
        with pytest.raises(gipc.ChildDied):
            executor.offload(tasks.die)
        executor.warm_up()
        (child,) = executor.stats().children
        started = f"child {child.pid} was started in place of one that died"
        wait_cooperatively(lambda: started in caplog.messages, "the log says so")
    assert len(caplog.messages) == 2


def test_the_log_tells_once_in_a_while_that_calls_are_refused(make, caplog):
    executor = make(1, max_queue=0)
    with caplog.at_level(logging.WARNING, "gipc"), executor.stream(tasks.count_to, 10**9):
        for _ in range(100):
            with pytest.raises(gipc.QueueFull):
                executor.offload(os.getpid)
    (record,) = caplog.records
    assert record.getMessage() == "calls were refused: 1, as max_queue is 0"
