"""It is a concurrent.futures executor, with streams."""

import concurrent.futures
import gc
import os
import signal
import threading
from pathlib import Path

import gevent
import pytest

import gipc
from tests.executor import tasks
from tests.processes import is_running, wait_until


def test_it_is_an_executor(executor):
    assert isinstance(executor, concurrent.futures.Executor)


def test_futures_bring_results_and_exceptions(executor):
    assert executor.submit(tasks.square, 5).result(20) == 25
    assert isinstance(executor.submit(tasks.fail, "x").exception(20), ValueError)
    assert executor.submit(int, "ff", base=16).result(20) == 255


def test_result_is_cooperative(executor, gate):
    future = executor.submit(tasks.wait_for, gate)
    opening = gevent.spawn_later(0.01, gate.touch)
    assert future.result(20)
    opening.get()


def test_result_gives_up_after_its_timeout(executor, gate):
    future = executor.submit(tasks.wait_for, gate)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    gate.touch()
    assert future.result(20)


def test_greenlets_can_wait_for_futures(executor):
    futures = [executor.submit(tasks.square, number) for number in range(10)]
    assert set(gevent.wait(futures, timeout=20)) == set(futures)
    assert sorted(future.result() for future in gevent.iwait(futures)) == [
        number**2 for number in range(10)
    ]


def test_wait_and_as_completed_work(executor):
    futures = [executor.submit(tasks.square, number) for number in range(10)]
    done, pending = concurrent.futures.wait(futures, 20)
    assert (len(done), len(pending)) == (10, 0)
    assert len(list(concurrent.futures.as_completed(futures, 20))) == 10


def test_callbacks_run_when_a_future_is_done(executor):
    results = []
    future = executor.submit(tasks.square, 3)
    future.add_done_callback(lambda done: results.append(done.result()))
    future.result(20)
    wait_until(lambda: results == [9], "the callback ran")


def test_a_future_can_be_cancelled_before_it_runs_and_not_later(make, gate):
    executor = make()
    running = executor.submit(tasks.wait_for, gate)
    waiting = executor.submit(tasks.square, 1)
    wait_until(running.running, "the first one runs")
    assert waiting.cancel()
    assert not running.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        waiting.result(20)
    gate.touch()
    assert running.result(20)
    wait_until(lambda: executor.stats().cancelled == 1, "it is counted")


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map_keeps_the_order(executor, chunksize):
    numbers = range(20)
    assert list(executor.map(pow, numbers, [2] * 20, chunksize=chunksize)) == [
        number**2 for number in numbers
    ]


def test_map_raises_in_its_place(executor):
    results = executor.map(int, ["1", "2", "x"])
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="x"):
        next(results)


def test_map_gives_up_after_its_timeout(executor):
    with pytest.raises(TimeoutError):
        list(executor.map(tasks.sleep, [0.5], timeout=0.05))


def test_map_works_beyond_the_queue_limit(make):
    executor = make(max_queue=1)
    assert list(executor.map(tasks.square, range(20))) == [number**2 for number in range(20)]


def test_a_stream_yields_what_the_generator_yields(executor):
    assert list(executor.stream(tasks.count_to, 1000)) == list(range(1000))


def test_an_exception_in_a_stream_comes_in_its_place(executor):
    stream = executor.stream(tasks.count_and_fail, 2)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="enough"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_a_slow_consumer_stops_the_producer(executor, tmp_path):
    path = tmp_path / "progress"
    with executor.stream(tasks.note_progress, str(path), 100_000) as stream:
        next(stream)
        # What the pipe holds is produced ahead, and not more, however long it takes.
        produced = 0
        while (now := len(path.read_text().splitlines())) > produced:
            produced = now
            gevent.sleep(0.1)
        assert produced < 500


@pytest.mark.parametrize("how", ["close", "drop", "with"])
def test_a_stream_that_is_left_early_ends_the_childs_work(make, tmp_path, how):
    executor = make()
    path = tmp_path / "pid"
    stream = executor.stream(tasks.produce_for_ever, str(path))
    next(stream)
    pid = int(Path(path).read_text())
    if how == "close":
        stream.close()
    elif how == "with":
        with stream:
            pass
    del stream
    wait_until(lambda: not is_running(pid), "the child is gone")
    assert executor.offload(os.getpid) != pid


def test_the_deadline_of_a_stream_is_its_total(make, tmp_path):
    executor = make()
    executor.warm_up()
    with (
        pytest.raises(gipc.OffloadTimeout),
        executor.stream(tasks.produce_for_ever, str(tmp_path / "pid"), timeout=0.5) as stream,
    ):
        for _ in stream:
            pass


def test_a_consumer_that_is_elsewhere_does_not_keep_the_child_beyond_the_deadline(make, tmp_path):
    executor = make()
    executor.warm_up()
    path = tmp_path / "pid"
    stream = executor.stream(tasks.produce_for_ever, str(path), timeout=1)
    next(stream)
    pid = int(path.read_text())
    wait_until(lambda: not is_running(pid), "the child is gone")
    with pytest.raises(gipc.OffloadTimeout):
        for _ in stream:
            pass


def test_shutdown_lets_calls_finish_and_refuses_new_ones(executor):
    future = executor.submit(tasks.sleep, 0.2)
    executor.shutdown()
    assert future.done()
    assert future.result()
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(tasks.square, 1)
    executor.shutdown()


def test_shutdown_can_cancel_what_waits(make, gate):
    executor = make()
    running = executor.submit(tasks.wait_for, gate)
    wait_until(running.running, "the first one runs")
    waiting = [executor.submit(tasks.square, number) for number in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    gate.touch()
    executor.shutdown()
    assert running.result()
    assert all(future.cancelled() for future in waiting)


def test_shutdown_can_cancel_what_the_executor_has_not_looked_at_yet(make, gate):
    executor = make()
    done, proceed = threading.Event(), threading.Event()

    def hold_up(_):  # the executor's thread
        done.set()
        proceed.wait(20)

    executor.submit(tasks.wait_for, gate).add_done_callback(hold_up)
    gate.touch()
    assert done.wait(20)
    waiting = [executor.submit(tasks.square, number) for number in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    proceed.set()
    executor.shutdown()
    assert all(future.cancelled() for future in waiting)


def test_after_shutdown_no_child_is_left(make):
    with make(2) as executor:
        executor.warm_up()
        pids = [child.pid for child in executor.stats().children]
    assert len(pids) == 2
    assert not any(map(is_running, pids))


@pytest.mark.parametrize("idle_timeout", [None, 3600])
def test_an_executor_that_is_collected_after_its_shutdown_leaves_no_thread(method, idle_timeout):
    before = set(os.listdir("/proc/self/task"))
    executor = gipc.ProcessPoolExecutor(1, method, idle_timeout=idle_timeout)
    assert executor.offload(tasks.square, 7) == 49
    assert list(executor.stream(tasks.count_to, 3, timeout=3600)) == [0, 1, 2]
    executor.shutdown()
    del executor
    gc.collect()
    wait_until(lambda: set(os.listdir("/proc/self/task")) <= before, "its thread has ended")


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_workers": 0},
        {"max_workers": -1},
        {"mp_context": "thread"},
        {"max_tasks_per_child": 0},
        {"max_memory_per_child": 0},
        {"max_queue": -1},
        {"timeout": 0},
        {"idle_timeout": -1},
    ],
)
def test_an_argument_out_of_its_range_is_a_value_error_that_names_it(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        gipc.ProcessPoolExecutor(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_workers": "2"},
        {"max_workers": True},
        {"mp_context": 3},
        {"initializer": 1},
        {"timeout": "soon"},
        {"preload": "json"},
        {"nice": 1.5},
    ],
)
def test_an_argument_of_the_wrong_type_is_a_type_error_that_names_it(arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        gipc.ProcessPoolExecutor(**arguments)


def test_a_map_that_is_left_early_cancels_what_has_not_begun(make):
    executor = make(1)
    results = executor.map(tasks.sleep, [0, 1000, 1000, 1000])
    next(results)
    results.close()  # while the second call begins, or just before
    wait_until(lambda: executor.stats().cancelled >= 2, "what waits is cancelled")
    os.kill(executor.stats().children[0].pid, signal.SIGKILL)
