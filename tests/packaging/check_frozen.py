"""A program that PyInstaller has frozen, with no option that names anything of gipc.

Not collected by `make test`, since it makes an environment: `make package` runs it.
"""

import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.packaging.support import environment, run

PROGRAM = """
import os

if "PATCHED" in os.environ:  # in children, too
    from gevent import monkey

    monkey.patch_all()

import multiprocessing

import gipc


def double(n):
    return 2 * n


def greet(writer):
    writer.put("hello")


def main():
    for method in "forkserver", "spawn", "fork":
        with gipc.ProcessPoolExecutor(1, method) as executor:
            print(method, executor.offload(double, 21), flush=True)
        with gipc.pipe() as (reader, writer):
            process = gipc.start_process(greet, (writer,), mp_context=method)
            print(method, reader.get(), flush=True)
            process.join()


if __name__ == "__main__":
    multiprocessing.freeze_support()
    main()
"""

OUTPUT = """\
forkserver 42
forkserver hello
spawn 42
spawn hello
fork 42
fork hello
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not sysconfig.get_config_var("Py_ENABLE_SHARED"),
        reason="PyInstaller needs a Python with a shared library",
    ),
    pytest.mark.skipif(
        shutil.which("objdump") is None,
        reason="PyInstaller needs objdump: apt-get install binutils",
    ),
]


@pytest.fixture(scope="module")
def frozen(wheel, tmp_path_factory):
    """The program, in a folder where nothing else is."""
    folder = tmp_path_factory.mktemp("frozen")
    python = environment(folder, str(wheel), "pyinstaller>=6.11")
    (folder / "program.py").write_text(PROGRAM)
    run(python, "-m", "PyInstaller", "program.py", folder=folder)
    return Path(shutil.move(folder / "dist" / "program", tmp_path_factory.mktemp("elsewhere")))


@pytest.mark.parametrize("patched", [False, True], ids=["as it is", "monkey-patched"])
def test_a_frozen_program_has_children_of_every_start_method(
    patched, frozen, tmp_path, monkeypatch
):
    if patched:
        monkeypatch.setenv("PATCHED", "1")
    assert run(frozen / "program", folder=tmp_path) == OUTPUT
