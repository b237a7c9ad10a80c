"""A system that has no threads and no processes left, for a while."""

import resource

from tests.threads import start_native_thread


class Limit:
    """While it is entered, a process can start nothing. By default this one.

    It must be the user's, and not root's, for whom there is no such limit.
    """

    def __init__(self, pid=0):
        self._pid = pid

    def __enter__(self):
        _, most = self._before = resource.prlimit(self._pid, resource.RLIMIT_NPROC)
        resource.prlimit(self._pid, resource.RLIMIT_NPROC, (1, most))

    def __exit__(self, *_):
        resource.prlimit(self._pid, resource.RLIMIT_NPROC, self._before)

    @staticmethod
    def holds():
        """Whether this process can really start no thread."""
        try:
            start_native_thread(int, ())
        except RuntimeError:
            return True
        return False


def outcome(function, *args):
    """What a function returns, or the name of the error that it raises."""
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__
