"""How long ``import gipc`` takes in a new interpreter that has imported gevent."""

import subprocess
import sys

from turn import serve

PROGRAM = """
import time
import gevent
begun = time.perf_counter()
import gipc
print(time.perf_counter() - begun)
"""


def import_gipc(units):
    times = [
        float(subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE).stdout)
        for _ in range(units)
    ]
    return sum(times) / units


serve(import_gipc)
