"""Measure how fast messages travel: both sides are ready before the clock starts.

python synchronised.py [number of messages]
"""

import sys
import time

import gipc

READY, GO, END = "ready", "go", "end"


def produce(orders, messages, count):
    messages.put(READY)  # the interpreter and its imports are not to be measured
    assert orders.get() == GO
    payload = "x" * 100
    for _ in range(count):
        messages.put(payload)
    messages.put(END)


def main(count):
    with (
        gipc.pipe() as (child_orders, orders),
        gipc.pipe() as (messages, child_messages),
    ):
        child = gipc.start_process(
            produce,
            kwargs={"orders": child_orders, "messages": child_messages, "count": count},
        )
        assert messages.get() == READY
        begun = time.perf_counter()
        orders.put(GO)
        received = sum(1 for _ in iter(messages.get, END))
        seconds = time.perf_counter() - begun
        child.join()
    print(f"{received} messages in {seconds:.3f} s: {received / seconds:,.0f} per second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
