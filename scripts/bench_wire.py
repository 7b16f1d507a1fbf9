"""Benchmark of one wire, against the raw socket on the same machine in the same run.

Two processes on loopback, 16 KiB blocks, one connection. The measured side runs in this process; its partner is a
child that does as little as possible.

    python scripts/bench_wire.py [--blocks 64000] [--repeat 3] [--json] [--encryption]

Rows: raw (`recv_into` on a gevent socket), request with N greenlets at once, read_into, serve. Each gives blocks a
second, CPU microseconds a block on our side, the ratio of its throughput to that of the base row next to it, and the
longest delay of a ticking greenlet (milliseconds).
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import gevent
from gevent import socket as gevent_socket

import geventbt
from geventbt.protocol.mse import RC4, Initiator
from geventbt.protocol.rc4 import Rc4
from geventbt.wire.transports.encryption import InboundOpening

BLOCK = 16 * 1024
PIECE = 1024 * 1024
INFO_HASH = b"benchmark-info-hash!"
MESSAGE = 13 + BLOCK
HANDSHAKE = b"\x13BitTorrent protocol" + bytes(8) + INFO_HASH + b"-XX0000-benchmarkpee"
UNCHOKE = b"\0\0\0\1\1"
INTERESTED = b"\0\0\0\1\2"


# ---------------------------------------------------------------------- the partner: plain blocking sockets, no parsing
# to speak of


def _partner(role: str, port: int, blocks: int) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    roles = {"raw": _send_raw, "feed": _feed, "take": _take, "feed rc4": _feed_rc4, "take rc4": _take_rc4}
    try:
        roles[role](sock, blocks)
    except OSError:
        return


class _EncryptedSocket:
    """As much of a socket as the partner needs, with RC4; whole batches at once, as we do."""

    def __init__(self, sock: socket.socket) -> None:
        opening = Initiator(INFO_HASH, RC4)
        while not opening.done:
            sock.sendall(opening.take_outgoing())
            opening.receive(sock.recv(4096))
            if opening.key_due:
                opening.compute_key()
        assert opening.encryptor is not None
        assert opening.decryptor is not None
        self._sock = sock
        self._encrypt, self._decrypt = opening.encryptor.crypt_in_place, opening.decryptor.crypt_in_place

    def sendall(self, data: bytes) -> None:
        batch = bytearray(data)
        self._encrypt(batch)
        self._sock.sendall(batch)

    def sendmsg(self, buffers: list[bytes]) -> None:
        batch = bytearray().join(buffers)
        self._encrypt(batch)
        self._sock.sendall(batch)

    def recv_into(self, buffer: bytearray) -> int:
        count = self._sock.recv_into(buffer)
        self._decrypt(memoryview(buffer)[:count])
        return count

    def recv(self, count: int, flags: int = 0) -> bytes:
        data = bytearray(self._sock.recv(count, flags))
        self._decrypt(data)
        return bytes(data)


def _feed_rc4(sock: socket.socket, blocks: int) -> None:
    _feed(_EncryptedSocket(sock), blocks)


def _take_rc4(sock: socket.socket, blocks: int) -> None:
    _take(_EncryptedSocket(sock), blocks)


def _send_raw(sock: socket.socket, blocks: int) -> None:
    chunk = bytes(1 << 20)
    while True:
        sock.sendall(chunk)


def _receive_exactly(sock: Any, count: int) -> bytes:
    return sock.recv(count, socket.MSG_WAITALL)


def _feed(sock: Any, blocks: int) -> None:
    """Answer requests, all that have arrived with one sendmsg."""
    sock.sendall(HANDSHAKE + UNCHOKE)
    _receive_exactly(sock, len(HANDSHAKE))
    block = bytes(BLOCK)
    start = struct.pack(">IB", 9 + BLOCK, 7)
    pending = b""
    while True:
        data = sock.recv(1 << 16)
        if not data:
            return
        pending += data
        whole = len(pending) // 17 * 17
        buffers: list[bytes] = []
        for at in range(0, whole, 17):
            buffers += (start + pending[at + 5 : at + 13], block)
        pending = pending[whole:]
        for at in range(0, len(buffers), 128):
            sock.sendmsg(buffers[at : at + 128])


def _take(sock: Any, blocks: int) -> None:
    """Request `blocks` blocks, 250 at a time, discard them, and disconnect."""
    sock.sendall(HANDSHAKE + INTERESTED)
    _receive_exactly(sock, len(HANDSHAKE))
    _receive_exactly(sock, len(UNCHOKE))
    requests = b"".join(struct.pack(">IBIII", 13, 6, i // 64, i % 64 * BLOCK, BLOCK) for i in range(4096))
    scratch = bytearray(1 << 20)
    sent, received = 250, 0
    sock.sendall(requests[: 17 * sent])
    while received < blocks * MESSAGE:
        received += sock.recv_into(scratch)
        fresh = min(received // MESSAGE + 250, blocks) - sent
        if fresh >= 16 or received // MESSAGE > blocks - 250:
            at = sent % 4096
            sock.sendall((requests + requests)[17 * at : 17 * (at + fresh)])
            sent += fresh


# ---------------------------------------------------------------------- what is measured


@contextmanager
def _connection(role: str, blocks: int = 0) -> Iterator[gevent_socket.socket]:
    # Not create_server, which is the standard library's even here.
    listener = gevent_socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = str(listener.getsockname()[1])
    child = subprocess.Popen([sys.executable, __file__, "--role", role, "--port", port, "--blocks", str(blocks)])
    try:
        sock, _ = listener.accept()
        yield sock
    finally:
        child.kill()
        child.wait()
        listener.close()


class Ticker:
    """A greenlet that is due every 5 ms, and notes its longest delay."""

    def __enter__(self) -> Ticker:
        self.worst = 0.0
        self._greenlet = gevent.spawn(self._tick)
        gevent.sleep(0)
        return self

    def _tick(self) -> None:
        while True:
            due = time.perf_counter() + 0.005
            gevent.sleep(0.005)
            self.worst = max(self.worst, time.perf_counter() - due)

    def __exit__(self, *exc_info: object) -> None:
        self._greenlet.kill()


def _measure(blocks: int, work: Callable[[], None]) -> dict[str, float]:
    with Ticker() as ticker:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "blocks_per_second": blocks / wall,
        "megabytes_per_second": blocks * BLOCK / wall / 1e6,
        "cpu_microseconds_per_block": cpu / blocks * 1e6,
        "ticker_late_milliseconds": ticker.worst * 1e3,
    }


def bench_raw(blocks: int) -> dict[str, float]:
    scratch = bytearray(128 * 1024)

    with _connection("raw") as sock:

        def work() -> None:
            left = blocks * MESSAGE
            while left > 0:
                left -= sock.recv_into(scratch)

        return _measure(blocks, work)


@contextmanager
def _wire(role: str, blocks: int = 0) -> Iterator[geventbt.Wire]:
    opening = InboundOpening("require", lambda hidden: INFO_HASH) if role.endswith("rc4") else None
    with _connection(role, blocks) as sock, geventbt.Wire(sock, incoming=True, opening=opening) as wire:
        wire.handshake(INFO_HASH, geventbt.new_peer_id())
        yield wire


def bench_request(blocks: int, greenlets: int) -> dict[str, float]:
    """(a) A greenlet for each outstanding request."""
    with _wire("feed") as wire:
        wire.wait_unchoked()
        numbers = iter(range(blocks))

        def ask() -> None:
            for number in numbers:
                wire.request(number // 64, number % 64 * BLOCK, BLOCK)

        return _measure(blocks, lambda: gevent.joinall([gevent.spawn(ask) for _ in range(greenlets)], raise_error=True))


def bench_read_into(blocks: int, role: str = "feed") -> dict[str, float]:
    """(b) Whole pieces, two at a time so that the peer's queue never runs empty between them."""
    with _wire(role) as wire:
        wire.wait_unchoked()
        pieces = iter(range(blocks // 64))

        def read() -> None:
            buffer = bytearray(PIECE)
            for piece in pieces:
                wire.read_into(piece, 0, buffer)

        return _measure(blocks, lambda: gevent.joinall([gevent.spawn(read) for _ in range(2)], raise_error=True))


def bench_serve(blocks: int, role: str = "take") -> dict[str, float]:
    """(c) Answering requests, from memory."""
    payload = memoryview(bytes(PIECE))
    with _wire(role, blocks) as wire:
        wire.unchoke()

        def read_block(piece: int, offset: int, length: int) -> memoryview:
            return payload[offset : offset + length]

        return _measure(blocks, lambda: wire.serve(read_block))


def bench_cipher(blocks: int) -> dict[str, float]:
    """RC4 alone, on one core, in buffers as large as those that are read and sent."""
    cipher = Rc4(bytes(20))
    buffer = bytearray(32 * MESSAGE)

    def work() -> None:
        for _ in range(blocks // 32):
            cipher.crypt_in_place(buffer)

    return _measure(blocks, work)


ROWS: dict[str, Callable[[int], dict[str, float]]] = {
    "request, 1 greenlet": lambda blocks: bench_request(blocks // 4, 1),
    "request, 16 greenlets": lambda blocks: bench_request(blocks, 16),
    "request, 64 greenlets": lambda blocks: bench_request(blocks, 64),
    "request, 250 greenlets": lambda blocks: bench_request(blocks, 250),
    "read_into": bench_read_into,
    "serve": bench_serve,
}


ENCRYPTED_ROWS: dict[str, Callable[[int], dict[str, float]]] = {
    "read_into, rc4": partial(bench_read_into, role="feed rc4"),
    "serve, rc4": partial(bench_serve, role="take rc4"),
}


def run(blocks: int, repeat: int, encryption: bool) -> dict[str, dict[str, float]]:
    """Every row, each beside a base run of its own; medians over the repeats, and the worst lateness.

    The base is the raw socket or, with encryption, the cipher alone.
    """
    name_of_base, base_of, rows = (
        ("rc4 alone", bench_cipher, ENCRYPTED_ROWS) if encryption else ("raw", bench_raw, ROWS)
    )
    samples: dict[str, list[dict[str, float]]] = {}
    for _ in range(repeat):
        for name, bench in rows.items():
            base = base_of(blocks)
            figures = bench(blocks)
            figures["ratio_to_base"] = figures["blocks_per_second"] / base["blocks_per_second"]
            samples.setdefault(name_of_base, []).append({**base, "ratio_to_base": 1.0})
            samples.setdefault(name, []).append(figures)
    return {name: _summary(rows) for name, rows in samples.items()}


def _summary(rows: list[dict[str, float]]) -> dict[str, float]:
    summary = {key: median(row[key] for row in rows) for key in rows[0]}
    summary["ticker_late_milliseconds"] = max(row["ticker_late_milliseconds"] for row in rows)
    return summary


def _print_table(results: dict[str, dict[str, float]]) -> None:
    print(f"{'':24}{'blocks/s':>10}{'MB/s':>8}{'CPU us/block':>14}{'ratio to base':>14}{'worst tick ms':>15}")
    for name, row in results.items():
        print(
            f"{name:24}{row['blocks_per_second']:10,.0f}{row['megabytes_per_second']:8,.0f}"
            f"{row['cpu_microseconds_per_block']:14.2f}{row['ratio_to_base']:14.2f}{row['ticker_late_milliseconds']:15.1f}"
        )


def main(argv: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description="Measure one wire against the raw socket, on loopback.")
    parser.add_argument("--blocks", type=int, default=64_000, help="blocks of 16 KiB in each row")
    parser.add_argument("--repeat", type=int, default=3, help="how often; the median is shown")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--encryption", action="store_true", help="RC4, against the cipher alone")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.role:
        _partner(arguments.role, arguments.port, arguments.blocks)
        return
    results = run(arguments.blocks, arguments.repeat, arguments.encryption)
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        _print_table(results)


if __name__ == "__main__":
    main()
