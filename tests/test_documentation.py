"""The README and the pages in docs/ are followed to the letter, in real programs.

A page is read from top to bottom, in a folder of its own. What its code blocks mean:

``python``
    When the first line is a comment that names a file, that file. Otherwise a program,
    which has to end well.
``console``
    Commands, each after a ``$``, and what they print, where ``...`` stands for anything.
    A server runs until the next one starts, or to the page's end.
``text``
    No code.
"""

import contextlib
import dataclasses
import inspect
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gipc
from tests.integration.servers import running
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]

#: What a reader does before, and what the tests of the packages and of the example do.
NOT_RUN = ("pip install", "make ", "git ", "apt-get ")

_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"# ([\w./-]+\.py)\n")
_PORT = "8000"  # on every page; each test has one of its own


@dataclasses.dataclass(frozen=True)
class Block:
    """A piece of code on a page."""

    line: int
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The code on a page; directives such as ``{image}`` are none."""
    text = page.read_text()
    return [
        Block(text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _BLOCK.finditer(text)
        if not found[1].startswith("{")
    ]


class Reader:
    """Somebody who does what a page says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = contextlib.ExitStack()
        self._port = free_port()
        self._files: dict[str, str] = {}
        self._commands: list[str] = []
        self._environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:{self._port}",
            "FLASK_RUN_PORT": self._port,
        }

    def do(self, block: Block) -> None:
        text = block.text.replace(_PORT, self._port)
        if block.language == "python":
            named = _FILE_NAME.match(text)
            name = named[1] if named else f"line_{block.line}.py"
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            self._files[name] = text
            if not named:
                self._command(f"python {name}", None)
        elif block.language == "console":
            for command, expected in commands_in(text):
                self._command(command, expected)
        else:
            assert block.language == "text", f"what to do with {block.language!r}?"

    def _command(self, command: str, expected: str | None) -> None:
        if command.startswith(NOT_RUN):
            return
        self._commands.append(command)
        words = shlex.split(command)
        if words[0] == "curl":
            words.insert(1, "--silent")
        if self._serves(words):
            self.stop_server()
            self._server.enter_context(self._serving(words))
            return
        process = subprocess.run(
            words,
            cwd=self._folder,
            env=os.environ | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3 * PATIENCE,
        )
        if expected is not None:
            assert matches(expected, process.stdout), f"$ {command}\n{process.stdout}"
        if expected is None or "Error" not in expected:
            assert process.returncode == 0, f"$ {command}\n{process.stdout}"
            assert "Traceback" not in process.stdout, f"$ {command}\n{process.stdout}"

    @contextlib.contextmanager
    def _serving(self, words: list[str]) -> Iterator[None]:
        with running(words, self._folder, self._environment) as server:
            yield
            assert "Traceback" not in server.log, server.log

    def stop_server(self) -> None:
        self._server.close()

    def _serves(self, words: list[str]) -> bool:
        if words[0] == "python":
            return "serve_forever" in self._files.get(words[1], "")
        return words[0] in ("gunicorn", "flask")

    def look_back(self) -> None:
        """Nothing on the page was idle talk."""
        for name in self._files:
            used = re.compile(rf"\b{re.escape(Path(name).stem)}\b")
            others = [text for other, text in self._files.items() if other != name]
            assert (
                any(map(used.search, [*self._commands, *others])) or name == "gunicorn.conf.py"
            ), f"{name} is not used on the page"


def commands_in(text: str) -> Iterator[tuple[str, str | None]]:
    """The commands of a console block, each with its output if it is given."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output or None


def matches(expected: str, output: str) -> bool:
    pattern = ".*".join(map(re.escape, re.split(r"\s*\.\.\.\s*", expected.strip())))
    return re.fullmatch(pattern, output.replace("\r", "").strip(), re.DOTALL) is not None


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if blocks_of(page)],
)
def test_a_page_does_what_it_says(page, tmp_path):
    blocks = blocks_of(page)
    if any("$ curl" in block.text for block in blocks) and shutil.which("curl") is None:
        pytest.skip("curl is not installed: apt-get install curl")
    reader = Reader(tmp_path)
    try:
        for block in blocks:
            reader.do(block)
    finally:
        reader.stop_server()
    reader.look_back()


def test_the_reference_has_every_argument_and_key_of_the_executor():
    reference = (ROOT / "docs" / "configuration.md").read_text()
    for name in inspect.signature(gipc.ProcessPoolExecutor).parameters:
        assert f"\n`{name}`, `GIPC_{name.upper()}`\n: " in reference


def test_links_to_files_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
