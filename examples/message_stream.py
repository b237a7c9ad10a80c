"""A greenlet sends a stream of messages to a child, which adds them up.

python message_stream.py [number of messages]
"""

import sys

import gevent

import gipc


def send(writer, count):
    with writer:  # closed at the end: the child's next get raises EOFError
        for number in range(count):
            writer.put({"number": number})


def add_up(messages, result):
    total = count = 0
    while True:
        try:
            total += messages.get()["number"]
        except EOFError:
            break
        count += 1
    result.put((count, total))


def main(count):
    with gipc.pipe() as (messages, writer), gipc.pipe() as (result, result_writer):
        child = gipc.start_process(add_up, args=(messages, result_writer))
        sender = gevent.spawn(send, writer, count)
        received, total = result.get()  # other greenlets run meanwhile, the sender among them
        print(f"the child got {received} messages, their sum is {total}")
        sender.join()
        child.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
