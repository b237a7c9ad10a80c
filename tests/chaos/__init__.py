"""Real servers under load that are hurt. ``GIPC_CHAOS=long`` takes its time over it."""

import pytest

pytest.register_assert_rewrite("tests.chaos.support")
