"""Writes to a pipe that may be full, or have nobody at its other end."""

from __future__ import annotations

import os

from gipc._ready import WRITE, Descriptor


def write_all(fd: int, data: bytes, deadline: float | None = None) -> int:
    """Write *data*, cooperatively, and return how many bytes of it were written.

    They are less than all when *deadline* came first, or when nobody reads any more.
    """
    os.set_blocking(fd, False)
    ready = Descriptor(fd, WRITE)
    rest = memoryview(data)
    try:
        while rest:
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:
                if not ready.wait(deadline):
                    break
            except BrokenPipeError:
                break
        return len(data) - len(rest)
    finally:
        ready.release()
