"""The handlers of each signal of the extensions, and the overloads of their `on`. For type checkers; see
`geventbt.overloads`.

As those of a wire they may take the fields in any order, but by their names.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeVar, overload

from geventbt.errors import GeventBTError
from geventbt.net.addresses import Address
from geventbt.wire.signal_types import AnyT, IndexT


class ExtensionOn(Protocol):
    """`Extension.on`: what the signals of an extension are, only its own class knows."""

    def __call__(self, name: Any, handler: Any) -> Any: ...


class FlagHandler(Protocol):
    def __call__(self, extension: Any, /, *, value: bool) -> object: ...


class MetadataHandler(Protocol):
    def __call__(self, extension: Any, /, *, metadata: bytes) -> object: ...


class PeersHandler(Protocol):
    def __call__(self, extension: Any, /, *, added: dict[Address, int], dropped: list[Address]) -> object: ...


class AddressHandler(Protocol):
    def __call__(self, extension: Any, /, *, address: Address) -> object: ...


class RefusalHandler(Protocol):
    def __call__(self, extension: Any, /, *, address: Address, code: int) -> object: ...


class WarningHandler(Protocol):
    def __call__(self, extension: Any, /, *, error: GeventBTError) -> object: ...


_Flag = TypeVar("_Flag", bound=FlagHandler)
_Metadata = TypeVar("_Metadata", bound=MetadataHandler)
_Peers = TypeVar("_Peers", bound=PeersHandler)
_Address = TypeVar("_Address", bound=AddressHandler)
_Refusal = TypeVar("_Refusal", bound=RefusalHandler)
_Warning = TypeVar("_Warning", bound=WarningHandler)


class LtDonthaveOn(Protocol):
    """`LtDonthave.on`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(self, name: Literal["donthave"], handler: IndexT) -> IndexT: ...


class UploadOnlyOn(Protocol):
    """`UploadOnly.on`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(self, name: Literal["upload_only"], handler: _Flag) -> _Flag: ...


class UtMetadataOn(Protocol):
    """`UtMetadata.on`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(self, name: Literal["metadata"], handler: _Metadata) -> _Metadata: ...
    @overload
    def __call__(self, name: Literal["warning"], handler: _Warning) -> _Warning: ...


class UtPexOn(Protocol):
    """`UtPex.on`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(self, name: Literal["peers"], handler: _Peers) -> _Peers: ...
    @overload
    def __call__(self, name: Literal["warning"], handler: _Warning) -> _Warning: ...


class UtHolepunchOn(Protocol):
    """`UtHolepunch.on`."""

    @overload
    def __call__(self, name: str, handler: AnyT) -> AnyT: ...
    @overload
    def __call__(self, name: Literal["rendezvous", "connect"], handler: _Address) -> _Address: ...
    @overload
    def __call__(self, name: Literal["error"], handler: _Refusal) -> _Refusal: ...
    @overload
    def __call__(self, name: Literal["warning"], handler: _Warning) -> _Warning: ...
