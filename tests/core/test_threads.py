"""Handles serve any native thread of the process, with a hub or without."""

import gevent

import gipc
from tests.threads import NativeThread

from .support import in_thread

COUNT = 300


def test_a_thread_without_a_hub_blocks_and_gets_its_message():
    with gipc.pipe() as (reader, writer):
        receiving = NativeThread(reader.get)
        writer.put("hello")
        assert receiving.join() == "hello"


def test_a_thread_can_put_what_a_greenlet_waits_for():
    with gipc.pipe() as (reader, writer):
        waiting = gevent.spawn(reader.get)
        gevent.sleep(0)
        in_thread(writer.put, "hello")
        assert waiting.get() == "hello"


def test_messages_of_many_threads_do_not_mix():
    def send(name):
        for number in range(COUNT):
            writer.put((name, number, "x" * (number * 97 % 5000)))

    with gipc.pipe() as (reader, writer):
        senders = [NativeThread(send, name) for name in range(4)]
        got = [reader.get() for _ in range(4 * COUNT)]
        for sender in senders:
            sender.join()
    for name in range(4):
        assert [number for sender, number, _ in got if sender == name] == list(range(COUNT))


def test_many_threads_can_receive_from_one_pipe():
    def receive():
        return [reader.get() for _ in range(COUNT)]

    with gipc.pipe() as (reader, writer):
        receivers = [NativeThread(receive) for _ in range(4)]
        for number in range(4 * COUNT):
            writer.put(number)
        got = [number for receiver in receivers for number in receiver.join()]
    assert sorted(got) == list(range(4 * COUNT))
