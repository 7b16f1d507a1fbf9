"""Opening a connection to a peer."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

import gevent
from gevent import socket as gevent_socket
from gevent.socket import timeout as socket_timeout

from geventbt import limits
from geventbt.arguments import check_instances, check_seconds
from geventbt.concurrency.race import first_of
from geventbt.errors import HandshakeError, WireTimeout
from geventbt.net.addresses import Address, NamedAddress, is_port, is_socket_address, read_address
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint
from geventbt.net.tcp import TcpAttempt, interleaved, name_address
from geventbt.peer_id import info_hash_or_v2
from geventbt.wire.transports.base import TCP, UTP, TransportChoice, TransportName, check_transport, in_order
from geventbt.wire.transports.blocking import BlockingStream
from geventbt.wire.transports.encryption import (
    ALLOW,
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
from geventbt.wire.transports.utp import UtpTransport
from geventbt.wire.transports.utp_ports import OwnPorts, UtpConnector
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")


def connect(
    address: NamedAddress,
    *,
    timeout: float = limits.CONNECT_TIMEOUT,
    encryption: EncryptionPolicy = PREFER,
    info_hash: bytes | str | None = None,
    source_address: tuple[str, int] | None = None,
    transport: TransportChoice = TCP,
    network: Network = DIRECT,
) -> Wire:
    """Open a connection to a peer, over IPv4 or IPv6, and encrypt it if so wanted. The handshake is the next step.

    Args:
        address: the peer's (host, port) or "host:port".
        timeout: seconds to connect; an encrypted opening has `limits.HANDSHAKE_TIMEOUT` more.
        encryption: "prefer" tries an encrypted opening and falls back to plaintext on a new connection; "require"
            takes RC4 or nothing; "disable" and "allow" do not try. See `Wire.encryption` for the outcome.
        info_hash: of the torrent, 20 bytes or 40 hex characters, or of version 2, 32 or 64. An encrypted opening needs
            it: without it "prefer" connects in plaintext, and "require" raises ValueError.
        source_address: the (host, port) to connect from, or None.
        transport: "tcp"; "utp" for uTP (BEP 29); or "both": TCP, then uTP as well if TCP fails or takes longer than
            `limits.UTP_HEAD_START`, and the first that connects is used; but TCP, if it was refused before uTP has
            connected, and is not any more. See `Wire.transport` for the outcome.
        network: opens the socket: through a proxy or from an interface. Through a proxy of HTTP it is TCP alone.

    Raises:
        ConnectionError: the connection was refused, or the peer cannot be reached; HandshakeError is one, for a peer
            that does not encrypt where that is required.
        WireTimeout: no connection in time.
        OSError: the address is not one; FetchError is one, for a name that is not found.
        TypeError: the address is neither a pair of host and port nor a text, or an option has another type.
        ValueError: the text is not "host:port"; an unknown choice of encryption or transport; or an info hash in none
            of the forms above.
    """
    check_transport(transport)
    check_seconds(timeout=timeout)
    check_instances(Network, network=network)
    if source_address is not None and not is_socket_address(source_address):
        raise TypeError(f"source_address={source_address!r}: (host, port) is expected")
    address = _parsed(address)
    try:
        return open_wire(
            address,
            in_order(transport),
            OwnPorts(source_address, network),
            timeout=timeout,
            encryption=encryption,
            info_hash=info_hash,
            source_address=source_address,
            network=network,
        )
    except OSError as error:
        name_address(error, "connect to", address)
        raise


def open_wire(
    address: tuple[str, int],
    ways: Sequence[TransportName],
    utp: UtpConnector,
    *,
    timeout: float = limits.CONNECT_TIMEOUT,
    encryption: EncryptionPolicy = PREFER,
    info_hash: bytes | str | None = None,
    source_address: tuple[str, int] | None = None,
    network: Network = DIRECT,
) -> Wire:
    """Open a connection to a peer, as `connect` does.

    Args:
        address, timeout, encryption, info_hash, source_address, network: see `connect`.
        ways: the transports to try, the likeliest first.
        utp: opens uTP connections.
    """
    check_policy(encryption)
    if encryption == REQUIRE and info_hash is None:
        raise ValueError("an encrypted opening needs the info hash")
    if not network.carries_udp:
        ways = (TCP,)
    opener = _Opener(address, utp, source_address, network)
    if encryption in (ALLOW, DISABLE) or info_hash is None:
        return opener.open(ways, timeout).wire()
    key, _ = info_hash_or_v2(info_hash)
    started = monotonic()
    opened = opener.open(ways, timeout)
    try:
        return _encrypted_wire(opened, key, encryption)
    except Exception as error:
        if encryption == REQUIRE:
            raise
        _log.debug("no encrypted connection to %s:%s, trying plaintext: %s", *address[:2], error)
    # One deadline for both attempts, but enough of it for the second; by the transport that worked for the first.
    left = max(1.0, timeout - (monotonic() - started))
    worked = UTP if isinstance(opened.stream, UtpTransport) else TCP
    return opener.open((worked,), left).wire()


class _Opened(NamedTuple):
    """A socket or uTP transport; and behind a proxy the peer's address, ("", 0) where the proxy has looked it up."""

    stream: Any
    remote_address: Address | None

    def wire(self, opening: OpenedStream | None = None) -> Wire:
        stream = self.stream
        if self.remote_address is not None and not isinstance(stream, UtpTransport):
            stream = TcpTransport(stream, remote_address=self.remote_address)
        return Wire(stream, incoming=False, opening=opening)


class _Opener:
    """Opens connections to one address.

    Args:
        address: (host, port), or with flow and scope.
        utp: opens uTP connections.
        source_address: to connect from by TCP, or None.
        network: opens sockets of TCP.
    """

    def __init__(
        self,
        address: tuple[str, int],
        utp: UtpConnector,
        source_address: tuple[str, int] | None,
        network: Network,
    ) -> None:
        self._address = address
        self._utp = utp
        self._source_address = source_address
        self._network = network

    def open(self, ways: Sequence[TransportName], timeout: float) -> _Opened:
        """A stream over the first way, and to the first of the addresses behind a name, that works."""
        timer = gevent.Timeout.start_new(timeout)
        try:
            endpoints = interleaved(_endpoints(self._address, self._network))
            by_tcp = [TcpAttempt(endpoint, self._source_address, self._network) for endpoint in endpoints]
            by_utp = [
                _UtpAttempt(self._utp, endpoint, timeout, self._network, tcp)
                for endpoint, tcp in zip(endpoints, by_tcp, strict=True)
            ]
            attempts = [attempt for way in ways for attempt in (by_tcp if way == TCP else by_utp)]
            stream, index = first_of(attempts, limits.UTP_HEAD_START)
            if not self._network.is_proxied:
                return _Opened(stream, None)
            endpoint = endpoints[index % len(endpoints)]
            return _Opened(stream, ("", 0) if endpoint.is_name else endpoint.address)
        except (gevent.Timeout, socket_timeout) as error:
            if isinstance(error, gevent.Timeout) and error is not timer:
                raise
            raise WireTimeout("no connection to {}:{} within {:g} s".format(*self._address[:2], timeout)) from None
        finally:
            timer.close()


class _UtpAttempt:
    """Connects by uTP; an `Attempt`. Where TCP was refused before and is taken by now, as the peer was starting, it
    connects by that.

    Args:
        utp: opens uTP connections.
        endpoint: where to.
        timeout: seconds.
        network: that of the connections.
        tcp: what may have been tried there before.
    """

    def __init__(
        self, utp: UtpConnector, endpoint: Endpoint, timeout: float, network: Network, tcp: TcpAttempt
    ) -> None:
        self._network = network
        self._utp = utp
        self._endpoint = endpoint
        self._timeout = timeout
        self._tcp = tcp

    def open(self) -> Any:
        """A connected transport, or a socket."""
        self._network.check(self._endpoint)
        if self._endpoint.is_name:
            # Answers come from an address that is not known.
            raise OSError(
                errno.EINVAL, f"cannot connect to {self._endpoint.host} over uTP: only a proxy knows the name"
            )
        opened = self._utp.connect(self._endpoint.sockaddr[:2], self._timeout)
        return self._rather_by_tcp(opened) if self._tcp.was_refused else opened

    def _rather_by_tcp(self, opened: UtpTransport) -> Any:
        try:
            with gevent.Timeout(limits.UTP_HEAD_START, False):
                sock = self._tcp.open()
                opened.close()
                return sock
        except OSError as error:
            _log.debug("by uTP: TCP to %s:%s is still refused: %s", *self._endpoint.sockaddr[:2], error)
        except BaseException:
            opened.close()
            raise
        return opened

    def discard(self, opened: Any) -> None:
        """Close what was opened."""
        opened.close()


def _parsed(address: NamedAddress) -> Address:
    """The host and port, for IPv6 perhaps with flow and scope."""
    if isinstance(address, str):
        return read_address(address, "connect to")
    if not is_socket_address(address):
        raise TypeError(f"cannot connect to {address!r}: neither (host, port) nor host:port")
    return address


def _endpoints(address: tuple[Any, ...], network: Network) -> list[Endpoint]:
    host, port = address[:2]
    if not is_port(port):
        raise OSError(errno.EINVAL, f"cannot connect to {host}:{port}: not a port from 1 to 65535")
    if len(address) > 2:
        # With a scope, which a name does not have.
        return [Endpoint(gevent_socket.AF_INET6, address)]
    return network.resolve(host, port)


def _encrypted_wire(opened: _Opened, info_hash: bytes, policy: str) -> Wire:
    stream = opened.stream
    sock = BlockingStream(stream) if isinstance(stream, UtpTransport) else stream
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
    return opened.wire(opening)
