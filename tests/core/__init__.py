"""The core's tests. Importing this package puts the process into the mode under test.

The mode comes from the environment, so that a child that imports a test module gets
into it too: ``GIPC_TEST_PATCHED=1`` monkey-patches, ``GIPC_TEST_METHOD`` chooses the
start method; ``GEVENT_LOOP`` (gevent's own) and ``GIPC_TRANSPORT`` do the rest.
"""

import os

if os.environ.get("GIPC_TEST_PATCHED"):
    from gevent import monkey

    monkey.patch_all()

if os.environ.get("GIPC_TEST_METHOD"):
    import multiprocessing

    # A child that is not forked has got it already.
    multiprocessing.set_start_method(os.environ["GIPC_TEST_METHOD"], force=True)
