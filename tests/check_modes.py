"""The suites again, in every mode that makes sense: no copies of them.

Not collected by `make test`, since it takes as long as all the rest: `make modes` runs it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Start method, monkey-patched or not, event loop, transport.
MODES = [
    ("fork", True, "libev-cext", ""),
    ("forkserver", False, "libev-cext", ""),
    ("forkserver", True, "libev-cext", ""),
]
ONCE = [
    ("spawn", False, "libev-cext", ""),
    ("fork", False, "libev-cffi", ""),
    ("fork", False, "libuv-cffi", ""),
    ("fork", True, "libuv-cffi", ""),
    ("forkserver", True, "libuv-cffi", ""),
    ("fork", False, "libev-cext", "threadpool"),
]


@pytest.mark.parametrize(
    ("method", "patched", "loop", "transport"),
    [*MODES, *(pytest.param(*mode, marks=pytest.mark.once) for mode in ONCE)],
)
@pytest.mark.timeout(900)
def test_the_core_passes_with(method, patched, loop, transport):
    passes(
        "tests/core",
        GIPC_TEST_METHOD=method,
        GIPC_TEST_PATCHED="1" if patched else "",
        GEVENT_LOOP=loop,
        GIPC_TRANSPORT=transport,
    )


@pytest.mark.timeout(900)
def test_the_executor_passes_when_monkey_patched():
    passes("tests/executor", "-k", "not spawn", GIPC_TEST_PATCHED="1")


@pytest.mark.timeout(900)
@pytest.mark.once
def test_the_executor_passes_with_another_loop():
    passes("tests/executor", "-k", "not spawn", GEVENT_LOOP="libuv-cffi")


def passes(*what, **environment):
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", *what],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert suite.returncode == 0, suite.stdout
