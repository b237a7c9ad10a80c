"""Wheel and sdist, built and installed as a user would do it.

Not collected by `make test`, since it makes environments: `make package` runs it.
"""

import email
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.integration.servers import running
from tests.packaging.support import ROOT, environment, run

#: What gevent itself needs, and what venv puts there.
ALLOWED = {"gipc", "gevent", "greenlet", "zope.event", "zope.interface", "pip", "setuptools"}

PROGRAM = """
import math

import gipc

if __name__ == "__main__":
    with gipc.ProcessPoolExecutor(max_workers=1) as executor:
        print(executor.offload(math.factorial, 5))
"""

APP = """
import math

from flask import Flask
from gipc.integrations.flask import GIPC

app = Flask(__name__)
app.config["GIPC_MAX_WORKERS"] = 1
gipc = GIPC(app)


@app.get("/")
def index():
    return str(gipc.offload(math.factorial, 5))
"""

CONFIGURATION = """
from gipc.integrations.gunicorn import post_fork

worker_class = "gevent"
"""

pytestmark = pytest.mark.timeout(600)


def packages_in(python: Path) -> set[str]:
    code = "from importlib.metadata import distributions as d; print(*(x.name for x in d()))"
    return {name.lower() for name in run(python, "-c", code, folder=python.parent).split()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gipc").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if ".dist-info/" not in name} == sources
    assert "gipc/py.typed" in sources
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_metadata_say_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Name"] == "gipc"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    always = [each for each in metadata.get_all("Requires-Dist") if "extra ==" not in each]
    assert [re.match(r"[\w.-]+", each)[0] for each in always] == ["gevent"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what belongs to it, git knows")
def test_the_sdist_holds_what_builds_tests_and_explains_the_project(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run("git", "ls-files", folder=ROOT).split()
    for name in tracked:
        top = name.partition("/")[0]
        assert (name in names) == (top not in (".ci", ".pre-commit-config.yaml")), name


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_works_in_a_clean_environment_with_nothing_but_gevent(kind, request, tmp_path):
    python = environment(tmp_path, str(request.getfixturevalue(kind)))
    assert packages_in(python) <= ALLOWED
    (tmp_path / "program.py").write_text(PROGRAM)
    assert run(python, "-W", "error", "program.py", folder=tmp_path) == "120\n"


def test_the_extras_bring_what_the_integrations_integrate(wheel, tmp_path):
    python = environment(tmp_path, f"{wheel}[flask,gunicorn]")
    assert packages_in(python) >= {"flask", "gunicorn"}
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    command = [str(python), "-m", "gunicorn", "--bind", "127.0.0.1:0", "app:app"]
    with running(command, tmp_path, {}) as server:
        assert server.get("/").text == "120"
