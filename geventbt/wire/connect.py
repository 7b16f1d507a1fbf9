"""Opening a connection to a peer."""

from __future__ import annotations

import errno
import logging
from time import monotonic
from typing import Any, NamedTuple

import gevent
from gevent.socket import AF_INET6
from gevent.socket import timeout as socket_timeout

from geventbt import limits
from geventbt.errors import HandshakeError, WireTimeout
from geventbt.net.addresses import Address
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint
from geventbt.peer_id import info_hash_or_v2
from geventbt.wire.transports.encryption import (
    DISABLE,
    PREFER,
    REQUIRE,
    EncryptionPolicy,
    OpenedStream,
    check_policy,
    log_once,
    open_encrypted,
)
from geventbt.wire.transports.tcp import TcpTransport
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")


def connect(
    address: tuple[str, int],
    *,
    timeout: float = limits.CONNECT_TIMEOUT,
    encryption: EncryptionPolicy = PREFER,
    info_hash: bytes | str | None = None,
    source_address: tuple[str, int] | None = None,
    network: Network = DIRECT,
) -> Wire:
    """Open a TCP connection to a peer, over IPv4 or IPv6, and encrypt it if so wanted. The handshake is the next step.

    Args:
        address: the peer's (host, port).
        timeout: seconds to connect; an encrypted opening has `limits.HANDSHAKE_TIMEOUT` more.
        encryption: "prefer" tries an encrypted opening and falls back to plaintext on a new connection; "require"
            takes RC4 or nothing; "disable" does not try. See `Wire.encryption` for the outcome.
        info_hash: of the torrent, 20 bytes or 40 hex characters, or of version 2, 32 or 64. An encrypted opening needs
            it: without it "prefer" connects in plaintext, and "require" raises ValueError.
        source_address: the (host, port) to connect from, or None.
        network: opens the socket: through a proxy, or from an interface.

    Raises:
        ConnectionError: the connection was refused, or the peer cannot be reached; HandshakeError is one, for a peer
            that does not encrypt where that is required.
        WireTimeout: no connection in time.
        OSError: the address is not one; FetchError is one, for a name that is not found.
    """
    check_policy(encryption)
    if encryption == REQUIRE and info_hash is None:
        raise ValueError("an encrypted opening needs the info hash")
    if encryption == DISABLE or info_hash is None:
        return _connect(address, timeout, source_address, network).wire()
    key, _ = info_hash_or_v2(info_hash)
    started = monotonic()
    connected = _connect(address, timeout, source_address, network)
    try:
        return _encrypted_wire(connected, key, encryption)
    except Exception as error:
        if encryption == REQUIRE:
            raise
        _log.debug("no encrypted connection to %s:%s, trying plaintext: %s", *address[:2], error)
    # One deadline for both attempts, but enough of it for the second.
    left = max(1.0, timeout - (monotonic() - started))
    return _connect(address, left, source_address, network).wire()


class _Connected(NamedTuple):
    """A socket, and the address of the peer behind it: not that of a proxy; ("", 0) where the proxy has looked it up.
    None without a proxy."""

    sock: Any
    remote_address: Address | None

    def wire(self, opening: OpenedStream | None = None) -> Wire:
        transport = TcpTransport(self.sock, remote_address=self.remote_address)
        return Wire(transport, incoming=False, opening=opening)


def _connect(
    address: tuple[str, int], timeout: float, source_address: tuple[str, int] | None, network: Network
) -> _Connected:
    """Connect to the first of the addresses behind a name that can be."""
    ends = monotonic() + timeout
    timer = gevent.Timeout.start_new(timeout)
    try:
        endpoints = _endpoints(address, network)
        for number, endpoint in enumerate(endpoints):
            # A share of the time for each: one that is silent leaves some to the others.
            share = (ends - monotonic()) / (len(endpoints) - number)
            try:
                sock = network.connect(endpoint, max(0.001, share), source_address)
                behind_proxy = ("", 0) if endpoint.is_name else endpoint.address
                return _Connected(sock, behind_proxy if network.is_proxied else None)
            except OSError:
                if endpoint is endpoints[-1]:
                    raise
        raise AssertionError("there is always an endpoint")
    except (gevent.Timeout, socket_timeout) as error:
        if isinstance(error, gevent.Timeout) and error is not timer:
            raise
        raise WireTimeout("no connection to {}:{} within {:g} s".format(*address[:2], timeout)) from None
    finally:
        timer.close()


def _endpoints(address: tuple[Any, ...], network: Network) -> list[Endpoint]:
    host, port = address[:2] if isinstance(address, (tuple, list)) and len(address) > 1 else (None, None)
    if not isinstance(host, str):
        raise TypeError(f"cannot connect to {address!r}: not (host, port)")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 1 << 16:
        raise OSError(errno.EINVAL, f"cannot connect to {host}:{port}: not a port from 1 to 65535")
    if len(address) > 2:
        # With a scope, which a name does not have.
        return [Endpoint(AF_INET6, address)]
    return network.resolve(host, port)


def _encrypted_wire(connected: _Connected, info_hash: bytes, policy: str) -> Wire:
    sock = connected.sock
    try:
        opening = open_encrypted(sock, info_hash, policy, limits.HANDSHAKE_TIMEOUT)
    except (HandshakeError, WireTimeout, OSError):
        sock.close()
        raise
    except Exception as error:
        # Such as `cryptography` without RC4, on a machine whose OpenSSL is in FIPS mode.
        sock.close()
        log_once(error)
        raise HandshakeError(f"the encrypted opening failed: {error!r}") from error
    except BaseException:
        sock.close()
        raise
    return connected.wire(opening)
