"""The floor: two processes, two pipes of the system, blocking reads and writes."""

import os

from turn import serve, timed

MESSAGE = b"x" * 32

there_read, there_write = os.pipe()
back_read, back_write = os.pipe()
if os.fork() == 0:
    os.close(there_write)
    while data := os.read(there_read, 4096):
        os.write(back_write, data)
    os._exit(0)


def round_trips(units: int) -> None:
    for _ in range(units):
        os.write(there_write, MESSAGE)
        os.read(back_read, 4096)


serve(timed(round_trips))
