"""Fixtures: the example app, served."""

import pytest

from tests.integration.servers import gunicorn


@pytest.fixture(scope="module", params=["preload", "no preload"])
def example(request):
    """The example under gunicorn with its own settings, two children, and room for two."""
    options = ["--preload"] if request.param == "preload" else []
    with gunicorn(*options, FLASK_GIPC_MAX_WORKERS="2", FLASK_GIPC_MAX_QUEUE="2") as server:
        yield server
