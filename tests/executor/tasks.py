"""What the children are asked to do."""

import functools
import os
import signal
import subprocess
import sys
import time

import gipc


class Odd(Exception):
    """An exception that cannot be made again from its arguments."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


class Explosive:
    """A result that cannot be unpickled."""

    def __reduce__(self):
        return functools.partial(int, "not a number"), ()


def square(x):
    return x * x


def replace_square(function):
    """From now on, in this process, *square* is something else, or nothing."""
    if function is None:
        globals().pop("square")
    else:
        globals()["square"] = function


def fail(message, **attributes):
    error = ValueError(message, 7)
    error.__dict__.update(attributes)
    raise error


def fail_oddly():
    raise Odd(1, 2)


def leave(code):
    sys.exit(code)


def interrupt():
    raise KeyboardInterrupt


def recurse():
    return recurse()


def die(number=signal.SIGKILL):
    os.kill(os.getpid(), number)


def sleep(seconds=1000.0):
    time.sleep(seconds)
    return os.getpid()


def wait_for(path):
    """Sleep until there is a file at *path*."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()


def ignore_and_sleep(path):
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    leave_pid(path)


def leave_pid(path):
    """Write the child's pid to a file, whole, and sleep."""
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    time.sleep(1000)


def start_sleep():
    """Start a program that outlives the call."""
    return subprocess.Popen(["sleep", "1000"]).pid


def start_sleep_and_die(path):
    with open(path, "w") as file:
        file.write(str(start_sleep()))
    die()


def run_sleep(path):
    """Start a program, and wait for it."""
    start_sleep()
    leave_pid(path)


def _fork():
    # gevent's never hears of a process that ends before it returns in this one.
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.write(tell, b"x")
    else:
        os.read(told, 1)
    os.close(told)
    os.close(tell)
    return pid


def fork(end):
    """Return the exit code of a forked process that leaves the task by *end*."""
    pid = _fork()
    if pid == 0:
        return end()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_and_count_to(n):
    """Yield, also in a forked process, which comes first."""
    pid = _fork()
    if pid:
        os.waitpid(pid, 0)
    yield from range(n)


def detach(path, end):
    """Leave a process with a session of its own behind, whose pid is in a file."""
    if os.fork() == 0:
        os.setsid()
        leave_pid(path)
    while not os.path.exists(path):
        time.sleep(0.01)
    return end()


def compute_for_ever(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    sum(range(10**12))  # one call into C, that holds the interpreter's lock


def zeros(size):
    return bytes(size)


def count_to(n):
    yield from range(n)


def count_and_fail(n):
    yield from range(n)
    raise ValueError("enough")


def produce_for_ever(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    item = "x" * 1000
    while True:
        yield item


def note_progress(path, n):
    """Yield, and write down how far that has got."""
    with open(path, "w") as file:
        for number in range(n):
            print(number, file=file, flush=True)
            yield "x" * 10_000


def use_and_forget(method):
    """Leave a new executor as it is, and exit with a result of it."""
    global _forgotten
    _forgotten = gipc.ProcessPoolExecutor(1, method)
    sys.exit(_forgotten.offload(abs, -3))


_state = []


def initialize(value):
    _state.append(value)


def state():
    return _state


def fail_to_initialize():
    raise LookupError("no model")


def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def niceness():
    return os.nice(0)


def close_stdout():
    sys.stdout.close()
    return os.getpid()


def initialize_unless(path, log):
    """Fail while there is a file at *path*, and keep a log of the tries."""
    with open(log, "a") as file:
        file.write("x")
    if os.path.exists(path):
        raise LookupError("no model")


def yield_explosive():
    yield Explosive()


def write_and_stall(path):
    yield os.getpid()
    leave_pid(path)
    yield None


def make_generator():
    return (number for number in range(3))
