"""The Flask extension inside an app, without a server."""

import math
import os
import time

import pytest
from flask import Flask, jsonify
from werkzeug.exceptions import HTTPException

import gipc
from gipc.integrations.flask import GIPC


@pytest.fixture
def app():
    """An app whose views offload, and whose children end with the test."""
    app = Flask(__name__)
    app.config.update(GIPC_MAX_WORKERS=1, GIPC_MAX_QUEUE=0, GIPC_TIMEOUT=20)
    extension = GIPC(app)
    app.add_url_rule("/pid", "pid", lambda: str(extension.offload(os.getpid)))
    app.add_url_rule("/root", "root", lambda: str(extension.offload(math.sqrt, -1)))
    app.add_url_rule("/late", "late", lambda: str(extension.offload(time.sleep, 60, timeout=0.05)))
    app.add_url_rule("/dead", "dead", lambda: str(extension.offload(os._exit, 3)))
    yield app
    app.extensions["gipc"].executor.shutdown()


@pytest.fixture
def client(app):
    return app.test_client()


def fill(app):
    """Let a call hold the only child, and return its stream."""
    return app.extensions["gipc"].stream(endless)


def endless():
    while True:
        yield


def test_a_view_offloads_to_a_child(client):
    assert int(client.get("/pid").text) != os.getpid()


def test_nothing_is_started_before_the_first_call(app, client):
    assert app.extensions["gipc"].stats().started == 0
    client.get("/pid")
    assert app.extensions["gipc"].stats().started == 1


def test_init_app_can_come_later():
    app = Flask(__name__)
    extension = GIPC()
    extension.init_app(app)
    with app.app_context():
        assert extension.executor is app.extensions["gipc"].executor


def test_each_app_has_its_own_executor():
    extension = GIPC()
    one, other = Flask("one"), Flask("other")
    extension.init_app(one)
    extension.init_app(other)
    assert one.extensions["gipc"].executor is not other.extensions["gipc"].executor


def test_an_app_cannot_have_it_twice():
    app = Flask(__name__)
    GIPC(app)
    with pytest.raises(RuntimeError, match="already"):
        GIPC(app)


def test_a_missed_deadline_is_504(app, client):
    app.extensions["gipc"].executor.warm_up()
    response = client.get("/late")
    assert response.status_code == 504
    assert "time.sleep took longer than 0.05 s" in response.text


def test_a_full_queue_is_503_with_retry_after(app, client):
    with fill(app):
        response = client.get("/pid")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


def test_a_dead_child_is_500(client):
    response = client.get("/dead")
    assert response.status_code == 500
    assert "exited with code 3" in response.text


def test_an_exception_of_the_task_is_the_apps_to_handle(app, client):
    app.register_error_handler(ValueError, lambda error: (str(error), 422))
    response = client.get("/root")
    assert response.status_code == 422
    assert "math domain error" in response.text or "nonnegative" in response.text


def test_handlers_of_the_app_come_first(app, client):
    app.register_error_handler(gipc.OffloadTimeout, lambda error: ("later", 202))
    assert client.get("/late").status_code == 202


def test_handlers_that_were_there_before_the_extension_stay():
    app = Flask(__name__)
    app.register_error_handler(gipc.QueueFull, lambda error: ("full", 429))
    app.config.update(GIPC_MAX_WORKERS=1, GIPC_MAX_QUEUE=0)
    extension = GIPC(app)
    app.add_url_rule("/pid", "pid", lambda: str(extension.offload(os.getpid)))
    with fill(app):
        assert app.test_client().get("/pid").status_code == 429
    app.extensions["gipc"].executor.shutdown()


def test_handlers_for_http_errors_see_the_original(app, client):
    def tell(error):
        return jsonify(type(error.original_exception).__name__), error.code

    app.register_error_handler(HTTPException, tell)
    response = client.get("/late")
    assert (response.status_code, response.json) == (504, "OffloadTimeout")


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("GIPC_MAX_WORKERS", 0, ValueError),
        ("GIPC_MAX_WORKERS", "two", TypeError),
        ("GIPC_TIMEOUT", -1, ValueError),
        ("GIPC_MP_CONTEXT", "fork!", ValueError),
        ("GIPC_MAX_WORKER", 2, ValueError),
    ],
)
def test_bad_configuration_is_an_error_that_names_it(key, value, error):
    app = Flask(__name__)
    app.config[key] = value
    GIPC(app)
    with pytest.raises(error, match="(?i)" + key.removeprefix("GIPC_")):
        _ = app.extensions["gipc"].executor


def test_none_means_the_default():
    app = Flask(__name__)
    app.config["GIPC_MAX_WORKERS"] = None
    GIPC(app)
    assert app.extensions["gipc"].executor.stats().max_workers >= 1
