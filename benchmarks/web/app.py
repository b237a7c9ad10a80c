"""The app that the HTTP benchmarks ask: one view for each way to get work done."""

import os
import time

from flask import Flask, Response, request
from gunicorn.dirty import DirtyApp, get_dirty_client

import gipc

app = Flask(__name__)
executor = gipc.ProcessPoolExecutor(int(os.environ.get("CHILDREN", "2")), nice=5)


def square(x):
    return x * x


def burn(milliseconds):
    """Keep a processor busy."""
    begun = time.thread_time()
    while time.thread_time() - begun < milliseconds / 1000:
        sum(range(1000))
    return milliseconds


class Dirty(DirtyApp):
    def __call__(self, action, *args, **kwargs):
        return globals()[action](*args)


@app.get("/ping")
def ping():
    return Response("pong", mimetype="text/plain")


@app.get("/warm")
def warm():
    executor.warm_up()
    return "warm"


@app.get("/square/gipc")
def square_by_gipc():
    return str(executor.offload(square, 7))


@app.get("/square/dirty")
def square_by_dirty():
    return str(get_dirty_client().execute("app:Dirty", "square", 7))


@app.get("/square/inline")
def square_inline():
    return str(square(7))


@app.get("/burn/gipc")
def burn_by_gipc():
    return str(executor.offload(burn, 20))


@app.get("/burn/inline")
def burn_inline():
    return str(burn(20))


@app.get("/calls/dirty")
def calls_by_dirty():
    """Seconds that one call takes, of several in a row, without any HTTP."""
    client = get_dirty_client()
    count = int(request.args["count"])
    begun = time.perf_counter()
    for _ in range(count):
        client.execute("app:Dirty", "square", 7)
    return str((time.perf_counter() - begun) / count)
