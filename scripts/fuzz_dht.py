"""Fuzz a DHT node: valid packets, damaged at random, for as long as wanted.

The invariant: whatever comes, no exception leaves the node; each packet and each timer takes a bounded time; what is
kept is bounded; and nothing is sent that is larger than allowed. The test suite runs the same check on 20,000 packets.

    python scripts/fuzz_dht.py --packets 1000000
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from geventbt import limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import IPV4, IPV6, Contact, pack_contacts
from geventbt.discovery.dht.goals import Announce, CountPeers, FindItem, FindPeers, StoreMutable
from geventbt.discovery.dht.items import Item, sign
from geventbt.discovery.dht.lookup import Lookup
from geventbt.discovery.dht.node import Node
from geventbt.discovery.dht.peer_filter import PeerFilter
from geventbt.discovery.dht.search import Search

MAX_TIME = 0.02
"""Seconds of the processor for one packet, or for what is due at one time; nearly all take less than a millisecond."""
_ITEM = sign({"a": [1, b"two", {"b": -3}]}, b"s" * 32, 3, b"salt")
_TARGETS = [bytes([number]) * 20 for number in range(5)] + [_ITEM.target]
_PIECES = (
    b"d",
    b"e",
    b"l",
    b"i",
    b"0",
    b"-",
    b":",
    b"999999999:",
    b"i-0e",
    b"d1:ai1e-6:",
    b"l" * 40,
    b"1:v",
    b"2:id20:",
)


class InvariantBroken(AssertionError):
    """The node did what it must never do."""


class Fuzzer:
    """A node, and packets for it.

    Args:
        seed: everything random follows from it.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.node = Node(IPV4, rng=random.Random(seed), now=0.0)
        self.node.pair_with(Node(IPV6, rng=random.Random(seed + 1), now=0.0))
        self.node.upkeep.begin([], 0.0)
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.slowest = 0.0

    def run(self, packets: int) -> None:
        """Hand the node packets.

        Raises:
            InvariantBroken: one takes too long, or something too large is sent.
            Exception: any other leaves the node, which breaks the invariant as well.
        """
        with without_collections():
            for number in range(packets):
                if number % 50 == 0:
                    self._let_time_pass()
                source, data = self._packet()
                try:
                    self._bounded(partial(self.node.receive, data, source, self.now))
                except Exception:
                    print(f"packet {number} from {source}: {data!r}", file=sys.stderr)
                    raise
                self._take()
                self._check_kept()

    def _bounded(self, act: Callable[[], None]) -> None:
        started = time.thread_time()
        act()
        seconds = time.thread_time() - started
        self.slowest = max(self.slowest, seconds)
        if seconds > MAX_TIME:
            raise InvariantBroken(f"it took {seconds:.3f} s of the processor, more than {MAX_TIME:g}")

    def _let_time_pass(self) -> None:
        """Have something asked, so that there are answers to wait for."""
        self.now += self.rng.choice((0.1, 1.0, 5.0, 20.0))
        target = self.rng.choice(_TARGETS)
        goal = self.rng.choice(
            (
                FindPeers(target, Announce(6881)),
                FindPeers(target),
                CountPeers(target),
                FindItem(_ITEM.target, b"salt"),
                StoreMutable(b"x", b"s" * 32, b"salt"),
            )
        )
        self._bounded(lambda: self.node.wake(self.now))
        self._bounded(lambda: self.node.start(Search(goal, Lookup(goal.target, self.node.node_id)), self.now))
        self._take()

    def _take(self) -> None:
        for data, address in self.node.take_outgoing():
            if len(data) > limits.DHT_PACKET:
                raise InvariantBroken(f"a packet of {len(data)} bytes is sent to {address}")
            self.sent.append((data, address))
        del self.sent[:-100]

    def _check_kept(self) -> None:
        stores = self.node.responder
        kept = (
            (len(self.node.table), 2 * limits.DHT_FIRST_BUCKET + 160 * limits.DHT_K),
            (len(stores.peers), limits.DHT_INFO_HASHES),
            (len(stores.items), 2 * limits.DHT_ITEMS),
        )
        for count, most in kept:
            if count > most:
                raise InvariantBroken(f"{count} are kept, at most {most} may be")

    def _packet(self) -> tuple[tuple[str, int], bytes]:
        source = (f"{self.rng.choice((9, 10, 127))}.{self.rng.randrange(256)}.{self.rng.randrange(256)}.1", 6881)
        if self.sent and self.rng.random() < 0.5:
            question, source = self.rng.choice(self.sent)
            return source, self.damaged(self._answer(question))
        node_id = self.rng.randbytes(20)
        return source, self.damaged(m.write_query(self.rng.randbytes(2), node_id, self._request()))

    def _request(self) -> m.Request:
        target = self.rng.choice(_TARGETS)
        token = self.rng.randbytes(8)
        return self.rng.choice(
            (
                m.Ping(),
                m.FindNode(target, frozenset((IPV4, IPV6))),
                m.GetPeers(target, scrape=self.rng.random() < 0.5, no_seeds=self.rng.random() < 0.5),
                m.AnnouncePeer(target, self.rng.choice((0, 1, 65535, 65536)), token),
                m.Get(target, self.rng.choice((None, 0, 5, limits.DHT_MAX_SEQ))),
                m.PutItem(self.rng.choice((_ITEM, Item(b"1:x"))), token, self.rng.choice((None, 3))),
                m.SampleInfoHashes(target),
            )
        )

    def _answer(self, question: bytes) -> bytes:
        """An answer to a packet of the node, with all that an answer may have."""
        at = question.find(b"1:t2:")
        transaction_id = question[at + 5 : at + 7]
        contacts = [Contact(self.rng.randbytes(20), (f"9.{self.rng.randrange(256)}.3.1", 6881)) for _ in range(8)]
        values = {
            b"nodes": m.string(pack_contacts(contacts)),
            b"token": m.string(self.rng.randbytes(8)),
            b"values": b"l%be" % b"".join(m.string(self.rng.randbytes(6)) for _ in range(self.rng.randrange(40))),
        }
        if self.rng.random() < 0.2:
            values.update({b"BFsd": m.string(bytes(PeerFilter())), b"BFpe": m.string(self.rng.randbytes(256))})
        if self.rng.random() < 0.3:
            values.update(m.item_values(_ITEM))
        if self.rng.random() < 0.1:
            return m.write_failure(transaction_id, 203, "no", ("9.9.9.9", 1))
        return m.write_reply(transaction_id, self.rng.randbytes(20), values, ("9.9.9.9", 1))

    def damaged(self, data: bytes) -> bytes:
        """The same with a few changes, or none."""
        packet = bytearray(data)
        for _ in range(self.rng.choice((0, 0, 1, 1, 2, 4))):
            at = self.rng.randrange(len(packet) + 1)
            end = at + self.rng.choice((0, 1, 2, 20))
            change = self.rng.randrange(6)
            if change == 0 and at < len(packet):
                packet[at] ^= 1 << self.rng.randrange(8)
            elif change == 1:
                packet[at:end] = self.rng.randbytes(end - at)
            elif change == 2:
                del packet[at:end]
            elif change == 3:
                packet[at:end] = self.rng.choice(_PIECES)
            elif change == 4:
                packet[at:at] = packet[at:end] * self.rng.choice((2, 70, 700))
            elif change == 5:
                del packet[at:]
        return bytes(packet)


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection meanwhile: one goes through all objects of the process, and its time is not a packet's
    (*measured*: up to 0.26 s in a long run of the tests, where a packet takes at most a few milliseconds)."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def batches(packets: int) -> Iterator[int]:
    """The sizes of the parts of a run, each for a new node."""
    while packets > 0:
        yield min(packets, 20_000)
        packets -= 20_000


def main() -> None:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description="Fuzz a DHT node with damaged packets.")
    parser.add_argument("--packets", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--seed", type=int, default=None, help="repeat an earlier run")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    slowest = 0.0
    for number, packets in enumerate(batches(arguments.packets)):
        fuzzer = Fuzzer(seed + number)
        fuzzer.run(packets)
        slowest = max(slowest, fuzzer.slowest)
    print(f"seed {seed}: {arguments.packets} packets, the slowest took {slowest * 1e3:.1f} ms; the invariant holds")


if __name__ == "__main__":
    main()
