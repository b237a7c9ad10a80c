"""No descriptor is left behind, also when things go wrong half way."""

import contextlib
import gc
import os
import resource

import gevent
import pytest

import gipc
from gipc._gevent import close_fd
from tests.processes import wait_cooperatively

from .support import METHOD, counts, open_descriptors, run, send_greeting


@contextlib.contextmanager
def only(free):
    """Let the process open no more than *free* descriptors."""
    gevent.sleep(0)  # the loop opens its own before
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 20, limits[1]))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(free):
            close_fd(taken.pop())
        yield
    finally:
        for fd in taken:
            close_fd(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def settled():
    """The descriptors, when the event loop has done what it put off."""
    gc.collect()
    gevent.sleep(0.01)
    return open_descriptors()


@counts(20, 300)
def test_many_processes_with_pipes_leave_no_descriptor(count):
    run(send_and_forget)  # what stays open from the first time on is not counted
    before = settled()
    for _ in range(count // 10):
        with_pipes = []
        for _ in range(10):
            reader, writer = gipc.pipe()
            with_pipes.append((gipc.start_process(send_greeting, (writer,)), reader))
        for process, reader in with_pipes:
            assert reader.get() == "hello"
            process.join()
            reader.close()
    del process, with_pipes
    wait_cooperatively(lambda: len(settled()) <= len(before))


def send_and_forget():
    pass


@pytest.mark.parametrize(
    ("duplex", "free"), [(False, 0), (False, 1), (True, 0), (True, 1), (True, 2), (True, 3)]
)
def test_a_pipe_that_cannot_be_made_is_an_error_and_leaves_nothing(duplex, free):
    before = settled()
    with only(free), pytest.raises(OSError, match="Too many open files"):
        gipc.pipe(duplex)
    assert settled() == before


@pytest.mark.skipif(METHOD != "fork", reason="the others need descriptors beforehand")
@pytest.mark.parametrize("free", range(4))
def test_a_child_that_cannot_be_started_is_an_error_and_costs_no_handle(free):
    before = settled()
    with gipc.pipe() as (reader, writer):
        with only(free), pytest.raises(OSError, match="Too many open files"):
            gipc.start_process(send_greeting, (writer,))
        writer.put("still mine")
        assert reader.get() == "still mine"
    assert settled() == before
