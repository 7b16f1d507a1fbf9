"""The block picker against a naive model: after any events in any order, every pick is allowed by the model."""

from __future__ import annotations

from random import Random

import pytest
from bitarray import bitarray
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from geventbt import limits
from geventbt.client.pieces.picker import BlockPicker
from geventbt.geometry import Geometry
from tests.property.picker_model import Model

PEERS = ["ann", "bob", "cid", "dan", "eve"]

_peer = st.sampled_from(PEERS)
_index = st.integers(0, 1000)
_seed = st.integers(0, 2**16)


def bits(pieces, count):
    return bitarray([piece in pieces for piece in range(count)], endian="big")


class BlockPickerMachine(RuleBasedStateMachine):
    """Any events in any order, each checked against the model."""

    @initialize(
        pieces=st.integers(1, 12),
        blocks=st.integers(1, 4),
        have=_seed,
        wanted=st.none() | _seed,
        max_open=st.integers(0, 4) | st.just(12),
        seed=_seed,
        peers=st.dictionaries(_peer, _seed),
        is_rough=st.booleans(),
    )
    def begin(self, pieces, blocks, have, wanted, max_open, seed, peers, is_rough):
        piece_length = blocks * limits.BLOCK
        geometry = Geometry(pieces * piece_length - piece_length // 2, piece_length)
        have = self.some(have if have % 2 else 0, pieces)
        wanted = bits(range(pieces), pieces) if wanted is None else self.some(wanted, pieces)
        self.let_go = []
        self.picker = BlockPicker(
            geometry,
            have,
            wanted=wanted,
            max_open=max_open * piece_length,
            random=Random(seed),
            on_let_go=self.let_go.append,
        )
        self.model = Model(geometry, have, wanted, max_open * piece_length)
        self.count = pieces
        self.workers = {}
        self.active = set()
        self.is_rough = is_rough
        for peer, number in peers.items():
            self.add_or_change_peer(peer, number, number % 3 == 0)

    def some(self, number, count):
        """The bits of a number, which hypothesis makes simpler by making it smaller."""
        return bitarray([number >> piece & 1 for piece in range(count)], endian="big")

    def settle(self, given_back=()):
        """The picker has let the same pieces go as the model."""
        gone = self.model.settle(given_back)
        assert sorted(self.let_go) == sorted(gone)
        self.forget(gone)

    def forget(self, pieces):
        for piece in pieces:
            self.workers.pop(piece, None)
        self.let_go.clear()

    def nth(self, things, index):
        things = sorted(things)
        return things[index % len(things)]

    # ---------------------------------------------------------------- peers

    @rule(peer=_peer, pieces=_seed, is_seed=st.booleans())
    def add_or_change_peer(self, peer, pieces, is_seed):
        has = bits(range(self.count), self.count) if is_seed else self.some(pieces, self.count)
        if peer not in self.model.peers:
            self.picker.add_peer(peer, has)
            self.model.peers[peer] = set(has.search(1))
            return
        self.picker.set_peer_pieces(peer, has)
        self.model.peers[peer] = set(has.search(1))
        self.withdraw(peer, lambda piece: not has[piece])

    @rule(peer=_peer, index=_index)
    def peer_has(self, peer, index):
        if peer in self.model.peers:
            self.picker.peer_has(peer, index % self.count)
            self.model.peers[peer].add(index % self.count)

    @rule(peer=_peer, index=_index)
    def peer_lost(self, peer, index):
        if peer in self.model.peers:
            self.picker.peer_lost(peer, index % self.count)
            self.model.peers[peer].discard(index % self.count)
            self.withdraw(peer, lambda piece: piece == index % self.count)

    @precondition(lambda self: self.is_rough)
    @rule(peer=_peer)
    def remove_peer(self, peer):
        self.picker.remove_peer(peer)
        if peer in self.model.peers:
            self.withdraw(peer, lambda piece: True)
            del self.model.peers[peer]
            self.active.discard(peer)
            for workers in self.workers.values():
                workers.discard(peer)

    @rule(peer=_peer)
    def give_back_all(self, peer):
        self.picker.give_back_all(peer)
        self.active.discard(peer)
        self.withdraw(peer, lambda piece: True)

    def withdraw(self, peer, which):
        for piece, block in self.model.claimed(peer):
            if which(piece):
                self.model.give_back(peer, piece, block)
        self.settle({piece for piece, begun in self.model.open.items() if begun.owner == peer and which(piece)})

    # ---------------------------------------------------------------- what is wanted

    @rule(index=_index, priority=st.integers(0, 7))
    def set_priority(self, index, priority):
        piece = index % self.count
        self.picker.set_priority(piece, priority)
        self.model.priority[piece] = priority
        self.settle({piece})

    @rule(seed=_seed, levels=st.integers(1, 8))
    def set_priorities(self, seed, levels):
        random = Random(seed)
        self.model.priority = [random.randrange(levels) for _ in range(self.count)]
        self.picker.set_priorities(self.model.priority)
        self.settle(self.model.open)

    @rule(sequential=st.booleans())
    def set_sequential(self, sequential):
        self.picker.sequential = self.model.sequential = sequential

    @rule(index=_index, deadline=st.none() | st.integers(0, 5))
    def set_deadline(self, index, deadline):
        piece = index % self.count
        self.picker.set_deadline(piece, deadline)
        self.model.deadlines.pop(piece, None)
        if deadline is not None and piece not in self.model.have:
            self.model.deadlines[piece] = deadline
            if not self.model.priority[piece]:
                self.model.priority[piece] = 4
                self.settle({piece})

    # ---------------------------------------------------------------- picking

    @rule(peer=_peer, blocks=st.integers(0, 12), share=st.integers(0, 5))
    def pick(self, peer, blocks, share):
        if peer not in self.model.peers:
            return
        model = self.model
        is_idle, was_endgame = not model.claimed(peer), model.in_endgame()
        runs = self.picker.pick(peer, blocks, share=share)
        self.active.add(peer)
        assert sum(run.blocks for run in runs) <= blocks
        if was_endgame and is_idle and not model.joinable(peer):
            self.judge_endgame(peer, blocks, runs)
            return
        if self.let_go:
            self.judge_let_go(peer, is_idle)
        self.judge_runs(peer, blocks, share, runs)
        stalled = [piece for piece in model.open if self.is_stalled(piece)]
        if is_idle and blocks and not runs and model.free_pieces() & model.peers[peer]:
            kept = [piece for piece in model.open if piece not in stalled]
            used = sum(map(model.geometry.piece_size, kept)) + model.geometry.piece_length
            assert not stalled or (kept and used > model.max_open), "there is room to be made"

    @rule(seed=_seed, receives=st.booleans(), gives_back=st.booleans())
    def work(self, seed, receives, gives_back):
        """The most frequent steps of a download."""
        random = Random(seed)
        for peer in random.sample(PEERS, len(PEERS)):
            self.pick(peer, random.randrange(1, 8), random.choice([0, 1, 4]))
            for _ in range(random.randrange(4) if receives else 0):
                self.receive(peer, random.randrange(100))
            if gives_back and random.random() < 0.3:
                self.give_back_all(peer)
        for piece in list(self.model.open):
            if self.model.is_received(piece):
                self.close(piece, random.random() < 0.8, random.random() < 0.5)

    def is_stalled(self, piece):
        begun = self.model.open[piece]
        workers = self.workers[piece] & self.active
        return not (
            begun.claims or self.model.is_received(piece) or any(piece in self.model.peers[peer] for peer in workers)
        )

    def judge_endgame(self, peer, blocks, runs):
        late = self.model.joinable_late(peer)
        joined = [(run.piece, block) for run in runs for block in range(run.first, run.first + run.blocks)]
        assert len(set(joined)) == len(joined) == min(blocks, len(late), limits.ENDGAME_BLOCKS)
        assert [late[block] for block in joined] == sorted(late.values())[: len(joined)]
        for piece, block in joined:
            self.model.open[piece].claims[block].append(peer)
            self.workers[piece].add(peer)

    def judge_let_go(self, peer, is_idle):
        """Only for a peer without other work, and only pieces on which no peer works."""
        model = self.model
        assert is_idle
        assert not model.joinable(peer) | model.beginnable(peer)
        assert model.urgent(peer, set()) is None
        assert model.free_pieces() & model.peers[peer]
        for piece in self.let_go:
            assert self.is_stalled(piece)
            del model.open[piece]
        self.forget(list(self.let_go))

    def judge_runs(self, peer, blocks, share, runs):
        model = self.model
        takes_whole = not share or share >= max(model.blocks[0], -(-model.geometry.piece_length // limits.BLOCK))
        joins_first = not takes_whole or len(model.free_pieces()) <= len(model.peers)
        may_begin = True
        taken: dict[int, int] = {}
        for run in runs:
            if run.piece not in taken:
                model.judge(peer, run.piece, taken.keys(), self.workers, joins_first, may_begin)
                if run.piece not in model.open:
                    may_begin = takes_whole
            assert run.piece in model.peers[peer]
            model.claim(peer, run)
            self.workers.setdefault(run.piece, set()).add(peer)
            taken[run.piece] = taken.get(run.piece, 0) + run.blocks
        assert all(count <= (share or blocks) for count in taken.values())
        given = sum(taken.values())
        if given < blocks:
            model.judge(peer, None, taken.keys(), self.workers, joins_first, may_begin)
            # A piece is only left before its blocks are all claimed when the share is used up.
            assert all(taken[piece] == share for piece in taken.keys() & model.joinable(peer))

    # ---------------------------------------------------------------- blocks and pieces

    @rule(peer=_peer, index=_index)
    def receive(self, peer, index):
        claimed = self.model.claimed(peer)
        if claimed:
            piece, block = self.nth(claimed, index)
            assert set(self.picker.received(peer, piece, [block]).get(block, ())) == self.model.receive(
                peer, piece, block
            )
            if not self.model.priority[piece]:
                self.settle()

    @rule(peer=_peer, index=_index)
    def receive_all(self, peer, index):
        for _ in self.model.claimed(peer):
            self.receive(peer, index)

    @rule(peer=_peer, index=_index, block=st.integers(-2, 5))
    def receive_what_was_not_asked_for(self, peer, index, block):
        piece = index % (self.count + 2) - 1
        if (piece, block) not in self.model.claimed(peer):
            assert self.picker.received(peer, piece, [block]) == {block: None}

    @rule(peer=_peer, index=_index)
    def give_back(self, peer, index):
        claimed = self.model.claimed(peer)
        if claimed:
            piece, block = self.nth(claimed, index)
            self.picker.give_back(peer, piece, block)
            self.model.give_back(peer, piece, block)
            self.settle({piece})

    @rule(index=_index, is_good=st.booleans(), alone=st.booleans())
    def hash(self, index, is_good, alone):
        received = [piece for piece in self.model.open if self.model.is_received(piece)]
        if received:
            self.close(self.nth(received, index), is_good, alone)

    @rule(index=_index, blocks=st.sets(st.integers(0, 3), min_size=1))
    def find_wrong_blocks(self, index, blocks):
        received = [piece for piece in self.model.open if self.model.is_received(piece)]
        if received:
            piece = self.nth(received, index)
            blocks = {block % self.model.blocks[piece] for block in blocks}
            self.picker.wrong(piece, blocks)
            self.model.wrong(piece, blocks)
            self.settle({piece})

    @precondition(lambda self: self.is_rough)
    @rule(index=_index, is_good=st.booleans(), alone=st.booleans())
    def close_any(self, index, is_good, alone):
        self.close(index % self.count, is_good, alone)

    def close(self, piece, is_good, alone):
        model = self.model
        model.open.pop(piece, None)
        self.workers.pop(piece, None)
        if is_good:
            self.picker.verified(piece)
            model.have.add(piece)
            model.deadlines.pop(piece, None)
        else:
            self.picker.failed(piece, alone=alone)
        (model.alone.add if alone and not is_good else model.alone.discard)(piece)

    @precondition(lambda self: self.is_rough)
    @rule(index=_index)
    def lose(self, index):
        piece = index % self.count
        self.picker.lost(piece)
        self.model.have.discard(piece)

    # ---------------------------------------------------------------- always

    @invariant()
    def the_picker_says_what_the_model_says(self):
        if not hasattr(self, "picker"):
            return
        picker, model = self.picker, self.model
        assert picker.missing == len(model.missing())
        assert picker.done == (not model.missing())
        assert picker.complete == (len(model.have) == self.count)
        assert picker.in_endgame == model.in_endgame()
        assert picker.open_pieces == list(model.open)
        for peer, pieces in model.peers.items():
            assert picker.interesting(peer) == bool(model.missing() & pieces)
        for peer in PEERS:
            assert picker.claimed_by(peer) == len(model.claimed(peer))
        for piece in model.all:
            assert picker.availability(piece) == model.rarity(piece)
            assert picker.priority(piece) == model.priority[piece]
            assert picker.is_received(piece) == model.is_received(piece)
        for piece, begun in model.open.items():
            assert picker.senders(piece) == [begun.received.get(block) for block in range(model.blocks[piece])]

    @invariant()
    def open_pieces_are_within_their_bound(self):
        if hasattr(self, "picker"):
            length = self.model.geometry.piece_length
            assert self.model.open_bytes() <= max(self.model.max_open + limits.URGENT_PIECES * length, length)

    def teardown(self):
        """Once an honest seed joins and no peer chokes, every piece arrives."""
        if not hasattr(self, "picker"):
            return
        self.add_or_change_peer(PEERS[0], 0, True)
        for peer in PEERS:
            self.give_back_all(peer)
        steps = sum(self.model.blocks) * 2 + self.count * 2
        while not self.picker.done:
            steps -= 1
            assert steps, "the download stands still"
            for peer in self.model.peers:
                self.pick(peer, 2, 0 if peer < "c" else 1)
                self.receive_all(peer, 0)
            for piece in list(self.model.open):
                if self.model.is_received(piece):
                    self.close(piece, True, False)
            self.the_picker_says_what_the_model_says()
        assert all(self.model.is_received(piece) for piece in self.model.open), "only no longer wanted ones"


TestBlockPicker = BlockPickerMachine.TestCase
TestBlockPicker.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def anything(machine, random):
    """One step of a long history."""
    peer, index = random.choice(PEERS), random.randrange(2**16)
    steps = [
        (20, lambda: machine.work(index, receives=random.random() < 0.7, gives_back=random.random() < 0.3)),
        (20, lambda: machine.pick(peer, random.randrange(8), random.choice([0, 2]))),
        (10, lambda: machine.receive(peer, index)),
        (5, lambda: machine.give_back_all(peer)),
        (5, lambda: machine.give_back(peer, index)),
        (5, lambda: machine.peer_has(peer, index)),
        (2, lambda: machine.set_deadline(index, random.choice([None, 1, 2]))),
        (2, lambda: machine.set_priority(index, random.randrange(8))),
        (2, lambda: machine.set_priorities(index, random.randrange(2, 9))),
        (2, lambda: machine.set_sequential(random.random() < 0.3)),
        (2, lambda: machine.add_or_change_peer(peer, index, random.random() < 0.2)),
    ]
    if machine.is_rough:
        steps += [
            (2, lambda: machine.remove_peer(peer)),
            (2, lambda: machine.peer_lost(peer, index)),
            (2, lambda: machine.close_any(index, random.random() < 0.5, random.random() < 0.5)),
        ]
    random.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()


@pytest.mark.parametrize("seed", range(60))
def test_a_long_history_of_everything_is_picked_right(seed):
    """Longer than hypothesis makes them: so that open pieces become idle, and endgames begin and end."""
    random = Random(seed)
    machine = BlockPickerMachine()
    machine.begin(
        pieces=random.randrange(2, 16),
        blocks=random.randrange(1, 5),
        have=0,
        wanted=None,
        max_open=random.choice([1, 2, 3, 16]),
        seed=seed,
        peers={peer: random.randrange(2**16) for peer in PEERS[: random.randrange(2, 6)]},
        is_rough=seed % 3 == 0,
    )
    for _ in range(150):
        anything(machine, random)
        if machine.picker.done:
            for piece in range(0, machine.count, 2):
                machine.lose(piece)
                machine.set_priority(piece, 4)
        machine.the_picker_says_what_the_model_says()
        machine.open_pieces_are_within_their_bound()
    machine.teardown()
