"""Outgoing connections of one torrent: limits, encryption, handshakes, retries."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import gevent

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.peers.known_peers import KnownPeers
from geventbt.concurrency.descriptors import is_shortage
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.routine import Routine
from geventbt.errors import GeventBTError, WireClosed
from geventbt.net.addresses import Address
from geventbt.net.tcp import name_address
from geventbt.wire.connect import open_wire
from geventbt.wire.transports.base import UTP, TransportName, in_order
from geventbt.wire.transports.utp_ports import UtpConnector
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

_RESET = (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE)
_MAX_WAIT, _MIN_WAIT = 1.0, 0.05
"""Seconds between two looks for room, which another torrent of the client may make, and between two of any kind."""


class DialerOwner(Protocol):
    """Uses the connections of a `Dialer`."""

    def has_room(self) -> bool:
        """Whether one more peer may be connected to; how many there may be half open is the dialer's own concern."""

    def make_room(self) -> bool:
        """Leave a peer that is of no use, if there is one: another waits for its place. Returns whether it is free."""

    def shake_hands(self, wire: Wire, info_hash: bytes) -> None:
        """Set up extensions, and exchange handshakes. May block; raises what ends the connection.

        Args:
            wire: the connection.
            info_hash: what the peer knows the torrent by.
        """

    def on_connected(self, wire: Wire, address: Address) -> None:
        """Take a connection over: `KnownPeers.closed` or `released` is to be called at its end. May block."""


class Dialer:
    """Connects to the known peers of one torrent, the most promising first. Every outgoing connection is made here.

    Args:
        context: limits and policy of the client.
        info_hash: of the torrent; a peer that was found under another one is connected to with that (BEP 52).
        known: the addresses.
        owner: takes the connections.
        utp: opens uTP connections; None for the client's own.

    Attributes:
        last_failure: why the last connection could not be made.
    """

    def __init__(
        self,
        context: ClientContext,
        info_hash: bytes,
        known: KnownPeers,
        owner: DialerOwner,
        utp: UtpConnector | None = None,
    ) -> None:
        self._context = context
        self._utp = utp
        self._info_hash = info_hash
        self._known = known
        self._owner = owner
        self._dialling: dict[gevent.Greenlet, Address] = {}
        self._routine = Routine(f"dialer of {info_hash.hex()}", self._dial_known)
        self._short_until = float("-inf")
        self.last_failure: Exception | None = None

    @property
    def dialling(self) -> int:
        """The number of connections that are being made."""
        return len(self._dialling)

    def start(self) -> None:
        """Connect to peers, unless that has begun already."""
        self._routine.start()

    def stop(self) -> None:
        """Connect to no more peers, and give up the connections that are being made."""
        if self._routine.is_started:
            self._routine.stop()
            dialling = dict(self._dialling)
            gevent.killall(list(dialling))
            for greenlet, address in dialling.items():
                # One that was killed before it ran has not left the list by itself.
                self._dialling.pop(greenlet, None)
                self._known.released(address, monotonic())

    def wake(self) -> None:
        """Look again whether there is an address to connect to, and room."""
        self._routine.wake()

    def connect_now(self, address: Address) -> None:
        """Open a uTP connection to a known peer, due or not, unless there is no room."""
        if not self._routine.is_started or address in self._context.own_addresses or not self._has_room():
            return
        if self._known.try_now(address, monotonic()):
            self._start_dialling(address, self._connect_over_utp)

    def is_exhausted(self, failures: int) -> bool:
        """Whether no connection is being made, and little hope is left in what is known; see `KnownPeers`."""
        return not self._dialling and self._known.is_exhausted(failures)

    def is_idle(self) -> bool:
        """Whether no connection is being made, and no address is due now."""
        now = monotonic()
        due = self._known.next_due(now)
        return not self._dialling and (due is None or due > now)

    def has_candidates(self) -> bool:
        """Whether a connection is being made, or is going to be."""
        return bool(self._dialling) or self._known.next_due(monotonic()) is not None

    def _dial_known(self) -> float | None:
        """Dial all that is due and has room. Returns the seconds until there may be more; None if nothing is known."""
        while True:
            now = monotonic()
            due = self._known.next_due(now)
            if due is None or due > now:
                return None if due is None else max(_MIN_WAIT, due - now)
            if not self._has_room() and not self._makes_room():
                # Not before there is a descriptor again, if that is what is missing.
                return self._short_until - now if now < self._short_until else _MAX_WAIT
            address = self._known.next(now)
            if address is None:
                return _MIN_WAIT
            if address in self._context.own_addresses:
                self._known.exclude(address)
            else:
                self._start_dialling(address, self._connect)

    def _makes_room(self) -> bool:
        return len(self._dialling) < limits.HALF_OPEN and self._owner.make_room() and self._has_room()

    def _has_room(self) -> bool:
        if len(self._dialling) >= limits.HALF_OPEN or monotonic() < self._short_until:
            return False
        return self._context.connections.has_room() and self._owner.has_room()

    def _start_dialling(self, address: Address, connect: Callable[[Address], Wire]) -> None:
        self._dialling[spawn("dialling {}:{}".format(*address), self._dial, address, connect)] = address

    def _dial(self, address: Address, connect: Callable[[Address], Wire]) -> None:
        try:
            with self._context.limiter.opening():
                wire = connect(address)
        except (GeventBTError, OSError) as error:
            _log.info("no connection to %s:%s: %s", *address, error)
            if is_shortage(error):
                self._note_shortage(address, error)
            else:
                self._note_failed(address, error)
            return
        except Exception as bug:
            # Once: it will be the same for the next address.
            level = logging.DEBUG if isinstance(bug, type(self.last_failure)) else logging.ERROR
            _log.log(level, "no connection to %s:%s: %r", *address, bug)
            self._note_failed(address, bug)
            return
        finally:
            self._dialling.pop(gevent.getcurrent(), None)
            self._routine.wake()
        self._known.connected(address)
        self._owner.on_connected(wire, address)

    def _note_failed(self, address: Address, error: Exception) -> None:
        if isinstance(error, OSError):
            name_address(error, "connect to", address)
        self.last_failure = error
        if self._routine.is_started:
            self._known.failed(address, monotonic())

    def _note_shortage(self, address: Address, error: Exception) -> None:
        """The peer has nothing to do with it: try the same one again, once a descriptor may be free."""
        self.last_failure = error
        self._short_until = monotonic() + limits.SHORTAGE_PAUSE
        if self._routine.is_started:
            self._known.released(address, monotonic())

    def _connect(self, address: Address) -> Wire:
        ways, utp = in_order(self._context.transport), self._utp or self._context.utp
        try:
            return self._connect_by(address, ways, utp)
        except (GeventBTError, OSError) as error:
            if len(ways) < 2 or not _has_hung_up(error) or address in self._context.own_addresses:
                raise
            # As libtorrent does where it listens, and takes the other transport alone.
            _log.debug("%s:%s has hung up, trying %s: %s", *address, ways[1], error)
            hung_up = error
        try:
            return self._connect_by(address, ways[1:], utp)
        except (GeventBTError, OSError) as error:
            # The first way reached it, so that it says more; but a lack of descriptors is not the peer's fault.
            raise error if is_shortage(error) else hung_up from None

    def _connect_over_utp(self, address: Address) -> Wire:
        return self._connect_by(address, (UTP,), self._context.utp)

    def _connect_by(self, address: Address, ways: tuple[TransportName, ...], utp: UtpConnector) -> Wire:
        context = self._context
        known_by = self._known.info_hashes_of(address)
        info_hash = self._info_hash if self._info_hash in known_by or not known_by else known_by[0]
        wire = open_wire(
            address,
            ways,
            utp,
            info_hash=info_hash,
            encryption=context.encryption,
            network=context.network,
        )
        try:
            self._owner.shake_hands(wire, info_hash)
        except BaseException:
            wire.close(0)
            if self._context.own_addresses.has_led_here(address, wire.local_address):
                self._known.exclude(address)
            raise
        return wire


def _has_hung_up(error: BaseException) -> bool:
    """Whether the peer has ended the connection, perhaps before it could be used."""
    cause = error.__cause__
    if isinstance(cause, EOFError) or (isinstance(error, WireClosed) and cause is None):
        return True
    return any(isinstance(each, OSError) and each.errno in _RESET for each in (error, cause))
