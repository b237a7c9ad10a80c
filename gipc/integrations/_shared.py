"""What the server's integration tells the framework's, and the other way round."""

from __future__ import annotations

import weakref
from typing import Any, Protocol


class Warmable(Protocol):
    """Something that has an executor."""

    @property
    def executor(self) -> Any:
        """The executor; asking for it does not start children."""


#: What children may be started for before the first request.
warmables: weakref.WeakSet[Any] = weakref.WeakSet()

#: Elsewhere None stands for the default.
_MAY_BE_NONE = {"start_timeout"}

_defaults: dict[str, Any] = {}


def set_default(argument: str, value: Any) -> None:
    """Have executors that are made from now on use *value*, unless they say otherwise."""
    _defaults[argument] = value


def with_defaults(arguments: dict[str, Any]) -> dict[str, Any]:
    """An executor's arguments, completed by the server's defaults."""
    chosen = {
        name: value
        for name, value in arguments.items()
        if value is not None or name in _MAY_BE_NONE
    }
    return _defaults | chosen
