"""Resident memory (PSS, bytes) that one more idle child adds to a gunicorn with a Flask app.

Two servers, one with a single child and one with five, are compared: the
difference of what all their processes hold, for each child.
"""

import os
import sys
import time
from pathlib import Path

from turn import serve

sys.path.append(str(Path(__file__).parent.parent))
import http_server
import processes

FEW, MANY = 1, 5


def resident(children):
    os.environ["CHILDREN"] = str(children)
    with http_server.running() as (pid, port):
        connection = http_server.Connection(port)
        connection.get("/warm")
        time.sleep(0.3)
        return processes.resident_memory(pid)


def more_children(units):
    return (resident(MANY) - resident(FEW)) / (MANY - FEW)


serve(more_children)
