"""Clients that do not wait for their answer."""

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.chaos.support import (
    assert_children_hold_nothing,
    assert_quiet,
    gunicorn,
    port_of,
    pywsgi,
    running_children,
    within,
)
from tests.processes import PATIENCE, is_running, wait_until

pytestmark = pytest.mark.xdist_group("disconnect")  # two servers serve them all


@pytest.fixture(scope="module", params=[gunicorn, pywsgi], ids=["gunicorn", "gevent.pywsgi"])
def shared(request):
    with request.param(FLASK_GIPC_MAX_WORKERS="1") as server:
        yield server


@pytest.fixture
def server(shared):
    shared.wait_until_running(0)
    yield shared
    assert_children_hold_nothing(shared)
    assert_quiet(shared.log)


@contextlib.contextmanager
def connection(server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port_of(server)), PATIENCE) as client:
        yield client


def send(client: socket.socket, *paths: str) -> None:
    requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths]
    client.sendall("".join(requests).encode())


def receive(client: socket.socket, *expected: bytes) -> None:
    """Read until all of *expected* has come, in this order."""
    data = b""
    for part in expected:
        while part not in data:
            more = client.recv(65536)
            assert more, data
            data += more
        data = data.partition(part)[2]


def close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def assert_cancelled_within_a_second(server, child: int, before: int) -> None:
    wait_until(lambda: not is_running(child), "the child is gone", within(1))
    wait_until(lambda: server.stats()["cancelled"] == before + 1, "the call counts as cancelled")
    wait_until(lambda: len(server.stats()["children"]) == 1, "the child is replaced")


@pytest.mark.parametrize("leave", [close, reset])
def test_the_child_of_a_client_that_left_is_stopped_and_replaced(server, leave):
    before = server.stats()["cancelled"]
    with connection(server) as client:
        send(client, "/sleep/600.0")
        (child,) = running_children(server, 1)
        leave(client)
        assert_cancelled_within_a_second(server, child, before)


def test_a_call_that_waits_for_a_child_is_cancelled_too(server):
    before = server.stats()["cancelled"]
    with connection(server) as patient, connection(server) as client:
        send(patient, "/sleep/600.0")
        (child,) = running_children(server, 1)
        send(client, "/sleep/600.0")
        running_children(server, 1, queued=1)
        client.close()
        wait_until(lambda: server.stats()["cancelled"] == before + 1, "it counts as cancelled")
        assert running_children(server, 1) == {child}


def test_a_client_that_leaves_after_an_answer_on_the_same_connection_is_noticed(server):
    before = server.stats()["cancelled"]
    with connection(server) as client:
        send(client, "/square/7")
        receive(client, b"200 OK", b'"square":49')
        send(client, "/sleep/600.0")
        (child,) = running_children(server, 1)
        client.close()
        assert_cancelled_within_a_second(server, child, before)


def test_a_client_that_sends_its_next_request_early_is_not_taken_for_gone(server):
    before = server.stats()["cancelled"]
    with connection(server) as client:
        send(client, "/sleep/3.0")
        running_children(server, 1)
        send(client, "/square/8", "/square/9")
        receive(client, b'"slept":3.0', b'"square":64', b'"square":81')
    assert server.stats()["cancelled"] == before


def test_a_client_that_leaves_after_sending_its_next_request_is_noticed(server):
    before = server.stats()["cancelled"]
    with connection(server) as client:
        send(client, "/sleep/600.0", "/ping")
        (child,) = running_children(server, 1)
        client.close()
        assert_cancelled_within_a_second(server, child, before)


def test_a_request_whose_body_is_not_read_is_served(server):
    with connection(server) as client:
        client.sendall(
            b"POST /sleep/0.8 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
        )
        receive(client, b"200 OK", b'"slept":0.8')


def test_a_stream_ends_with_its_client(server):
    before = server.stats()["cancelled"]
    with connection(server) as client:
        send(client, "/count/3/600.0")
        receive(client, b"200 OK", b"0 ")
        (child,) = running_children(server, 1)
        client.close()
        assert_cancelled_within_a_second(server, child, before)


def test_a_stream_to_a_patient_client_is_complete(server):
    with connection(server) as client:
        send(client, "/count/4/0.4")
        receive(client, b"200 OK", b"0 ", b"1 ", b"2 ", b"3 ")


def test_without_cancel_on_disconnect_the_call_goes_on():
    with gunicorn(FLASK_GIPC_CANCEL_ON_DISCONNECT="false") as server:
        with connection(server) as client:
            send(client, "/sleep/3.0")
            (child,) = running_children(server, 1)
        wait_until(lambda: server.stats()["completed"] == 1, "the call is completed")
        stats = server.stats()
        assert stats["cancelled"] == 0
        assert child in {each["pid"] for each in stats["children"]}
