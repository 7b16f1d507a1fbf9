"""The extensions that a wire uses, and the calls of their hooks (BEP 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from geventbt.concurrency.dispatch import Dispatcher
from geventbt.concurrency.flow import FlowControl
from geventbt.errors import LocalProtocolError
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.handshake import Handshake
from geventbt.protocol.messages import Buffer

if TYPE_CHECKING:
    from geventbt.extensions.extension import Extension


class PlugIns(dict[str, "Extension"]):
    """The extensions in use, by name.

    Held by the wire alone: an extension refers to its wire, and the event loop to the engine, so that a wire that the
    engine kept alive by its extensions would never be collected.
    """

    __slots__ = ("__weakref__",)

    def add(self, extension: Extension, wire_type: type) -> None:
        """Add an extension, which is then also an attribute of the wire.

        Raises:
            LocalProtocolError: its name is empty, or is an attribute of a wire or of another extension.
        """
        name = extension.name
        if not name or name in self or name.startswith(("_", "on_")) or hasattr(wire_type, name):
            raise LocalProtocolError(f"cannot use the extension {extension!r}: its name {name!r} is empty or taken")
        self[name] = extension


class ExtensionCalls:
    """Calls the hooks of extensions in the order of the peer's messages.

    On a greenlet of their own, so that a slow handler of a signal does not stall them.

    Args:
        plug_ins: of the wire; referred to weakly, see `PlugIns`.
        flow: of the wire.
    """

    __slots__ = ("_dispatcher", "_plug_ins")

    def __init__(self, plug_ins: PlugIns, flow: FlowControl) -> None:
        self._plug_ins = ref(plug_ins)
        self._dispatcher = Dispatcher(flow)

    def set_plug_ins(self, plug_ins: PlugIns) -> None:
        """Call these from now on: of a wire that is being collected, whose weak references are cleared."""
        self._plug_ins = ref(plug_ins)

    @property
    def _in_use(self) -> dict[str, Extension]:
        plug_ins = self._plug_ins()
        return {} if plug_ins is None else plug_ins

    def on_handshake(self, handshake: Handshake) -> None:
        """The peer's handshake has arrived."""
        for extension in self._in_use.values():
            self._dispatcher.call(extension.on_handshake, handshake)

    def on_extended_handshake(self, handshake: ExtendedHandshake) -> None:
        """The peer's extended handshake has arrived."""
        for extension in self._in_use.values():
            self._dispatcher.call(extension.on_extended_handshake, handshake)

    def catch_up(self, extension: Extension, handshake: Handshake | None, extended: ExtendedHandshake) -> None:
        """An extension comes into use when these handshakes have arrived already."""
        if handshake is not None:
            self._dispatcher.call(extension.on_handshake, handshake)
        if extended:
            self._dispatcher.call(extension.on_extended_handshake, extended)

    def on_message(self, name: str | None, payload: Buffer) -> None:
        """A message has arrived for the extension of that name; None, or one that is not in use, for none."""
        extension = self._in_use.get(name) if name is not None else None
        if extension is not None:
            self._dispatcher.call(extension.on_message, bytes(payload))

    def on_close(self, error: Exception | None) -> None:
        """The wire is closed; `error` is the reason, or None after an ordinary close."""
        for extension in self._in_use.values():
            self._dispatcher.call(extension.on_close, error)
