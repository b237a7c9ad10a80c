"""Children find what the program has when they are started."""

import pytest

from tests.programs import SPOILED, Programs, interpreters_start_in_a_removed_directory

from .support import default_mode_only

pytestmark = default_mode_only  # the programs choose modes of their own


@pytest.fixture(params=[False, True], ids=["unpatched", "patched"])
def programs(request, tmp_path):
    with Programs(tmp_path, request.param, "-W", "error") as programs:
        yield programs


TEMPORARY = """
import sys
from tests.core.children import run_children
from tests.programs import spoil_temporary_directory

def nothing():
    pass

if __name__ == "__main__":
    spoil_temporary_directory(sys.argv[1])
    run_children(nothing)
"""


@pytest.mark.parametrize("how", SPOILED)
def test_children_start_when_the_temporary_directory(programs, how):
    directory = programs.folder / ("x" * 150)
    directory.mkdir()
    assert programs.run(TEMPORARY, how, TMPDIR=str(directory)) == (0, "", "")


WORKING_DIRECTORY = """
import os, sys
from tests.core.children import run_children

def look(expected):
    try:
        where = os.getcwd()
    except FileNotFoundError:
        where = None
    assert where == expected, where

if __name__ == "__main__":
    folder = os.path.dirname(__file__)
    release = os.path.join(folder, "release")
    os.mkdir(release)
    os.chdir(release)
    if sys.argv[1] == "after":
        run_children(look, release)
    os.rmdir(release)
    run_children(look, None)
    os.chdir(folder)
    run_children(look, folder)
"""


@pytest.mark.skipif(
    not interpreters_start_in_a_removed_directory(),
    reason="needs a Python that starts in a directory that was removed",
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_children_start_when_the_working_directory_has_gone(programs, when):
    # Before or after the fork server has been started.
    assert programs.run(WORKING_DIRECTORY, when) == (0, "", "")


ENVIRONMENT = """
import os, time
from tests.core.children import run_children

def look(environment, offset):
    assert dict(os.environ) == environment
    assert time.localtime().tm_gmtoff == offset, time.tzname

if __name__ == "__main__":
    os.environ.update(CHANGED="old", REMOVED="old", TZ="EAST-5")
    time.tzset()
    run_children(look, dict(os.environ), 5 * 3600)
    os.environ.update(CHANGED="new", ADDED="new", TZ="WEST+7")
    del os.environ["REMOVED"]
    time.tzset()
    run_children(look, dict(os.environ), -7 * 3600)
    os.environ.update(CHANGED="old", REMOVED="old")
    del os.environ["ADDED"]
    run_children(look, dict(os.environ), -7 * 3600)
"""


def test_children_have_the_environment_that_the_program_has_when_they_are_started(programs):
    assert programs.run(ENVIRONMENT) == (0, "", "")


ROTATION = """
import os, sys
import gipc
from tests.processes import descriptors_of
from tests.programs import redirect_output

def say(what, reader=None):
    if reader is not None:
        reader.get()
    print("out:", what)
    print("err:", what, file=sys.stderr)

def files_of_fork_server(writer):
    writer.put(set(descriptors_of(os.getppid()).values()))

def start(function, *args):
    return gipc.start_process(function, args, mp_context="forkserver")

if __name__ == "__main__":
    old, new = sys.argv[1:]
    redirect_output(old)
    start(say, "before").join()
    with gipc.pipe() as (reader, writer):
        running = start(say, "meanwhile", reader)
        redirect_output(new)
        start(say, "after").join()
        writer.put("go on")
        running.join()
    with gipc.pipe() as (reader, writer):
        child = start(files_of_fork_server, writer)
        assert reader.get() & {old, new} == {new}
        child.join()
"""


def test_children_that_are_started_after_a_log_rotation_write_to_the_new_file(programs):
    old, new = programs.folder / "old", programs.folder / "new"
    exitcode = programs.run(ROTATION, str(old), str(new)).exitcode
    assert sorted(new.read_text().splitlines()) == ["err: after", "out: after"]
    assert old.read_text().count("before") == old.read_text().count("meanwhile") == 2
    assert exitcode == 0
