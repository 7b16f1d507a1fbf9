"""ut_holepunch: connections between peers behind routers, arranged by a peer that both are connected to (BEP 55)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from geventbt import limits
from geventbt.errors import RemoteProtocolError
from geventbt.extensions.extension import Extension, ExtensionWire
from geventbt.net.addresses import Address
from geventbt.protocol import ut_holepunch as codec
from geventbt.protocol.ut_holepunch import HolepunchMessage
from geventbt.rates.allowances import Allowance

if TYPE_CHECKING:
    from geventbt.extensions.signal_types import UtHolepunchOn
    from geventbt.overloads import Overloaded


class UtHolepunch(Extension):
    """Asks the peer to arrange a connection with another one, and takes part in what others ask for (BEP 55).

    At most `limits.HOLEPUNCH_BURST` messages at once and `limits.HOLEPUNCH_RATE` a second each way: what comes beyond
    that is ignored.

    Signals: `rendezvous` (address: of the peer that this one wants to be connected with), `connect` (address: where to
    open a uTP connection to, at once), `error` (address, code: why it is not arranged, see
    `geventbt.protocol.ut_holepunch`), `warning` (error).

    Args:
        wire: the wire.
        on_received: called with each message; saves a client with thousands of wires signals for each.
    """

    name = "ut_holepunch"
    signal_names = ("rendezvous", "connect", "error", "warning")
    if TYPE_CHECKING:
        on: Overloaded[UtHolepunchOn]

    def __init__(
        self,
        wire: ExtensionWire,
        *,
        on_received: Callable[[UtHolepunch, HolepunchMessage], object] = lambda holepunch, message: None,
    ) -> None:
        super().__init__(wire)
        self._on_received = on_received
        now = monotonic()
        self._may_send = Allowance(limits.HOLEPUNCH_RATE, limits.HOLEPUNCH_BURST, now)
        self._may_come = Allowance(limits.HOLEPUNCH_RATE, limits.HOLEPUNCH_BURST, now)

    def rendezvous(self, address: Address) -> bool:
        """Ask the peer to tell another one, and us, to connect to each other.

        Args:
            address: (IP address, port) of the other one.

        Returns:
            Whether it was sent; it is not beyond the rate.

        Raises:
            LocalProtocolError: the peer does not support the extension.
            WireClosed: the wire is closed.
            ValueError: not an address.
        """
        return self._tell(HolepunchMessage(codec.RENDEZVOUS, address))

    def connect(self, address: Address) -> bool:
        """Tell the peer to open a uTP connection to an address, whose peer is told the same. Returns, raises: see
        `rendezvous`."""
        return self._tell(HolepunchMessage(codec.CONNECT, address))

    def refuse(self, address: Address, code: int) -> bool:
        """Tell the peer why a rendezvous is not arranged. Returns, raises: see `rendezvous`.

        Args:
            address: as in its request.
            code: see `geventbt.protocol.ut_holepunch`.
        """
        return self._tell(HolepunchMessage(codec.ERROR, address, code))

    def _tell(self, message: HolepunchMessage) -> bool:
        payload = message.to_bytes()
        if not self._may_send.take(monotonic()):
            return False
        self.send(payload)
        return True

    def on_message(self, payload: bytes) -> None:
        """Take a message; of a peer that could not be answered it is ignored, and of a kind that is not known."""
        if not self.supported or not self._may_come.take(monotonic()):
            return
        try:
            message = HolepunchMessage.from_bytes(payload)
        except RemoteProtocolError as error:
            self.emit("warning", error=error)
            return
        if message.type == codec.RENDEZVOUS:
            self.emit("rendezvous", address=message.address)
        elif message.type == codec.CONNECT:
            self.emit("connect", address=message.address)
        elif message.type == codec.ERROR:
            self.emit("error", address=message.address, code=message.error)
        self._on_received(self, message)
