"""Greenlets that are killed, or timed out, in the middle of a message."""

import gevent
import pytest

import gipc
from tests.processes import wait_cooperatively

from .support import (
    IN_THREADS,
    LARGE,
    blocked,
    exit_code,
    in_thread,
    needs_polling,
)

MESSAGES = [b"a" * LARGE, b"b" * LARGE, b"c"]


@pytest.fixture
def pipe():
    with gipc.pipe(encoder=None, decoder=None) as pair:
        yield pair


def test_a_killed_put_is_finished_in_the_background(pipe):
    reader, writer = pipe
    blocked(writer.put, MESSAGES[0]).kill()
    assert reader.get() == MESSAGES[0]


def test_a_put_that_follows_a_killed_one_arrives_after_it(pipe):
    reader, writer = pipe
    blocked(writer.put, MESSAGES[0]).kill()
    following = blocked(writer.put, MESSAGES[1])
    assert [reader.get(), reader.get()] == MESSAGES[:2]
    following.get()


def test_a_put_that_timed_out_is_whole_too(pipe):
    reader, writer = pipe
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        writer.put(MESSAGES[0])
    following = gevent.spawn(writer.put, MESSAGES[2])
    assert [reader.get(), reader.get()] == [MESSAGES[0], MESSAGES[2]]
    following.get()


def test_many_killed_puts_in_a_row_leave_a_whole_stream(pipe):
    reader, writer = pipe
    for _ in range(20):  # only the first one has begun
        blocked(writer.put, MESSAGES[0]).kill()
    received = gevent.spawn(lambda: [reader.get(), reader.get()])
    writer.put(MESSAGES[2])
    assert received.get() == [MESSAGES[0], MESSAGES[2]]


def test_a_put_that_was_killed_before_its_first_byte_never_arrives(pipe):
    reader, writer = pipe
    first = blocked(writer.put, MESSAGES[0])
    blocked(writer.put, b"killed in the queue").kill()
    assert reader.get() == MESSAGES[0]
    first.get()
    writer.put(b"next")
    assert reader.get() == b"next"


@needs_polling
def test_a_put_killed_while_the_pipe_is_full_arrives_whole_or_not_at_all(pipe):
    reader, writer = pipe
    small = b"s" * 1000
    count = 0

    def fill():
        nonlocal count
        while True:
            writer.put(small)
            count += 1

    blocked(fill).kill()
    assert count
    received = []

    def receive():
        while (message := reader.get()) != b"end":
            received.append(message)

    receiving = gevent.spawn(receive)
    writer.put(b"end")
    receiving.get()
    assert received in ([small] * count, [small] * (count + 1))


def test_a_writer_can_be_closed_right_after_its_put_was_killed():
    reader, writer = gipc.pipe(encoder=None, decoder=None)
    blocked(writer.put, MESSAGES[0]).kill()
    writer.close()
    if IN_THREADS:  # nothing stops the thread, which writes it all
        assert reader.get() == MESSAGES[0]
    with pytest.raises(EOFError):
        reader.get()
    reader.close()


def test_a_reader_that_goes_away_ends_the_work_in_the_background(pipe):
    reader, writer = pipe
    blocked(writer.put, MESSAGES[0]).kill()
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.put(b"next")


def test_a_killed_put_is_finished_for_a_reader_in_another_process():
    with gipc.pipe(encoder=None, decoder=None) as (reader, writer), gipc.pipe() as (told, tell):
        child = gipc.start_process(expect_when_told, (told, reader))
        blocked(writer.put, MESSAGES[0]).kill()
        tell.put("go on")
        assert exit_code(child) == 0


def expect_when_told(told, reader):
    told.get()
    expect(reader, MESSAGES[:1])


def expect(reader, messages):
    assert [reader.get() for _ in messages] == messages


def test_an_unfinished_message_is_finished_by_the_child_that_gets_the_writer(pipe):
    reader, writer = pipe
    blocked(writer.put, MESSAGES[0]).kill()
    if IN_THREADS:
        with pytest.raises(gipc.GIPCLocked):
            gipc.start_process(put_next, (writer,))
        return
    child = gipc.start_process(put_next, (writer,))
    assert [reader.get(), reader.get()] == [MESSAGES[0], b"next"]
    assert exit_code(child) == 0


def put_next(writer):
    writer.put(b"next")


@needs_polling
def test_an_unfinished_message_is_finished_by_a_child_that_never_puts(pipe):
    reader, writer = pipe
    with gipc.pipe() as (wait, go):
        blocked(writer.put, MESSAGES[0]).kill()
        child = gipc.start_process(hold, (writer, wait))
        assert reader.get() == MESSAGES[0]
        go.put("now end")
        assert exit_code(child) == 0


def hold(writer, wait):
    wait.get()


def test_a_get_killed_before_a_message_takes_nothing(pipe):
    reader, writer = pipe
    blocked(reader.get).kill()
    writer.put(b"for the next")
    assert reader.get() == b"for the next"


def test_a_get_killed_in_the_middle_leaves_the_message_to_the_next_one(pipe):
    reader, writer = pipe
    for _ in range(10):
        getting = blocked(reader.get)
        putting = blocked(writer.put, MESSAGES[0])
        gevent.sleep(0)
        getting.kill()
        if not isinstance(getting.value, bytes):
            assert reader.get() == MESSAGES[0]
        putting.get()
    writer.put(b"next")
    assert reader.get() == b"next"


def test_a_get_that_timed_out_in_the_middle_leaves_the_message_to_the_next_one(pipe):
    reader, writer = pipe
    putting = blocked(writer.put, MESSAGES[0])
    received = None
    while received is None:  # the time-out hits any part of the way
        with gevent.Timeout(0.001, False):
            received = reader.get()
    assert received == MESSAGES[0]
    putting.get()


def test_a_half_received_message_travels_to_the_child_that_gets_the_reader(pipe):
    reader, writer = pipe
    putting = blocked(writer.put, MESSAGES[0])
    with gevent.Timeout(0, False):
        reader.get()
    child = wait_cooperatively(lambda: start_unless_locked(reader))
    putting.get()
    writer.put(b"next")
    assert exit_code(child) == 0


def start_unless_locked(reader):
    try:
        return gipc.start_process(expect, (reader, [MESSAGES[0], b"next"]))
    except gipc.GIPCLocked:
        assert IN_THREADS  # one of which is still in its read
        return None


def test_killing_works_in_other_native_threads_too(pipe):
    def put_and_be_killed():
        blocked(writer.put, MESSAGES[0]).kill()

    reader, writer = pipe
    in_thread(put_and_be_killed)
    # Nobody is left there to finish it: the next put does.
    following = gevent.spawn(writer.put, MESSAGES[1])
    assert [reader.get(), reader.get()] == MESSAGES[:2]
    following.get()


def test_a_writer_can_be_closed_in_another_thread_than_that_of_the_killed_put():
    reader, writer = gipc.pipe()
    in_thread(lambda: blocked(writer.put, MESSAGES[0]).kill())
    writer.close()
    reader.close()


def test_no_thread_serves_a_message_of_a_dead_thread_for_ever(pipe):
    reader, writer = pipe
    in_thread(lambda: blocked(writer.put, MESSAGES[0]).kill())
    blocked(writer.put, MESSAGES[1]).kill()  # it is this thread's turn to finish
    assert reader.get() == MESSAGES[0]
