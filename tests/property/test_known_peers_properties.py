"""The known peers against a naive model of busy and banned peers, after any reports and any events."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.net.addresses import normalise

LIMIT = 12
hosts = st.sampled_from(
    ["93.184.216.1", "93.184.216.2", "::ffff:93.184.216.1", "2606:4700::1", "10.0.0.1", "127.0.0.1", "224.0.0.1", "x"]
)
addresses = st.tuples(hosts, st.integers(0, 6))
tellers = st.sampled_from(["198.41.0.4", "198.41.0.5", "198.41.0.6", "192.168.1.1", "127.0.0.1", ""])
waits = st.floats(0, 2000)


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.known = KnownPeers(LIMIT, rng=random.Random(0))
        self.now = 0.0
        self.busy: set = set()
        self.banned: set = set()
        self.proven: set = set()

    @rule(address=addresses, source=st.sampled_from(Source), reported_by=tellers)
    def add(self, address, source, reported_by):
        there = self.known.add(address, source, self.now, reported_by=reported_by)
        assert not there or address in self.known
        assert not there or normalise(address) not in self.banned

    @rule(number=st.integers(0, 1 << 16), reported_by=tellers)
    def flood(self, number, reported_by):
        for other in range(30):
            self.known.add(
                (f"93.1.{number >> 8}.{(number + other) & 255}", 1), Source.PEX, self.now, reported_by=reported_by
            )

    @rule(passed=waits)
    def wait(self, passed):
        self.now += passed

    @rule()
    def wait_until_due(self):
        due = self.known.next_due(self.now)
        if due is not None:
            assert due >= self.now
            self.now = due
            self.try_next(must=True)

    @rule()
    def try_next(self, must=False):
        due = self.known.next_due(self.now)
        address = self.known.next(self.now)
        assert (address is not None) == (due == self.now)
        assert address is not None or not must
        if address is not None:
            assert address == normalise(address)
            assert address not in self.busy
            assert address not in self.banned
            self.busy.add(address)

    @rule(data=st.data(), outcome=st.sampled_from(["failed", "worked", "useless", "connected"]))
    def hear_of_it(self, data, outcome):
        if not self.busy:
            return
        address = data.draw(st.sampled_from(sorted(self.busy)))
        if outcome == "connected":
            self.known.connected(address)
            return
        self.known.failed(address, self.now)
        self.known.connected(address)
        self.known.closed(address, self.now, worked=outcome == "worked")
        self.busy.discard(address)
        if outcome == "worked":
            self.proven.add(address)
        else:
            # Its failures may add up until it is given up.
            self.proven.discard(address)

    @rule(address=addresses)
    def peer_connects(self, address):
        if address in self.known:
            self.known.connected(address)
            self.busy.add(normalise(address))

    @rule(address=addresses)
    def ban(self, address):
        self.known.ban(address)
        self.banned.add(normalise(address))
        self.busy.discard(normalise(address))
        self.proven.discard(normalise(address))

    @invariant()
    def it_is_bounded(self):
        assert len(self.known) <= LIMIT

    @invariant()
    def busy_and_proven_peers_are_not_pushed_out(self):
        assert all(address in self.known for address in self.busy)
        if len(self.proven) < LIMIT:
            assert all(address in self.known for address in self.proven)


TestStory = pytest.mark.filterwarnings("error")(Story.TestCase)
TestStory.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
