"""Who is served when several use one handle at a time."""

import gevent
import pytest

import gipc
from tests.threads import NativeThread

from .support import blocked, needs_polling


@pytest.fixture
def pipe():
    with gipc.pipe() as pair:
        yield pair


def test_whoever_came_first_is_served_first(pipe):
    reader, writer = pipe
    waiting = [blocked(reader.get) for _ in range(5)]
    for number in range(5):
        writer.put(number)
    assert [greenlet.get() for greenlet in waiting] == list(range(5))


def test_whoever_gives_up_leaves_no_trace(pipe):
    reader, writer = pipe
    waiting = [blocked(reader.get) for _ in range(5)]
    waiting[0].kill()  # it had its turn
    waiting[2].kill()
    for number in range(3):
        writer.put(number)
    assert [waiting[index].get() for index in (1, 3, 4)] == [0, 1, 2]
    writer.put("last")
    assert reader.get() == "last"


@needs_polling
def test_whoever_runs_out_of_time_leaves_no_trace(pipe):
    reader, writer = pipe
    first = blocked(reader.get)
    with pytest.raises(gevent.Timeout):
        reader.get(timeout=0.01)
    writer.put("for the first")
    writer.put("for the next")
    assert [first.get(), reader.get()] == ["for the first", "for the next"]


def test_greenlets_and_native_threads_wait_in_one_queue(pipe):
    reader, writer = pipe

    def receive():
        return [reader.get() for _ in range(50)]

    receivers = [NativeThread(receive), NativeThread(receive)]
    greenlets = [gevent.spawn(receive) for _ in range(3)]
    for number in range(250):
        writer.put(number)
        gevent.sleep(0)
    got = [greenlet.get() for greenlet in greenlets]
    got += [receiver.join() for receiver in receivers]
    assert sorted(number for numbers in got for number in numbers) == list(range(250))
    assert all(numbers == sorted(numbers) for numbers in got)
