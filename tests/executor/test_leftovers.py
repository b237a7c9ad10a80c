"""Whatever a fork server or a starting child is doing, it ends with its server."""

import signal

import pytest

from tests.programs import DEADLY, PATCHED, Programs

STOPPED = """
import os, signal, sys
import gipc
from tests.processes import state_of, wait_until

if __name__ == "__main__":
    executor = gipc.ProcessPoolExecutor(2, "forkserver")
    fork_server = executor.offload(os.getppid)
    os.kill(fork_server, signal.SIGSTOP)
    wait_until(lambda: state_of(fork_server) == "T", "it has stopped")
    {ending}
    print("done")
"""

ENDINGS = {
    "shutdown": "executor.shutdown()",
    "the end of the program": "pass",
    "SIGTERM, handled": """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("done")))
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        signal.pause()""",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_fork_server_that_is_stopped_does_not_hold_up(programs, ending):
    ended = programs.run(STOPPED.format(ending=ending))
    assert ended == (0, "done\n", "")
    programs.wait_until_gone()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_fork_server_that_is_stopped_ends_with_a_server_that_is_killed_by(programs, number):
    ended = programs.run(STOPPED.format(ending=f"os.kill(os.getpid(), {number:d})"))
    assert ended == (-number, "", "")
    programs.wait_until_gone()


SERVER = """
import os, sys
import gipc

if __name__ == "__main__":
    os.environ["GIPC_TEST_PID"] = str(os.getpid())
    method, *preload = sys.argv[1:]
    with gipc.ProcessPoolExecutor(1, method, preload=preload) as executor:
        executor.offload(abs, -3)
"""


def test_when_the_server_is_killed_while_a_module_is_preloaded_nothing_is_left(programs, method):
    (programs.folder / "deadly.py").write_text(DEADLY)
    ended = programs.run(SERVER, method, "deadly")
    assert ended == (-signal.SIGKILL, "", "")
    programs.wait_until_gone()


@pytest.mark.parametrize(
    "method", ["forkserver", pytest.param("spawn", marks=pytest.mark.once)], indirect=True
)
def test_when_the_server_is_killed_while_its_program_is_imported_nothing_is_left(programs, method):
    head, tail = SERVER.split("\n\n")
    source = f'{head}\n\nif __name__ != "__main__":' + DEADLY.replace("\n", "\n    ") + f"\n{tail}"
    ended = programs.run(source, method)
    assert ended == (-signal.SIGKILL, "", "")
    programs.wait_until_gone()


# Python 3.12 and newer warn of a fork beside threads; 3.15 raises it, if told so, afterwards.

WARNED = """
import gc, os
import gipc
from tests.processes import children_of, descriptors_of, wait_until

def use():
    with gipc.ProcessPoolExecutor(2, "fork") as executor:
        try:
            return executor.offload(abs, -3)
        except gipc.OffloadError as error:
            return str(error)

if __name__ == "__main__":
    use()  # what the first one makes may stay
    before = descriptors_of(os.getpid())
    for _ in range(3):
        result = use()
        assert result == 3 or "DeprecationWarning" in result, result
    wait_until(lambda: not children_of(os.getpid()), "there is no child and no zombie")
    gc.collect()
    # Some of the first executor's may still have been open then.
    wait_until(lambda: len(descriptors_of(os.getpid())) <= len(before), "no descriptor is left")
"""


def test_a_fork_that_a_warning_forbids_leaves_nothing(tmp_path):
    with Programs(tmp_path, PATCHED, "-W", "error") as programs:
        assert programs.run(WARNED).exitcode == 0
