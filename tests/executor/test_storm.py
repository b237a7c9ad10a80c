"""Many calls of mixed fates at once, and that all of it adds up."""

import collections
import gc
import itertools
import os
import random

import gevent
import pytest

import gipc
from tests.executor import tasks
from tests.processes import children_of, descriptors_of, wait_until

CALLS, CALLERS = 2_000, 50


class Caller:
    """Makes calls whose fates a seeded random number decides, and checks each."""

    def __init__(self, executor, seed, outcomes):
        self.executor = executor
        self.random = random.Random(seed)
        self.outcomes = outcomes

    def run(self, count):
        fates = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
        for fate in fates:
            self.outcomes[fate(self)] += 1

    def succeed(self):
        number = self.random.randrange(1000)
        assert self.executor.offload(tasks.square, number) == number * number
        return "completed"

    def succeed_with_much(self):
        size = self.random.randrange(300_000)
        assert self.executor.offload(tasks.zeros, size) == bytes(size)
        return "completed"

    def succeed_in_the_future(self):
        number = self.random.randrange(1000)
        assert self.executor.submit(tasks.square, number).result() == number * number
        return "completed"

    def fail(self):
        with pytest.raises(ValueError, match="as asked"):
            self.executor.offload(tasks.fail, "as asked")
        return "failed"

    def stream(self):
        number = self.random.randrange(50)
        assert list(self.executor.stream(tasks.count_to, number)) == list(range(number))
        return "completed"

    def fail_in_a_stream(self):
        with pytest.raises(ValueError, match="enough"):
            list(self.executor.stream(tasks.count_and_fail, 3))
        return "failed"

    def leave_a_stream(self):
        with self.executor.stream(tasks.count_to, 10**9) as items:
            assert list(itertools.islice(items, 3)) == [0, 1, 2]
        return "cancelled"

    def die(self):
        with pytest.raises(gipc.ChildDied) as caught:
            self.executor.offload(tasks.die)
        assert caught.value.signal == 9
        return "died"

    def overrun(self):
        with pytest.raises(gipc.OffloadTimeout):
            self.executor.offload(tasks.sleep, timeout=self.random.uniform(0.001, 0.05))
        return "timed_out"

    def be_killed(self):
        call = gevent.spawn(self.executor.offload, tasks.sleep)
        gevent.sleep(self.random.uniform(0.001, 0.02))
        call.kill()
        return "cancelled"

    def give_up(self):
        with pytest.raises(gevent.Timeout), gevent.Timeout(self.random.uniform(0.001, 0.02)):
            self.executor.offload(tasks.sleep)
        return "cancelled"


WEIGHTS = {
    Caller.succeed: 60,
    Caller.succeed_with_much: 5,
    Caller.succeed_in_the_future: 8,
    Caller.fail: 10,
    Caller.stream: 8,
    Caller.fail_in_a_stream: 4,
    Caller.leave_a_stream: 1,
    Caller.die: 1,
    Caller.overrun: 1,
    Caller.be_killed: 1,
    Caller.give_up: 1,
}


def living_greenlets():
    gc.collect()
    return sum(isinstance(each, gevent.Greenlet) and not each.dead for each in gc.get_objects())


@pytest.mark.timeout(300)
def test_thousands_of_calls_of_mixed_fates_add_up(method):
    own = os.getpid()
    gevent.sleep(0)  # makes the hub, which stays
    with gipc.ProcessPoolExecutor(1, method) as executor:  # and so does what this starts
        executor.offload(tasks.square, 1)
    descriptors, greenlets = len(descriptors_of(own)), living_greenlets()
    processes = children_of(own)
    outcomes = collections.Counter()

    executor = gipc.ProcessPoolExecutor(4, method)
    callers = [Caller(executor, seed, outcomes) for seed in range(CALLERS)]
    jobs = [gevent.spawn(caller.run, CALLS // CALLERS) for caller in callers]
    gevent.joinall(jobs, raise_error=True)

    stats = executor.stats()
    assert sum(outcomes.values()) == stats.submitted == CALLS
    assert outcomes == {name: getattr(stats, name) for name in outcomes}
    assert stats.refused == stats.running == stats.queued == 0
    executor.shutdown()
    # Its thread is ending meanwhile.
    wait_until(lambda: living_greenlets() <= greenlets, "no greenlet is left")
    wait_until(lambda: len(descriptors_of(own)) <= descriptors, "no descriptor is left")
    assert children_of(own) <= processes
