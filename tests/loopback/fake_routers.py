"""Routers on loopback that map ports by NAT-PMP, PCP and UPnP: well, badly, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket as gevent_socket
from gevent.pool import Pool
from gevent.server import StreamServer

from geventbt.net.http.url import Origin
from tests.loopback.fake_trackers import ok

EXTERNAL = "93.184.216.34"
_MAPPED = bytes(10) + b"\xff\xff" + bytes([93, 184, 216, 34])

DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>
<controlURL>/wrong</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:{kind}:1</serviceType><controlURL>{control}</controlURL></service>
</serviceList></device></deviceList></device></root>"""


class PmpServer:
    """A router of PCP or NAT-PMP.

    Attributes:
        mapped: what it has mapped: (6 or 17, port) to the external port.
        requests: the packets that came in.
        knows_pcp: whether it answers PCP, or NAT-PMP only.
        spoil: makes something else of an answer.
        external_port: gives the external port for a port.
        external_host: the packed IPv6 address that it names, over IPv4 in its mapped form.
    """

    def __init__(self, *, knows_pcp: bool = True, lifetime: int = 3600, host: str = "127.0.0.1") -> None:
        self.mapped: dict[tuple[int, int], int] = {}
        self.requests: list[bytes] = []
        self.knows_pcp = knows_pcp
        self.lifetime = lifetime
        self.result = 0
        self.spoil: Callable[[bytes], list[bytes]] = lambda answer: [answer]
        self.external_port: Callable[[int], int] = lambda port: port
        self.external_host = _MAPPED
        family = gevent_socket.AF_INET6 if ":" in host else gevent_socket.AF_INET
        self._sock = gevent_socket.socket(family, gevent_socket.SOCK_DGRAM)
        self._sock.bind((host, 0))
        self.port = self._sock.getsockname()[1]
        self._greenlet = gevent.spawn(self._serve)

    def close(self) -> None:
        self._greenlet.kill()
        self._sock.close()

    def say(self, data: bytes, port: int) -> None:
        """Send something that was not asked for."""
        self._sock.sendto(data, ("127.0.0.1", port))

    def _serve(self) -> None:
        while True:
            data, sender = self._sock.recvfrom(2000)
            self.requests.append(data)
            for packet in self.spoil(self._answer(data)):
                self._sock.sendto(packet, sender)

    def _answer(self, data: bytes) -> bytes:
        if data[0] == 2 and self.knows_pcp:
            protocol, port, wanted = data[36], _number(data[40:42]), _number(data[42:44])
            external, lifetime = self._map(protocol, port, wanted, _number(data[4:8]))
            head = bytes([2, 129, 0, self.result]) + lifetime.to_bytes(4, "big") + bytes(16)
            return head + data[24:42] + external.to_bytes(2, "big") + self.external_host
        if data[0] != 0:
            return bytes([0, 128, 0, 1]) + bytes(4)
        head = bytes([0, 128 + data[1]]) + self.result.to_bytes(2, "big") + bytes(4)
        if data[1] == 0:
            return head + self.external_host[-4:]
        port, wanted = _number(data[4:6]), _number(data[6:8])
        external, lifetime = self._map({1: 17, 2: 6}[data[1]], port, wanted, _number(data[8:12]))
        return head + data[4:6] + external.to_bytes(2, "big") + lifetime.to_bytes(4, "big")

    def _map(self, protocol: int, port: int, wanted: int, lifetime: int) -> tuple[int, int]:
        if self.result:
            return 0, 0
        if not lifetime:
            self.mapped.pop((protocol, port), None)
            return 0, 0
        self.mapped[protocol, port] = self.external_port(wanted)
        return self.mapped[protocol, port], min(lifetime, self.lifetime)


class UpnpServer:
    """A router of UPnP, whose search is answered without multicast.

    Attributes:
        mapped: (external port, "TCP" or "UDP") to (address, port, lease).
        taken: external ports that are.
        knows_leases: whether a mapping may be for a time.
        replies: what it answers with, in place of what is right, by path; b"" for silence. Or what writes it to the
            connection.
        heads: of the requests.
        actions: their names.
        answers: what the search is answered with.
    """

    def __init__(self, kind: str = "WANIPConnection", control: str = "/control", *, host: str = "127.0.0.1") -> None:
        self.mapped: dict[tuple[int, str], tuple[str, int, int]] = {}
        self.taken: set[int] = set()
        self.knows_leases = True
        self.actions: list[str] = []
        description = ok(DESCRIPTION.format(kind=kind, control=control).encode())
        self.replies: dict[str, bytes | Callable[[Any], None]] = {"/description.xml": description}
        self.heads: list[str] = []
        self._http = StreamServer((host, 0), self._serve_http, spawn=Pool())
        self._http.start()
        where = Origin("http", host, self._http.server_port).authority
        self.location = f"http://{where}/description.xml"
        self.answers = [self.search_answer(self.location)]
        family = gevent_socket.AF_INET6 if ":" in host else gevent_socket.AF_INET
        self._sock = gevent_socket.socket(family, gevent_socket.SOCK_DGRAM)
        self._sock.bind((host, 0))
        self.group = self._sock.getsockname()[:2]
        self._greenlet = gevent.spawn(self._serve)

    @staticmethod
    def search_answer(location: str) -> bytes:
        target = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
        return f"HTTP/1.1 200 OK\r\nST: {target}\r\nEXT:\r\nLOCATION: {location}\r\n\r\n".encode()

    def close(self) -> None:
        self._greenlet.kill()
        self._sock.close()
        self._http.stop(0)

    def _serve(self) -> None:
        while True:
            data, sender = self._sock.recvfrom(2000)
            for answer in self.answers if b"InternetGatewayDevice:2" in data else ():
                self._sock.sendto(answer, sender)

    def _serve_http(self, sock: Any, address: Any) -> None:
        file = sock.makefile("rb")
        head = b"".join(iter(file.readline, b"\r\n")).decode()
        self.heads.append(head)
        reply = self.replies.get(head.split()[1])
        if reply is None:
            length = re.search(r"Content-Length: ([0-9]+)", head)
            action = re.search(r"#(\w+)", head)
            assert length is not None
            assert action is not None
            self.actions.append(action[1])
            fields = dict(re.findall(r"<(?:New)?(\w+)>([^<]*)</", file.read(int(length[1])).decode()))
            reply = self._act(action[1], fields, address[0])
        with suppress(OSError):
            if callable(reply):
                reply(sock)
                return
            sock.sendall(reply)
            if not reply:
                sock.recv(1)

    def _act(self, action: str, fields: dict[str, str], sender: str) -> bytes:
        if action == "GetExternalIPAddress":
            return ok(f"<a:Envelope><NewExternalIPAddress>{EXTERNAL}</NewExternalIPAddress></a:Envelope>".encode())
        key = int(fields["ExternalPort"]), fields["Protocol"]
        if action == "DeletePortMapping":
            del self.mapped[key]
            return ok(b"<s/>")
        if key[0] in self.taken:
            return fault(718)
        if fields["LeaseDuration"] != "0" and not self.knows_leases:
            return fault(725)
        self.mapped[key] = fields["InternalClient"], int(fields["InternalPort"]), int(fields["LeaseDuration"])
        return ok(b"<s/>")


class PinholeServer(UpnpServer):
    """A router of UPnP that opens its firewall over IPv6.

    Attributes:
        pinholes: by their numbers (address, port, 6 or 17, lease).
        number: what it says that the next one has.
    """

    def __init__(self, kind: str = "WANIPv6FirewallControl") -> None:
        super().__init__(kind, host="::1")
        self.pinholes: dict[str, tuple[str, int, int, int]] = {}
        self.number = "7"

    def _act(self, action: str, fields: dict[str, str], sender: str) -> bytes:
        if action == "AddPinhole":
            if fields["InternalClient"] != sender:
                return fault(606)
            number, self.number = self.number, str(int(self.number) + 1)
            place = fields["InternalClient"], int(fields["InternalPort"]), int(fields["Protocol"])
            self.pinholes[number] = *place, int(fields["LeaseTime"])
            return ok(f"<a:Envelope><UniqueID>{number}</UniqueID></a:Envelope>".encode())
        if fields["UniqueID"] not in self.pinholes:
            return fault(704)
        if action == "DeletePinhole":
            del self.pinholes[fields["UniqueID"]]
        return ok(b"<s/>")


def fault(code: int) -> bytes:
    """The answer to an action that is refused."""
    body = f"<s:Envelope><UPnPError><errorCode>{code}</errorCode><errorDescription>no</errorDescription></UPnPError>"
    body += "</s:Envelope>"
    return f"HTTP/1.1 500 No\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
