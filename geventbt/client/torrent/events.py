"""The signals of one torrent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventbt.concurrency.dispatch import Dispatcher, OwnSignal, deliver, no_flow_control
from geventbt.signals import TORRENT_SIGNALS


class TorrentEvents:
    """Calls handlers, in order, on a greenlet of the torrent.

    Attributes:
        sender: the torrent, the first argument of each handler.
    """

    def __init__(self) -> None:
        self.sender: object = None
        self._signals = {name: OwnSignal(signal.__doc__) for name, signal in TORRENT_SIGNALS.items()}
        self._dispatcher = Dispatcher(no_flow_control())

    def on(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call a handler at every signal of that name. Returns the handler.

        Raises:
            LookupError: a torrent has no such signal.
        """
        if name not in self._signals:
            raise LookupError(f"a torrent has no signal {name!r}: it has {', '.join(self._signals)}")
        return self._signals[name].connect(handler)

    def send(self, name: str, **fields: Any) -> None:
        """Have the handlers called soon."""
        if self._signals[name].receivers or TORRENT_SIGNALS[name].receivers:
            self._dispatcher.call(self._deliver, name, fields)

    def _deliver(self, name: str, fields: dict[str, Any]) -> None:
        deliver(TORRENT_SIGNALS[name], self.sender, fields)
        deliver(self._signals[name], self.sender, fields)
