"""A proxy for tests: SOCKS5 with UDP, and HTTP CONNECT, on one port; it knows names that nothing else does."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket as gevent_socket
from gevent.pool import Pool
from gevent.server import StreamServer


class ProxyServer:
    """A proxy that is fully at work when it is made.

    Args:
        host: the address to listen on.
        names: the IP addresses of names.
        login: (user, password) that are asked for, or None.
        relays: whether datagrams are relayed.

    Attributes:
        asked: the (host, port) of everything that it was asked to connect to, or send a datagram to.
        spoil: makes something else of a datagram from the relay.
        associations: the connections of those that it relays datagrams for.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        names: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
        relays: bool = True,
    ) -> None:
        self.asked: list[tuple[str, int]] = []
        self.associations: list[Any] = []
        self.spoil: Callable[[bytes], list[bytes]] = lambda packet: [packet]
        self.relays = relays
        self._host = host
        self._names = names or {}
        self._login = login
        self._server = StreamServer((host, port), self._handle, spawn=Pool())
        self._server.start()
        self.port = int(self._server.server_port)

    def url(self, scheme: str = "socks5") -> str:
        login = "{}:{}@".format(*self._login) if self._login else ""
        return f"{scheme}://{login}{self._host}:{self.port}"

    def close(self) -> None:
        self._server.stop(0)

    def _handle(self, sock: Any, address: Any) -> None:
        with suppress(OSError, EOFError):
            first = sock.recv(1, gevent_socket.MSG_PEEK)
            if first == b"C":
                self._speak_http(sock)
            elif first:
                self._speak_socks(sock)

    # ------------------------------------------------------------------ HTTP

    def _speak_http(self, sock: Any) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _exactly(sock, 1)
        if self._login and b"Basic " + b64encode(":".join(self._login).encode()) not in head:
            sock.sendall(b"HTTP/1.1 407 Who are you\r\n\r\n")
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        granted, refused = b"HTTP/1.1 200 Go\r\nX: y\r\n\r\n", b"HTTP/1.1 502 No\r\n\r\n"
        self._connect(sock, (host.strip("[]"), int(port)), granted, refused)

    # ------------------------------------------------------------------ SOCKS

    def _speak_socks(self, sock: Any) -> None:
        methods = _exactly(sock, _exactly(sock, 2)[1])
        method = 2 if self._login else 0
        sock.sendall(bytes([5, method if method in methods else 255]))
        if self._login:
            user = _exactly(sock, _exactly(sock, 2)[1])
            password = _exactly(sock, _exactly(sock, 1)[0])
            is_right = (user.decode(), password.decode()) == self._login
            sock.sendall(bytes([1, not is_right]))
            if not is_right:
                return
        _, command, _, kind = _exactly(sock, 4)
        if kind == 3:
            host = _exactly(sock, _exactly(sock, 1)[0]).decode()
        else:
            host = str(ipaddress.ip_address(_exactly(sock, 4 if kind == 1 else 16)))
        target = host, int.from_bytes(_exactly(sock, 2), "big")
        nothing = bytes([0, 1, 0, 0, 0, 0, 0, 0])
        if command == 1:
            self._connect(sock, target, b"\5\0" + nothing, b"\5\5" + nothing)
        elif command == 3 and self.relays:
            self._relay(sock)
        else:
            sock.sendall(b"\5\7" + nothing)

    def _relay(self, control: Any) -> None:
        inside = gevent_socket.socket(type=gevent_socket.SOCK_DGRAM)
        outside = gevent_socket.socket(type=gevent_socket.SOCK_DGRAM)
        with inside, outside:
            inside.bind((self._host, 0))
            outside.bind(("0.0.0.0", 0))
            # Where it is reached is not where it says, as with many that are behind a router.
            control.sendall(b"\5\0\0\1\0\0\0\0" + inside.getsockname()[1].to_bytes(2, "big"))
            self.associations.append(control)
            client: list[Any] = []
            workers = [gevent.spawn(way, inside, outside, client) for way in (self._send_out, self._send_in)]
            try:
                while control.recv(1):
                    pass
            finally:
                gevent.killall(workers)

    def _send_out(self, inside: Any, outside: Any, client: list[Any]) -> None:
        while True:
            packet, sender = inside.recvfrom(65536)
            client[:] = [sender]
            if packet[3] == 3:
                end = 5 + packet[4]
                host = packet[5:end].decode()
            else:
                end = 8 if packet[3] == 1 else 20
                host = str(ipaddress.ip_address(packet[4:end]))
            target = host, int.from_bytes(packet[end : end + 2], "big")
            self.asked.append(target)
            with suppress(OSError):
                outside.sendto(packet[end + 2 :], (self._names.get(host, host), target[1]))

    def _send_in(self, inside: Any, outside: Any, client: list[Any]) -> None:
        while True:
            data, (host, port) = outside.recvfrom(65536)
            header = b"\0\0\0\1" + ipaddress.ip_address(host).packed + port.to_bytes(2, "big")
            for packet in self.spoil(header + data):
                inside.sendto(packet, client[0])

    def _connect(self, sock: Any, target: tuple[str, int], granted: bytes, refused: bytes) -> None:
        self.asked.append(target)
        other = gevent_socket.socket(gevent_socket.AF_INET6 if ":" in target[0] else gevent_socket.AF_INET)
        with other:
            try:
                other.connect((self._names.get(target[0], target[0]), target[1]))
            except OSError:
                sock.sendall(refused)
                return
            sock.sendall(granted)
            copying = [gevent.spawn(_copy, sock, other), gevent.spawn(_copy, other, sock)]
            try:
                gevent.joinall(copying)
            finally:
                gevent.killall(copying)


def _exactly(sock: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _copy(source: Any, target: Any) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(gevent_socket.SHUT_WR)
