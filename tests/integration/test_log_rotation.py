"""Where output goes after gunicorn has opened its log again."""

import os
import signal

from tests.integration.servers import gunicorn
from tests.processes import descriptors_of, is_running, wait_until

CONFIG = """
import os
from gipc.integrations.gunicorn import configure, post_fork

worker_class = "gevent"
capture_output = True
configure(max_workers=1, timeout=30)
stdout = os.dup(1)  # before it becomes the log

def when_ready(server):
    os.write(stdout, f"Listening at: {server.LISTENERS[0]}".encode())
"""

APP = """
import os
from gipc.integrations.gunicorn import offload

def say(what):
    print("a task says:", what)
    return os.getpid()

def app(environ, start_response):
    pid = offload(say, environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(pid).encode()]
"""


def test_what_tasks_print_goes_to_the_log_that_gunicorn_has_opened_last(tmp_path):
    (tmp_path / "conf.py").write_text(CONFIG)
    (tmp_path / "app.py").write_text(APP)
    log = tmp_path / "log"
    with gunicorn(
        "--error-logfile", str(log), folder=tmp_path, config=tmp_path / "conf.py"
    ) as server:
        (worker,) = wait_until(server.workers, "there is a worker")
        child = int(server.get("/before").text)
        former = log.rename(tmp_path / "former")
        server.signal(signal.SIGUSR1)
        wait_until(lambda: descriptors_of(worker)[1] == str(log), "the worker uses the new log")
        assert int(server.get("/meanwhile").text) == child
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: not is_running(child), "the child is gone")
        assert int(server.get("/after").text) != child
    said = [line for line in log.read_text().splitlines() if line.startswith("a task says")]
    assert said == ["a task says: /after"]
    assert former.read_text().count("a task says") == 2
