"""The interfaces between a wire and what carries its bytes.

A `Transport` moves bytes without ever blocking; its `TransportDelegate`, usually the engine of a wire, is called in the
hub with what has arrived. Neither side may block or switch greenlets in these calls.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, runtime_checkable

from geventbt import limits
from geventbt.net.tcp_path import TcpPath
from geventbt.protocol.messages import Buffer

MAX_MESSAGE = 13 + limits.BLOCK
"""Bytes of a piece message with a whole block."""
BULK_READ = 32 * MAX_MESSAGE
"""Size of a read while blocks arrive: what the last block still lacks is added to it, so that while the socket is full
no block is cut off and nothing has to be put together."""
SMALL_READ = 16 * limits.KIB
"""Size of a read otherwise. *Measured*: half a megabyte of the smallest messages would hold the hub up for 0.2 s."""

TransportName: TypeAlias = Literal["tcp", "utp"]
TransportChoice: TypeAlias = Literal["tcp", "utp", "both"]
"""What connections may use; see `geventbt.connect`."""

TCP: Literal["tcp"] = "tcp"
UTP: Literal["utp"] = "utp"
BOTH: Literal["both"] = "both"


def check_transport(transport: str) -> None:
    """Raise ValueError for an unknown choice of transports."""
    if transport not in (TCP, UTP, BOTH):
        raise ValueError(f"transport={transport!r}: must be one of tcp, utp, both")


def in_order(transport: TransportChoice) -> tuple[TransportName, ...]:
    """The transports that a choice allows, the one to try first in front.

    TCP is, each time anew: what a peer was reached by the last time does not decide, as it may just have been starting.
    A try in vain costs `limits.UTP_HEAD_START` or a few round trips; uTP without need slows down all of a connection
    (*measured*: to a third, on loopback).
    """
    return (TCP, UTP) if transport == BOTH else (transport,)


class Cipher(Protocol):
    """One direction of an encrypted stream."""

    def crypt_in_place(self, data: bytearray | memoryview) -> None:
        """Encrypt or decrypt a writable buffer in place."""


class TransportDelegate(Protocol):
    """What a transport calls, in the hub. Subclass it to inherit the defaults, of one that writes nothing."""

    @property
    def missing(self) -> int:
        """Bytes still to come of the message that is cut off at the end of the data; 0 where that is not known."""
        return 0

    def on_data(self, data: memoryview) -> int:
        """Take bytes, which are valid during the call. Returns the size of the next read."""

    def on_end(self, error: Exception | None) -> None:
        """The peer has closed the connection (None), or the transport has failed (the error)."""

    def on_drained(self) -> None:
        """The send queue has fallen below half of the high-water mark, or is empty."""
        return

    def on_released(self) -> None:
        """The connection is closed for good, and its descriptor is free."""
        return

    def take_outgoing(self) -> list[Buffer]:
        """The buffers to be written next, in order; called once per flush."""
        return []


@runtime_checkable
class Transport(Protocol):
    """One connection to a peer, as a non-blocking stream of bytes both ways.

    Attributes:
        name: of the protocol that carries it: "tcp" or "utp".
        queued: bytes that wait to be sent.
        remote_address: the peer's (host, port); ("", 0) where there is none.
        local_address: our (host, port) of this connection.
    """

    name: str
    queued: int
    remote_address: tuple[str, int]
    local_address: tuple[str, int]

    @property
    def paused(self) -> bool:
        """Whether reading is paused."""

    @property
    def released(self) -> bool:
        """Whether the connection is closed for good, after any lingering."""

    @property
    def queue_time(self) -> float | None:
        """Seconds that what is sent spends in queues on its way; None where that is not known."""

    @property
    def tcp_path(self) -> TcpPath | None:
        """What the system knows of its way; None over uTP, and where the system does not tell."""

    def attach(self, delegate: TransportDelegate) -> None:
        """Call this delegate from now on. Reading begins with the first one."""

    def write(self, data: bytes) -> None:
        """Send bytes as they are, ahead of what the delegate has outgoing."""

    def flush_soon(self) -> None:
        """Flush once at the end of this turn of the event loop, whatever the number of calls."""

    def flush(self) -> None:
        """Send as much of what is outgoing as can be sent now; the rest follows by itself."""

    def pause(self) -> None:
        """Stop reading until `resume` has been called as often, so that the peer has to wait."""

    def resume(self) -> None:
        """Undo one `pause`."""

    def encrypt(self, encryptor: Cipher, decryptor: Cipher) -> None:
        """From now on encrypt what is flushed and decrypt what is read."""

    def close(self, linger: bool = False) -> None:
        """Close the connection and drop what is queued.

        Args:
            linger: first let the peer read what has been sent, for a few seconds at most.
        """
