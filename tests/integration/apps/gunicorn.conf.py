"""gunicorn's settings for an app without a framework."""

from gipc.integrations.gunicorn import configure, post_fork  # noqa: F401

worker_class = "gevent"
configure(max_workers=1, timeout=30)
