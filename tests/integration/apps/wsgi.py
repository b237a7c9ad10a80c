"""A WSGI app without a framework."""

import dataclasses
import json
import os
import time

import gipc
from gipc.integrations import gunicorn


def where():
    return {"pid": os.getpid()}


def app(environ, start_response):
    status = "200 OK"
    path = environ["PATH_INFO"]
    if path == "/stats":
        body = dataclasses.asdict(gunicorn.stats())
    elif path == "/late":
        try:
            body = gunicorn.offload(time.sleep, 60, timeout=0.1)
        except gipc.OffloadTimeout as error:
            status, body = "504 Gateway Timeout", {"error": str(error)}
    else:
        body = gunicorn.offload(where)
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
