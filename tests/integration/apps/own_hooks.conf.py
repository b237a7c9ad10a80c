"""gunicorn's settings for somebody who has hooks already."""

from gipc.integrations import gunicorn

worker_class = "gevent"


def post_fork(server, worker):
    gunicorn.post_fork(server, worker)
    worker.log.info("my post_fork ran")


def post_worker_init(worker):
    worker.log.info("my post_worker_init ran")
