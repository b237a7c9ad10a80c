"""Large messages cross whole, without being pickled, and whatever is killed meanwhile."""

import pickle

import gevent
import pytest

import gipc

LARGE = bytes(range(256)) * 40_000  # 10 MB


@pytest.mark.parametrize("size", [0, 1, (1 << 14) - 1, 1 << 14, (1 << 16) + 1, 10_000_000])
def test_bytes_of_any_size_cross(size):
    message = (LARGE * 2)[:size]
    with gipc.pipe() as (reader, writer):
        put = gevent.spawn(writer.put, message)
        assert reader.get() == message
        put.get()


def test_a_frame_beyond_what_is_reserved_at_once_crosses(monkeypatch):
    monkeypatch.setattr("gipc._frames._TRUSTED_SIZE", 1 << 20)
    with gipc.pipe() as (reader, writer):
        put = gevent.spawn(writer.put, LARGE)
        assert reader.get() == LARGE
        put.get()


def test_a_custom_decoder_sees_a_pickle_of_what_the_default_encoder_got():
    seen = []
    with gipc.pipe(decoder=lambda data: seen.append(data) or pickle.loads(data)) as ends:
        reader, writer = ends
        put = gevent.spawn(writer.put, LARGE)
        assert reader.get() == LARGE
        put.get()
    assert pickle.loads(seen[0]) == LARGE


def test_a_custom_encoder_sees_large_bytes():
    with gipc.pipe(encoder=lambda o: pickle.dumps(("seen", o))) as (reader, writer):
        put = gevent.spawn(writer.put, LARGE)
        assert reader.get() == ("seen", LARGE)
        put.get()


def test_a_subclass_of_bytes_keeps_its_type():
    with gipc.pipe() as (reader, writer):
        put = gevent.spawn(writer.put, Named(LARGE))
        assert type(reader.get()) is Named
        put.get()


class Named(bytes):
    pass


def test_a_killed_get_of_large_bytes_loses_nothing():
    with gipc.pipe() as (reader, writer):
        put = gevent.spawn(writer.put, LARGE)
        get = gevent.spawn(reader.get)
        gevent.sleep(0)
        gevent.sleep(0)
        get.kill()
        second = gevent.spawn(writer.put, "next")
        assert reader.get() == LARGE
        assert reader.get() == "next"
        gevent.joinall([put, second], raise_error=True)


def test_a_killed_put_of_large_bytes_is_finished():
    with gipc.pipe() as (reader, writer):
        put = gevent.spawn(writer.put, LARGE)
        gevent.sleep(0)
        put.kill()
        second = gevent.spawn(writer.put, "next")
        assert reader.get() == LARGE
        assert reader.get() == "next"
        second.get()


def send_back(reader, replies):
    replies.put(reader.get())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_large_bytes_half_read_travel_to_the_child_with_the_handle(method):
    with gipc.pipe() as (reader, writer), gipc.pipe() as (back, replies):
        put = gevent.spawn(writer.put, LARGE)
        with pytest.raises(gevent.Timeout):
            reader.get(timeout=0)
        get = gevent.spawn(reader.get)
        gevent.sleep(0)
        get.kill()
        child = gipc.start_process(send_back, (reader, replies), mp_context=method)
        assert back.get() == LARGE
        put.get()
        child.join()
        assert child.exitcode == 0
