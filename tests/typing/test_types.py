"""What a user's type checker knows about calls."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed")
pytestmark = pytest.mark.once
HERE = Path(__file__).parent


def mypy(name: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", name]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout


def test_calls_and_pipes_have_the_types_of_what_they_are_given():
    output = mypy("right.py")
    told = dict(re.findall(r'right\.py:(\d+): note: Revealed type is "(?:.*\.)?(\w+)"', output))
    lines = (HERE / "right.py").read_text().splitlines()
    expected = {
        str(number): line.rpartition("# ")[2]
        for number, line in enumerate(lines, 1)
        if "reveal_type(" in line
    }
    assert told == expected
    assert "error:" not in output


def test_a_wrong_call_is_an_error():
    output = mypy("wrong.py")
    found = {int(number) for number in re.findall(r"wrong\.py:(\d+): error:", output)}
    lines = (HERE / "wrong.py").read_text().splitlines()
    first = lines.index("executor = gipc.ProcessPoolExecutor()") + 2
    assert found == set(range(first, len(lines) + 1)), output
