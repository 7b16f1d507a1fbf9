"""Ports for programs that must be told one, as they cannot choose it and say which."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from itertools import count

_FIRST, _PORTS = 20_000, 12_000
"""Below those that Linux gives to sockets that do not name one: what runs beside cannot get it before the program."""
_numbers = count(os.getpid() * 97)
"""Test processes begin far from each other: their ids follow one another."""


def free_port() -> int:
    """A port of loopback that nobody uses, over TCP and UDP; another one each time."""
    while True:
        port = _FIRST + next(_numbers) % _PORTS
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams, suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.bind(("", port))
            datagrams.bind(("", port))
            return port
