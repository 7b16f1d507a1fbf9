"""The receiving half of a uTP stream: puts packets in order, within what there is room for."""

from __future__ import annotations

from collections.abc import Sequence

from geventbt import limits

_SMALL = 512
"""Bytes up to which chunks are joined: each by itself takes memory of its own, and a peer may send single bytes."""


class Inbox:
    """What has come, and what is still missing before it.

    Args:
        expected: the number of the first packet.
        room: bytes that are held at most, in order and behind gaps.

    Attributes:
        room: see above.
        expected: the number of the next packet in order.
        end: the number of the packet that ended the stream (FIN), or None.
        ready: bytes that can be taken.
    """

    __slots__ = ("_chunks", "_early", "_early_bytes", "_mask", "end", "expected", "ready", "room")

    def __init__(self, expected: int, room: int) -> None:
        self.expected = expected
        self.end: int | None = None
        self.ready = 0
        self.room = room
        self._chunks: list[bytes] = []
        self._early: dict[int, bytes] = {}
        self._early_bytes = 0
        # Bit i: the packet expected + 1 + i has come.
        self._mask = 0

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return self.ready + self._early_bytes

    @property
    def window(self) -> int:
        """Bytes that there is room for."""
        return max(0, self.room - self.ready - self._early_bytes)

    @property
    def at_end(self) -> bool:
        """Whether the stream has come to its end, and all of it was taken."""
        return self.end is not None and self.expected > self.end and not self._chunks

    @property
    def has_gap(self) -> bool:
        """Whether packets have come behind one that is missing."""
        return bool(self._mask)

    @property
    def sack(self) -> int | None:
        """The selective acknowledgement; see `Packet`."""
        return self._mask & ((1 << limits.UTP_EARLY_PACKETS) - 1) or None

    def add_run(self, first: int, payloads: Sequence[bytes]) -> None:
        """Take packets with consecutive numbers."""
        size = sum(map(len, payloads))
        if first == self.expected and not self._mask and self.end is None and size <= self.window:
            if size < _SMALL * len(payloads):
                self._append(b"".join(payloads))
            else:
                self._chunks += payloads
                self.ready += size
            self.expected += len(payloads)
            return
        for seq, payload in enumerate(payloads, first):
            self.add(seq, payload)

    def add(self, seq: int, payload: bytes) -> None:
        """Take a packet. One that came before, is behind the end, or for which there is no room, is dropped."""
        ahead = seq - self.expected
        # What fills a gap sets free what is behind it, which may have taken all the room.
        room = self.window if ahead else self.room - self.ready
        if not 0 <= ahead < limits.UTP_EARLY_PACKETS or seq in self._early or len(payload) > room:
            return
        if self.end is not None and seq > self.end:
            return
        if ahead:
            self._early[seq] = payload
            self._early_bytes += len(payload)
            self._mask |= 1 << (ahead - 1)
            return
        self._append(payload)
        while self._mask & 1:
            payload = self._early.pop(self.expected + 1)
            self._early_bytes -= len(payload)
            self._advance()
            self._append(payload)
        self._advance()

    def finish(self, seq: int) -> None:
        """Take the packet that ends the stream; a second one cannot change where."""
        if self.end is None and 0 <= seq - self.expected < limits.UTP_EARLY_PACKETS:
            if self._mask >> (seq - self.expected):
                # What is behind its end was never sent by an honest peer.
                return
            self.end = seq
        if seq == self.end:
            self.add(seq, b"")

    def take(self, size: int) -> list[bytes]:
        """Bytes in order, packet by packet: at least `size`, or all that there is."""
        if size >= self.ready:
            taken, self._chunks, self.ready = self._chunks, [], 0
            return taken
        total = count = 0
        for chunk in self._chunks:
            total += len(chunk)
            count += 1
            if total >= size:
                break
        taken = self._chunks[:count]
        del self._chunks[:count]
        self.ready -= total
        return taken

    def _append(self, payload: bytes) -> None:
        if self._chunks and len(self._chunks[-1]) + len(payload) <= _SMALL:
            self._chunks[-1] += payload
        elif payload:
            self._chunks.append(payload)
        self.ready += len(payload)

    def _advance(self) -> None:
        self.expected += 1
        self._mask >>= 1
