"""Handles on their way to children."""

import functools
import os
import pickle

import gevent
import pytest

import gipc

from .support import (
    LARGE,
    blocked,
    exit_code,
    in_child,
    needs_fork,
    needs_pickling,
    open_descriptors,
    open_handles,
    run,
    send_greeting,
)
from .test_pipes import decode_json, encode_json


def echo(reader, writer):
    while True:
        try:
            writer.put(reader.get())
        except EOFError:
            return


def echo_duplex(handle):
    echo(handle, handle)


def test_handles_travel_as_positional_arguments():
    with gipc.pipe() as (reader, far_writer), gipc.pipe() as (far_reader, writer):
        child = gipc.start_process(echo, (far_reader, far_writer))
        for message in ("a", None, b"x" * LARGE):
            writing = gevent.spawn(writer.put, message)
            assert reader.get() == message
            writing.get()
        writer.close()
        assert exit_code(child) == 0


def test_handles_travel_as_keyword_arguments():
    with gipc.pipe() as (reader, far_writer), gipc.pipe() as (far_reader, writer):
        child = gipc.start_process(echo, kwargs={"reader": far_reader, "writer": far_writer})
        writer.put("a")
        assert reader.get() == "a"
        writer.close()
        assert exit_code(child) == 0


def test_duplex_handles_travel():
    with gipc.pipe(duplex=True) as (near, far):
        child = gipc.start_process(echo_duplex, (far,))
        near.put(["a"])
        assert near.get() == ["a"]
        near.close()
        assert exit_code(child) == 0


def use_containers(items, *, table):
    items[0][0].put("from a tuple in a list")
    table["writer"].put("from a dictionary")


def test_handles_travel_in_containers():
    with gipc.pipe() as (reader1, writer1), gipc.pipe() as (reader2, writer2):
        child = gipc.start_process(use_containers, ([(writer1,)],), {"table": {"writer": writer2}})
        for writer in (writer1, writer2):
            with pytest.raises(gipc.GIPCClosed):
                writer.put(1)
        assert reader1.get() == "from a tuple in a list"
        assert reader2.get() == "from a dictionary"
        assert exit_code(child) == 0


def test_both_ends_of_a_pipe_can_go_to_one_child():
    reader, writer = gipc.pipe()
    run(use_both, reader, writer)


def use_both(reader, writer):
    writer.put("round")
    assert reader.get() == "round"


def test_many_handles_can_go_to_one_child():
    pairs = [gipc.pipe() for _ in range(30)]
    child = gipc.start_process(put_numbers, tuple(writer for _, writer in pairs))
    assert [reader.get() for reader, _ in pairs] == list(range(30))
    assert exit_code(child) == 0
    for reader, _ in pairs:
        reader.close()


def put_numbers(*writers):
    for number, writer in enumerate(writers):
        writer.put(number)


def test_a_handle_that_was_passed_is_closed_in_the_parent():
    with gipc.pipe() as (reader, writer), gipc.pipe(duplex=True) as (near, far):
        child = gipc.start_process(ignore, (writer, far))
        for operation in (writer.close, far.close, lambda: writer.put(1), far.get):
            with pytest.raises(gipc.GIPCClosed):
                operation()
        assert writer not in open_handles()
        with pytest.raises(EOFError):  # nobody but the child held it
            reader.get()
        with pytest.raises(EOFError):
            near.get()
        assert exit_code(child) == 0


def ignore(*args):
    pass


def test_a_closed_handle_cannot_be_passed():
    with gipc.pipe() as (reader, writer):
        writer.close()
        with pytest.raises(gipc.GIPCClosed):
            gipc.start_process(send_greeting, (writer,))
        with pytest.raises(gipc.GIPCClosed):
            gipc.start_process(ignore, (reader, writer))
        with pytest.raises(EOFError):  # the other one is as it was
            reader.get()


def test_a_handle_in_use_cannot_be_passed():
    with gipc.pipe() as (reader, writer):
        waiting = blocked(reader.get)
        with pytest.raises(gipc.GIPCLocked):
            gipc.start_process(ignore, (reader,))
        writer.put("still here")
        assert waiting.get() == "still here"


def test_messages_that_the_reader_has_taken_from_the_pipe_travel_with_it():
    with gipc.pipe() as (reader, writer):
        for number in range(100):
            writer.put(number)
        assert reader.get() == 0  # and took more than that
        child = gipc.start_process(expect_numbers, (reader,))
        for number in range(100, 110):
            writer.put(number)
        assert exit_code(child) == 0


def expect_numbers(reader):
    assert [reader.get() for _ in range(109)] == list(range(1, 110))


def test_own_codecs_travel():
    with gipc.pipe(True, encoder=encode_json, decoder=decode_json) as (near, far):
        child = gipc.start_process(echo_duplex, (far,))
        near.put({"a": 1})
        assert near.get() == {"a": 1}
        near.close()
        assert exit_code(child) == 0


def test_no_codec_travels_too():
    with gipc.pipe(True, encoder=None, decoder=None) as (near, far):
        child = gipc.start_process(echo_duplex, (far,))
        near.put(b"raw")
        assert near.get() == b"raw"
        near.close()
        assert exit_code(child) == 0


def test_codecs_made_of_partial_functions_travel():
    with gipc.pipe(encoder=functools.partial(pickle.dumps, protocol=2)) as (reader, writer):
        child = gipc.start_process(send_greeting, (writer,))
        assert reader.get() == "hello"
        assert exit_code(child) == 0


@needs_fork
def test_any_codec_travels_to_a_forked_child():
    with gipc.pipe(encoder=lambda o: o.upper().encode(), decoder=bytes.decode) as (reader, writer):
        child = gipc.start_process(send_greeting, (writer,))
        assert reader.get() == "HELLO"
        assert exit_code(child) == 0


@needs_pickling
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_codec_that_cannot_be_pickled_is_named_in_the_error(name):
    with gipc.pipe(**{name: lambda o: o}) as (reader, writer):
        handle = reader if name == "decoder" else writer
        with pytest.raises(pickle.PicklingError, match=f"the {name} of .* top level of a module"):
            gipc.start_process(ignore, (handle,))
        assert handle in open_handles()  # nothing was started, so that nothing was passed


class Stream:
    """Holds a handle, as 1.8 code does."""

    def __init__(self, handle):
        self.handle = handle

    def say(self, what):
        self.handle.put(what)


def use_stream(stream, writer):
    assert stream.handle is writer
    stream.say("through the object")


def test_a_handle_can_be_reached_through_an_object_when_it_is_passed_beside_it():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(use_stream, (Stream(writer), writer))
        assert reader.get() == "through the object"
        with pytest.raises(EOFError):
            reader.get()
        assert exit_code(child) == 0


# Which process a handle belongs to.


def open_handles_of_child(writer):
    writer.put([repr(handle) for handle in open_handles()])


def test_only_the_handles_that_were_passed_are_open_in_the_child():
    with gipc.pipe() as (reader, writer), gipc.pipe(True) as (near, far), gipc.pipe():
        child = gipc.start_process(open_handles_of_child, (writer,))
        assert len(reader.get()) == 1
        assert exit_code(child) == 0
        near.put(1)
        assert far.get() == 1


def assert_not_open(_, unwanted):
    theirs = set(open_descriptors().values())
    assert not theirs & set(unwanted), theirs


def test_descriptors_of_other_handles_are_not_open_in_the_child():
    with gipc.pipe() as (reader, writer), gipc.pipe() as (passed, near):
        mine = [os.readlink(f"/proc/self/fd/{handle._fd}") for handle in (reader, writer)]
        run(assert_not_open, passed, mine)
        with pytest.raises(BrokenPipeError):
            near.put("the child is gone")


_inherited = []


def use_inherited_handles():
    errors = []
    for handle in _inherited:
        for name, args in (("get", ()), ("put", (1,)), ("close", ())):
            if hasattr(handle, name):
                try:
                    getattr(handle, name)(*args)
                except gipc.GIPCError as error:
                    errors.append(type(error))
    return errors


@needs_fork
def test_a_handle_that_was_not_passed_is_closed_in_a_forked_child():
    with gipc.pipe() as (reader, writer):
        _inherited[:] = [reader, writer]
        assert in_child(use_inherited_handles) == [gipc.GIPCClosed] * 4
        writer.put("untouched")
        assert reader.get() == "untouched"
        _inherited.clear()


@needs_fork
def test_a_plain_fork_cannot_use_handles():
    with gipc.pipe() as (reader, writer):
        _inherited[:] = [reader, writer]
        told, tell = os.pipe()
        if os.fork() == 0:
            good = use_inherited_handles() == [gipc.GIPCError] * 4
            os.write(tell, b"good" if good else b"bad")
            os._exit(0)
        os.close(tell)
        assert os.read(told, 10) == b"good"
        os.close(told)
        writer.put("untouched")
        assert reader.get() == "untouched"
        _inherited.clear()


def test_a_handle_cannot_be_pickled_outside_of_a_start():
    with gipc.pipe() as (reader, _), pytest.raises(gipc.GIPCError, match="when it is started"):
        pickle.dumps(reader)


def test_a_handle_can_be_passed_on_by_the_child_that_got_it():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(pass_on, (writer, 2))
        assert reader.get() == "hello"
        with pytest.raises(EOFError):
            reader.get()
        assert exit_code(child) == 0


def pass_on(writer, generations):
    if generations:
        run(pass_on, writer, generations - 1)
    else:
        run(send_greeting, writer)


def test_a_greenlet_that_queues_for_a_handle_learns_that_it_was_passed():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(echo_one, (reader,))
        with pytest.raises(gipc.GIPCClosed):
            reader.get()
        writer.put("x" * LARGE)
        assert exit_code(child) == 0


def echo_one(reader):
    assert len(reader.get()) == LARGE


def test_a_child_that_writes_to_a_vanished_reader_gets_an_error():
    with gipc.pipe() as (reader, writer), gipc.pipe() as (wait, go):
        child = gipc.start_process(write_to_nobody, (writer, wait))
        reader.close()
        go.put("now")
        assert exit_code(child) == 0


def write_to_nobody(writer, wait):
    wait.get()
    with pytest.raises(BrokenPipeError):
        writer.put(1)


def test_the_parent_is_told_when_the_reading_child_dies():
    with gipc.pipe() as (reader, writer):
        child = gipc.start_process(ignore, (reader,))
        assert exit_code(child) == 0
        with pytest.raises(BrokenPipeError):
            writer.put("anybody there?")
