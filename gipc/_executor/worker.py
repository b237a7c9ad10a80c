"""What runs in a child: take a request, do it, reply, for as long as there are any."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import importlib
import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any

from gipc._executor import lifeline
from gipc._executor.descriptors import blank
from gipc._executor.protocol import (
    CALL,
    END,
    ERROR,
    ITEM,
    LEAVING,
    READY,
    RESULT,
    UNFIT,
    Parts,
    decode_call,
    describe,
    encode_error,
    encode_in_place,
    name_of,
    receive,
    send,
)
from gipc._frames import FrameReader, FrameWriter
from gipc._handles import _GIPCReader, _GIPCWriter

#: Signals that a terminal or a service manager sends to every process of a service
#: at once. The server answers them; a running call must survive them.
_SERVER_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)

#: Whether this process was forked from one that has left the server's session. Another
#: session would take Linux a millisecond, as it schedules each one by itself.
apart = False

#: Whether this process serves, and is not one that a task has forked.
_serving = False


@dataclasses.dataclass(frozen=True)
class Orders:
    """What a child has to know before its first task."""

    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    preload: tuple[str, ...]
    nice: int | None
    max_memory: int | None


def work(requests: _GIPCReader, replies: _GIPCWriter, life: _GIPCReader, orders: Orders) -> None:
    """Serve the server until it closes the pipe. The target of every child."""
    # What is there now is never collected: its memory stays shared with the
    # process that this one was forked from.
    gc.freeze()
    _leave_group()
    lifeline.hold(life._fd)
    _leave_signals_to_the_server()
    _be_the_only_one_to_serve(requests._fd, replies._fd, life._fd)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the server is done with it
        _serve_all(requests._frames, replies._frames, orders)


def _leave_group() -> None:
    """Get away from the terminal's signals, to be killed with all that this one starts."""
    if apart:
        os.setpgid(0, 0)
    else:
        os.setsid()


def _serve_all(reader: FrameReader, writer: FrameWriter, orders: Orders) -> None:
    try:
        _prepare(orders)
    except BaseException as error:
        send(writer, UNFIT, encode_error(error))
        return
    writer.write(READY, b"")
    while True:
        message = receive(reader)
        assert message is not None  # there is no deadline
        _serve(*message, writer, orders.max_memory)


def _leave_signals_to_the_server() -> None:
    # A handler that does nothing, not SIG_IGN: programs that a task starts shall
    # not inherit it.
    for number in _SERVER_SIGNALS:
        signal.signal(number, _ignore)
    os.register_at_fork(after_in_child=_restore_signals)


def _be_the_only_one_to_serve(*pipes: int) -> None:
    # A process that a task forks may come back from it: its reply would be taken for
    # the next call's. And while it held a pipe, this one's end would not be seen there.
    global _serving
    _serving = True
    os.register_at_fork(after_in_child=functools.partial(_stop_serving, pipes))


def _stop_serving(pipes: tuple[int, ...]) -> None:
    global _serving
    _serving = False
    blank(pipes)


def _ignore(number: int, frame: object) -> None:
    pass


def _restore_signals() -> None:
    for number in _SERVER_SIGNALS:
        if signal.getsignal(number) is _ignore:
            signal.signal(number, signal.SIG_DFL)


def _prepare(orders: Orders) -> None:
    if orders.nice is not None:
        os.nice(orders.nice)
    for module in orders.preload:
        importlib.import_module(module)
    if orders.initializer is not None:
        orders.initializer(*orders.initargs)


def _serve(kind: int, request: Parts, writer: FrameWriter, max_memory: int | None) -> None:
    try:
        function, args = decode_call(request)
        if kind == CALL:
            kind, reply = RESULT, function(*args)
            reply = _encode_result(reply, function)
        else:
            for item in function(*args):
                send(writer, ITEM, _encode_result(item, function))
            kind, reply = END, [b""]
    except BaseException as error:
        if not _serving:
            raise
        kind, reply = ERROR, encode_error(error)
    if not _serving:
        sys.exit()
    _flush()
    if max_memory is not None and resident_memory() > max_memory:
        kind |= LEAVING
    send(writer, kind, reply)


def _encode_result(result: Any, function: Callable[..., Any]) -> Parts:
    try:
        return encode_in_place(result)
    except Exception as error:
        raise pickle.PicklingError(
            f"what {name_of(function)} returned cannot be pickled: {describe(error)}"
        ) from error


def run_chunk(function: Callable[..., Any], chunk: tuple[Any, ...]) -> list[Any]:
    """Call a function once for each tuple of arguments in *chunk*."""
    return [function(*args) for args in chunk]


def _flush() -> None:
    # The next call may end this process without notice.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # there is none, it is closed or replaced, or nobody reads it
            continue


def resident_memory(pid: int | str = "self") -> int:
    """Bytes of memory that a process has resident; 0 when that cannot be known."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
