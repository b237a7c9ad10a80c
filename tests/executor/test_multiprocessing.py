"""What multiprocessing has works in tasks, as in its own processes."""

import multiprocessing
import os

import pytest

import gipc
from tests.executor import surroundings, tasks
from tests.processes import PATIENCE
from tests.programs import PATCHED

# Descriptors of the server are closed in a forked child, those of a queue too.
not_forked = pytest.mark.parametrize(
    "method", ["forkserver", pytest.param("spawn", marks=pytest.mark.once)], indirect=True
)


def test_a_child_has_its_name_and_its_parent_as_the_server_knows_them(make):
    own = multiprocessing.current_process()
    assert make().offload(surroundings.family) == {
        "name": "gipc-1",
        "authkey": bytes(own.authkey),
        "parent": (os.getpid(), own.name),
        "parent is alive": True,
        "parent has ended": False,
    }


@not_forked
def test_locks_values_queues_and_events_can_be_given_to_the_initializer(make, method):
    context = multiprocessing.get_context(method)
    lock, value = context.Lock(), context.Value("i", 41)
    queue, event = context.Queue(), context.Event()
    executor = make(initializer=surroundings.keep, initargs=(lock, value, queue, event))
    for expected in (42, 43):  # the second time in another child
        executor.offload(surroundings.use_kept)
        assert event.wait(PATIENCE)
        event.clear()
        assert queue.get(timeout=PATIENCE) == value.value == expected
        with lock, pytest.raises(gipc.ChildDied):
            executor.offload(tasks.die)


SHARED = """
import os, sys
from multiprocessing import resource_tracker, shared_memory
import gipc
from tests.processes import command_of, pids_with_environment, wait_until

def write(name, number):
    memory = shared_memory.SharedMemory(name)
    memory.buf[0] = number
    memory.close()

def processes():
    return pids_with_environment(sys.argv[2])

if __name__ == "__main__":
    memory = shared_memory.SharedMemory(create=True, size=1)
    tracker = resource_tracker._resource_tracker._pid
    with gipc.ProcessPoolExecutor(1, sys.argv[1]) as executor:
        executor.offload(write, memory.name, 7)
        # Another one would remove the memory when the child has ended.
        assert {pid for pid in processes() if "resource_tracker" in command_of(pid)} == {tracker}
    wait_until(lambda: processes() == {os.getpid(), tracker}, "all others have ended")
    again = shared_memory.SharedMemory(memory.name)
    print(again.buf[0])
    again.close()
    memory.close()
    memory.unlink()
"""


def test_shared_memory_of_the_server_outlives_the_children_that_attach_it(programs, method):
    ended = programs.run(SHARED, method, programs.mark)
    assert (ended.output, ended.errors) == ("7\n", "")


@pytest.mark.skipif(PATCHED, reason="multiprocessing's pools do not work in a patched process")
def test_managers_and_pools_of_multiprocessing_can_be_used_in_a_task(make):
    executor = make()
    assert executor.offload(surroundings.use_manager) == [1, 2, 3]
    for method in ("spawn", "forkserver"):
        assert executor.offload(surroundings.use_pool, method) == 3
