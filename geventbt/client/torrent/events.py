"""The signals of one torrent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventbt.concurrency.dispatch import Dispatcher, OwnSignal, deliver, no_flow_control, with_receivers
from geventbt.signals import TORRENT_SIGNALS


class TorrentEvents:
    """Listeners to the signals of one torrent, called in order on a greenlet of its own.

    Attributes:
        sender: the torrent, the first argument of each handler.
    """

    def __init__(self) -> None:
        self.sender: object = None
        self._signals: dict[str, OwnSignal] = {}
        self._dispatcher = Dispatcher(no_flow_control())

    def on(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call a handler at every signal of that name. Returns the handler.

        Raises:
            LookupError: a torrent has no such signal.
        """
        if name not in TORRENT_SIGNALS:
            raise LookupError(f"a torrent has no signal {name!r}: it has {', '.join(TORRENT_SIGNALS)}")
        if name not in self._signals:
            self._signals[name] = OwnSignal(TORRENT_SIGNALS[name].__doc__)
        return self._signals[name].connect(handler)

    def send(self, name: str, **fields: Any) -> None:
        """Have the handlers called soon."""
        receivers = with_receivers(TORRENT_SIGNALS[name], self._signals.get(name))
        if receivers:
            self._dispatcher.call(deliver, receivers, self.sender, fields)
