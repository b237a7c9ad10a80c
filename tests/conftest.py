"""In which order tests run."""


def pytest_collection_modifyitems(items):
    # Whole suites begin first: the other tests fill the time until they have ended.
    items.sort(key=lambda item: item.path.name != "check_modes.py")
