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

from gipc._core import lifeline
from gipc._core.descriptors import blank
from gipc._executor.inside.needs import Needs
from gipc._executor.protocol import (
    CALL,
    DOING,
    END,
    ERROR,
    ITEM,
    LEAVING,
    NEEDS,
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

#: Whether this process serves, and is not one that a task has forked.
_serving = False


@dataclasses.dataclass(frozen=True)
class Orders:
    """What a child has to know before its first task."""

    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    preload: tuple[str, ...]
    needed: tuple[str, ...]  # modules that calls have needed so far
    nice: int | None
    max_memory: int | None


def work(requests: _GIPCReader, replies: _GIPCWriter, life: _GIPCReader, orders: Orders) -> None:
    """Serve the server until it closes the pipe. The target of every child."""
    # What is there now is never collected: its memory stays shared with the
    # process that this one was forked from.
    gc.freeze()
    if os.getpgrp() != os.getpid():  # otherwise a fork server has seen to that
        lifeline.lead_group(away=False)
    lifeline.hold(life._fd)
    _leave_signals_to_the_server()
    _be_the_only_one_to_serve(requests._fd, replies._fd, life._fd)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the server is done with it
        _serve_all(requests._frames, replies._frames, orders)


def _serve_all(reader: FrameReader, writer: FrameWriter, orders: Orders) -> None:
    try:
        _prepare(orders, writer)
    except BaseException as error:
        send(writer, UNFIT, encode_error(error))
        return
    needs = Needs(lambda name: writer.write(NEEDS, name.encode()))
    sys.meta_path.insert(0, needs)
    writer.write(READY, b"")
    while True:
        message = receive(reader)
        assert message is not None  # there is no deadline
        _serve(*message, writer, needs, orders.max_memory)


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


def _prepare(orders: Orders, writer: FrameWriter) -> None:
    if orders.nice is not None:
        os.nice(orders.nice)
    for module in orders.preload:
        _import(module, writer)
    for module in orders.needed:
        # If it fails, the calls that need it will tell.
        with contextlib.suppress(BaseException):
            _import(module, writer)
    if orders.initializer is not None:
        writer.write(DOING, b"")
        orders.initializer(*orders.initargs)


def _import(module: str, writer: FrameWriter) -> None:
    if module not in sys.modules:
        writer.write(DOING, module.encode())
        importlib.import_module(module)


def _serve(
    kind: int, request: Parts, writer: FrameWriter, needs: Needs, max_memory: int | None
) -> None:
    try:
        needs.watching = True
        try:
            function, args = decode_call(request)
        finally:
            needs.watching = False
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
