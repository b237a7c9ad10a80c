"""gunicorn's settings for the chaos suite's server."""

from gipc.integrations.gunicorn import post_fork  # noqa: F401  # gunicorn calls it

worker_class = "gevent"
