"""Arguments and results that hold large buffers, which are not copied into a pickle."""

import pickle

import gevent
import pytest

import gipc

LARGE = 300_000


class Array:
    """Pickles as arrays do: its bytes may travel apart."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Array, (pickle.PickleBuffer(self.data),)


def first_bytes(*arrays):
    return [bytes(memoryview(array.data)[:1]) for array in arrays]


def reversed_in_place(array):
    view = memoryview(array.data)
    view[:] = view[::-1].tobytes()
    return array


def some_arrays(count):
    for number in range(count):
        yield Array(bytearray([number]) * LARGE)


def die(array):
    raise SystemExit


@pytest.mark.parametrize("size", [0, 10, 65_536, 65_537, 70_000, 5_000_000])
def test_buffers_of_any_size_arrive_writable_in_the_child_and_back(executor, size):
    data = bytearray(range(256)) * (size // 256 + 1)
    del data[size:]
    result = executor.offload(reversed_in_place, Array(data))
    assert bytes(result.data) == bytes(data[::-1])
    memoryview(result.data)[:] = data


def test_read_only_buffers_stay_so(executor):
    result = executor.offload(Array, bytes(LARGE))
    assert result.data == bytes(LARGE)
    assert type(result.data) is bytes


def test_several_buffers_keep_their_order(executor):
    arrays = [Array(bytearray([number]) * LARGE) for number in range(5)]
    assert executor.offload(first_bytes, *arrays) == [bytes([number]) for number in range(5)]


def test_a_stream_of_buffers(executor):
    assert first_bytes(*executor.stream(some_arrays, 5)) == [bytes([n]) for n in range(5)]


def test_what_was_submitted_is_what_the_child_gets(executor):
    data = bytearray(LARGE)
    future = executor.submit(first_bytes, Array(data))
    data[0] = 1
    assert future.result() == [b"\0"]


def test_the_callers_buffer_is_free_while_the_child_works(executor):
    data = bytearray(LARGE)
    call = gevent.spawn(executor.offload, reversed_in_place, Array(data))
    call.get()
    data.clear()


def test_a_caller_that_is_killed_while_it_sends_harms_nobody(executor):
    executor.warm_up()
    call = gevent.spawn(executor.offload, reversed_in_place, Array(bytearray(50_000_000)))
    gevent.sleep(0.001)
    call.kill()
    assert executor.offload(first_bytes, Array(bytearray(LARGE))) == [b"\0"]


def test_an_error_leaves_the_child_usable(executor):
    with pytest.raises(gipc.OffloadError, match="SystemExit"):
        executor.offload(die, Array(bytearray(LARGE)))
    assert executor.offload(first_bytes, Array(bytearray(LARGE))) == [b"\0"]
