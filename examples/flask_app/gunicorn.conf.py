"""gunicorn's settings for the example."""

from gipc.integrations.gunicorn import post_fork  # noqa: F401  # gunicorn calls it

worker_class = "gevent"
bind = "127.0.0.1:8000"
graceful_timeout = 10
