"""The choker with any behaviour of peers: it keeps to its slots, and every interested peer gets a turn."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt.client.swarm.choker import Choker, PeerView

rates = st.floats(0, 1e9)
views = st.builds(
    PeerView,
    key=st.integers(0, 12),
    interested=st.booleans(),
    snubbed=st.booleans(),
    down_rate=rates,
    up_rate=rates,
    uploaded=st.integers(0, 1 << 30),
)
crowds = st.lists(views, max_size=12, unique_by=lambda peer: peer.key)
actions = st.one_of(
    st.tuples(st.just("rechoke"), crowds),
    st.tuples(st.just("fill"), crowds),
    st.tuples(st.just("interest"), views),
    st.tuples(st.just("release"), st.integers(0, 12)),
    st.tuples(st.just("slots"), st.one_of(st.none(), st.integers(0, 6))),
)


@given(st.lists(st.tuples(actions, st.floats(0, 40), st.booleans()), max_size=40), st.integers())
@settings(max_examples=100)
def test_the_slots_are_never_exceeded_and_only_the_interested_have_them(story, seed):
    choker = Choker(3, rng=random.Random(seed))
    # A lower number of slots holds from the next round on.
    now, allowed = 0.0, 3.0
    unchoked: set = set()
    for (kind, value), passed, seeding in story:
        now += passed
        before = set(unchoked)
        if kind == "rechoke":
            chosen = choker.rechoke(value, now, seeding=seeding)
            allowed = float("inf") if choker.slots is None else choker.slots
            interested = {peer.key for peer in value if peer.interested}
            welcome = {peer.key for peer in value if peer.interested and (seeding or not peer.snubbed)}
            unchoked = set(chosen)
            assert chosen <= interested
            assert len(chosen) >= min(allowed, len(welcome)), "a slot is empty while someone waits"
            assert len(chosen - welcome) <= 1, "only the optimistic slot is for those that snub us"
        elif kind == "fill":
            added = choker.fill(value, now, seeding=seeding)
            assert added <= {peer.key for peer in value if peer.interested} - before
            unchoked |= added
        elif kind == "interest":
            if choker.on_interest(value, now, seeding=seeding):
                unchoked.add(value.key)
            else:
                assert value.key not in before
        elif kind == "release":
            assert choker.release(value) == (value in before)
            unchoked.discard(value)
        else:
            choker.slots = value
            allowed = max(allowed, float("inf") if value is None else value)
        assert choker.unchoked_count == len(unchoked) <= allowed


@given(
    st.lists(st.tuples(rates, st.booleans()), min_size=1, max_size=12),
    st.integers(1, 5),
    st.booleans(),
    st.integers(),
)
@settings(max_examples=100)
def test_every_interested_peer_is_unchoked_in_the_end(crowd, slots, seeding, seed):
    """With any rates, snubbed or not, while the other peers stay unchanged."""
    choker = Choker(slots, rng=random.Random(seed))
    peers = [
        PeerView(key, True, snubbed=snubbed, down_rate=rate, up_rate=rate) for key, (rate, snubbed) in enumerate(crowd)
    ]
    served = set()
    for turn in range(3 * len(peers) + 3):
        served |= choker.rechoke(peers, turn * 10.0, seeding=seeding)
    assert served == set(range(len(peers)))
