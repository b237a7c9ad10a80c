"""One executor that several native threads share, with hubs of their own or without."""

import threading

import gevent
import pytest

from tests.executor import tasks
from tests.threads import NativeThread


def call_from_greenlets(executor, start):
    gevent.sleep(0)  # so that the thread has a hub
    numbers = range(start, start + 100)
    calls = [gevent.spawn(executor.offload, tasks.square, number) for number in numbers]
    assert [call.get() for call in calls] == [number * number for number in numbers]
    gevent.get_hub().destroy()


def call_without_a_hub(executor, start):
    for number in range(start, start + 30):
        assert executor.offload(tasks.square, number) == number * number
    assert list(executor.stream(tasks.count_to, 5)) == [0, 1, 2, 3, 4]
    assert executor.submit(tasks.square, start).result() == start * start


@pytest.mark.parametrize("work", [call_from_greenlets, call_without_a_hub])
def test_native_threads_share_an_executor(executor, work):
    threads = [NativeThread(work, executor, 1000 * number) for number in range(4)]
    for thread in threads:
        thread.join()
    stats = executor.stats()
    assert stats.completed == stats.submitted
    assert stats.running == stats.queued == 0


def test_a_future_can_be_waited_for_in_any_thread(executor):
    future = executor.submit(tasks.sleep, 0.2)
    results = []
    threads = [NativeThread(lambda: results.append(future.result())) for _ in range(3)]
    results.append(future.result())
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1


def test_threads_of_the_standard_library_can_call(executor):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(executor.offload(tasks.square, 3)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [9] * 8
