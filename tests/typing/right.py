"""Read by mypy only: what the types of calls are."""

from collections.abc import Iterator
from typing import reveal_type

import gipc
from gipc.integrations import gunicorn
from gipc.integrations.flask import GIPC


def area(width: int, height: float) -> float:
    return width * height


def letters(word: str) -> Iterator[str]:
    yield from word


executor = gipc.ProcessPoolExecutor()
reveal_type(executor.offload(area, 2, 3.0, timeout=1))  # float
reveal_type(GIPC().offload(area, 2, 3.0))  # float
reveal_type(gunicorn.offload(area, 2, 3.0))  # float
reveal_type(next(executor.stream(letters, "word")))  # str
reveal_type(executor.submit(area, 2, 3.0).result())  # float
with gipc.pipe() as (reader, writer):
    reveal_type(reader)  # _GIPCReader
    reveal_type(writer)  # _GIPCWriter
with gipc.pipe(duplex=True) as (here, there):
    reveal_type(here)  # _GIPCDuplexHandle
