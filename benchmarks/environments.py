"""Where contestants run: this interpreter, or one that has gipc 1.8 instead."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
_OLD_GIPC = "1.8.0"
_OLD_HOME = ROOT / f".venv-gipc-{_OLD_GIPC}"


def this_python() -> str:
    return sys.executable


def old_python() -> str:
    """The interpreter of an environment with gipc 1.8 and the gevent that we have here."""
    python = _OLD_HOME / "bin" / "python"
    wanted = [f"gipc=={_OLD_GIPC}", f"gevent=={importlib.metadata.version('gevent')}"]
    marker = _OLD_HOME / "installed"
    if not marker.exists() or marker.read_text().split() != wanted:
        print(f"installing {' and '.join(wanted)} in {_OLD_HOME.name}", flush=True)
        venv.create(_OLD_HOME, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True)
        marker.write_text("\n".join(wanted))
    return str(python)
