"""Tasks that take too much memory."""

import signal

from tests.chaos.support import ask, assert_at_full_size, assert_quiet, gunicorn, pid_in, serves
from tests.processes import is_running, wait_until

LIMIT = 200 << 20


def test_a_child_that_is_too_large_after_its_task_is_replaced_and_the_log_says_so():
    with gunicorn(FLASK_GIPC_MAX_WORKERS="1", FLASK_GIPC_MAX_MEMORY_PER_CHILD=str(LIMIT)) as server:
        (child,) = server.stats()["children"]
        assert ask(server, "/eat/300").status == 200
        wait_until(lambda: not is_running(child["pid"]), "the child is gone")
        assert_at_full_size(server, each=1)
        (line,) = (line for line in server.log.splitlines() if "max_memory_per_child" in line)
        assert "[WARNING]" in line
        assert "chaos_tasks.eat" in line
        assert pid_in(line) == child["pid"]
        assert_quiet(server.log)


def test_a_child_that_is_small_enough_stays():
    with gunicorn(FLASK_GIPC_MAX_WORKERS="1", FLASK_GIPC_MAX_MEMORY_PER_CHILD=str(LIMIT)) as server:
        (child,) = server.stats()["children"]
        assert ask(server, "/eat/50").status == 200
        assert server.stats()["children"][0]["pid"] == child["pid"]
        assert "max_memory_per_child" not in server.log
        assert_at_full_size(server, each=1)


def test_a_task_that_gets_no_more_memory_fails_alone():
    with gunicorn(FLASK_GIPC_MAX_WORKERS="1") as server:
        (child,) = server.stats()["children"]
        answer = ask(server, "/eat_too_much")
        assert (answer.status, answer.error) == (500, "MemoryError")
        assert server.stats()["children"][0]["pid"] == child["pid"]
        assert serves(server)
        assert_at_full_size(server, each=1)


def test_a_child_that_the_kernel_kills_as_it_does_when_memory_is_short_is_told_of():
    with gunicorn(FLASK_GIPC_MAX_WORKERS="1") as server:
        (child,) = server.stats()["children"]
        answer = ask(server, f"/die/{signal.SIGKILL:d}")
        assert (answer.status, answer.error) == (500, "ChildDied")
        (line,) = (line for line in server.log.splitlines() if f"child {child['pid']} " in line)
        assert "[WARNING]" in line
        assert "was killed by SIGKILL" in line
        assert "chaos_tasks.die" in line
        assert_at_full_size(server, each=1)
        assert serves(server)
