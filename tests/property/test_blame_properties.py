"""Blame names peers that sent wrong blocks, all of them after a good copy, and never an honest one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt.client.pieces.blame import Blame

BLOCKS = 4
GOOD = {offset: bytes([offset]) * 8 for offset in range(BLOCKS)}
LIES = [b"lie 1", b"lie 2", GOOD[1]]
HONEST, LIARS = ("h1", "h2", "h3"), ("l1", "l2", "l3", "l4")

blocks = st.one_of(
    st.tuples(st.sampled_from(HONEST), st.just(None)),
    st.tuples(st.sampled_from(LIARS), st.one_of(st.none(), st.sampled_from(LIES))),
)
"""The sender of a block, and the wrong data that it sends, if any."""
attempts = st.lists(blocks, min_size=BLOCKS, max_size=BLOCKS)


def as_sent(attempt):
    return [(offset, sender, GOOD[offset] if lie is None else lie) for offset, (sender, lie) in enumerate(attempt)]


@given(st.lists(st.tuples(st.integers(0, 2), attempts), max_size=15))
@settings(max_examples=100)
def test_liars_are_named_and_honest_peers_never(story):
    blame = Blame()
    liars: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for piece, attempt in story:
        wrong = {sender for offset, sender, data in as_sent(attempt) if data != GOOD[offset]}
        if not wrong:
            # The hash is right, so the piece is good.
            assert blame.piece_good(piece, GOOD.items()) == liars[piece]
            liars[piece] = set()
            assert not blame.is_parked(piece)
            continue
        liars[piece] |= wrong
        named = blame.piece_failed(piece, as_sent(attempt))
        assert named <= wrong, "an honest peer was named"
        if not blame.is_parked(piece):
            senders = {sender for sender, _ in attempt}
            assert named == (senders if len(senders) == 1 else set())
    for piece, expected in liars.items():
        assert blame.piece_good(piece, GOOD.items()) == expected


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=30))
def test_where_the_torrent_is_wrong_at_most_two_are_named_and_the_parked_piece_forgives_them(story):
    """Every peer sends the original data, as the only sender or with another peer; no hash is ever right."""
    blame = Blame()
    named: set[str] = set()
    alone: set[str] = set()
    for sender, shares in story:
        senders = [sender] * (BLOCKS - 1) + ["other" if shares else sender]
        named |= blame.piece_failed(0, [(offset, who, b"same") for offset, who in enumerate(senders)])
        alone |= set() if shares or (blame.is_parked(0) and len(alone) >= 3) else {sender}
        assert len(named) <= 2
    assert blame.is_parked(0) == (len(alone) >= 3)
    if blame.is_parked(0):
        assert named <= blame.parked[0]
