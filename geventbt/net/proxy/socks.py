"""SOCKS5 as bytes (RFC 1928), with user name and password (RFC 1929). Pure.

A conversation is a generator, which the one who has the socket drives: what it yields as bytes is to be sent; for a
number, exactly as many bytes are to be received, and sent into it. It returns what was agreed on, or raises.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias, TypeVar

from geventbt.errors import ProxyError
from geventbt.net.addresses import IPV4_BYTES, IPV6_BYTES, Address, is_ip_address
from geventbt.net.proxy.url import ProxyURL

Steps: TypeAlias = Generator[bytes | int, bytes, Address]
Packet = TypeVar("Packet", bytes, memoryview)

CONNECT, ASSOCIATE = 1, 3
_VERSION, _LOGIN_VERSION = 5, 1
_NO_LOGIN, _LOGIN = 0, 2
_IPV4, _NAME, _IPV6 = 1, 3, 4
_MAX_NAME = 255
_GRANTED, _NOT_ALLOWED, _NO_COMMAND, _NO_ADDRESS_TYPE = 0, 2, 7, 8
_FAILURES = {
    1: (errno.ECONNABORTED, "the proxy could not connect"),
    3: (errno.ENETUNREACH, "the network cannot be reached by the proxy"),
    4: (errno.EHOSTUNREACH, "the host cannot be reached by the proxy"),
    5: (errno.ECONNREFUSED, "connection refused, says the proxy"),
    6: (errno.EHOSTUNREACH, "the host cannot be reached by the proxy: TTL expired"),
}
_REFUSALS = {
    _NOT_ALLOWED: "it does not allow this",
    _NO_COMMAND: "it does not know this command",
    _NO_ADDRESS_TYPE: "it does not know this type of address",
}


def negotiate(proxy: ProxyURL, command: int, target: Address) -> Steps:
    """Log in, and have a command carried out.

    ::

        we      5, number of methods, methods           0 no login, 2 user name and password
        proxy   5, method
        we      1, length, user name, length, password  only where that method was chosen
        proxy   1, 0
        we      5, command, 0, type, address, port      type 1 IPv4, 3 name behind its length, 4 IPv6
        proxy   5, 0 or a failure, 0, type, address, port

    Args:
        proxy: has the login.
        command: CONNECT, or ASSOCIATE to relay datagrams.
        target: (IP address or name, port) to connect to, or to send datagrams from.

    Returns:
        What the proxy has bound: of a relay, where datagrams are to be sent.

    Raises:
        ProxyError: the proxy refuses, or what it says is not SOCKS5.
        OSError: it cannot connect to the target.
    """
    has_login = bool(proxy.user or proxy.password)
    yield bytes([_VERSION, 2, _NO_LOGIN, _LOGIN] if has_login else [_VERSION, 1, _NO_LOGIN])
    version, method = yield 2
    _check_version(version, proxy)
    if method == _LOGIN and has_login:
        yield bytes([_LOGIN_VERSION, len(proxy.user)]) + proxy.user + bytes([len(proxy.password)]) + proxy.password
        _, status = yield 2
        if status:
            raise ProxyError(f"the proxy {proxy} refuses the login")
    elif method != _NO_LOGIN:
        raise ProxyError(f"the proxy {proxy} wants a login" + (" of another kind" if has_login else ""))
    yield bytes([_VERSION, command, 0]) + pack_address(target)
    version, status, _, kind = yield 4
    _check_version(version, proxy)
    if status != _GRANTED:
        raise _failure(proxy, status, target)
    if kind == _NAME:
        (length,) = yield 1
        host = (yield length).decode("ascii", "replace")
    elif kind in (_IPV4, _IPV6):
        host = str(ip_address((yield IPV4_BYTES if kind == _IPV4 else IPV6_BYTES)))
    else:
        raise ProxyError(f"the proxy {proxy} answers with an address of type {kind}")
    return host, int.from_bytes((yield 2), "big")


def pack_address(address: Address) -> bytes:
    """The type of an address, the address, and the port. A name has at most 255 bytes.

    Raises:
        OSError: the name is longer.
    """
    host, port = address
    if is_ip_address(host):
        packed = ip_address(host.partition("%")[0]).packed
        packed = bytes([_IPV4 if len(packed) == IPV4_BYTES else _IPV6]) + packed
    else:
        name = host.encode("ascii", "replace")
        if len(name) > _MAX_NAME:
            raise OSError(errno.EINVAL, f"a name of {len(name)} bytes is too long for the proxy")
        packed = bytes([_NAME, len(name)]) + name
    return packed + port.to_bytes(2, "big")


def pack_datagram(data: bytes, address: Address) -> bytes:
    """A datagram for the relay, to be sent on to an address: 2 bytes and a fragment number of 0, the address, the
    data."""
    return b"\0\0\0" + pack_address(address) + data


def unpack_datagram(packet: Packet) -> tuple[Packet, Address] | None:
    """The data and sender of a datagram from the relay; None for a fragment, for a sender that is a name, and for what
    is not of the format."""
    if len(packet) < 4 or packet[2]:
        return None
    size = {_IPV4: IPV4_BYTES, _IPV6: IPV6_BYTES}.get(packet[3])
    if size is None or len(packet) < 4 + size + 2:
        return None
    end = 4 + size
    address = _host(bytes(packet[4:end])), int.from_bytes(packet[end : end + 2], "big")
    return packet[end + 2 :], address


@lru_cache(maxsize=1024)
def _host(packed: bytes) -> str:
    """An IP address as a text. Cached: each packet of a stream has one."""
    return str(ip_address(packed))


def _check_version(version: int, proxy: ProxyURL) -> None:
    if version != _VERSION:
        raise ProxyError(f"the proxy {proxy} does not speak SOCKS5: its answer begins with {version}")


def _failure(proxy: ProxyURL, status: int, target: Address) -> OSError:
    code, text = _FAILURES.get(status, (None, ""))
    if code is not None:
        return OSError(code, text)
    reason = _REFUSALS.get(status, f"error {status}")
    return ProxyError(f"the proxy {proxy} refuses {target[0]}:{target[1]}: {reason}")
