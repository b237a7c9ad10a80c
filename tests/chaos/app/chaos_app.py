"""The app that the chaos suite hurts."""

import dataclasses
import os
import time

import chaos_tasks as tasks
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from gipc.integrations.flask import GIPC

app = Flask(__name__)
app.config.from_prefixed_env()
gipc = GIPC(app)


def offload(function, *args) -> ResponseReturnValue:
    timeout = request.args.get("timeout", type=float)
    return jsonify(gipc.offload(function, *args, timeout=timeout))


@app.get("/ping")
def ping() -> str:
    return "pong"


@app.get("/square/<int:n>")
def square(n: int) -> ResponseReturnValue:
    return offload(tasks.square, n, request.args.get("seconds", 0.0, float))


@app.route("/sleep/<float:seconds>", methods=["GET", "POST"])
def sleep(seconds: float) -> ResponseReturnValue:
    return offload(tasks.sleep, seconds)


@app.get("/spin")
def spin() -> ResponseReturnValue:
    return offload(tasks.spin)


@app.get("/hold")
def hold() -> ResponseReturnValue:
    return offload(tasks.hold)


@app.get("/spawn")
def spawn() -> ResponseReturnValue:
    return offload(tasks.spawn)


@app.get("/eat/<int:megabytes>")
def eat(megabytes: int) -> ResponseReturnValue:
    return offload(tasks.eat, megabytes)


@app.get("/eat_too_much")
def eat_too_much() -> ResponseReturnValue:
    return offload(tasks.eat_too_much)


@app.get("/die/<int:number>")
def die(number: int) -> ResponseReturnValue:
    return offload(tasks.die, number)


@app.get("/garble/<data>")
def garble(data: str) -> ResponseReturnValue:
    return offload(tasks.garble, bytes.fromhex(data))


@app.get("/count/<int:items>/<float:pause>")
def count(items: int, pause: float) -> Response:
    return Response(gipc.stream(tasks.count, items, pause), mimetype="text/plain")


@app.get("/block/<how>")
def block(how: str) -> None:
    """Let nobody else be served: what a view must not do."""
    if how == "python":
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            pass
    tasks.hold()


@app.get("/stats")
def stats() -> ResponseReturnValue:
    return jsonify({"worker": os.getpid(), **dataclasses.asdict(gipc.stats())})


@app.errorhandler(HTTPException)
def tell_as_json(error: HTTPException) -> ResponseReturnValue:
    original = getattr(error, "original_exception", None) or error
    return jsonify({"error": type(original).__name__, "message": str(original)}), error.code
