"""Imported by an executor's fork server, first of all: makes it fit to serve.

The fork server must outlive what is sent to every process of a service at once, a
terminal's Ctrl-C or a service manager's SIGTERM, for the server may still want
children then. It ends when the server does.
"""

import os
import signal

# So that no child has to import them: what unpickles a child, and what runs in it.
import gipc._executor.launch
import gipc._executor.worker  # noqa: F401

os.setsid()
for _number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(_number, signal.SIG_IGN)
