"""The handlers of each signal of a server, and the overloads of `PeerServer.on`; as `geventbt.wire.signal_types`."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeVar, overload

from geventbt.wire.signal_types import AnyT, PlainT
from geventbt.wire.wire import Wire


class PeerHandler(Protocol):
    def __call__(self, server: Any, /, *, wire: Wire) -> object: ...


class PeerErrorHandler(Protocol):
    def __call__(self, server: Any, /, *, error: Exception, wire: Wire) -> object: ...


PeerT = TypeVar("PeerT", bound=PeerHandler)
_PeerError = TypeVar("_PeerError", bound=PeerErrorHandler)


class ServerOn(Protocol):
    """`PeerServer.on`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(self, name: Literal["peer_connected"], handler: PeerT) -> PeerT: ...
    @overload
    def __call__(self, name: Literal["error"], handler: _PeerError) -> _PeerError: ...
    @overload
    def __call__(self, name: Literal["stopping", "stop"], handler: PlainT) -> PlainT: ...
