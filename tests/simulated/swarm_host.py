"""One client of a simulated swarm: the real picker, request window, choker, slots and dealing, and the habits of
`WirePeer` and `Swarm` between them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, cast

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt import Geometry, limits
from geventbt.client.pieces.picker import BlockPicker, Run
from geventbt.client.swarm.choker import Choker, PeerView
from geventbt.client.swarm.dealer import Dealer
from geventbt.client.swarm.endgame import Endgame
from geventbt.client.swarm.request_window import RequestWindow
from geventbt.client.swarm.upload_slots import UploadSlots
from geventbt.client.swarm.uploads import Uploads
from geventbt.rates.speed import SpeedMeter
from geventbt.rates.throttle import Throttle
from geventbt.rates.uplink_gate import UplinkGate
from tests.simulated.swarm_links import Channel, Clock, Downlink, Message, Uplink

BLOCK = limits.BLOCK
_WHOLE_PIECE_TIME = 10.0
_TICK = 1.0
_SOCKET_BUFFER = 24 * 1024
"""Bytes of a connection that wait in the kernel."""


@dataclass(frozen=True)
class Habits:
    """What a client does.

    Attributes:
        slots: upload slots at the most; None for no bound, 0 for a free rider.
        follows_uplink: whether it uses as many as its uplink feeds.
        super_seeding: see `Client.add`.
        announces_always: whether it sends a have to those that have the piece, too.
        output_time: seconds of a peer's rate that are queued to it.
        low_output, high_output: bytes that are queued to a peer, at least and at most.
        sequential: whether it reads from the start.
    """

    slots: int | None = limits.UPLOAD_SLOTS
    follows_uplink: bool = True
    super_seeding: bool | None = None
    announces_always: bool = True
    output_time: float = limits.OUTPUT_TIME
    low_output: int = limits.LOW_OUTPUT
    high_output: int = limits.HIGH_WATER
    sequential: bool = False


OURS = Habits()
BEFORE = Habits(
    follows_uplink=False, super_seeding=False, announces_always=False, output_time=math.inf, high_output=1 << 20
)
"""Without the policies for swarms."""
OTHERS = Habits(follows_uplink=False, super_seeding=False, low_output=10 * 1024, high_output=1 << 17)
"""Like libtorrent, as far as it differs."""


@dataclass(frozen=True)
class Line:
    """A connection to the network: Mbit/s up and down, and the delay one way in ms; percent of packets that are lost,
    which the simulation leaves out."""

    up: float
    down: float
    delay: float
    loss: float = 0.0


class Asked:
    """What a neighbour was asked for and has not answered, in this order; see `OutOfTurn`."""

    def __init__(self, window: RequestWindow) -> None:
        self._window = window
        self.blocks: dict[tuple[int, int], None] = {}
        self.since = math.inf

    def add(self, run: Run, now: float) -> None:
        self.since = min(self.since, now)
        self.blocks.update(dict.fromkeys((run.piece, block) for block in range(run.first, run.first + run.blocks)))

    def is_known(self, now: float) -> bool:
        return now - self.since >= limits.TAKE_OVER_SAMPLE

    def expected(self, now: float) -> dict[tuple[int, int], float]:
        return {key: self._window.pace.expected(place, now) for place, key in enumerate(self.blocks)}

    def finishes(self, now: float) -> float:
        return self._window.pace.expected(len(self.blocks) - 1, now) if self.blocks and self.is_known(now) else now


class Neighbour:
    """What a host knows of another: an `UploadPeer`, and the other end of what is requested."""

    def __init__(self, host: SimulatedHost, other: SimulatedHost) -> None:
        self.host = host
        self.other = other
        self.channel: Channel
        self.pieces = zeros(host.geometry.pieces, "big")
        self.closed = False
        self.choked = self.peer_choking = True
        self.interested = self.am_interested = False
        self.snubbed = self.is_full = False
        self.window = RequestWindow()
        self.down, self.up = SpeedMeter(), SpeedMeter()
        self.uploaded = 0
        self.unserved: OrderedDict[tuple[int, int, int], None] = OrderedDict()
        self.idle_since = math.inf
        self.resumes_at = 0.0
        self.tcp_path = None
        self.out_of_turn = Asked(self.window)

    def __hash__(self) -> int:
        return self.other.number

    @property
    def has_all(self) -> bool:
        return bool(self.pieces.all())

    @property
    def is_busy(self) -> bool:
        return bool(self.unserved) or self.channel.queued > _SOCKET_BUFFER

    @property
    def queued(self) -> int:
        return self.channel.queued

    @property
    def queue_time(self) -> float:
        return self.channel.window.queue_time

    @property
    def up_rate(self) -> float:
        return self.up.speed(self.host.clock.now)

    def view(self) -> PeerView[Any]:
        down = self.down.speed(self.host.clock.now)
        held = max(self.pieces.count() * self.host.geometry.piece_length, self.uploaded)
        return PeerView(self, self.interested, self.snubbed, down, self.up_rate, self.uploaded, held)

    def send(self, message: Message, size: int) -> None:
        if not self.closed:
            self.channel.send(message, size)

    def announce(self, piece: int) -> None:
        self.send(("have", piece), 9)

    def choke(self) -> None:
        self._set_choked(True)

    def unchoke(self) -> None:
        self._set_choked(False)

    def _set_choked(self, choked: bool) -> None:
        if self.choked != choked:
            self.choked = choked
            rejected = list(self.unserved)
            self.unserved.clear()
            self.send(("choke", choked, rejected), 5 + 17 * len(rejected))


class _Blocks:
    """Blocks without bytes; see `BlockReader`."""

    def read(self, requests: Sequence[tuple[int, int, int]], peers: int = 1) -> list[Any]:
        return [bytes(length) for _, _, length in requests]


class SimulatedHost:
    """A client. An `UploadsOwner`.

    Args:
        clock: the time.
        number: its number.
        line: its connection.
        geometry: of the torrent.
        habits: what it does.
        random: its own.
        is_seed: whether it has everything.
        on_verified: called with the host and a piece.
    """

    seeding = False

    def __init__(
        self,
        clock: Clock,
        number: int,
        line: Line,
        geometry: Geometry,
        habits: Habits,
        random: Random,
        *,
        is_seed: bool,
        on_verified: Callable[[SimulatedHost, int], None],
    ) -> None:
        self.clock = clock
        self.number = number
        self.line = line
        self.geometry = geometry
        self.habits = habits
        self.is_seed = self.seeding = is_seed
        self.have = (ones if is_seed else zeros)(geometry.pieces, "big")
        self.picker: BlockPicker[Neighbour] = BlockPicker(
            geometry, self.have, max_open=limits.DISK_QUEUE, random=random
        )
        self.picker.sequential = habits.sequential
        self.neighbours: dict[SimulatedHost, Neighbour] = {}
        self.endgame = Endgame(cast(Any, self.picker), cast(Any, self.neighbours.values()))
        self.uplink = Uplink(clock, line.up)
        self.downlink = Downlink(clock, line.down, self.uplink)
        self.uploaded = self.wasted = 0
        self.done_at: float | None = None
        self._on_verified = on_verified
        self._is_ticking = False
        self._idle: dict[Neighbour, None] = {}
        self._is_looking = False
        self._look_after = limits.ENDGAME_LOOK
        dealer: Dealer[Any] = Dealer(geometry, habits.super_seeding)
        if not is_seed:
            dealer.finish()
        choker: Choker[Any] = Choker(habits.slots, rng=random)
        slots = UploadSlots(habits.slots, follows_uplink=habits.follows_uplink)
        self.uploads = Uploads(
            self,
            _Blocks(),
            choker,
            slots,
            Throttle(),
            dealer,
            UplinkGate(clock),
            now=clock,
            soon=lambda action: clock.after(0, action),
        )
        clock.after(random.random() * _TICK, self._tick)

    def on_read_error(self, error: Exception) -> None:
        raise error

    @property
    def upload_peers(self) -> list[Any]:
        return [each for each in self.neighbours.values() if not each.closed]

    # ------------------------------------------------------------------ connections

    def meet(self, other: SimulatedHost) -> Neighbour:
        """The other's connection to this host; see `connect`."""
        neighbour = self.neighbours[other] = Neighbour(self, other)
        delay = (self.line.delay + other.line.delay) / 1e3

        def deliver(messages: list[Message]) -> None:
            other._take(other.neighbours[self], messages)

        neighbour.channel = Channel(
            self.clock, self.uplink, other.downlink, delay, deliver, lambda: self._serve(neighbour)
        )
        self.picker.add_peer(neighbour, neighbour.pieces)
        return neighbour

    def greet(self, neighbour: Neighbour) -> None:
        """Say what is here."""
        dealer = self.uploads.dealer
        if dealer.hides_from(neighbour, self.upload_peers):
            dealer.greet(neighbour)
            if not self._is_ticking:
                self._deal()
        elif self.have.any():
            neighbour.send(("bitfield", self.have.copy()), 5 + self.geometry.pieces // 8)

    def _leave(self, neighbour: Neighbour) -> None:
        neighbour.closed = True
        neighbour.channel.close()
        self.picker.remove_peer(neighbour)
        self.uploads.on_closed(neighbour)
        self._wake_idle()

    def on_closed(self, neighbour: Neighbour) -> None:
        if not neighbour.closed:
            self._leave(neighbour)

    def _take(self, neighbour: Neighbour, messages: list[Message]) -> None:
        if neighbour.closed:
            return
        blocks, has_news = 0, False
        for message in messages:
            if message[0] == "block":
                blocks += 1
                self._on_block(neighbour, message[1], message[2])
            else:
                has_news |= bool(getattr(self, "on_" + message[0])(neighbour, *message[1:]))
        now = self.clock.now
        if blocks:
            neighbour.window.on_blocks(blocks, self.picker.claimed_by(neighbour), now)
            neighbour.snubbed = False
        if has_news and not neighbour.am_interested:
            self._update_interest(neighbour)
        if blocks or has_news:
            self._fill(neighbour)
        if neighbour.unserved:
            self._serve(neighbour)

    # ------------------------------------------------------------------ downloading, as `WirePeer` does

    def _on_block(self, neighbour: Neighbour, piece: int, block: int) -> None:
        now = self.clock.now
        neighbour.down.add(BLOCK, now)
        neighbour.out_of_turn.blocks.pop((piece, block), None)
        others = self.picker.received(neighbour, piece, [block]).get(block, ())
        if others is None:
            neighbour.window.on_late_block()
            others = self.picker.received_late(neighbour, piece, block)
        if others is None:
            self.wasted += BLOCK
            return
        for other in others:
            other.send(("cancel", piece, block), 17)
            other.out_of_turn.blocks.pop((piece, block), None)
            if not self.picker.claimed_by(other):
                other.window.on_idle(now)
            self._fill(other)
        if self.picker.is_received(piece):
            self._verified(piece)

    def _verified(self, piece: int) -> None:
        self.picker.verified(piece)
        self.have[piece] = 1
        self.seeding = self.picker.done
        if self.seeding:
            self.done_at = self.clock.now
        for neighbour in self.upload_peers:
            if self.habits.announces_always or not neighbour.pieces[piece]:
                neighbour.announce(piece)
            if neighbour.am_interested:
                self._update_interest(neighbour)
        self._on_verified(self, piece)
        self._wake_idle()

    def _update_interest(self, neighbour: Neighbour) -> None:
        if neighbour.closed:
            return
        if self.picker.interesting(neighbour):
            if not neighbour.am_interested:
                neighbour.am_interested = True
                neighbour.send(("interest", True), 5)
        elif neighbour.am_interested and not self.picker.claimed_by(neighbour):
            neighbour.am_interested = False
            neighbour.send(("interest", False), 5)
        if self.seeding and neighbour.has_all:
            self._leave(neighbour)
            delay = (self.line.delay + neighbour.other.line.delay) / 1e3
            self.clock.after(delay, neighbour.other.on_closed, neighbour.other.neighbours[self])

    def _wake_idle(self) -> None:
        self._look_after = limits.ENDGAME_LOOK
        self._fill_idle()

    def _fill_idle(self) -> None:
        idle, self._idle = self._idle, {}
        for neighbour in idle:
            self._fill(neighbour)

    def _fill(self, neighbour: Neighbour) -> None:
        now = self.clock.now
        if neighbour.closed or neighbour.peer_choking or self.seeding:
            return
        if now < neighbour.resumes_at:
            self._idle[neighbour] = None
            return
        pending = self.picker.claimed_by(neighbour)
        size = neighbour.window.size(limits.REQUESTS, now)
        room = size - pending
        if room <= 0 or (room < size >> 2 and pending):
            return
        speed = neighbour.down.speed(now)
        blocks = self.geometry.blocks_per_piece
        share = int(speed * _WHOLE_PIECE_TIME) // BLOCK
        share = 0 if share >= blocks else max(share, 1)
        joins = self.picker.in_endgame and now - neighbour.idle_since >= limits.ENDGAME_PATIENCE
        runs = self.picker.pick(neighbour, room, share=share, may_join=joins)
        if not runs and neighbour.window.pace.runs_dry(pending) and neighbour.out_of_turn.is_known(now):
            delivery = replace(neighbour.window.pace.delivery(pending, now), room=room)
            runs = self.endgame.take_over(cast(Any, neighbour), delivery, now)
        for run in runs:
            neighbour.out_of_turn.add(run, now)
            neighbour.send(("request", run.piece, run.first, run.blocks), 17 * run.blocks)
        if runs:
            neighbour.window.on_requests(now)
            if not joins:
                neighbour.idle_since = math.inf
        elif not pending:
            neighbour.idle_since = min(neighbour.idle_since, now)
            self._idle[neighbour] = None
            if self.picker.in_endgame and not self._is_looking:
                self._is_looking = True
                self.clock.after(self._look_after, self._look_again)

    def _look_again(self) -> None:
        self._is_looking = False
        self._look_after = min(limits.ENDGAME_LOOK_GROWTH * self._look_after, limits.MAX_ENDGAME_LOOK)
        self._fill_idle()

    def _tick(self) -> None:
        now = self.clock.now
        for neighbour in self.upload_peers:
            if self.picker.claimed_by(neighbour) and neighbour.window.patience.is_overdue(now):
                neighbour.window.on_timeout(now)
                self.picker.give_back_all(neighbour)
                neighbour.out_of_turn.blocks.clear()
                neighbour.snubbed = True
                neighbour.resumes_at = now + 0.5
                self._idle[neighbour] = None
        self.uploads.tick(now)
        self._wake_idle()
        self.clock.after(_TICK, self._tick)

    def _deal(self) -> None:
        self.uploads.tick(self.clock.now)
        self._is_ticking = self.uploads.has_work
        if self._is_ticking:
            self.clock.after(_TICK / 10, self._deal)

    # ------------------------------------------------------------------ messages

    def on_have(self, neighbour: Neighbour, piece: int) -> bool:
        neighbour.pieces[piece] = 1
        self.picker.peer_has(neighbour, piece)
        self.uploads.dealer.on_have(neighbour, piece)
        return True

    def on_bitfield(self, neighbour: Neighbour, pieces: bitarray) -> bool:
        neighbour.pieces = pieces
        self.picker.set_peer_pieces(neighbour, pieces)
        self.uploads.dealer.on_pieces(neighbour)
        return True

    def on_choke(self, neighbour: Neighbour, choked: bool, rejected: Sequence[tuple[int, int, int]]) -> bool:
        neighbour.peer_choking = choked
        if choked:
            neighbour.window.on_idle(self.clock.now)
        self.on_reject(neighbour, rejected)
        return not choked

    def on_reject(self, neighbour: Neighbour, rejected: Sequence[tuple[int, int, int]]) -> None:
        for piece, offset, _ in rejected:
            self.picker.give_back(neighbour, piece, offset // BLOCK)
            neighbour.out_of_turn.blocks.pop((piece, offset // BLOCK), None)
        if rejected:
            self._wake_idle()

    def on_interest(self, neighbour: Neighbour, interested: bool) -> None:
        neighbour.interested = interested
        (self.uploads.on_interest if interested else self.uploads.on_uninterest)(neighbour)

    def on_request(self, neighbour: Neighbour, piece: int, first: int, blocks: int) -> None:
        keys = [(piece, block * BLOCK, BLOCK) for block in range(first, first + blocks)]
        if neighbour.choked:
            neighbour.send(("reject", keys), 17 * blocks)
        else:
            neighbour.unserved.update(dict.fromkeys(keys))

    def on_cancel(self, neighbour: Neighbour, piece: int, block: int) -> None:
        neighbour.unserved.pop((piece, block * BLOCK, BLOCK), None)

    # ------------------------------------------------------------------ serving, as `Serving` does

    def _serve(self, neighbour: Neighbour) -> None:
        """Queue what the output takes: in the client one or two batches, and in the kernel what its buffer holds."""
        now = self.clock.now
        habits = self.habits
        while neighbour.unserved:
            wanted = neighbour.up.speed(now) * habits.output_time if math.isfinite(habits.output_time) else 1 << 30
            most = int(min(habits.high_output, max(habits.low_output, wanted)))
            queued = neighbour.channel.queued - _SOCKET_BUFFER
            neighbour.is_full = queued > (most // 2 if neighbour.is_full else most)
            if neighbour.is_full:
                return
            keys = list(neighbour.unserved)[: max(1, -(-most // BLOCK))]
            for (piece, offset, length), _ in zip(keys, self.uploads.read_blocks(neighbour, keys), strict=False):
                del neighbour.unserved[piece, offset, length]
                neighbour.up.add(length, now)
                neighbour.uploaded += length
                self.uploaded += length
                neighbour.send(("block", piece, offset // BLOCK), length + 13)


def connect(first: SimulatedHost, second: SimulatedHost) -> None:
    """Connect two hosts to each other, the second to the first: it says with its handshake that it is interested."""
    ends = first.meet(second), second.meet(first)
    for end in ends:
        end.host.greet(end)
    if not second.is_seed:
        ends[1].am_interested = True
        first.on_interest(ends[0], True)
