"""`BlockSource`: anything that blocks of a torrent are requested from; `RequestedPeer`: a peer, with its connection."""

from __future__ import annotations

from typing import Protocol

from geventbt.net.addresses import Address
from geventbt.wire.wire import Wire


class BlockSource(Protocol):
    """A source of blocks: a connected peer, or a web seed. It is also its own key in picker, assembly and blame.

    Attributes:
        trust: credit for good pieces, less what wrong ones have cost; see `Reputation`.
        received: bytes of blocks that it sent when asked.
        address: where it can be connected to again, or None if that is not known.
    """

    trust: int
    received: int
    address: Address | None

    def __hash__(self) -> int:
        """It is a key."""

    @property
    def remote_address(self) -> Address | None:
        """The (host, port) of its end of the connection; None for a source that is not a peer."""

    @property
    def peer_id(self) -> bytes | None:
        """Its 20 bytes; None for a source that is not a peer."""

    @property
    def closed(self) -> bool:
        """Whether nothing can be requested from it any more."""

    @property
    def has_all(self) -> bool:
        """Whether it has every piece."""

    def has(self, piece: int) -> bool:
        """Whether it has a piece."""

    def fill(self, now: float | None = None) -> None:
        """Request as much as it should have to do."""

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """A block need not be sent: another source was quicker."""

    def withdraw(self) -> None:
        """Count on nothing that was requested: it is for others to fetch."""

    def check_timeouts(self, now: float) -> None:
        """Withdraw what it has left unanswered for too long, and ask it for less."""

    def convict(self, piece: int) -> None:
        """It has sent wrong data in a piece: ask it for no more, or at least not for this piece."""

    def close(self) -> None:
        """End it."""


class RequestedPeer(BlockSource, Protocol):
    """A peer as its requests see it."""

    @property
    def wire(self) -> Wire:
        """Its connection."""

    def on_idle(self) -> None:
        """There is nothing to request from it."""
