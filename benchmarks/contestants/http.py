"""Asks gunicorn over HTTP: ``http.py gipc|dirty|inline square|ping|calls``.

The server has two children, or two dirty workers. This process is the client.
"""

import sys
import time

import gevent
from http_server import Connection, running
from turn import serve

CONNECTIONS = 16
HOGS = 2
P99 = 0.99


def square(units):
    """Requests by 16 connections at a time."""
    share = max(1, units // CONNECTIONS)

    def some(connection):
        for _ in range(share):
            connection.get(f"/square/{way}")

    begun = time.perf_counter()
    gevent.joinall([gevent.spawn(some, one) for one in connections], raise_error=True)
    return (time.perf_counter() - begun) / (share * CONNECTIONS)


def ping(units):
    """The 99th percentile of /ping, while two connections always ask for hard work."""
    hogs = [gevent.spawn(hog, one) for one in connections[:HOGS]]
    gevent.sleep(0.1)
    times = []
    for _ in range(units):
        begun = time.perf_counter()
        connections[-1].get("/ping")
        times.append(time.perf_counter() - begun)
        gevent.sleep(0.002)
    gevent.killall(hogs)
    connections[:HOGS] = [Connection(port) for _ in range(HOGS)]
    gevent.sleep(0.1)  # what they asked for ends
    return sorted(times)[int(P99 * units)]


def hog(connection):
    while True:
        connection.get(f"/burn/{way}")


def calls(units):
    """Calls in a row inside of one request."""
    return float(connections[0].get(f"/calls/{way}?count={units}"))


if __name__ == "__main__":
    way, work = sys.argv[1:]
    with running(dirty=way == "dirty") as (server, port):
        connections = [Connection(port) for _ in range(CONNECTIONS)]
        play = {"square": square, "ping": ping, "calls": calls}[work]
        serve(play, server if work != "calls" else None)
