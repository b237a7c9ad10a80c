"""What is built once for all checks."""

import sys

import pytest

from tests.packaging.support import ROOT, run


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, folder=ROOT)
    return folder


@pytest.fixture(scope="session")
def wheel(packages):
    (wheel,) = packages.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def sdist(packages):
    (sdist,) = packages.glob("*.tar.gz")
    return sdist
