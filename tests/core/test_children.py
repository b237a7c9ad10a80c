"""A child starts afresh: nothing of its parent runs in it, and gevent works in it."""

import os
import signal
import socket as plain_socket

import gevent
import pytest
from gevent import socket, subprocess
from gevent.event import Event

import gipc
from gipc.gipc import _signals_to_reset
from tests.processes import wait_cooperatively

from .support import in_child, needs_fork, run

_ran_in = []
_unwound_in = []


def tick():
    try:
        while True:
            _ran_in.append(os.getpid())
            gevent.sleep(0)
    finally:
        _unwound_in.append(os.getpid())


def where_greenlets_ran():
    import gc

    del _ran_in[:], _unwound_in[:]
    for _ in range(20):
        gevent.sleep(0.001)
    gc.collect()
    return _ran_in, _unwound_in


def dispositions():
    return [signal.getsignal(number) == signal.SIG_DFL for number in _signals_to_reset]


def caught_by_the_kernel():
    with open("/proc/self/status") as status:
        masks = dict(line.split(":", 1) for line in status)
    return int(masks["SigCgt"], 16) | int(masks["SigIgn"], 16)


def sleep_and_spawn():
    order = []

    def append(number):
        gevent.sleep(0.01 * number)
        order.append(number)

    gevent.joinall([gevent.spawn(append, number) for number in (3, 1, 2)])
    return sorted(order)  # a busy machine may wake them in any order


def talk_over_tcp():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        answering = gevent.spawn(answer_one, listener)
        with socket.create_connection(listener.getsockname()) as client:
            assert client.recv(10) == b"hello"
        answering.get()


def answer_one(listener):
    with listener.accept()[0] as connection:
        connection.sendall(b"hello")


def resolve():
    return socket.gethostbyname("localhost")


def use_thread_pool():
    return gevent.get_hub().threadpool.apply(sum, ([1, 2, 3],))


def use_subprocess():
    return subprocess.check_output(["echo", "hello"])


def handle_signal():
    handled = Event()
    handler = gevent.signal_handler(signal.SIGUSR1, handled.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert handled.wait(20)
    handler.cancel()


def time_out():
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        gevent.sleep(1000)


@pytest.fixture
def busy_parent():
    """A parent whose hub has plenty to do."""
    greenlets = [gevent.spawn(tick) for _ in range(5)]
    wait_cooperatively(lambda: _ran_in)
    yield
    gevent.killall(greenlets)
    del _ran_in[:], _unwound_in[:]


@needs_fork
def test_no_greenlet_of_the_parent_runs_or_is_unwound_in_the_child(busy_parent):
    assert in_child(where_greenlets_ran) == ([], [])


@needs_fork
def test_no_greenlet_of_the_parent_runs_in_a_child_that_a_greenlet_forked(busy_parent):
    assert gevent.spawn(in_child, where_greenlets_ran).get() == ([], [])


def test_signals_have_their_default_disposition():
    handler = gevent.signal_handler(signal.SIGUSR1, lambda: None)
    old = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    try:
        assert all(in_child(dispositions))
        caught = in_child(caught_by_the_kernel)
    finally:
        handler.cancel()
        signal.signal(signal.SIGUSR2, old)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
        assert not caught >> (number - 1) & 1


def test_sigpipe_stays_as_it_is():
    assert in_child(signal.getsignal, signal.SIGPIPE) == signal.getsignal(signal.SIGPIPE)


def test_a_signal_handler_of_the_parent_does_not_keep_the_childs_from_working():
    handler = gevent.signal_handler(signal.SIGUSR1, lambda: None)
    try:
        run(handle_signal)
    finally:
        handler.cancel()


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (sleep_and_spawn, [1, 2, 3]),
        (talk_over_tcp, None),
        (resolve, "127.0.0.1"),
        (use_thread_pool, 6),
        (use_subprocess, b"hello\n"),
        (handle_signal, None),
        (time_out, None),
    ],
)
def test_gevent_works_in_the_child(function, result):
    # In the parent first, so that there is something to inherit.
    assert function() == result
    assert in_child(function) == result


def test_what_works_in_the_child_works_in_its_child():
    assert in_child(in_child, use_subprocess) == b"hello\n"


@needs_fork
def test_a_plain_socket_of_the_parent_is_inherited_by_fork():
    with plain_socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert in_child(listener.getsockname) == listener.getsockname()


def test_a_child_can_serve_a_pipe_while_its_greenlets_run():
    with gipc.pipe(duplex=True) as (here, there):
        process = gipc.start_process(answer_while_ticking, (there,))
        here.put(20)
        assert here.get() >= 20
        process.join()
        assert process.exitcode == 0


def answer_while_ticking(handle):
    ticking = gevent.spawn(tick)
    wanted = handle.get()
    wait_cooperatively(lambda: len(_ran_in) >= wanted)
    handle.put(len(_ran_in))
    ticking.kill()
