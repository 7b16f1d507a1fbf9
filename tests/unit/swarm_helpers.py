"""A source of blocks for tests of what a swarm is made of."""

from __future__ import annotations

from geventbt.net.addresses import Address


class FakeSource:
    """A `BlockSource` that notes how often it was filled.

    Args:
        remote_address: its end of the connection; None for a web seed.
        address: where it can be connected to again.
        peer_id: its 20 bytes; None for a web seed.
    """

    def __init__(
        self,
        remote_address: Address | None = ("10.0.0.1", 6881),
        address: Address | None = None,
        peer_id: bytes | None = b"p" * 20,
    ) -> None:
        self.trust = self.received = self.fills = 0
        self.remote_address = remote_address
        self.address = address
        self.peer_id = peer_id
        self.closed = False
        self.has_all = True

    def has(self, piece: int) -> bool:
        return True

    def fill(self, now: float | None = None) -> None:
        self.fills += 1

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Nothing was requested."""

    def withdraw(self) -> None:
        """Nothing was requested."""

    def check_timeouts(self, now: float) -> None:
        """Nothing was requested."""

    def close(self) -> None:
        self.closed = True
