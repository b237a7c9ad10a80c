"""The process of an executor's child."""

from __future__ import annotations

from typing import Any

from gipc._core.descriptors import blank, open_descriptors
from gipc._core.patience import Patience
from gipc._fresh import reseed
from gipc._process import _GProcess


class PoolProcess(_GProcess):
    """A child of an executor.

    :ivar life: the end of its lifeline that it will hold.
    :ivar patience: for its start.
    """

    life: int | None = None
    patience: Patience

    def _finish_start(self) -> None:
        self._popen.finish(self.life, self.patience)
        self._sentinel = self._popen.sentinel

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_fork_server", "life", "patience"):
            state.pop(name, None)
        return state

    def _bootstrap(self, parent_sentinel: int | None = None) -> int:
        if self._gipc_method == "fork":
            own = {handle._fd for handle in self._args[:3]}
            blank(open_descriptors() - own - {0, 1, 2, parent_sentinel})
            reseed()
        return super()._bootstrap(parent_sentinel)
