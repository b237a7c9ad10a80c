"""Programs, run to their end, of which nothing is left when their test has ended."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.processes import PATIENCE, pids_with_environment, wait_until

ROOT = Path(__file__).resolve().parents[1]

PATCHED = bool(os.environ.get("GIPC_TEST_PATCHED"))
PATCH = "from gevent import monkey; monkey.patch_all()\n"


class Ended(NamedTuple):
    """What came of a program."""

    exitcode: int | None  # None: it hung, and was killed
    output: str
    errors: str


class Programs:
    """Runs programs in a directory of their own.

    :param patched: whether they are monkey-patched, first of all. By default, as the tests.
    :param options: for the interpreter.
    """

    def __init__(self, folder: Path, patched: bool = PATCHED, *options: str) -> None:
        self.folder = folder
        self.mark = f"GIPC_TEST_PROGRAM={folder}"
        self._patched = patched
        self._options = options

    def __enter__(self) -> "Programs":
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.processes():  # of a test that has failed
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(self, source: str, *arguments: str, under: tuple[str, ...] = (), **env: str) -> Ended:
        """Run a program until it ends.

        :param under: the beginning of a command that runs the rest of it.
        :param env: added to its environment.
        """
        path = self.folder / "program.py"
        path.write_text(PATCH + source if self._patched else source)
        name, _, value = self.mark.partition("=")
        # Files, as a process that is left would keep a pipe from ending.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            program = subprocess.Popen(
                [*under, sys.executable, *self._options, str(path), *arguments],
                env=os.environ | {"PYTHONPATH": str(ROOT), name: value} | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
            try:
                exitcode = program.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                exitcode = None
                program.kill()
                program.wait()
            output.seek(0)
            errors.seek(0)
            ended = Ended(exitcode, output.read(), errors.read())
        print(*ended, sep="\n")  # noqa: T201  # pytest shows it with a failure
        return ended

    def processes(self) -> set[int]:
        """All processes of the programs that are running."""
        return pids_with_environment(self.mark)

    def wait_until_gone(self) -> None:
        """Wait until no process is left."""
        wait_until(lambda: not self.processes(), "no process of the program is left")


@functools.cache
def interpreters_start_in_a_removed_directory() -> bool:
    """Whether this Python does so at all; 3.13.0 cannot import ``socket`` there."""
    command = 'cd "$0" && rmdir "$0" && exec "$@"'
    tried = subprocess.run(
        ["sh", "-c", command, tempfile.mkdtemp(), sys.executable, "-c", "import socket"],
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return tried.returncode == 0


# What programs do to themselves

#: What can be wrong with a directory for temporary files.
SPOILED = ["has a long name", "was removed", "was replaced by a file"]


def spoil_temporary_directory(how: str) -> None:
    """Make the directory that ``TMPDIR`` names one that is *how*. Its name is long."""
    directory = tempfile.gettempdir()  # which looks for it only once
    assert directory == os.environ["TMPDIR"]
    if how != "has a long name":
        os.rmdir(directory)
    if how == "was replaced by a file":
        Path(directory).touch()


def redirect_output(path: str) -> None:
    """Write to another file from now on, as servers do when their log was rotated."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


#: A module for programs that have their pid in GIPC_TEST_PID: when another process imports
#: it, it kills the program, so that this ends just then, and goes on for ever.
DEADLY = """
import os, signal, time
program = int(os.environ["GIPC_TEST_PID"])
if os.getpid() != program:
    os.kill(program, signal.SIGKILL)
    while True:
        time.sleep(1000)
"""
