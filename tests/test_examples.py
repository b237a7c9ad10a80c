"""The short examples, as programs. The Flask app has its own tests in integration/."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.servers import EXAMPLE, python
from tests.processes import PATIENCE

EXAMPLES = EXAMPLE.parent


def output_of(name: str, *arguments: str) -> str:
    """What an example prints when it is run, progress bars included."""
    process = subprocess.run(
        [sys.executable, name, *arguments],
        cwd=EXAMPLES,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=3 * PATIENCE,
    )
    output = process.stdout.decode()
    assert process.returncode == 0, output
    return output


def test_a_stream_of_messages_arrives_in_a_child():
    assert output_of("message_stream.py", "1000") == (
        "the child got 1000 messages, their sum is 499500\n"
    )


def test_synchronised_messages_all_arrive():
    assert output_of("synchronised.py", "1000").startswith("1000 messages in ")


def test_a_map_shows_its_progress_and_result():
    bar, result = output_of("map_with_progress.py", "20").strip().split("\n")
    assert re.findall(r"(\d+) of 20", bar) == [str(done) for done in range(1, 21)]
    assert bar.endswith(f"[{'#' * 40}] 20 of 20")
    assert result == "the longest of 20 factorials has 57 bits"  # 19!


def test_a_stream_can_be_left():
    assert output_of("streaming.py", "5").split() == ["2", "3", "5", "7", "11"]


def test_the_duplex_server_answers_each_client():
    with python("duplex_echo.py", "0", folder=EXAMPLES) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with (
            socket.create_connection(address, PATIENCE) as one,
            socket.create_connection(address, PATIENCE) as other,
            one.makefile("rw") as lines,
            other.makefile("rw") as other_lines,
        ):
            for client, text in ((other_lines, "hello"), (lines, "one"), (lines, "two")):
                client.write(f"{text}\n")
                client.flush()
                assert client.readline() == f"{text.upper()}\n"
        assert "Traceback" not in server.log


def test_the_pywsgi_server_serves_and_ends_with_its_children():
    with python("pywsgi_server.py", "0", folder=EXAMPLES) as server:
        assert server.get("/fib/20").text == "6765\n"
        assert server.get("/fib/x").status_code == 400
        late = server.get("/fib/200")
        assert late.status_code == 504
        assert "was killed" in late.text
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        server.wait_until_gone()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_each_example_has_its_test_and_its_place_in_the_documentation(path: Path):
    assert path.name in Path(__file__).read_text()
    assert path.name in (EXAMPLES.parent / "docs" / "examples.md").read_text()
