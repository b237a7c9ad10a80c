"""The executor's tests. ``GIPC_TEST_PATCHED=1`` in the environment monkey-patches them."""

import os

if os.environ.get("GIPC_TEST_PATCHED"):
    from gevent import monkey

    monkey.patch_all()
