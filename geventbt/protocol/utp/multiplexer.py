"""The uTP streams of one UDP socket: which packet belongs to which, and how streams begin (BEP 29).

A stream that a peer opens costs nothing until the peer has shown that it gets what is sent to its address: the number
of our first packet is a keyed hash of the peer's request to connect, and comes back with its first data (as the cookies
of RFC 4987). Any number of forged requests therefore leaves no state, and is answered with packets of the same size.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from hashlib import blake2b
from typing import TypeAlias, TypeVar

from geventbt import limits
from geventbt.net.addresses import Address, network_of
from geventbt.protocol.utp import packets as p
from geventbt.protocol.utp.stream import Failure, StreamState, UtpStream

_Key: TypeAlias = tuple[Address, int]
_K = TypeVar("_K")
_V = TypeVar("_V")


class Multiplexer:
    """Gives packets to streams, and makes streams.

    Args:
        secret: at least 16 random bytes.
        rng: for connection ids and numbers that are hard to guess.
        listens: whether peers may open streams.

    Attributes:
        accepts: whether one may be opened now. While not, the first data of those that come is dropped, and comes
            again.
        room: bytes that a new stream may hold for its reader.
        streams: by (address, receive id).
    """

    def __init__(self, secret: bytes, rng: random.Random, *, listens: bool) -> None:
        self.accepts = listens
        self._listens = listens
        self.room = limits.UTP_ROOM
        self.streams: dict[_Key, UtpStream] = {}
        self._outgoing: list[tuple[bytes, Address]] = []
        self._touched: dict[UtpStream, None] = {}
        self._opened: dict[UtpStream, Address] = {}
        self._secret = secret
        self._rng = rng
        self._finished: OrderedDict[_Key, None] = OrderedDict()
        self._reset_at: OrderedDict[Address, float] = OrderedDict()
        self._resets = 0
        self._resets_since = 0.0
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def connect(self, address: Address, now: float) -> UtpStream:
        """A new stream to a peer."""
        while True:
            receive_id = self._rng.randrange(1 << 16)
            key = address, receive_id
            if key not in self.streams:
                break
        self._finished.pop(key, None)
        return self._add(address, receive_id, (receive_id + 1) & 0xFFFF, self._rng.randrange(1 << 16), None, now)

    def _add(
        self, address: Address, receive_id: int, send_id: int, seq: int, expected: int | None, now: float
    ) -> UtpStream:
        stream = UtpStream(
            receive_id, send_id, seq, expected, datagram=self.datagram_to(address[0]), room=self.room, now=now
        )
        self.streams[address, receive_id] = stream
        return stream

    def remove(self, stream: UtpStream, address: Address) -> None:
        """Forget a stream that is over; packets of it that still come are dropped."""
        key = address, stream.receive_id
        if self.streams.get(key) is not stream:
            return
        del self.streams[key]
        self._touched.pop(stream, None)
        self._opened.pop(stream, None)
        if stream.failure is Failure.TOO_LARGE:
            self._note_too_large(address[0])
        _remember(self._finished, key, None, limits.UTP_FINISHED)

    def datagram_to(self, host: str) -> int:
        """Bytes of our largest packets to a host."""
        usual = limits.UTP_SIZES[1] if ":" in host else limits.UTP_SIZES[0]
        return self._sizes.get(network_of(host), usual)

    def _note_too_large(self, host: str) -> None:
        present = self.datagram_to(host)
        smaller = [size for size in limits.UTP_SIZES if size < present]
        if smaller:
            _remember(self._sizes, network_of(host), smaller[0], limits.UTP_SMALL_PATHS)

    def take_touched(self) -> list[UtpStream]:
        """The streams that have got packets since the last call."""
        touched, self._touched = list(self._touched), {}
        return touched

    def take_opened(self) -> list[tuple[UtpStream, Address]]:
        """The streams that peers have opened since the last call, and their addresses."""
        opened, self._opened = list(self._opened.items()), {}
        return opened

    def take_outgoing(self) -> list[tuple[bytes, Address]]:
        """The packets of no stream that are to be sent, and where to."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, data: memoryview, size: int, address: Address, now: float) -> None:
        """Take packets from an address.

        Args:
            data: the packets, one behind the other.
            size: of each but the last, which may be smaller.
            address: (host, port).
            now: the time.
        """
        whole = len(data) - len(data) % size
        run = p.parse_run(data[:whole], size) if whole else None
        stream = self.streams.get((address, run.connection_id)) if run is not None else None
        if run is not None and stream is not None and stream.state is StreamState.OPEN:
            stream.receive_run(run, now)
            self._touched[stream] = None
        else:
            whole = 0
        for at in range(whole, len(data), size):
            packet = p.parse(data[at : at + size])
            if packet is not None:
                self._receive_one(packet, address, now)

    def _receive_one(self, packet: p.Packet, address: Address, now: float) -> None:
        stream = self.streams.get((address, packet.connection_id))
        if packet.kind == p.SYN:
            self._answer_syn(packet, address, now)
        elif packet.kind == p.RESET:
            self._reset(packet, address, now)
        elif stream is None:
            stream = self._receive_unknown(packet, address, now)
        if stream is not None and packet.kind not in (p.SYN, p.RESET):
            stream.receive(packet, now)
            self._touched[stream] = None

    def _receive_unknown(self, packet: p.Packet, address: Address, now: float) -> UtpStream | None:
        if (address, packet.connection_id) in self._finished:
            return None
        expected = self._expected_of(packet, address) if packet.kind == p.DATA else None
        if expected is None:
            self._refuse(packet, address, now)
            return None
        if not self.accepts:
            return None
        send_id, seq = (packet.connection_id - 1) & 0xFFFF, (packet.ack + 1) & 0xFFFF
        stream = self._add(address, packet.connection_id, send_id, seq, expected, now)
        self._opened[stream] = address
        return stream

    def refused(self, data: bytes, address: Address) -> None:
        """Note that the machine at an address has sent a packet of ours back: nothing listens there (ICMP)."""
        packet = p.parse(data)
        if packet is None or packet.kind != p.SYN:
            return
        stream = self.streams.get((address, packet.connection_id))
        if stream is not None:
            stream.refuse()
            self._touched[stream] = None

    def _reset(self, packet: p.Packet, address: Address, now: float) -> None:
        for receive_id in (packet.connection_id, packet.connection_id - 1, packet.connection_id + 1):
            stream = self.streams.get((address, receive_id & 0xFFFF))
            if stream is not None and packet.connection_id in (stream.receive_id, stream.send_id):
                stream.receive(packet, now)
                self._touched[stream] = None

    def _answer_syn(self, packet: p.Packet, address: Address, now: float) -> None:
        if not self._listens:
            return
        self._finished.pop((address, (packet.connection_id + 1) & 0xFFFF), None)
        timestamp = p.microseconds(now)
        difference = (timestamp - packet.timestamp) & 0xFFFFFFFF
        seq = self._cookie(address, packet.connection_id, packet.seq)
        answer = p.pack(p.STATE, packet.connection_id, timestamp, difference, self.room, seq, packet.seq)
        self._outgoing.append((answer, address))

    def _expected_of(self, packet: p.Packet, address: Address) -> int | None:
        """The number of the first packet of a stream whose request to connect we have answered."""
        first = (packet.connection_id - 1) & 0xFFFF
        for back in range(1, limits.UTP_REORDERED_FIRST + 1):
            syn = (packet.seq - back) & 0xFFFF
            if self._cookie(address, first, syn) == (packet.ack + 1) & 0xFFFF:
                return syn + 1
        return None

    def _cookie(self, address: Address, connection_id: int, seq: int) -> int:
        text = f"{address[0]} {address[1]} {connection_id} {seq}".encode()
        return int.from_bytes(blake2b(text, key=self._secret, digest_size=2).digest(), "big")

    def _refuse(self, packet: p.Packet, address: Address, now: float) -> None:
        """Tell a peer that there is no such stream, not too often."""
        if now >= self._resets_since + 1.0:
            self._resets, self._resets_since = 0, now
        if now < self._reset_at.get(address, -1e9) + limits.UTP_RESET_INTERVAL:
            return
        if self._resets >= limits.UTP_RESETS_PER_SECOND:
            return
        self._resets += 1
        _remember(self._reset_at, address, now, limits.UTP_RESET_ADDRESSES)
        answer = p.pack(p.RESET, packet.connection_id, p.microseconds(now), 0, 0, 0, packet.seq)
        self._outgoing.append((answer, address))


def _remember(entries: OrderedDict[_K, _V], key: _K, value: _V, limit: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > limit:
        entries.popitem(last=False)
