"""Messages beyond what 31 bits can count."""

import hashlib

import gevent
import pytest

import gipc

from .support import default_mode_only

MORE_THAN_2_GIB = (1 << 31) + 12345


@default_mode_only
@pytest.mark.once
def test_a_message_of_more_than_2_gib_arrives():
    message = bytes(MORE_THAN_2_GIB - 1) + b"!"
    with gipc.pipe(encoder=None, decoder=None) as (reader, writer):
        putting = gevent.spawn(writer.put, message)
        received = reader.get()
        putting.get()
    assert len(received) == MORE_THAN_2_GIB
    assert hashlib.blake2b(received).digest() == hashlib.blake2b(message).digest()
