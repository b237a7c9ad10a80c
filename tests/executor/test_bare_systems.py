"""What a system may lack: a fit directory for temporary files, /proc, /dev."""

import os
import shutil
import subprocess

import pytest

from tests.programs import SPOILED

TEMPORARY = """
import sys
import gipc
from tests.programs import spoil_temporary_directory

if __name__ == "__main__":
    method, how = sys.argv[1:]
    spoil_temporary_directory(how)
    with gipc.ProcessPoolExecutor(2, method) as executor:
        executor.warm_up()
        print(executor.offload(abs, -3))
"""


@pytest.mark.parametrize("how", SPOILED)
def test_children_start_when_the_temporary_directory(programs, method, how):
    directory = programs.folder / ("x" * 150)
    directory.mkdir()
    ended = programs.run(TEMPORARY, method, how, TMPDIR=str(directory))
    assert (ended.output, ended.errors) == ("3\n", "")


@pytest.fixture
def without():
    """The beginning of a command that runs the rest of it with an empty directory somewhere."""

    def command(directory):
        if os.geteuid() != 0:
            pytest.skip("needs to be root, to mount something")
        if shutil.which("unshare") is None:
            pytest.skip("needs the command unshare")
        script = f'mount -t tmpfs none {directory} && exec "$@"'
        command = ("unshare", "--mount", "sh", "-c", script, "sh")
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"needs the right to mount in a namespace: {tried.stderr.strip()}")
        return command

    return command


WITHOUT_PROC = """
import os, socket, stat, sys
import gipc

def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False

if __name__ == "__main__":
    assert not os.listdir("/proc")
    with socket.socket() as ours, gipc.ProcessPoolExecutor(1, sys.argv[1]) as executor:
        print(is_socket(ours.fileno()), executor.offload(is_socket, ours.fileno()))
"""


def test_children_start_and_hold_nothing_of_the_server_without_proc(programs, method, without):
    ended = programs.run(WITHOUT_PROC, method, under=without("/proc"))
    assert ended.output == "True False\n", ended.errors


WITHOUT_DEV = """
import gipc

if __name__ == "__main__":
    with gipc.ProcessPoolExecutor(1, "fork") as executor:
        try:
            executor.offload(abs, -3)
        except gipc.ChildDied as error:
            print(error)
"""


def test_a_forked_child_that_fails_in_its_start_says_why(programs, without):
    ended = programs.run(WITHOUT_DEV, under=without("/dev"))
    assert "exited with code 1 before it was ready" in ended.output
    assert "No such file or directory: '/dev/null'" in ended.errors
