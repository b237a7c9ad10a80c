"""What programs use to run children of each start method."""

import multiprocessing

import gipc

METHODS = multiprocessing.get_all_start_methods()


def run_child(method, function, *args, **options):
    """Run a child, and insist that it succeeds."""
    child = gipc.start_process(function, args, mp_context=method, **options)
    child.join()
    assert child.exitcode == 0, (method, child.exitcode)


def run_children(function, *args):
    """Run a child of each start method."""
    for method in METHODS:
        run_child(method, function, *args)
