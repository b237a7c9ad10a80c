"""Executors that end with their test."""

import pytest

import gipc
from tests.programs import Programs


@pytest.fixture(params=["forkserver", pytest.param("spawn", marks=pytest.mark.once), "fork"])
def method(request):
    return request.param


@pytest.fixture
def make(method):
    """Make executors whose children are started by the method under test."""
    made = []

    def make_one(max_workers=1, **arguments):
        executor = gipc.ProcessPoolExecutor(max_workers, method, **arguments)
        made.append(executor)
        return executor

    yield make_one
    for executor in made:
        executor.shutdown(cancel_futures=True)


@pytest.fixture
def executor(make):
    return make(2)


@pytest.fixture
def gate(tmp_path):
    """Tasks that ``wait_for`` its path end when it is touched, and not before."""
    path = tmp_path / "gate"
    yield path
    path.touch()


@pytest.fixture
def programs(tmp_path):
    """Runs programs, in the test's own directory."""
    with Programs(tmp_path) as programs:
        yield programs


def pytest_collection_modifyitems(items):
    # The executor has a thread, and so have other tests.
    warning = pytest.mark.filterwarnings("ignore:This process.*multi-threaded")
    for item in items:
        item.add_marker(warning)
