import pytest

from .support import open_handles


def pytest_collection_modifyitems(items):
    # gevent's thread pool is enough for it, and a pytest run has some of those.
    warning = pytest.mark.filterwarnings("ignore:This process.*multi-threaded")
    for item in items:
        item.add_marker(warning)


@pytest.fixture(autouse=True)
def no_handle_is_left_open():
    before = open_handles()
    yield
    left = [handle for handle in open_handles() if handle not in before]
    for handle in left:
        handle.close()
    assert not left
