"""Many requests at once whose tasks all overrun."""

from concurrent.futures import ThreadPoolExecutor

from tests.chaos.support import LONG, ask, assert_at_full_size, children, gunicorn, serves, within
from tests.processes import wait_until

REQUESTS, AT_ONCE = (1000, 50) if LONG else (100, 25)
DEADLINE = 2.0


def test_each_of_many_late_requests_is_told_so_in_time_and_the_server_stays_responsive():
    with gunicorn() as server, ThreadPoolExecutor(AT_ONCE) as clients:
        sent = [
            clients.submit(ask, server, f"/sleep/600.0?timeout={DEADLINE}") for _ in range(REQUESTS)
        ]

        def storm_is_over() -> bool:
            # Two that serve, two that replace them, two that have not ended yet.
            assert len(children(server)) <= 6
            assert server.get("/ping").elapsed.total_seconds() < within(1)
            return all(call.done() for call in sent)

        wait_until(storm_is_over, "all requests are answered", REQUESTS / AT_ONCE * 10)
        for answer in (call.result() for call in sent):
            assert (answer.status, answer.error) == (504, "OffloadTimeout")
            assert answer.seconds < DEADLINE + within(1)
        assert_at_full_size(server)
        stats = server.stats()
        assert stats["timed_out"] == REQUESTS
        assert serves(server)
        log = server.log
        assert f"chaos_tasks.sleep took longer than {DEADLINE:g} s: child" in log
