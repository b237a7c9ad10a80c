"""gevent's own web server, with the heavy part of its requests in children.

python pywsgi_server.py [port]      and then: curl http://127.0.0.1:8000/fib/30
"""

import signal
import sys

import gevent
from gevent.pywsgi import WSGIServer

import gipc


def fib(n):
    """Takes its time, and about 1.6 times as long for each n."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def make_app(executor):
    def app(environ, start_response):
        status, answer = "200 OK", "GET /fib/30, for example"
        path = environ["PATH_INFO"]
        if path.startswith("/fib/"):
            try:
                answer = executor.offload(fib, int(path.removeprefix("/fib/")))
            except ValueError:
                status, answer = "400 Bad Request", "a number, please"
            except gipc.OffloadTimeout as error:
                status, answer = "504 Gateway Timeout", error
            except gipc.QueueFull as error:
                status, answer = "503 Service Unavailable", error
        start_response(status, [("Content-Type", "text/plain")])
        return [f"{answer}\n".encode()]

    return app


def main(port):
    with gipc.ProcessPoolExecutor(max_workers=2, max_queue=20, timeout=5, nice=5) as executor:
        executor.warm_up()
        server = WSGIServer(("127.0.0.1", port), make_app(executor))
        gevent.signal_handler(signal.SIGTERM, server.stop)
        server.start()
        print(f"Serving on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
