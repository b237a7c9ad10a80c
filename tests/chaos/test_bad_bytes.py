"""Bytes that are no message, through a real pipe."""

import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gipc
from gipc._frames import HEADER, FrameReader
from tests.chaos.support import LONG, ask, assert_at_full_size, gunicorn, serves
from tests.processes import PATIENCE

fuzzed = settings(max_examples=20_000 if LONG else 500, deadline=None, database=None)

# All of an example fits into the pipe, so that nobody has to read while it is written.
frames = st.builds(
    lambda kind, body: HEADER.pack(kind, len(body)) + body,
    st.integers(0, 15),
    st.binary(max_size=2000),
)
headers = st.builds(HEADER.pack, st.integers(0, 255), st.integers(0, 2**64 - 1))
streams = st.lists(frames | headers | st.binary(max_size=100), max_size=10).map(b"".join)


@fuzzed
@given(streams, st.integers(0, 100))
def test_a_reader_returns_frames_and_then_an_error(data, missing):
    data = data[: max(0, len(data) - missing)]
    read, problem = read_all(data)
    assert isinstance(problem, (EOFError, gipc.GIPCError))
    # What it returned is what was there, byte by byte.
    assert data.startswith(b"".join(HEADER.pack(kind, len(body)) + body for kind, body in read))


@fuzzed
@given(st.lists(frames, max_size=20), st.integers(1, 8))
def test_whole_frames_before_the_end_all_arrive(sent, missing):
    data = b"".join(sent)
    read, problem = read_all(data + HEADER.pack(1, 5)[:-missing])
    assert b"".join(HEADER.pack(kind, len(body)) + body for kind, body in read) == data
    assert isinstance(problem, EOFError)


def test_a_length_that_is_only_claimed_takes_no_memory():
    forget_peak_memory()
    before = peak_memory()
    for power in range(20, 64):
        _, problem = read_all(HEADER.pack(1, 2**power) + b"x" * 1000)
        assert isinstance(problem, (EOFError, gipc.GIPCError))
    assert peak_memory() - before < 32 << 20


@fuzzed
@given(st.binary(max_size=2000))
def test_a_handle_raises_what_its_decoder_raises(data):
    def decode(body: bytes) -> bytes:
        raise LookupError(body)

    with gipc.pipe(encoder=None, decoder=decode) as (reader, writer):
        writer.put(data)
        with pytest.raises(LookupError) as caught:
            reader.get()
        assert caught.value.args == (data,)


def test_a_child_that_writes_into_the_executors_pipe_fails_its_own_request():
    with gunicorn() as server:
        answer = ask(server, f"/garble/{'ff' * 20}")
        assert (answer.status, answer.error) == (500, "OffloadError")
        assert "unreadable" in answer.message
        assert serves(server)
        assert_at_full_size(server)


def read_all(data: bytes) -> tuple[list[tuple[int, bytes]], Exception]:
    """What a reader makes of these bytes and the end of the pipe after them."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    assert os.write(write_end, data) == len(data)
    os.close(write_end)
    reader = FrameReader(read_end)
    frames = []
    try:
        while True:
            frame = reader.read(time.monotonic() + PATIENCE)
            assert frame is not None, "it hangs"
            frames.append(frame)
    except (EOFError, gipc.GIPCError) as problem:
        return frames, problem
    finally:
        reader.close()


def forget_peak_memory() -> None:
    with open("/proc/self/clear_refs", "w") as clear_refs:
        clear_refs.write("5")


def peak_memory() -> int:
    """Bytes that this process had resident at the most."""
    with open("/proc/self/status") as status:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read())
    assert found
    return int(found.group(1)) << 10
