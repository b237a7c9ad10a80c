"""A TCP server that hands every line to a child and sends back what the child answers.

One duplex pipe and one child for each client, so that a slow client keeps nobody waiting.

    python duplex_echo.py [port]        and then, say: nc 127.0.0.1 8000
"""

import sys

from gevent.server import StreamServer

import gipc


def echo(handle):
    """Runs in the child, until the server closes its end."""
    with handle:
        while True:
            try:
                line = handle.get()
            except EOFError:
                return
            handle.put(line.upper())


def serve_client(client, address):
    with gipc.pipe(duplex=True) as (here, there):
        # Not forked from here: it would hold the connections of other clients open.
        child = gipc.start_process(echo, args=(there,), mp_context="forkserver")
        with client.makefile("rwb") as lines:
            for line in lines:
                here.put(line)
                lines.write(here.get())
                lines.flush()
    child.join()


def main(port):
    server = StreamServer(("127.0.0.1", port), serve_client)
    server.start()
    print(f"Serving on {server.server_host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
