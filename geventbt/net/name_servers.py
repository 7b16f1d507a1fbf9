"""`NameServers`: looks names up over one interface, where the system's own resolver would ask over any.

libtorrent and most other programs leave that to the system's resolver, and so tell the names of trackers to whom their
user binds them away from.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from time import monotonic

from gevent.lock import BoundedSemaphore
from gevent.socket import AF_INET, AF_INET6

from geventbt import limits
from geventbt.concurrency.turns import let_others_run
from geventbt.errors import FetchError
from geventbt.net.addresses import Address, Scope, is_ip_address, is_port, parse_address, scope_of
from geventbt.net.datagrams import DatagramConnection, DatagramConnector
from geventbt.net.dns_packets import IPV4, IPV6, ServerFailed, pack_query, parse_answer
from geventbt.net.interface import Interface
from geventbt.net.resolve import Endpoint

SERVERS_VARIABLE = "GEVENTBT_NAME_SERVERS"
"""The environment variable that names the servers, as IP addresses or HOST:PORT with spaces between them."""

_CONFIGURATIONS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
"""Where the system has its servers; the second where the first names only a server of this machine."""
_HOSTS = "/etc/hosts"
_PORT = 53
_ANSWER = 512
_MAX_FILE = 1 << 20


class NameServers:
    """Looks names up by asking the servers of the system, or those of the environment.

    Args:
        network: opens the connections to the servers.
        interface: that of the connections.

    Raises:
        ValueError: the environment names something that is not a server.
    """

    def __init__(self, network: DatagramConnector, interface: Interface) -> None:
        self._network = network
        self._interface = interface.name
        self._kinds = {AF_INET: (IPV4,), AF_INET6: (IPV6,)}.get(interface.family, (IPV4, IPV6))
        self._is_loopback = interface.address is not None and scope_of(interface.address) is Scope.LOOPBACK
        self._named = named_servers()
        self._places = BoundedSemaphore(limits.LOOKUPS)

    def look_up(self, name: str) -> list[str]:
        """The IP addresses of a name; see `NameLookup`.

        Raises:
            FetchError: there is no such name, or no server answers.
        """
        known = hosts_file(_read(_HOSTS), name)
        if known:
            return known
        servers = system_servers(takes_loopback=self._is_loopback) if self._named is None else self._named
        with self._places:
            for server in servers * limits.DNS_ROUNDS:
                found = self._ask(server, name)
                if found is not None:
                    return found
        raise FetchError(
            f"{name}: no name server answers over the interface {self._interface}; {SERVERS_VARIABLE} can name others"
        )

    def _ask(self, server: Address, name: str) -> list[str] | None:
        """The addresses by one server; None if it does not say."""
        family = AF_INET6 if ":" in server[0] else AF_INET
        found: dict[int, list[str]] = {}
        try:
            with closing(self._network.connect_udp(Endpoint(family, server), limits.DNS_TIMEOUT)) as connection:
                for kind, addresses in self._answers(connection, name):
                    found[kind] = addresses
        except FetchError:
            raise
        except (OSError, ServerFailed):
            # What has come of the other family is of use all the same.
            pass
        return [address for kind in self._kinds for address in found.get(kind, ())] if found else None

    def _answers(self, connection: DatagramConnection, name: str) -> Iterator[tuple[int, list[str]]]:
        """Ask a server for the addresses of each kind; each answer as it comes, in no certain order."""
        questions = {kind: secrets.randbits(16) for kind in self._kinds}
        for kind, query_id in questions.items():
            connection.send(pack_query(query_id, name, kind))
        ends = monotonic() + limits.DNS_TIMEOUT
        while questions and (left := ends - monotonic()) > 0:
            connection.settimeout(left)
            data = connection.recv(_ANSWER)
            for kind, query_id in tuple(questions.items()):
                addresses = parse_answer(data, query_id, name, kind)
                if addresses is not None:
                    del questions[kind]
                    yield kind, addresses
            # A flood of others must not keep other greenlets from running.
            let_others_run()


def named_servers() -> list[Address] | None:
    """The servers that the environment names; None where it names nothing.

    Raises:
        ValueError: it names something that is not one.
    """
    named = os.environ.get(SERVERS_VARIABLE)
    if named is None:
        return None
    return [_server(word) for word in named.split()]


def _server(word: str) -> Address:
    if is_ip_address(word):
        return word, _PORT
    address = parse_address(word)
    if address is None or not is_ip_address(address[0]) or not is_port(address[1]):
        raise ValueError(f"environment variable {SERVERS_VARIABLE}: {word!r} is not an IP address, nor one with a port")
    return address


def system_servers(*, takes_loopback: bool, files: Sequence[str] = _CONFIGURATIONS) -> list[Address]:
    """The servers that the system asks; those of this machine only where they are of use."""
    for file in files:
        found = parse_configuration(_read(file))
        if not takes_loopback:
            found = [host for host in found if scope_of(host) is not Scope.LOOPBACK]
        if found:
            return [(host, _PORT) for host in found[: limits.DNS_SERVERS]]
    return []


def parse_configuration(text: str) -> list[str]:
    """The servers in a configuration of the system's resolver (resolv.conf(5))."""
    words = [line.split() for line in text.splitlines()]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver" and is_ip_address(line[1])]


def hosts_file(text: str, name: str) -> list[str]:
    """The addresses that a file such as /etc/hosts has for a name (hosts(5))."""
    wanted = name.rstrip(".").lower()
    lines = [line.partition("#")[0].lower().split() for line in text.splitlines()]
    return [line[0] for line in lines if wanted in line[1:] and is_ip_address(line[0])]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(_MAX_FILE)
    except OSError:
        return ""
