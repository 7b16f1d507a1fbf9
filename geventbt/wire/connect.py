"""Opening a connection to a peer."""

from __future__ import annotations

from gevent import socket as gevent_socket
from gevent.socket import timeout as socket_timeout

from geventbt import limits
from geventbt.errors import WireTimeout
from geventbt.wire.wire import Wire

ENCRYPTION_POLICIES = ("prefer", "require", "disable")


def check_encryption(policy: str) -> None:
    """Raise ValueError for an unknown policy, and NotImplementedError for one that cannot be kept yet."""
    if policy not in ENCRYPTION_POLICIES:
        raise ValueError(f"encryption={policy!r}: must be one of {', '.join(ENCRYPTION_POLICIES)}")
    if policy == "require":
        raise NotImplementedError("encrypted connections are not supported yet")


def connect(
    address: tuple[str, int],
    *,
    timeout: float = limits.CONNECT_TIMEOUT,
    encryption: str = "prefer",
    info_hash: bytes | str | None = None,
    source_address: tuple[str, int] | None = None,
) -> Wire:
    """Open a TCP connection to a peer, over IPv4 or IPv6. The handshake is the next step.

    Args:
        address: the peer's (host, port).
        timeout: seconds to connect.
        encryption: "prefer", "require" or "disable". Encryption is not built yet: "prefer" connects in plaintext,
            "require" raises NotImplementedError.
        info_hash: of the torrent; needed only for an encrypted opening.
        source_address: the (host, port) to connect from, or None.

    Raises:
        ConnectionError: nobody listens there, or the peer cannot be reached.
        WireTimeout: no connection in time.
        OSError: the address is not one.
    """
    check_encryption(encryption)
    try:
        sock = gevent_socket.create_connection(address, timeout=timeout, source_address=source_address)
    except socket_timeout:
        raise WireTimeout(f"no connection to {address[0]}:{address[1]} within {timeout:g} seconds") from None
    return Wire(sock, incoming=False)
