"""Opening a connection to a peer."""

from __future__ import annotations

import errno
from time import monotonic
from typing import Any

from gevent import socket as gevent_socket
from gevent.socket import timeout as socket_timeout

from geventbt import limits
from geventbt.errors import HandshakeError, WireTimeout
from geventbt.peer_id import hash_or_id
from geventbt.wire.transports.encryption import (
    DISABLE,
    PREFER,
    REQUIRE,
    EncryptionPolicy,
    check_policy,
    open_encrypted,
)
from geventbt.wire.wire import Wire


def connect(
    address: tuple[str, int],
    *,
    timeout: float = limits.CONNECT_TIMEOUT,
    encryption: EncryptionPolicy = PREFER,
    info_hash: bytes | str | None = None,
    source_address: tuple[str, int] | None = None,
) -> Wire:
    """Open a TCP connection to a peer, over IPv4 or IPv6, and encrypt it if so wanted. The handshake is the next step.

    Args:
        address: the peer's (host, port).
        timeout: seconds to connect; an encrypted opening has `limits.HANDSHAKE_TIMEOUT` more.
        encryption: "prefer" tries an encrypted opening and falls back to plaintext on a new connection; "require"
            takes RC4 or nothing; "disable" does not try. See `Wire.encryption` for the outcome.
        info_hash: of the torrent, 20 bytes or 40 hex characters. An encrypted opening needs it: without it "prefer"
            connects in plaintext, and "require" raises ValueError.
        source_address: the (host, port) to connect from, or None.

    Raises:
        ConnectionError: nobody listens there, or the peer cannot be reached; HandshakeError is one, for a peer that
            does not encrypt where that is required.
        WireTimeout: no connection in time.
        OSError: the address is not one.
    """
    check_policy(encryption)
    if encryption == REQUIRE and info_hash is None:
        raise ValueError('encryption="require" needs info_hash, the key of the encrypted opening')
    sock = _connect(address, timeout, source_address)
    if encryption == DISABLE or info_hash is None:
        return Wire(sock, incoming=False)
    started = monotonic()
    try:
        return _encrypted_wire(sock, hash_or_id(info_hash, "info hash"), encryption)
    except (HandshakeError, WireTimeout, OSError):
        if encryption == REQUIRE:
            raise
    # One deadline for both attempts, but enough of it for the second.
    left = max(1.0, timeout - (monotonic() - started))
    return Wire(_connect(address, left, source_address), incoming=False)


def _connect(address: tuple[str, int], timeout: float, source_address: tuple[str, int] | None) -> Any:
    try:
        return gevent_socket.create_connection(address, timeout=timeout, source_address=source_address)
    except socket_timeout:
        raise WireTimeout(f"no connection to {address[0]}:{address[1]} within {timeout:g} s") from None
    except UnicodeError:
        raise OSError(errno.EINVAL, f"{address[0]!r} is not a host name") from None


def _encrypted_wire(sock: Any, info_hash: bytes, policy: str) -> Wire:
    try:
        opening = open_encrypted(sock, info_hash, policy, limits.HANDSHAKE_TIMEOUT)
    except BaseException:
        sock.close()
        raise
    return Wire(sock, incoming=False, opening=opening)
