"""upload_only: a peer that downloads nothing, such as a seed or one that has all its selected files (BEP 21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventbt.extensions.extension import Extension
from geventbt.protocol.extended import ExtendedHandshake

if TYPE_CHECKING:
    from geventbt.extensions.signal_types import UploadOnlyOn
    from geventbt.overloads import Overloaded


class UploadOnly(Extension):
    """Announces and receives whether a side only uploads (BEP 21).

    Signals: `upload_only` (value: whether the peer is now), when it changes.

    Attributes:
        peer_upload_only: whether the peer has announced that it only uploads.
    """

    name = "upload_only"
    signal_names = ("upload_only",)
    if TYPE_CHECKING:
        on: Overloaded[UploadOnlyOn]
    peer_upload_only = False

    def announce(self, value: bool) -> None:
        """Announce whether we only upload: in the extended handshake if it is not sent yet, else by a message.

        Raises:
            WireClosed: the wire is closed, after the peer has announced the extension.
        """
        self.wire.extended_handshake["upload_only"] = int(value)
        if self.supported:
            self.send(bytes([value]))

    def on_extended_handshake(self, handshake: ExtendedHandshake) -> None:
        """Read the peer's state from its extended handshake."""
        if "upload_only" in handshake:
            self._set(bool(handshake["upload_only"]))

    def on_message(self, payload: bytes) -> None:
        """Read a later change of the peer's state."""
        if len(payload) == 1:
            self._set(payload != b"\0")

    def _set(self, value: bool) -> None:
        if value != self.peer_upload_only:
            self.peer_upload_only = value
            self.emit("upload_only", value=value)
