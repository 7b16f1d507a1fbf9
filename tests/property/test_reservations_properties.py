"""Reserved runs against a naive model: after any events in any order, each block is in one hand, and none is lost."""

from __future__ import annotations

from random import Random

import pytest
from bitarray.util import ones, zeros
from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.client.pieces.bit_runs import longest_run
from geventbt.client.pieces.picker import BlockPicker
from geventbt.geometry import Geometry

PEERS = ["ann", "bob"]
WEB = ["web", "mirror"]


@given(st.lists(st.booleans(), max_size=80))
def test_the_longest_run_is_the_first_of_the_longest(values):
    bits = zeros(len(values), "big")
    for place, value in enumerate(values):
        bits[place] = value
    runs = [
        range(first, end)
        for first in range(len(values))
        for end in range(first + 1, len(values) + 1)
        if all(values[first:end])
    ]
    assert longest_run(bits) == max(runs, key=len, default=range(0))


class World:
    """A picker with peers and web seeds, and a model: the state of every block, and who has reserved which piece."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.count = random.randrange(1, 14)
        self.per_piece = random.randrange(1, 6)
        length = self.per_piece * limits.BLOCK
        self.geometry = Geometry(self.count * length - length // 2, length)
        self.let_go: list[int] = []
        self.picker: BlockPicker[str] = BlockPicker(
            self.geometry,
            zeros(self.count, "big"),
            max_open=random.choice([1, 2, 4, 20]) * length,
            random=Random(random.random()),
            on_let_go=self.let_go.append,
        )
        self.picker.fills_from_end = random.random() < 0.5
        self.claims: dict[tuple[int, int], set[str]] = {}
        self.received: dict[tuple[int, int], str] = {}
        self.verified: set[int] = set()
        self.runs: list = []
        self.windows: dict[int, list[tuple[int, int]]] = {}
        self.urgent: dict[int, int] = {}
        for key in PEERS:
            self.picker.add_peer(key, ones(self.count, "big"))
        for key in WEB:
            self.picker.add_peer(key, ones(self.count, "big"), streams=True)

    def blocks(self, piece: int) -> list[tuple[int, int]]:
        return [(piece, block) for block in range(-(-self.geometry.piece_size(piece) // limits.BLOCK))]

    def of(self, run) -> list[tuple[int, int]]:
        return [(run.piece, block) for block in range(run.first, run.first + run.blocks)]

    def reserved(self) -> set[int]:
        pieces = [piece for run in self.runs for piece in range(run.next, run.end)]
        assert len(pieces) == len(set(pieces)), "a piece is reserved twice"
        return set(pieces)

    def begun(self) -> set[int]:
        return {piece for piece, _ in self.claims.keys() | self.received.keys()} - self.verified

    def free_pieces(self) -> set[int]:
        wanted = {piece for piece in range(self.count) if self.picker.priority(piece)}
        return wanted - self.begun() - self.reserved() - self.verified

    def ahead(self, run) -> set[tuple[int, int]]:
        """The blocks of its open piece that a run has claimed, and that are not being received yet."""
        return {(run.piece, block) for block in range(run.block, run.last)}

    def sync(self, before) -> None:
        """What was stolen from reservations, or released, is free; the model follows."""
        for run, blocks in before:
            for key in blocks - self.ahead(run) - set(self.windows.get(id(run), ())):
                if self.claims.get(key) == {run.owner.key}:
                    del self.claims[key]
        self.drop_let_go()

    def drop_let_go(self) -> None:
        for piece in self.let_go:
            for key in self.blocks(piece):
                assert key not in self.claims, "a piece was let go while it was being received"
                self.received.pop(key, None)
        self.let_go.clear()

    # ---------------------------------------------------------------- steps

    def pick(self) -> None:
        peer = self.random.choice(PEERS)
        before = [(run, self.ahead(run)) for run in self.runs]
        reserved = self.reserved()
        stolen = reserved if any(run.next < run.end for run in self.runs) else set()
        runs = self.picker.pick(peer, self.random.randrange(1, 9), share=self.random.choice([0, 2]))
        self.sync(before)
        for run in runs:
            for key in self.of(run):
                assert key not in self.received
                holders = self.claims.setdefault(key, set())
                assert not holders or not {*WEB} & {next(iter(holders))}, "a block of a run was asked of a peer"
                holders.add(peer)
                assert key[0] not in self.reserved()
                assert key[0] not in reserved or key[0] in stolen

    def reserve(self) -> None:
        seed = self.random.choice(WEB)
        if sum(run.owner.key == seed for run in self.runs) >= 2:
            return
        before = [(run, self.ahead(run)) for run in self.runs]
        free, open_before = self.free_pieces(), set(self.picker.open_pieces)
        priorities = {piece: self.picker.priority(piece) for piece in free}
        blocks = self.random.choice([1, self.per_piece, 3 * self.per_piece])
        run = self.picker.reservations.reserve(seed, blocks, urgent_blocks=self.per_piece)
        self.sync(before)
        if run is None:
            assert not free
            return
        self.runs.append(run)
        if run.next < run.end:
            assert run.end - run.next <= max(1, blocks // self.per_piece)
            self.judge_pieces(run, free, priorities)
        else:
            assert run.piece in open_before
            for block in range(run.block, run.last):
                assert (run.piece, block) not in self.claims.keys() | self.received.keys()
                self.claims[run.piece, block] = {seed}

    def judge_pieces(self, run, free, priorities) -> None:
        pieces = set(range(run.next, run.end))
        if run.is_urgent:
            urgent = {piece: due for piece, due in self.urgent.items() if piece in free}
            assert run.next == min(urgent, key=lambda piece: (urgent[piece], piece))
            assert pieces <= urgent.keys()
        elif pieces <= free:
            top = max(priorities.values())
            best = {piece for piece in free if priorities[piece] == top}
            gaps = [piece for piece in sorted(best) if piece - 1 not in best]
            lengths = {first: next(n for n in range(1, self.count + 1) if first + n not in best) for first in gaps}
            front = gaps[0] if self.picker.sequential else max(lengths, key=lengths.__getitem__)
            assert run.next == front
            assert pieces <= best
        else:
            assert not free, "it took from another although there was something free"

    def receive_window(self) -> None:
        """A web seed goes on: the last window has come, or a part of it and the connection is cut."""
        if not self.runs:
            return
        run = self.random.choice(self.runs)
        window = self.windows.pop(id(run), [])
        is_cut = self.random.random() < 0.2
        came = window[: self.random.randrange(len(window) + 1)] if is_cut else window
        self.deliver(run.owner.key, came)
        if is_cut:
            self.release(run)
            return
        run.received()
        if not self.picker.reservations.can_advance(run):
            self.drop_let_go()
            return
        self.drop_let_go()
        taken = self.picker.reservations.advance(run, self.random.randrange(1, 4))
        if taken is None:
            assert run.is_over
            self.release(run)
            return
        for block in range(taken.first, run.last):
            assert self.claims.setdefault((run.piece, block), {run.owner.key}) == {run.owner.key}
        self.windows[id(run)] = self.of(taken)

    def deliver(self, sender: str, keys: list[tuple[int, int]]) -> None:
        for piece, block in keys:
            holders = self.claims.get((piece, block), set())
            special = self.picker.received(sender, piece, [block])
            if sender not in holders:
                assert special == {block: None}
                continue
            assert set(special.get(block, ())) == holders - {sender}
            del self.claims[piece, block]
            self.received[piece, block] = sender
        self.drop_let_go()
        self.hash()

    def release(self, run) -> None:
        self.windows.pop(id(run), None)
        ahead = {(run.piece, block) for block in range(run.first, run.last)}
        self.picker.reservations.release(run)
        self.runs.remove(run)
        for key in ahead:
            if self.claims.get(key) == {run.owner.key}:
                del self.claims[key]
        self.drop_let_go()

    def peer_delivers(self) -> None:
        peer = self.random.choice(PEERS)
        keys = [key for key, holders in self.claims.items() if peer in holders]
        self.deliver(peer, self.random.sample(keys, self.random.randrange(len(keys) + 1)))

    def peer_is_late(self) -> None:
        """A block comes that was asked for once: never where a web seed is receiving."""
        key = self.random.choice(self.blocks(self.random.randrange(self.count)))
        before = self.claims.get(key, set())
        if key[0] in self.verified or PEERS[0] in before:
            return
        others = self.picker.received_late(PEERS[0], *key)
        if others is not None:
            assert not before & {*WEB} or len(before) > 1
            assert set(others) == before
            self.claims.pop(key, None)
            self.received[key] = PEERS[0]
            self.hash()

    def peer_gives_back(self) -> None:
        peer = self.random.choice(PEERS)
        self.picker.give_back_all(peer)
        for key, holders in list(self.claims.items()):
            holders.discard(peer)
            if not holders:
                del self.claims[key]
        self.drop_let_go()

    def hash(self) -> None:
        for piece in list(self.picker.open_pieces):
            if self.picker.is_received(piece):
                assert all(key in self.received for key in self.blocks(piece))
                if self.random.random() < 0.9:
                    self.picker.verified(piece)
                    self.verified.add(piece)
                    self.urgent.pop(piece, None)
                elif self.random.random() < 0.5:
                    self.picker.failed(piece, alone=self.random.random() < 0.5)
                    for key in self.blocks(piece):
                        del self.received[key]
                else:
                    wrong = self.random.sample(self.blocks(piece), 1)
                    self.picker.wrong(piece, [block for _, block in wrong])
                    for key in wrong:
                        del self.received[key]
                    self.drop_let_go()

    def change_wishes(self) -> None:
        before = [(run, self.ahead(run)) for run in self.runs]
        piece = self.random.randrange(self.count)
        step = self.random.randrange(4)
        if step == 0:
            self.picker.set_priority(piece, self.random.choice([1, 4, 7]))
        elif step == 1:
            self.picker.set_priorities([self.random.choice([4, 5]) for _ in range(self.count)])
        elif step == 2:
            self.picker.sequential = not self.picker.sequential
        else:
            self.picker.set_deadline(piece, 1)
            if piece not in self.verified:
                self.urgent[piece] = 1
        self.sync(before)

    def check(self) -> None:
        picker = self.picker
        reserved = self.reserved()
        assert not reserved & (set(picker.open_pieces) | self.verified)
        assert set(picker.open_pieces) == self.begun()
        for key in PEERS + WEB:
            assert picker.claimed_by(key) == sum(key in holders for holders in self.claims.values())
        for piece in picker.open_pieces:
            senders = [self.received.get(key) for key in self.blocks(piece)]
            assert picker.senders(piece) == senders
        has_free = self.free_pieces() or any(
            key not in self.claims and key not in self.received
            for piece in self.begun()
            if picker.priority(piece)
            for key in self.blocks(piece)
        )
        assert picker.in_endgame == (len(self.verified) < self.count and not has_free and not reserved)

    def finish(self) -> None:
        """One web seed alone ends it, whatever has been begun."""
        for run in list(self.runs):
            self.release(run)
        for peer in PEERS:
            self.picker.remove_peer(peer)
        self.claims = {key: left for key, holders in self.claims.items() if (left := holders - {*PEERS})}
        self.drop_let_go()
        for _ in range(50 * self.count * self.per_piece):
            if self.picker.done:
                return
            self.random.choice([self.reserve, self.receive_window, self.receive_window])()
            self.check()
        raise AssertionError("the download stands still")


@pytest.mark.parametrize("first_seed", range(0, 400, 20))
def test_web_seeds_and_peers_share_the_work_in_any_order_of_events(first_seed):
    for seed in range(first_seed, first_seed + 20):
        world = World(Random(seed))
        steps = [
            *[world.pick, world.peer_delivers, world.reserve] * 3,
            *[world.receive_window] * 6,
            world.peer_gives_back,
            world.peer_is_late,
            world.change_wishes,
        ]
        for _ in range(120):
            world.random.choice(steps)()
            world.check()
        world.finish()
