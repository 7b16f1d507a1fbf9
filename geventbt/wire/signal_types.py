"""The handlers of each signal of a wire, and the overloads of the methods that are given a signal's name. For type
checkers; see `geventbt.overloads`.

Handlers are called ``handler(wire, **fields)``: they may take the fields in any order, but by their names. The type of
the wire is left open, because `geventbt.wire.wire` imports this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar, overload

from geventbt.protocol.handshake import Extensions
from geventbt.wire import signal_fields as fields


class HandshakeHandler(Protocol):
    def __call__(self, wire: Any, /, *, info_hash: bytes, peer_id: bytes, extensions: Extensions) -> object: ...


class ExtendedHandshakeHandler(Protocol):
    def __call__(self, wire: Any, /, *, handshake: dict[str, Any]) -> object: ...


class ExtendedHandler(Protocol):
    def __call__(self, wire: Any, /, *, name: str | None, extended_id: int, payload: bytes) -> object: ...


class PlainHandler(Protocol):
    def __call__(self, wire: Any, /) -> object: ...


class IndexHandler(Protocol):
    def __call__(self, wire: Any, /, *, index: int) -> object: ...


class BitfieldHandler(Protocol):
    def __call__(self, wire: Any, /, *, bitfield: bytes) -> object: ...


class BlockHandler(Protocol):
    def __call__(self, wire: Any, /, *, index: int, begin: int, length: int) -> object: ...


class RequestHandler(Protocol):
    def __call__(
        self,
        wire: Any,
        /,
        *,
        index: int,
        begin: int,
        length: int,
        respond: Callable[[bytes | bytearray | memoryview | Exception], object],
    ) -> object: ...


class PieceHandler(Protocol):
    def __call__(self, wire: Any, /, *, index: int, begin: int, block: bytes) -> object: ...


class PortHandler(Protocol):
    def __call__(self, wire: Any, /, *, listen_port: int) -> object: ...


class HashRequestHandler(Protocol):
    def __call__(
        self, wire: Any, /, *, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int
    ) -> object: ...


class HashesHandler(Protocol):
    def __call__(
        self,
        wire: Any,
        /,
        *,
        pieces_root: bytes,
        base_layer: int,
        index: int,
        length: int,
        proof_layers: int,
        hashes: bytes,
    ) -> object: ...


class UnknownMessageHandler(Protocol):
    def __call__(self, wire: Any, /, *, id: int, payload: bytes) -> object: ...


class CountHandler(Protocol):
    def __call__(self, wire: Any, /, *, count: int) -> object: ...


class CloseHandler(Protocol):
    def __call__(self, wire: Any, /, *, error: Exception | None) -> object: ...


class ErrorHandler(Protocol):
    def __call__(self, wire: Any, /, *, error: Exception) -> object: ...


class AnyHandler(Protocol):
    """A handler of a signal whose name is not known: one that takes ``**fields``."""

    def __call__(self, wire: Any, /, *, any_field: Any = ...) -> object: ...


_Handshake = TypeVar("_Handshake", bound=HandshakeHandler)
_ExtendedHandshake = TypeVar("_ExtendedHandshake", bound=ExtendedHandshakeHandler)
_Extended = TypeVar("_Extended", bound=ExtendedHandler)
PlainT = TypeVar("PlainT", bound=PlainHandler)
IndexT = TypeVar("IndexT", bound=IndexHandler)
_Bitfield = TypeVar("_Bitfield", bound=BitfieldHandler)
_Block = TypeVar("_Block", bound=BlockHandler)
_Request = TypeVar("_Request", bound=RequestHandler)
_Piece = TypeVar("_Piece", bound=PieceHandler)
_Port = TypeVar("_Port", bound=PortHandler)
_HashRequest = TypeVar("_HashRequest", bound=HashRequestHandler)
_Hashes = TypeVar("_Hashes", bound=HashesHandler)
_UnknownMessage = TypeVar("_UnknownMessage", bound=UnknownMessageHandler)
_Count = TypeVar("_Count", bound=CountHandler)
_Close = TypeVar("_Close", bound=CloseHandler)
ErrorT = TypeVar("ErrorT", bound=ErrorHandler)
AnyT = TypeVar("AnyT", bound=AnyHandler)


class On(Protocol):
    """`Wire.on` and `Wire.once`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(self, name: Literal["handshake"], handler: _Handshake) -> _Handshake: ...
    @overload
    def __call__(self, name: Literal["extended_handshake"], handler: _ExtendedHandshake) -> _ExtendedHandshake: ...
    @overload
    def __call__(self, name: Literal["extended"], handler: _Extended) -> _Extended: ...
    @overload
    def __call__(self, name: fields.Plain, handler: PlainT) -> PlainT: ...
    @overload
    def __call__(self, name: fields.OfPiece, handler: IndexT) -> IndexT: ...
    @overload
    def __call__(self, name: Literal["bitfield"], handler: _Bitfield) -> _Bitfield: ...
    @overload
    def __call__(self, name: fields.OfBlock, handler: _Block) -> _Block: ...
    @overload
    def __call__(self, name: Literal["request"], handler: _Request) -> _Request: ...
    @overload
    def __call__(self, name: Literal["piece"], handler: _Piece) -> _Piece: ...
    @overload
    def __call__(self, name: Literal["port"], handler: _Port) -> _Port: ...
    @overload
    def __call__(self, name: Literal["hash_request", "hash_reject"], handler: _HashRequest) -> _HashRequest: ...
    @overload
    def __call__(self, name: Literal["hashes"], handler: _Hashes) -> _Hashes: ...
    @overload
    def __call__(self, name: Literal["unknown_message"], handler: _UnknownMessage) -> _UnknownMessage: ...
    @overload
    def __call__(self, name: Literal["download", "upload"], handler: _Count) -> _Count: ...
    @overload
    def __call__(self, name: Literal["close"], handler: _Close) -> _Close: ...
    @overload
    def __call__(self, name: Literal["error"], handler: ErrorT) -> ErrorT: ...


class WaitFor(Protocol):
    """`Wire.wait_for`."""

    @overload
    def __call__(self, signal_name: Literal["handshake"], timeout: float | None = None) -> fields.HandshakeFields: ...
    @overload
    def __call__(
        self, signal_name: Literal["extended_handshake"], timeout: float | None = None
    ) -> fields.ExtendedHandshakeFields: ...
    @overload
    def __call__(self, signal_name: Literal["extended"], timeout: float | None = None) -> fields.ExtendedFields: ...
    @overload
    def __call__(self, signal_name: fields.Plain, timeout: float | None = None) -> fields.NoFields: ...
    @overload
    def __call__(self, signal_name: fields.OfPiece, timeout: float | None = None) -> fields.IndexFields: ...
    @overload
    def __call__(self, signal_name: Literal["bitfield"], timeout: float | None = None) -> fields.BitfieldFields: ...
    @overload
    def __call__(self, signal_name: fields.OfBlock, timeout: float | None = None) -> fields.BlockFields: ...
    @overload
    def __call__(self, signal_name: Literal["request"], timeout: float | None = None) -> fields.RequestFields: ...
    @overload
    def __call__(self, signal_name: Literal["piece"], timeout: float | None = None) -> fields.PieceFields: ...
    @overload
    def __call__(self, signal_name: Literal["port"], timeout: float | None = None) -> fields.PortFields: ...
    @overload
    def __call__(
        self, signal_name: Literal["hash_request", "hash_reject"], timeout: float | None = None
    ) -> fields.HashRequestFields: ...
    @overload
    def __call__(self, signal_name: Literal["hashes"], timeout: float | None = None) -> fields.HashesFields: ...
    @overload
    def __call__(
        self, signal_name: Literal["unknown_message"], timeout: float | None = None
    ) -> fields.UnknownMessageFields: ...
    @overload
    def __call__(
        self, signal_name: Literal["download", "upload"], timeout: float | None = None
    ) -> fields.CountFields: ...
    @overload
    def __call__(self, signal_name: Literal["close"], timeout: float | None = None) -> fields.CloseFields: ...
    @overload
    def __call__(self, signal_name: Literal["error"], timeout: float | None = None) -> fields.ErrorFields: ...
    @overload
    def __call__(self, signal_name: str, timeout: float | None = None) -> Mapping[str, Any]: ...
