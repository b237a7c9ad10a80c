"""What the test modules share."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading

import gevent
import pytest

import gipc
from gipc import gipc as old_names
from tests.processes import PATIENCE
from tests.threads import NativeThread

MODE_VARIABLES = ("GIPC_TEST_PATCHED", "GIPC_TEST_METHOD", "GEVENT_LOOP", "GIPC_TRANSPORT")
DEFAULT_MODE = not any(os.environ.get(name) for name in MODE_VARIABLES)
PATCHED = bool(os.environ.get("GIPC_TEST_PATCHED"))
#: Whether pipes are served by a thread pool, as on Windows.
IN_THREADS = os.environ.get("GIPC_TRANSPORT") == "threadpool"
METHODS = multiprocessing.get_all_start_methods()
#: The start method under test. Asking multiprocessing for it would fix it.
METHOD = multiprocessing.get_start_method(allow_none=True) or METHODS[0]

#: More than any pipe holds.
LARGE = 3_000_000

needs_polling = pytest.mark.skipif(IN_THREADS, reason="needs pipes that can be polled")
needs_fork = pytest.mark.skipif(METHOD != "fork", reason="about forked children")
needs_pickling = pytest.mark.skipif(METHOD == "fork", reason="about children not forked")
default_mode_only = pytest.mark.skipif(not DEFAULT_MODE, reason="runs in the default mode only")
every_method = pytest.mark.parametrize("method", METHODS)


def counts(few, many):
    """Parametrize with a *count*: few everywhere, many where the suite runs first."""
    marks = [default_mode_only, pytest.mark.once]
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=marks)])


def exit_code(process):
    """Wait for the child's end and return its exit code."""
    process.join(PATIENCE)
    assert not process.is_alive(), "the child did not end"
    return process.exitcode


def run(target, *args, **kwargs):
    """Run *target* in a child and insist that it succeeds."""
    assert exit_code(gipc.start_process(target, args, kwargs)) == 0


def in_child(function, *args):
    """Call *function* in a child and return its result."""
    with gipc.pipe() as (reader, writer):
        process = gipc.start_process(_send_result, (writer, function, args))
        result = reader.get()
    assert exit_code(process) == 0
    return result


def _send_result(writer, function, args):
    writer.put(function(*args))


def in_thread(function, *args):
    """Call *function* in a native thread and return its result."""
    return NativeThread(function, *args).join()


def open_descriptors():
    """What the process's descriptors stand for, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of listdir itself
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def open_handles():
    return old_names._get_all_handles()


def send_greeting(writer):
    writer.put("hello")


def block_for_ever():
    while True:
        gevent.sleep(1000)


def is_blocked_in_pipe(greenlet):
    """Whether *greenlet* was started and has come to wait."""
    return bool(greenlet) and greenlet.gr_frame is not None


def blocked(function, *args):
    """A greenlet that runs *function*, which has come to wait."""
    greenlet = gevent.spawn(function, *args)
    gevent.sleep(0)
    assert is_blocked_in_pipe(greenlet)
    return greenlet


def run_script(tmp_path, source, *args, check=True, **environment):
    """Run *source* in a fresh interpreter, unpatched and with no start method chosen."""
    path = tmp_path / "script.py"
    path.write_text(source)
    env = {name: value for name, value in os.environ.items() if name not in MODE_VARIABLES[:2]}
    result = subprocess.run(
        [sys.executable, "-W", "error", str(path), *args],
        env=env | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


def native_thread_count():
    return len(os.listdir("/proc/self/task"))


def real_thread(function, *args):
    return threading.Thread(target=function, args=args, daemon=True)
