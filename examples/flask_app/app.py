"""A Flask app whose CPU-heavy views run in child processes.

Start it with `make run` in the repository's root, or by hand:

    gunicorn --config gunicorn.conf.py app:app
"""

import dataclasses
import json
from collections.abc import Iterator

import tasks
from flask import Flask, Response, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from gipc import OffloadError
from gipc.integrations.flask import GIPC

MAX_N = 50_000_000  # the sieve takes one byte for each number
MAX_BLOCKS = 1000

app = Flask(__name__)
app.config["GIPC_TIMEOUT"] = 30.0
app.config["GIPC_NICE"] = 5
app.config.from_prefixed_env()  # FLASK_GIPC_MAX_WORKERS=2 and the like
gipc = GIPC(app)


@app.get("/")
def index() -> str:
    return render_template("index.html")


@app.get("/ping")
def ping() -> Response:
    return Response("pong", mimetype="text/plain")


@app.get("/primes/<int:n>")
def primes(n: int) -> ResponseReturnValue:
    if n > MAX_N:
        raise BadRequest(f"n must not be above {MAX_N}")
    if request.args.get("inline") == "1":
        return jsonify(tasks.count_primes(n))  # and nobody else is served meanwhile
    return jsonify(gipc.offload(tasks.count_primes, n))


@app.get("/sleep/<int:seconds>")
@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> ResponseReturnValue:
    timeout = request.args.get("timeout", current_app.config["GIPC_TIMEOUT"])
    try:
        timeout = float(timeout)
    except ValueError:
        raise BadRequest("timeout must be a number of seconds") from None
    if not timeout > 0:
        raise BadRequest("timeout must be above 0")
    return jsonify(gipc.offload(tasks.sleep, float(seconds), timeout=timeout))


@app.get("/crash")
def crash() -> ResponseReturnValue:
    gipc.offload(tasks.crash)
    raise AssertionError("the child should have died")


@app.get("/stream/<int:n>")
def stream(n: int) -> ResponseReturnValue:
    if n > MAX_BLOCKS:
        raise BadRequest(f"n must not be above {MAX_BLOCKS}")
    items = gipc.stream(tasks.count_primes_in_blocks, n)
    response = Response(_events(items), mimetype="text/event-stream")
    response.cache_control.no_store = True
    response.call_on_close(items.close)  # also when the client goes away: the child is killed
    return response


def _events(items: Iterator[dict[str, int]]) -> Iterator[str]:
    """Server-sent events. It is too late for another status: errors are events, too."""
    try:
        for item in items:
            yield f"data: {json.dumps(item)}\n\n"
    except OffloadError as error:
        failure = {"error": type(error).__name__, "message": str(error)}
        yield f"event: failure\ndata: {json.dumps(failure)}\n\n"
    else:
        yield "event: end\ndata: {}\n\n"


@app.get("/stats")
def stats() -> ResponseReturnValue:
    return jsonify(dataclasses.asdict(gipc.stats()))


@app.errorhandler(HTTPException)
def tell_as_json(error: HTTPException) -> ResponseReturnValue:
    """What went wrong; an error of the executor is told by its own name."""
    original = getattr(error, "original_exception", None) or error
    response = error.get_response()
    response.data = app.json.dumps({"error": type(original).__name__, "message": error.description})
    response.content_type = "application/json"
    return response
