"""The overloads of `ActiveTorrent.on`, with the handlers of each signal; as `geventbt.wire.signal_types`."""

from __future__ import annotations

from typing import Literal, Protocol, overload

from geventbt.wire.server_signal_types import PeerT
from geventbt.wire.signal_types import AnyT, ErrorT, IndexT, PlainT


class TorrentOn(Protocol):
    """`ActiveTorrent.on`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(
        self, name: Literal["piece_verified", "piece_failed", "piece_lost", "file_complete"], handler: IndexT
    ) -> IndexT: ...
    @overload
    def __call__(self, name: Literal["complete"], handler: PlainT) -> PlainT: ...
    @overload
    def __call__(self, name: Literal["peer_added", "peer_removed"], handler: PeerT) -> PeerT: ...
    @overload
    def __call__(self, name: Literal["error"], handler: ErrorT) -> ErrorT: ...
