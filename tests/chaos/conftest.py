"""What all scenarios have in common."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    # They hurt gunicorn and the system: what an interpreter changes, other tests find.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.once)
