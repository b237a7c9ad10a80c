"""Notices which modules a call needs that its child has not imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType
from typing import Any

from gipc._executor.protocol import decode_call


class Needs:
    """A finder that finds nothing, and tells what is looked for while a call is unpickled.

    What an imported module imports in its turn comes with it, and is not told. It is told
    before the import, as the child may be killed in the middle of that.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.watching = False
        self._tell = tell

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> Any:
        """Called by the import system for each module that is not there yet."""
        if self.watching and not _is_in_a_module(decode_call.__code__):
            self._tell(name)


def _is_in_a_module(limit: CodeType) -> bool:
    """Whether the code of a module is being run, from the frame that runs *limit* upwards."""
    frame = sys._getframe(2)
    while frame.f_code is not limit and frame.f_back is not None:
        if frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False
