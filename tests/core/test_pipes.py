"""Handles used within one process."""

import contextlib
import json
import os
import pickle
import re
import struct

import gevent
import pytest

import gipc
from tests.processes import wait_cooperatively

from .support import LARGE, blocked, needs_polling


@pytest.mark.parametrize(
    "message",
    [None, 0, "", b"", "text", ["a", {"b": (1, 2.5)}], b"\0" * 100_000, "x" * LARGE],
    ids=lambda message: type(message).__name__,
)
def test_what_is_put_is_got(message):
    with gipc.pipe() as (reader, writer):
        greenlet = gevent.spawn(writer.put, message)
        assert reader.get() == message
        greenlet.get()


def test_messages_arrive_in_order_whatever_their_size():
    sizes = [0, 1, 100, 1 << 14, (1 << 14) + 1, 1 << 16, (1 << 16) + 1, LARGE, 5, 1 << 20, 0, 9]

    def put_all():
        for number, size in enumerate(sizes):
            writer.put(bytes([number]) * size)

    with gipc.pipe(encoder=None, decoder=None) as (reader, writer):
        greenlet = gevent.spawn(put_all)
        for number, size in enumerate(sizes):
            assert reader.get() == bytes([number]) * size
        greenlet.get()


def test_many_small_messages_arrive_in_order():
    def put_all():
        for number in range(20_000):
            writer.put(number)

    with gipc.pipe() as (reader, writer):
        greenlet = gevent.spawn(put_all)
        assert [reader.get() for _ in range(20_000)] == list(range(20_000))
        greenlet.get()


def test_messages_of_many_greenlets_do_not_mix():
    with gipc.pipe(encoder=None, decoder=None) as (reader, writer):
        messages = [bytes([number]) * (30_000 * number) for number in range(20)]
        writers = [gevent.spawn(writer.put, message) for message in messages]
        readers = [gevent.spawn(reader.get) for _ in messages]
        gevent.joinall(writers + readers, raise_error=True)
        assert sorted(greenlet.value for greenlet in readers) == messages


def test_a_duplex_pipe_carries_messages_both_ways():
    with gipc.pipe(duplex=True) as (one, other):
        one.put(1)
        assert other.get() == 1
        other.put(2)
        assert one.get() == 2


def test_both_directions_of_a_duplex_pipe_can_be_used_at_once():
    with gipc.pipe(duplex=True) as (one, other):
        big = b"x" * LARGE
        puts = [gevent.spawn(one.put, big), gevent.spawn(other.put, big)]
        assert one.get() == other.get() == big
        gevent.joinall(puts, raise_error=True)


def test_other_greenlets_run_while_one_waits_for_a_message():
    with gipc.pipe() as (reader, writer):
        waiting = blocked(reader.get)
        assert not waiting.ready()
        writer.put("go")
        assert waiting.get() == "go"


def test_other_greenlets_run_while_one_waits_for_room():
    with gipc.pipe() as (reader, writer):
        waiting = blocked(writer.put, b"x" * LARGE)
        assert not waiting.ready()
        assert len(reader.get()) == LARGE
        waiting.get()


# Codecs.


def encode_json(value):
    return json.dumps(value).encode("ascii")


def decode_json(data):
    return json.loads(data.decode("ascii"))


@pytest.mark.parametrize("duplex", [False, True])
def test_own_codecs_are_used(duplex):
    with gipc.pipe(duplex, encoder=encode_json, decoder=decode_json) as (one, other):
        reader, writer = (other, one) if duplex else (one, other)
        writer.put({"a": [1, None]})
        assert reader.get() == {"a": [1, None]}


def test_without_encoder_and_decoder_bytes_go_as_they_are():
    with gipc.pipe(encoder=None, decoder=None) as (reader, writer):
        writer.put(b"raw")
        assert reader.get() == b"raw"


def test_the_default_codecs_are_pickle():
    with gipc.pipe(decoder=None) as (reader, writer):
        writer.put([1])
        assert pickle.loads(reader.get()) == [1]
    with gipc.pipe(encoder=None) as (reader, writer):
        writer.put(pickle.dumps([2]))
        assert reader.get() == [2]


@pytest.mark.parametrize("message", ["text", 1, None, bytearray(b"x"), memoryview(b"x")])
def test_without_encoder_only_bytes_are_accepted(message):
    with gipc.pipe(encoder=None, decoder=None) as (reader, writer):
        with pytest.raises(TypeError):
            writer.put(message)
        writer.put(b"the pipe is still good")
        assert reader.get() == b"the pipe is still good"


def test_an_encoder_that_does_not_return_bytes_is_a_type_error():
    with gipc.pipe(encoder=str) as (_, writer), pytest.raises(TypeError, match="bytes, not str"):
        writer.put(1)


@pytest.mark.parametrize("codec", [1, "pickle", b"x", ()])
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_codec_that_cannot_be_called_is_refused(name, codec):
    with pytest.raises(gipc.GIPCError, match=name):
        gipc.pipe(**{name: codec})


class Unpicklable:
    def __reduce__(self):
        raise pickle.PicklingError("never")


def test_what_cannot_be_pickled_raises_in_put_and_harms_nobody():
    with gipc.pipe() as (reader, writer):
        with pytest.raises(pickle.PicklingError, match="never"):
            writer.put(Unpicklable())
        writer.put("next")
        assert reader.get() == "next"


def test_what_cannot_be_unpickled_raises_in_get_and_harms_nobody():
    with gipc.pipe(encoder=None) as (reader, writer):
        writer.put(b"no pickle")
        writer.put(pickle.dumps("next"))
        with pytest.raises(pickle.UnpicklingError):
            reader.get()
        assert reader.get() == "next"


@pytest.mark.parametrize(
    "header", [struct.pack("<BQ", 0, 1 << 60), struct.pack("<BQ", 200, 1), b"HTTP/1.1 200 OK"]
)
def test_what_is_no_message_is_an_error_and_takes_no_memory(header):
    with gipc.pipe() as (reader, writer):
        os.write(writer._fd, header)
        with pytest.raises(gipc.GIPCError, match="not a frame"):
            reader.get()


# Closing.


def test_operations_on_a_closed_handle_raise_closed():
    reader, writer = gipc.pipe()
    reader.close()
    writer.close()
    for operation in (reader.get, reader.close, writer.close, lambda: writer.put(1)):
        with pytest.raises(gipc.GIPCClosed):
            operation()


def test_operations_on_a_closed_duplex_handle_raise_closed():
    one, other = gipc.pipe(duplex=True)
    one.close()
    other.close()
    for operation in (one.get, one.close, lambda: one.put(1)):
        with pytest.raises(gipc.GIPCClosed):
            operation()


def test_all_errors_are_gipc_errors():
    assert issubclass(gipc.GIPCClosed, gipc.GIPCError)
    assert issubclass(gipc.GIPCLocked, gipc.GIPCError)


def test_after_the_writer_closed_what_was_put_is_got_and_then_the_end():
    with gipc.pipe() as (reader, writer):
        writer.put(1)
        writer.put(2)
        writer.close()
        assert [reader.get(), reader.get()] == [1, 2]
        for _ in range(2):
            with pytest.raises(EOFError):
                reader.get()


def test_a_waiting_reader_is_told_that_the_writer_closed():
    with gipc.pipe() as (reader, writer):
        waiting = blocked(reader.get)
        writer.close()
        with pytest.raises(EOFError):
            waiting.get()


def test_put_raises_when_the_reader_is_closed():
    with gipc.pipe() as (reader, writer):
        reader.close()
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                writer.put(1)


def test_a_waiting_writer_is_told_that_the_reader_closed():
    with gipc.pipe() as (reader, writer):
        waiting = blocked(writer.put, b"x" * LARGE)
        reader.close()
        with pytest.raises(BrokenPipeError):
            waiting.get()


def test_a_reader_in_use_cannot_be_closed():
    with gipc.pipe() as (reader, writer):
        waiting = blocked(reader.get)
        with pytest.raises(gipc.GIPCLocked):
            reader.close()
        writer.put("still here")
        assert waiting.get() == "still here"


def test_a_writer_in_use_cannot_be_closed():
    with gipc.pipe() as (reader, writer):
        waiting = blocked(writer.put, b"x" * LARGE)
        with pytest.raises(gipc.GIPCLocked):
            writer.close()
        assert len(reader.get()) == LARGE
        waiting.get()


def test_a_direction_in_use_keeps_a_duplex_handle_from_being_closed():
    with gipc.pipe(duplex=True) as (one, other):
        waiting = blocked(one.get)
        with pytest.raises(gipc.GIPCLocked):
            one.close()
        other.put("still here")
        assert waiting.get() == "still here"


def test_a_handle_can_be_closed_once_the_waiting_greenlet_is_killed():
    reader, writer = gipc.pipe()
    blocked(reader.get).kill()
    reader.close()
    writer.close()


def test_context_managers_close():
    with gipc.pipe() as (reader, writer):
        pass
    with pytest.raises(gipc.GIPCClosed):
        reader.close()
    with pytest.raises(gipc.GIPCClosed):
        writer.close()
    reader, writer = gipc.pipe()
    with reader as same_reader, writer as same_writer:
        assert same_reader is reader
        assert same_writer is writer
    with pytest.raises(gipc.GIPCClosed):
        reader.get()


def test_context_managers_tolerate_closed_handles():
    with gipc.pipe() as (reader, writer):
        with reader, writer:
            writer.close()
        assert "closed" in repr(reader)
    with gipc.pipe(duplex=True) as (one, other):
        with one:
            one.close()
        other.close()


def test_a_context_manager_closes_the_other_handle_when_one_is_in_use():
    with pytest.raises(gipc.GIPCLocked), gipc.pipe() as (reader, writer):
        waiting = blocked(reader.get)
    with pytest.raises(gipc.GIPCClosed):
        writer.put(1)
    with pytest.raises(EOFError):
        waiting.get()
    reader.close()


def test_a_greenlet_that_queues_for_a_handle_has_its_turn_when_the_first_one_is_killed():
    with gipc.pipe() as (reader, writer):
        first = blocked(reader.get)
        second = blocked(reader.get)
        first.kill(block=False)
        wait_cooperatively(first.ready)
        assert not second.ready()
        writer.put("for the second")
        assert second.get() == "for the second"


def test_repr_tells_what_a_handle_is():
    with gipc.pipe() as (reader, writer):
        assert re.fullmatch(r"<_GIPCReader fd=\d+>", repr(reader))
        assert re.fullmatch(r"<_GIPCWriter fd=\d+>", repr(writer))
    assert repr(reader) == "<_GIPCReader closed>"


# Time-outs.


@needs_polling
def test_get_gives_up_after_so_many_seconds():
    with gipc.pipe() as (reader, writer):
        with pytest.raises(gevent.Timeout) as caught:
            reader.get(timeout=0.01)
        assert caught.value.seconds == 0.01
        writer.put("late")
        assert reader.get(timeout=60) == "late"


@needs_polling
def test_get_with_a_timeout_of_zero_returns_what_is_there():
    with gipc.pipe() as (reader, writer):
        with pytest.raises(gevent.Timeout):
            reader.get(timeout=0)
        writer.put("here")
        assert reader.get(timeout=0) == "here"
        with pytest.raises(gevent.Timeout):
            reader.get(timeout=0)


@needs_polling
def test_seconds_cover_the_whole_message():
    with gipc.pipe(decoder=None) as (reader, writer):
        os.write(writer._fd, struct.pack("<BQ", 0, 5) + b"hel")
        with pytest.raises(gevent.Timeout):
            reader.get(timeout=0.01)
        os.write(writer._fd, b"lo")
        assert reader.get(timeout=60) == b"hello"


@needs_polling
def test_seconds_cover_the_wait_for_another_greenlet():
    with gipc.pipe() as (reader, writer):
        first = blocked(reader.get)
        with pytest.raises(gevent.Timeout):
            reader.get(timeout=0.01)
        writer.put("for the first")
        assert first.get() == "for the first"


@needs_polling
def test_get_gives_up_when_the_timeout_object_expires():
    with gipc.pipe() as (reader, writer):
        with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.01) as timeout:
            reader.get(timeout=timeout)
        assert caught.value is timeout
        writer.put("late")
        assert reader.get() == "late"


@needs_polling
def test_a_silent_timeout_object_works_as_documented():
    with gipc.pipe() as (reader, _):
        result = "nothing"
        with gevent.Timeout(0.01, False) as timeout:
            result = reader.get(timeout=timeout)
        assert result == "nothing"


@needs_polling
def test_the_first_byte_of_a_message_cancels_the_timeout_object():
    def put_in_two_parts():
        os.write(writer._fd, message[:1])
        gevent.sleep(0)
        wait_cooperatively(lambda: not timeout.pending)
        os.write(writer._fd, message[1:])

    message = struct.pack("<BQ", 0, 5) + b"hello"
    with gipc.pipe(decoder=None) as (reader, writer):
        with gevent.Timeout(30) as timeout:
            writing = gevent.spawn(put_in_two_parts)
            assert reader.get(timeout=timeout) == b"hello"
            assert not timeout.pending
        writing.get()


@needs_polling
def test_a_timeout_object_that_was_not_started_has_no_effect():
    with gipc.pipe() as (reader, writer), contextlib.closing(gevent.Timeout(0)) as timeout:
        waiting = blocked(reader.get, timeout)
        gevent.sleep(0.01)
        writer.put("here")
        assert waiting.get() == "here"


@needs_polling
def test_after_a_timeout_the_next_get_works_while_the_error_is_still_handled():
    with gipc.pipe(encoder=None, decoder=None) as (reader, writer):
        os.write(writer._fd, struct.pack("<BQ", 0, LARGE) + b"x" * 10)
        try:
            reader.get(timeout=0.01)
        except gevent.Timeout as error:
            traceback = error.__traceback__  # keeps the frames of the interrupted call alive
            writing = gevent.spawn(write_all, writer._fd, b"x" * (LARGE - 10))
            assert reader.get() == b"x" * LARGE
            writing.get()
            assert traceback is not None
        else:
            pytest.fail("half a message was returned")


def write_all(fd, data):
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            gevent.sleep(0.001)
