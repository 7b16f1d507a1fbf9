"""A custom extension (BEP 10): two peers exchange the time of their clocks.

    python scripts/custom_extension.py --listen 6881
    python scripts/custom_extension.py --connect 127.0.0.1:6881

It needs no change of the package, and works with peers that do not support it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

import gevent
from gevent.event import AsyncResult

import geventbt


class Clock(geventbt.Extension):
    """Requests the peer's time, and answers its requests."""

    name = "x_clock"

    def __init__(self, wire: geventbt.Wire) -> None:
        super().__init__(wire)
        self.peer_time: AsyncResult = AsyncResult()

    def on_extended_handshake(self, handshake: dict[str, object]) -> None:
        """Request the time, if the peer supports the extension."""
        if self.supported:
            self.send({"ask": 1})

    def on_message(self, payload: bytes) -> None:
        """Handle an untrusted request or answer. An exception for anything else is logged, and the wire goes on."""
        message = geventbt.bencoding.decode(payload)
        if b"ask" in message:
            self.send({"milliseconds": int(time.time() * 1000)})
        else:
            self.peer_time.set(message[b"milliseconds"] / 1000)


def address(text: str) -> tuple[str, int]:
    """The (host, port) of "host:port", where an IPv6 host has its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def serve(wire: geventbt.Wire) -> None:
    """Serve an inbound peer: the extension answers its requests."""
    wire.use(Clock)
    wire.handshake(wire.wait_handshake().info_hash, geventbt.new_peer_id())
    wire.wait_for("close")


parser = argparse.ArgumentParser(description="Two peers exchange the time of their clocks.")
role = parser.add_mutually_exclusive_group(required=True)
role.add_argument("--listen", type=int, metavar="port")
role.add_argument("--connect", type=address, metavar="host:port")
parser.add_argument("--info-hash", default="c10c" * 10, help="of a torrent that the peer has")
parser.add_argument("--timeout", type=float, default=5, metavar="seconds", help="for the peer's time")
arguments = parser.parse_args()
gevent.signal_handler(signal.SIGINT, sys.exit, "interrupted")

try:
    if arguments.listen is not None:
        server = geventbt.listen(("127.0.0.1", arguments.listen), serve)
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever()
    with geventbt.connect(arguments.connect, info_hash=arguments.info_hash) as wire:
        wire.use(Clock)
        wire.handshake(arguments.info_hash, geventbt.new_peer_id())
        peer_time = wire.x_clock.peer_time.get(timeout=arguments.timeout)
        print(f"the peer's clock is {peer_time - time.time():+.1f} seconds off")
except gevent.Timeout:
    sys.exit(f"the peer sent no time within {arguments.timeout:g} seconds: does it support x_clock?")
except (geventbt.GeventBTError, OSError, ValueError) as error:
    sys.exit(str(error))
