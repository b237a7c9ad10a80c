"""What the fork server imports, so that its children need not."""

import importlib.util
import os
import subprocess
import sys

import pytest

MAIN = """
import os, sys
import gipc

print(f"imported as {__name__}", file=sys.stderr)

if __name__ == "__main__":
    executor = gipc.ProcessPoolExecutor(1, "forkserver", max_tasks_per_child=1)
    for _ in range(3):
        executor.offload(os.getpid)
"""

PRELOADED = """
import os
print(f"preloaded in {os.getpid()}")
import gevent.monkey
gevent.monkey.patch_all()

def remembered():
    return len(gevent.os._watched_children)
"""

WITH_PRELOADED = """
import os, sys
import gipc

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "elsewhere"))
import preloaded

if __name__ == "__main__":
    executor = gipc.ProcessPoolExecutor(
        1, "forkserver", max_tasks_per_child=1, preload=["preloaded"]
    )
    print([executor.offload(preloaded.remembered) for _ in range(4)])
"""

DEADLY_ONCE = """
import os, pathlib, signal
marker = pathlib.Path(__file__).with_suffix(".done")
if not marker.exists():
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""

WITH_DEADLY = """
from gevent import monkey; monkey.patch_all()
import os, sys
import gipc

if __name__ == "__main__":
    size = int(sys.argv[1])
    executor = gipc.ProcessPoolExecutor(
        1, "forkserver", preload=["deadly"], initializer=len, initargs=(bytes(size),)
    )
    print(executor.offload(abs, -3, timeout=20))
"""

KILLED = """
import os, signal
from multiprocessing import util
import gipc

if __name__ == "__main__":
    with gipc.ProcessPoolExecutor(1, "forkserver", max_tasks_per_child=1) as executor:
        os.kill(executor.offload(os.getppid), signal.SIGKILL)
        executor.offload(os.getppid)
        executor.offload(os.getppid)
    print(os.listdir(util.get_temp_dir()))
"""


RANDOM = """
import random, sys
import gipc

def draw(name):
    __import__(name)
    return sys.modules[name].random()

if __name__ == "__main__":
    method, name = sys.argv[1:]
    draw(name)  # so that a fork has a generator that was used, too
    with gipc.ProcessPoolExecutor(1, method, max_tasks_per_child=1, preload=[name]) as executor:
        print(len({executor.offload(draw, name) for _ in range(4)}))
"""


def test_the_main_module_is_imported_once_for_all_children(tmp_path):
    result = run(tmp_path, MAIN)
    assert result.stderr.split("\n") == ["imported as __main__", "imported as __mp_main__", ""]


def test_a_main_module_that_cannot_be_imported_fails_the_calls_alone(tmp_path):
    source = MAIN.replace("import gipc", "import gipc\nif __name__ != '__main__': raise SystemExit")
    result = run(tmp_path, source)
    assert "ChildDied" in result.stderr
    assert "before it was ready" in result.stderr


def test_modules_are_preloaded_by_the_servers_path_and_may_monkey_patch(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "preloaded.py").write_text(PRELOADED)
    lines = run(tmp_path, WITH_PRELOADED).stdout.splitlines()
    assert len(lines) == 3  # by the server, by the fork server, and the result
    assert lines[-1] == "[0, 0, 0, 0]"


@pytest.mark.parametrize("size", [10, 1_000_000], ids=["small orders", "large orders"])
def test_the_death_of_a_fork_server_that_is_starting_stops_nobody(tmp_path, size):
    (tmp_path / "deadly.py").write_text(DEADLY_ONCE)
    result = run(tmp_path, WITH_DEADLY, str(size))
    assert (tmp_path / "deadly.done").exists()
    assert (result.stdout, result.stderr) == ("3\n", "")


def test_fork_servers_leave_no_file_when_they_have_ended(tmp_path):
    result = run(tmp_path, KILLED)
    assert (result.stdout, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", ["random", "numpy.random"])
def test_each_child_has_random_numbers_of_its_own(tmp_path, method, name):
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip("needs the package numpy")
    result = run(tmp_path, RANDOM, method, name)
    assert result.stdout == "4\n", result.stderr


def run(tmp_path, source, *arguments):
    path = tmp_path / "program.py"
    path.write_text(source)
    return subprocess.run(
        [sys.executable, str(path), *arguments],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
