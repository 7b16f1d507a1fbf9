"""The overloads of `ActiveTorrent.on`, with the handlers of each signal; as `geventbt.wire.signal_types`."""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar, overload

from geventbt.wire.server_signal_types import PeerHandler
from geventbt.wire.signal_types import AnyHandler, ErrorHandler, IndexHandler, PlainHandler

_Any = TypeVar("_Any", bound=AnyHandler)
_Index = TypeVar("_Index", bound=IndexHandler)
_Plain = TypeVar("_Plain", bound=PlainHandler)
_Peer = TypeVar("_Peer", bound=PeerHandler)
_Error = TypeVar("_Error", bound=ErrorHandler)


class TorrentOn(Protocol):
    """`ActiveTorrent.on`."""

    @overload
    def __call__(self, name: str, handler: _Any) -> _Any: ...
    @overload
    def __call__(
        self, name: Literal["piece_verified", "piece_failed", "piece_lost", "file_complete"], handler: _Index
    ) -> _Index: ...
    @overload
    def __call__(self, name: Literal["complete"], handler: _Plain) -> _Plain: ...
    @overload
    def __call__(self, name: Literal["peer_added", "peer_removed"], handler: _Peer) -> _Peer: ...
    @overload
    def __call__(self, name: Literal["error"], handler: _Error) -> _Error: ...
