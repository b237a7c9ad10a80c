"""Children that are started later find what the server has by then."""

import os
import time

import pytest

import gipc
from tests.executor import surroundings, tasks
from tests.programs import interpreters_start_in_a_removed_directory


def replace_child(executor):
    with pytest.raises(gipc.ChildDied):
        executor.offload(tasks.die)


# The working directory


def skip_unless_interpreters_start():
    if not interpreters_start_in_a_removed_directory():
        pytest.skip("needs a Python that starts in a directory that was removed")


@pytest.fixture
def release(tmp_path, monkeypatch, method):
    """The working directory, which is empty."""
    if method == "spawn":
        skip_unless_interpreters_start()
    path = tmp_path / "release"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def test_children_go_on_and_are_replaced_when_the_working_directory_is_gone(make, release):
    executor = make()
    first = executor.offload(os.getpid)
    release.rmdir()
    assert executor.offload(os.getpid) == first
    replace_child(executor)
    assert executor.offload(os.getpid) != first
    with pytest.raises(FileNotFoundError):
        executor.offload(os.getcwd)


def test_the_first_child_starts_when_the_working_directory_is_gone(make, method, release):
    if method == "forkserver":
        skip_unless_interpreters_start()
    release.rmdir()
    executor = make()
    with pytest.raises(FileNotFoundError):
        executor.offload(os.getcwd)


def test_children_are_where_the_server_is_when_they_are_started(make, release, monkeypatch):
    executor = make()
    assert executor.offload(os.getcwd) == str(release)
    release.rmdir()
    replace_child(executor)
    with pytest.raises(FileNotFoundError):
        executor.offload(os.getcwd)
    monkeypatch.chdir(release.parent)
    replace_child(executor)
    assert executor.offload(os.getcwd) == str(release.parent)


# Output

ROTATION = """
import contextlib, os, sys
import gipc
from tests.processes import descriptors_of
from tests.programs import redirect_output

def say(what):
    print("out:", what)
    print("err:", what, file=sys.stderr)
    # The files of the parent, which is the fork server, or the server.
    return set(descriptors_of(os.getppid()).values())

if __name__ == "__main__":
    method, old, new = sys.argv[1:]
    redirect_output(old)
    with gipc.ProcessPoolExecutor(1, method) as executor:
        assert executor.offload(say, "before") & {old, new} == {old}
        redirect_output(new)
        executor.offload(say, "meanwhile")
        with contextlib.suppress(gipc.ChildDied):
            executor.offload(os._exit, 1)
        assert executor.offload(say, "after") & {old, new} == {new}
"""


def test_children_that_are_started_after_a_log_rotation_write_to_the_new_file(programs, method):
    old, new = programs.folder / "old", programs.folder / "new"
    exitcode = programs.run(ROTATION, method, str(old), str(new)).exitcode
    assert exitcode == 0, new.read_text()
    assert old.read_text().count("before") == old.read_text().count("meanwhile") == 2
    # The executor's own log is beside it.
    said = [line for line in new.read_text().splitlines() if line.startswith(("out: ", "err: "))]
    assert sorted(said) == ["err: after", "out: after"]


# Environment


def test_children_have_the_environment_that_the_server_has_when_they_are_started(make, monkeypatch):
    monkeypatch.setenv("GIPC_TEST_CHANGED", "old")
    monkeypatch.setenv("GIPC_TEST_REMOVED", "old")
    executor = make()
    assert executor.offload(surroundings.environment) == surroundings.environment()
    monkeypatch.setenv("GIPC_TEST_CHANGED", "new")
    monkeypatch.setenv("GIPC_TEST_ADDED", "new")
    monkeypatch.delenv("GIPC_TEST_REMOVED")
    replace_child(executor)
    assert executor.offload(surroundings.environment) == surroundings.environment()
    monkeypatch.setenv("GIPC_TEST_CHANGED", "old")
    monkeypatch.setenv("GIPC_TEST_REMOVED", "old")
    monkeypatch.delenv("GIPC_TEST_ADDED")
    replace_child(executor)
    assert executor.offload(surroundings.environment) == surroundings.environment()


PRELOADED = """
import os
os.environ["GIPC_TEST_ADDED"] = os.environ["GIPC_TEST_CHANGED"] = "by the module"
"""


def test_what_a_preloaded_module_has_put_into_the_environment_stays(make, monkeypatch, tmp_path):
    (tmp_path / "preloaded_module.py").write_text(PRELOADED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GIPC_TEST_CHANGED", "by the server")
    of_module = dict.fromkeys(["GIPC_TEST_ADDED", "GIPC_TEST_CHANGED"], "by the module")
    executor = make(preload=["preloaded_module"])
    assert executor.offload(surroundings.environment) == surroundings.environment() | of_module
    monkeypatch.setenv("GIPC_TEST_OTHER", "by the server")
    replace_child(executor)
    assert executor.offload(surroundings.environment) == surroundings.environment() | of_module


@pytest.fixture
def set_zone(monkeypatch):
    def set_zone(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def test_children_have_the_time_zone_that_the_server_has_when_they_are_started(make, set_zone):
    set_zone("EAST-5")
    executor = make()
    assert executor.offload(surroundings.utc_offset) == 5 * 3600
    set_zone("WEST+7")
    replace_child(executor)
    assert executor.offload(surroundings.utc_offset) == -7 * 3600
