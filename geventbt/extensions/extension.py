"""The base class of plug-ins for the extension protocol (BEP 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from geventbt import bencoding
from geventbt.concurrency.dispatch import OwnSignal, deliver
from geventbt.handlers import check_handler
from geventbt.net.addresses import address_text
from geventbt.overloads import TypedAs
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.handshake import Handshake

if TYPE_CHECKING:
    from geventbt.extensions.signal_types import ExtensionOn

_typed_as_on: TypedAs[ExtensionOn] = TypedAs()


class ExtensionWire(Protocol):
    """The part of `geventbt.Wire` that extensions use; see its documentation.

    An extension that needs more of a wire annotates the argument of its ``__init__`` as `geventbt.Wire`, and keeps it.
    """

    @property
    def info_hash(self) -> bytes | None: ...

    @property
    def peer_id(self) -> bytes | None: ...

    @property
    def remote_address(self) -> tuple[str, int]: ...

    @property
    def extended_handshake(self) -> ExtendedHandshake: ...

    @property
    def peer_extended_handshake(self) -> ExtendedHandshake: ...

    @property
    def peer_extended_mapping(self) -> dict[str, int]: ...

    @property
    def closed(self) -> bool: ...

    @property
    def close_reason(self) -> Exception | None: ...

    def extended(self, name: str, payload: bytes) -> None: ...

    def wait_drained(self, timeout: float | None = None) -> None: ...

    def forget_piece(self, piece: int) -> bool: ...

    def close(self, timeout: float = 5.0) -> None: ...


class Extension:
    """An extension of one wire: subclass it, give it a `name`, and pass the class to `Wire.use`.

    The hooks are called in the order of the peer's messages, on a greenlet of the wire, so they may block; their
    exceptions are logged.

    Attributes:
        name: as in the extended handshake, such as "ut_pex".
        signal_names: the signals that it sends; see `on` and `emit`.
        wire: the wire that it belongs to.
    """

    name: str = ""
    signal_names: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("on_handshake", "on_extended_handshake", "on_message", "on_close"):
            check_handler(getattr(cls, name), f"{cls.__name__}.{name}")

    def __init__(self, wire: ExtensionWire) -> None:
        self.wire = wire
        self._signals: dict[str, OwnSignal] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {address_text(self.wire.remote_address)}>"

    @property
    def signals(self) -> dict[str, OwnSignal]:
        """A blinker signal of this extension for each of `signal_names`."""
        if self._signals is None:
            # Made when first used, as most extensions never have a listener.
            self._signals = {name: OwnSignal() for name in self.signal_names}
        return self._signals

    @_typed_as_on
    def on(self, name: str, handler: Callable[..., object]) -> Any:
        """Call ``handler(extension, **fields)`` at every signal of that name. Returns the handler.

        Raises:
            LookupError: the extension has no such signal.
            TypeError: the handler is a coroutine function.
        """
        if name not in self.signals:
            raise LookupError(f"the extension {self.name!r} has no signal {name!r}, only {self.signal_names}")
        return self.signals[name].connect(handler)

    def emit(self, name: str, **fields: Any) -> None:
        """Call the handlers of one of the signals at once; their exceptions are logged.

        Raises:
            LookupError: it is not one of `signal_names`.
        """
        if name not in self.signal_names:
            raise LookupError(f"the extension {self.name!r} has no signal {name!r}, only {self.signal_names}")
        if self._signals is not None:
            deliver([self._signals[name]], self, fields)

    @property
    def supported(self) -> bool:
        """Whether the peer has announced this extension, and has not switched it off."""
        return self.name in self.wire.peer_extended_mapping

    def on_handshake(self, handshake: Handshake) -> None:
        """The peer's handshake has arrived (BEP 3)."""

    def on_extended_handshake(self, handshake: ExtendedHandshake) -> None:
        """The peer's extended handshake has arrived; called again for each later one (BEP 10)."""

    def on_message(self, payload: bytes) -> None:
        """A message of this extension has arrived.

        Args:
            payload: untrusted; decode it with `geventbt.bencoding`, whose dictionaries have keys of bytes.
        """

    def on_close(self, error: Exception | None) -> None:
        """The wire is closed; `error` is the reason, or None after an ordinary close."""

    def send(self, message: Mapping[Any, Any] | bytes, data: bytes = b"") -> None:
        """Send a message of this extension.

        Args:
            message: a dictionary, which is bencoded (see `geventbt.bencoding.encode`), or the bytes themselves.
            data: bytes to follow it.

        Raises:
            TypeError: a value cannot be bencoded.
            LocalProtocolError: the peer does not support the extension.
            WireClosed: the wire is closed.
        """
        payload = message if isinstance(message, bytes) else bencoding.encode(message)
        self.wire.extended(self.name, payload + data)
