"""Opens a TCP connection to whichever of the addresses of a server answers first (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from geventbt.concurrency.race import first_of
from geventbt.net.addresses import Address, address_text
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint


def connect_first(
    endpoints: Sequence[Endpoint], delay: float, network: Network, source_address: Address | None = None
) -> tuple[Any, Endpoint]:
    """Try endpoints one after another, the next one as soon as one fails or is silent for a while, until one accepts.

    Args:
        endpoints: at least one, in the order to try them in.
        delay: seconds without an answer after which the next one is tried as well.
        network: opens the sockets.
        source_address: to connect from, or None.

    Returns:
        The connected socket, and its endpoint.

    Raises:
        OSError: every one has failed; the first one's error.
    """
    sock, index = first_of([TcpAttempt(endpoint, source_address, network) for endpoint in endpoints], delay)
    return sock, endpoints[index]


def interleaved(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """The endpoints with the families taking turns, the first one's first."""
    first = [endpoint for endpoint in endpoints if endpoint.family == endpoints[0].family]
    other = [endpoint for endpoint in endpoints if endpoint.family != endpoints[0].family]
    return [endpoint for endpoint in chain.from_iterable(zip_longest(first, other)) if endpoint is not None]


def name_address(error: OSError, action: str, address: Sequence[Any]) -> None:
    """Add to an error in the system's own words, which name no address, what failed and where.

    Args:
        error: the error; one in other words stays as it is.
        action: such as "connect to".
        address: begins with host and port.
    """
    if error.errno and error.strerror == os.strerror(error.errno):
        error.strerror = f"cannot {action} {address_text((address[0], address[1]))}: {error.strerror}"


class TcpAttempt:
    """Connects by TCP; an `Attempt` of a race.

    Args:
        endpoint: where to.
        source_address: to connect from, or None.
        network: opens the socket.

    Attributes:
        was_refused: whether nothing has listened there.
    """

    def __init__(
        self, endpoint: Endpoint, source_address: tuple[str, int] | None = None, network: Network = DIRECT
    ) -> None:
        self._endpoint = endpoint
        self._source_address = source_address
        self._network = network
        self.was_refused = False

    def open(self) -> Any:
        """A connected socket."""
        try:
            return self._network.connect(self._endpoint, None, self._source_address)
        except ConnectionRefusedError:
            self.was_refused = True
            raise

    def discard(self, opened: Any) -> None:
        """Close a socket."""
        opened.close()
