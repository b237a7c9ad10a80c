"""Native threads, whether or not the process is monkey-patched."""

from gevent import monkey

from tests.processes import wait_cooperatively

start_native_thread = monkey.get_original("_thread", "start_new_thread")


class NativeThread:
    """A thread of the system. Joining it, cooperatively, returns its result."""

    def __init__(self, function, *args):
        self._done = False
        self._error = self._result = None
        start_native_thread(self._run, (function, args))

    def _run(self, function, args):
        try:
            self._result = function(*args)
        except BaseException as error:
            self._error = error
        finally:
            self._done = True

    def join(self):
        wait_cooperatively(lambda: self._done)
        if self._error is not None:
            raise self._error
        return self._result
