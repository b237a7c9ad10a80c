"""The examples that the documentation of gipc has always had, as programs."""

import json

import gevent
import pytest

import gipc

from .support import exit_code

obj = 0


def expect_obj(reader):
    assert reader.get() == obj


def test_an_object_is_sent_from_a_greenlet_to_a_child():
    with gipc.pipe() as (reader, writer):
        writelet = gevent.spawn(lambda w: w.put(obj), writer)
        readchild = gipc.start_process(expect_obj, args=(reader,))
        writelet.join()
        assert exit_code(readchild) == 0


def print_messages(reader, writer):
    while True:
        writer.put(f"got {reader.get()}")


def test_infinite_messaging_from_a_greenlet_to_a_child():
    def write(writer):
        while True:
            writer.put("written to pipe")
            gevent.sleep(0)

    with gipc.pipe() as (reader, writer), gipc.pipe() as (answers, answer):
        process = gipc.start_process(print_messages, args=(reader, answer))
        writing = gevent.spawn(write, writer)
        assert [answers.get() for _ in range(3)] == ["got written to pipe"] * 3
        writing.kill(block=True)
        process.terminate()
        assert exit_code(process) < 0


def write_and_stop(writer, syncreader):
    with writer:
        assert syncreader.get() == "SYN"
        writer.put("ACK")
        for _ in range(1000):
            writer.put("A" * 1000)
        writer.put("STOP")


def test_time_synchronised_messaging_between_processes():
    with gipc.pipe() as (r1, w1), gipc.pipe() as (r2, w2):
        process = gipc.start_process(write_and_stop, kwargs={"writer": w2, "syncreader": r1})
        w1.put("SYN")
        assert r2.get() == "ACK"
        count = 0
        while r2.get() != "STOP":
            count += 1
        assert exit_code(process) == 0
    assert count == 1000


def test_handles_are_context_managers_one_by_one():
    reader, writer = gipc.pipe()
    with reader:
        with writer as w:
            w.put(1)
        assert reader.get() == 1
    with pytest.raises(gipc.GIPCClosed):
        reader.close()


def test_json_can_stand_in_for_pickle():
    def encode(o):
        return json.dumps(o).encode("ascii")

    def decode(b):
        return json.loads(b.decode("ascii"))

    with gipc.pipe(encoder=encode, decoder=decode) as (reader, writer):
        writer.put({"a": [1, None]})
        assert reader.get() == {"a": [1, None]}
