"""Fork servers of our own: small processes that fork children which have modules imported.

They are spoken to over a socketpair: there is no file, no path and no handshake. What runs
in one is in :mod:`gipc._core.zygote`.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Iterable
from multiprocessing import forkserver
from typing import Any

from gipc._core.forkserver_process import Forked, ForkServerProcess, ServerLost
from gipc._core.patience import Patience
from gipc._core.traces import MAIN, describe
from gipc._ready import Turn

log = logging.getLogger("gipc")

#: A process that ended meanwhile is replaced, and asked once more.
_TRIES = 2

# All that this process has, for a process that is forked from it.
_all: weakref.WeakSet[ForkServer] = weakref.WeakSet()


class ForkServer:
    """Forks children. Its process is started when it is needed, and replaced when it is lost.

    A module whose import leaves what children cannot share is left to each child, and so is
    one whose import ends the process. May be used by any greenlet and any native thread.

    :param preload: names of modules to import, :data:`.MAIN` for the main module. Children
        share the descriptors that they open; the main module may open none.
    :param own_session: whether the process leaves the session of this one.
    :param seconds: that the process may take to start, and each import in it; None for no
        limit.
    """

    def __init__(
        self, preload: Iterable[str] = (), own_session: bool = False, seconds: float | None = None
    ) -> None:
        self._preload = tuple(dict.fromkeys(preload))
        self._own_session = own_session
        self._seconds = seconds
        self._wanted = list(self._preload)
        self._left_to_children: set[str] = set()
        self._stopped = False
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._turn = Turn()
        self._process: ForkServerProcess | None = None
        self._former: list[ForkServerProcess] = []  # which may have children
        self._interrupted: str | None = None  # in the import of which one has ended

    def want(self, name: str) -> None:
        """Have a module imported before the next child is forked, if children can share it."""
        if name not in self._wanted:
            self._wanted.append(name)

    def fork(self, life: int | None, inherited: list[int], patience: Patience) -> Forked:
        """Fork a child. It ends unless it is told what to be.

        :param life: its lifeline, when it is to lead a process group of its own.
        :param inherited: further descriptors for it.
        :raises TimeoutError: there was none in time, or an import took too long.
        :raises ChildProcessError: the process could not be started, or was stopped.
        :raises OSError: the system has no descriptors or processes left.
        """
        for _ in range(_TRIES):
            self.make_ready()
            process = self._process
            assert process is not None
            try:
                return process.fork(life, inherited, patience)
            except ServerLost:
                self._lose(process)
            except TimeoutError:  # it hangs, or somebody has stopped it
                process.kill()
                self._lose(process)
                raise
        raise ChildProcessError("the fork server ended before it had forked a child")

    def make_ready(self) -> None:
        """Have a process that has imported all that is wanted.

        :raises TimeoutError: it took too long.
        :raises ChildProcessError: the process could not be started, or was stopped.
        :raises OSError: the system has no descriptors or processes left.
        """
        with self._turn:
            self._former = [process for process in self._former if not process.bury()]
            while True:
                if self._stopped:
                    raise ChildProcessError("the fork server was stopped")
                if self._process is None:
                    self._process = self._start_process()
                name = self._next_to_load(self._process)
                if name is None:
                    return
                self._load(self._process, name)

    def _start_process(self) -> ForkServerProcess:
        problem = ""
        for _ in range(_TRIES):
            try:
                return ForkServerProcess(self._own_session, self._seconds)
            except ServerLost as error:
                problem = str(error)
        raise ChildProcessError(problem)

    def _next_to_load(self, process: ForkServerProcess) -> str | None:
        for name in self._wanted:
            if name not in process.loaded and name not in self._left_to_children:
                return name
        return None

    def _load(self, process: ForkServerProcess, name: str) -> None:
        asked_for = name in self._preload
        try:
            problem = process.load(name).problem(descriptors=name == MAIN or not asked_for)
        except ServerLost:
            fate = process.fate()
            self._lose(process)
            if self._interrupted == name:  # the second time
                self._leave_to_children(name, f"its import ends the fork server, which {fate}")
            self._interrupted = name
        except TimeoutError:
            process.kill()
            self._lose(process)
            problem = f"its import takes the fork server more than {self._seconds:g} s"
            if asked_for:
                raise TimeoutError(f"{describe(name)}: {problem} (start_timeout)") from None
            self._leave_to_children(name, problem)
        except BaseException:  # what the import leaves will never be known
            process.kill()
            self._lose(process)
            raise
        else:
            if problem:
                self._lose(process)
                self._leave_to_children(name, f"its import leaves {problem} behind")

    def _leave_to_children(self, name: str, why: str) -> None:
        self._left_to_children.add(name)
        advice = f'. What does so belongs below: if __name__ == "{MAIN}"' if name == MAIN else ""
        log.log(
            logging.WARNING if name in self._preload else logging.INFO,
            "each child imports %s by itself, as %s%s",
            describe(name),
            why,
            advice,
        )

    def _lose(self, process: ForkServerProcess) -> None:
        process.dismiss()
        if self._process is process:
            self._process = None
            self._former.append(process)

    def stop(self) -> None:
        """End all processes at once, and start none any more. May be called by any thread."""
        self._stopped = True
        for process in self._processes():
            process.kill()

    def bury(self) -> None:
        """Wait until all processes have ended, after :meth:`stop`."""
        with self._turn:
            for process in self._processes():
                process.bury(wait=True)
            self._process, self._former = None, []

    def _processes(self) -> list[ForkServerProcess]:
        current = self._process
        return [*self._former, *([] if current is None else [current])]

    def abandon(self) -> None:
        """Let go of all, in a process that was forked from the one that has it."""
        for process in self._processes():
            process.abandon()
        self._reset()


# The one for processes that nobody has a fork server of their own for.
_shared: ForkServer | None = None


def shared_fork_server() -> ForkServer:
    """The fork server of :func:`.start_process`, with multiprocessing's list of modules."""
    global _shared
    if _shared is None:
        module: Any = forkserver
        _shared = ForkServer(module._forkserver._preload_modules)
    return _shared


def _abandon_all() -> None:
    for server in list(_all):
        server.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
