"""The handlers of each signal of a server, and the overloads of `PeerServer.on`; as `geventbt.wire.signal_types`."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeVar, overload

from geventbt.wire.signal_types import AnyHandler, PlainHandler
from geventbt.wire.wire import Wire


class PeerHandler(Protocol):
    def __call__(self, server: Any, /, *, wire: Wire) -> object: ...


class PeerErrorHandler(Protocol):
    def __call__(self, server: Any, /, *, error: Exception, wire: Wire) -> object: ...


_Peer = TypeVar("_Peer", bound=PeerHandler)
_PeerError = TypeVar("_PeerError", bound=PeerErrorHandler)
_Plain = TypeVar("_Plain", bound=PlainHandler)
_Any = TypeVar("_Any", bound=AnyHandler)


class ServerOn(Protocol):
    """`PeerServer.on`."""

    @overload
    def __call__(self, name: str, handler: _Any) -> _Any: ...
    @overload
    def __call__(self, name: Literal["peer_connected"], handler: _Peer) -> _Peer: ...
    @overload
    def __call__(self, name: Literal["error"], handler: _PeerError) -> _PeerError: ...
    @overload
    def __call__(self, name: Literal["stopping", "stop"], handler: _Plain) -> _Plain: ...
