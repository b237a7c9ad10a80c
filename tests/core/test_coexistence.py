"""gipc next to everything else: importing it changes nothing, and the old names work."""

import sys

import pytest

import gipc
from gipc import gipc as old_names

from .support import default_mode_only, run_script

PLAIN_MULTIPROCESSING = """
import multiprocessing
import gipc

def fail():
    raise SystemExit(3)

if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        process = multiprocessing.get_context(method).Process(target=fail)
        process.start()
        process.join()
        assert process.exitcode == 3, process.exitcode
        assert not process.is_alive()
"""

BESIDE_GIPC = """
import multiprocessing
import gevent
import gipc

def fail():
    raise SystemExit(3)

if __name__ == "__main__":
    ours = [gipc.start_process(fail, mp_context="forkserver") for _ in range(5)]
    theirs = [multiprocessing.get_context("spawn").Process(target=fail) for _ in range(3)]
    for process in theirs:
        process.start()
    for process in ours + theirs:
        process.join()
    assert [process.exitcode for process in ours + theirs] == [3] * 8
"""

START_METHOD_AFTERWARDS = """
import multiprocessing
import gipc

def nothing():
    pass

if __name__ == "__main__":
    assert multiprocessing.get_start_method(allow_none=True) is None
    multiprocessing.set_start_method("spawn")
    process = gipc.start_process(nothing)
    process.join()
    assert process.exitcode == 0
"""

NOTHING_TOUCHED = """
import os, signal, subprocess, threading, multiprocessing, gevent
from gevent import monkey

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    with open("/proc/self/status") as status:
        masks = [line for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    names = (os.fork, os.waitpid, os.close, subprocess.Popen, threading.Thread,
             multiprocessing.Process, multiprocessing.Process.join)
    return handlers, masks, names, threading.active_count()

before = state()
import gipc, gipc.gipc
from gipc import ProcessPoolExecutor
assert state() == before
assert not monkey.is_module_patched("os")
"""

THREADS_ALIVE = """
import threading
import gipc

def nothing():
    pass

if __name__ == "__main__":
    stop = threading.Event()
    threading.Thread(target=stop.wait).start()
    process = gipc.start_process(nothing, mp_context="forkserver")
    process.join()
    stop.set()
    assert process.exitcode == 0
"""

PATCHED_LATER = """
import gipc
from gevent import monkey
monkey.patch_all()

def child(reader, writer):
    writer.put(reader.get() + 1)

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with gipc.pipe() as (r1, w1), gipc.pipe() as (r2, w2):
            process = gipc.start_process(child, (r1, w2), mp_context=method)
            w1.put(41)
            assert r2.get() == 42
            process.join()
            assert process.exitcode == 0
"""


@default_mode_only
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(PLAIN_MULTIPROCESSING, id="plain multiprocessing reports exit codes"),
        pytest.param(BESIDE_GIPC, id="plain and gipc processes side by side"),
        pytest.param(START_METHOD_AFTERWARDS, id="the start method can be set after the import"),
        pytest.param(NOTHING_TOUCHED, id="importing touches nothing"),
        pytest.param(THREADS_ALIVE, id="no warning from forkserver while threads are alive"),
        pytest.param(PATCHED_LATER, id="monkey patching can come after the import"),
    ],
)
def test_a_program(script, tmp_path):
    # Warnings are errors in it.
    result = run_script(tmp_path, script)
    assert result.stderr == ""


def test_the_import_path_of_1x_has_its_names():
    assert old_names.pipe is gipc.pipe
    assert old_names.start_process is gipc.start_process
    for name in ("GIPCError", "GIPCClosed", "GIPCLocked"):
        assert getattr(old_names, name) is getattr(gipc, name)
    assert issubclass(old_names._GIPCReader, old_names._GIPCHandle)
    assert issubclass(old_names._GIPCWriter, old_names._GIPCHandle)


def test_the_record_of_handles_can_be_read_and_replaced():
    before = old_names._get_all_handles()
    assert isinstance(before, list)
    with gipc.pipe() as (reader, writer):
        assert old_names._get_all_handles() == [*before, reader, writer]
        old_names._set_all_handles([])
        assert old_names._get_all_handles() == []
        old_names._set_all_handles([*before, reader, writer])
    assert old_names._get_all_handles() == before


def test_handles_of_both_kinds_have_their_classes():
    with gipc.pipe() as (reader, writer), gipc.pipe(duplex=True) as (one, other):
        assert type(reader) is old_names._GIPCReader
        assert type(writer) is old_names._GIPCWriter
        assert type(one) is type(other) is old_names._GIPCDuplexHandle


@default_mode_only
def test_the_core_needs_nothing_but_gevent(tmp_path):
    script = "import sys, gipc, gipc.gipc\nprint(*sys.modules)"
    loaded = set(run_script(tmp_path, script).stdout.split())
    assert not loaded & {"flask", "gunicorn", "werkzeug"}
    assert sys.version_info >= (3, 11)
