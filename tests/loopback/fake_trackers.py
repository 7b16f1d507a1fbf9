"""Servers on loopback that answer as a test wants them to: well, badly, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeAlias

import gevent
from gevent import socket as gevent_socket

from geventbt import bencoding

Reply: TypeAlias = "bytes | Callable[[Any], None]"
"""The bytes of an answer, or what to do with the socket."""


def ok(body: bytes, *headers: str) -> bytes:
    """An HTTP answer with its length."""
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "".join(f"{line}\r\n" for line in (*head, "")).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def bencoded(**fields: Any) -> bytes:
    """A bencoded HTTP answer; underscores stand for spaces in the keys."""
    return ok(bencoding.encode({key.replace("_", " "): value for key, value in fields.items()}))


def count_ticks(ticks: list[int]) -> None:
    """Run for ever, as everybody else in the program."""
    while True:
        ticks.append(1)
        gevent.sleep(0)


class FakeHttp:
    """An HTTP server that reads one request of each connection and gives the reply for its path.

    Attributes:
        replies: by path; "" for any other.
        requests: the heads that came in.
    """

    def __init__(self, replies: dict[str, Reply], host: str = "127.0.0.1", tls: Any = None) -> None:
        self.replies = replies
        self.requests: list[str] = []
        self._tls = tls
        self._listener = gevent_socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.bind((host, 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self._host = f"[{host}]" if ":" in host else host
        self._socks: list[Any] = []
        self._greenlets = [gevent.spawn(self._accept)]

    def url(self, path: str = "/announce", host: str | None = None) -> str:
        return f"{'https' if self._tls else 'http'}://{host or self._host}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self._socks.append(sock)
            self._greenlets.append(gevent.spawn(self._serve, sock))

    def _serve(self, sock: Any) -> None:
        try:
            if self._tls:
                # A handshake within `wrap_socket` that is cut short would leave the socket open.
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                sock.do_handshake()
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                more = sock.recv(4096)
                if not more:
                    return
                head += more
            self.requests.append(head.decode())
            path = head.split(b" ")[1].decode().partition("?")[0]
            reply = self.replies.get(path, self.replies.get("", ok(b"nothing here")))
            if callable(reply):
                reply(sock)
            else:
                sock.sendall(reply)
        except OSError:
            # The client has left, as it should where it was told too much.
            pass
        finally:
            sock.close()

    def close(self) -> None:
        gevent.killall(self._greenlets)
        for sock in (self._listener, *self._socks):
            sock.close()


class FakeUdp:
    """A UDP server that gives what `answer` makes of each packet: any number of packets.

    Attributes:
        answer: called with the packet.
        packets: those that came in.
        senders: where each came from.
        sender: what the answers are sent from; the server's own socket unless a test puts another there.
    """

    def __init__(self, answer: Callable[[bytes], list[bytes]], host: str = "127.0.0.1") -> None:
        self.answer = answer
        self.packets: list[bytes] = []
        self.senders: list[Any] = []
        self._sock = gevent_socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((host, 0))
        self.sender: Any = self._sock
        self.port = self._sock.getsockname()[1]
        self._host = f"[{host}]" if ":" in host else host
        self._greenlet = gevent.spawn(self._serve)

    @property
    def url(self) -> str:
        return f"udp://{self._host}:{self.port}/announce"

    @property
    def actions(self) -> list[int]:
        """The actions of the packets that came in."""
        return [int.from_bytes(packet[8:12], "big") for packet in self.packets]

    def _serve(self) -> None:
        while True:
            packet, peer = self._sock.recvfrom(65536)
            self.packets.append(packet)
            self.senders.append(peer)
            for data in self.answer(packet):
                self.sender.sendto(data, peer)

    def close(self) -> None:
        self._greenlet.kill()
        self._sock.close()


def udp_answer(packet: bytes, *, peers: bytes = b"", connection_id: int = 77) -> list[bytes]:
    """What a good tracker answers: a connection id, an announce with these peers, or a scrape of ones."""
    action, transaction_id = packet[8:12], packet[12:16]
    if action == bytes(4):
        return [action + transaction_id + connection_id.to_bytes(8, "big")]
    if int.from_bytes(packet[:8], "big") != connection_id:
        return [(3).to_bytes(4, "big") + transaction_id + b"connection id?"]
    if action == (1).to_bytes(4, "big"):
        return [action + transaction_id + b"".join(n.to_bytes(4, "big") for n in (1800, 2, 3)) + peers]
    return [action + transaction_id + (1).to_bytes(4, "big") * 3 * ((len(packet) - 16) // 20)]
