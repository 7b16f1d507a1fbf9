"""Two `PeerProtocol`s that are connected to each other, against a naive model of both."""

from __future__ import annotations

from collections import defaultdict

from bitarray import bitarray
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from geventbt import limits
from geventbt.errors import PeerChoking, RequestFailed, RequestRejected
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol.connection import FAILED, PeerProtocol
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.parser import Parser
from tests.property.strategies import extensions

PIECES = 4
SIZE = 64
GEOMETRY = Geometry(PIECES * SIZE - 10, SIZE)
INFO_HASH = b"i" * 20


def block_of(key):
    """The data of a block, the same from every sender."""
    piece, offset, length = key
    return bytes((piece * SIZE + offset + at) % 251 for at in range(length))


class Side:
    """One of the two, with the bytes in flight from it, and a naive model of its state."""

    def __init__(self, name, promised):
        self.name = name
        self.protocol = PeerProtocol()
        self.protocol.extended_mapping = {3: "lt_donthave"}
        self.promised = promised
        self.channel = b""
        self.told = []  # what it has said of its pieces
        self.open = {}  # {token: key} of its requests that have not ended
        self.asked = defaultdict(list)  # {key: [token, ...]}, in the order of the requests
        self.answers = defaultdict(list)  # {key: [id, ...]}: how the other side has answered them, in order
        self.received = 0
        self.onlooker = Parser()

    def flush(self, other):
        """Put on its way what is outgoing, and note what it answers."""
        data = b"".join(map(bytes, self.protocol.take_outgoing()))
        self.channel += data
        for message in self.onlooker.feed(data):
            if message[0] == c.PIECE:
                other.answers[message[1], message[2], len(message[3])].append(c.PIECE)
            elif message[0] == c.REJECT:
                other.answers[message[1:]].append(c.REJECT)

    def end(self, token, key):
        """One of its requests has ended; each ends once."""
        assert self.open.pop(token) == key


class Conversation(RuleBasedStateMachine):
    """Two honest peers, through random splits. Neither may see a violation, nor a request be lost or ended twice."""

    sides = st.sampled_from([0, 1])
    piece = st.integers(0, PIECES - 1)
    key = st.sampled_from([(0, 0, 16), (0, 0, 16), (0, 16, 16), (1, 0, 16), (3, 48, 6)])
    """So few that the same block is requested again while an older answer is in flight."""

    @initialize(first=extensions, second=extensions, agree=st.booleans(), at_once=st.booleans())
    def start(self, first, second, agree, at_once):
        both = Extensions(fast=True, extended=True)
        self.pair = [Side("a", both if agree else first), Side("b", both if agree else second)]
        self.next_token = 1
        self.tolerated = limits.UNWANTED_ANSWERS
        # Between honest peers no answer comes that was not asked for.
        limits.UNWANTED_ANSWERS = 0
        if at_once:
            for side in (0, 1):
                self.shake_hands(side)
                self.learn_the_geometry(side)
                self.pair[side].protocol.send_unchoke()
            self.settle()

    def teardown(self):
        if not hasattr(self, "pair"):
            return
        try:
            self.settle()
        finally:
            limits.UNWANTED_ANSWERS = self.tolerated

    # ------------------------------------------------------------------ what they do

    def of(self, side):
        return self.pair[side], self.pair[1 - side]

    def is_ready(self):
        return all(side.protocol.handshake_sent for side in self.pair)

    @precondition(lambda self: not self.is_ready())
    @rule(side=sides)
    def shake_hands(self, side):
        me, other = self.of(side)
        if not me.protocol.handshake_sent:
            me.protocol.send_handshake(Handshake(INFO_HASH, me.name.encode() * 20, me.promised))
            me.flush(other)

    @precondition(lambda self: any(side.protocol.geometry is None for side in self.pair))
    @rule(side=sides)
    def learn_the_geometry(self, side):
        self.pair[side].protocol.set_geometry(GEOMETRY)

    @precondition(is_ready)
    @rule(side=sides, what=st.sampled_from(["choke", "unchoke", "interested", "uninterested", "keep_alive"]))
    def send_bare(self, side, what):
        me, other = self.of(side)
        getattr(me.protocol, f"send_{what}")()
        me.flush(other)

    @precondition(is_ready)
    @rule(
        side=sides,
        what=st.sampled_from(["have", "have", "all", "none", "bitfield", "donthave"]),
        piece=piece,
        bits=st.lists(st.booleans(), min_size=PIECES, max_size=PIECES),
    )
    def tell_of_pieces(self, side, what, piece, bits):
        me, other = self.of(side)
        protocol = me.protocol
        if what == "have":
            protocol.send_have(piece)
            me.told.append(("have", piece))
        elif what == "bitfield":
            protocol.send_bitfield(bitarray(bits))
            me.told.append(("set", {piece for piece in range(PIECES) if bits[piece]}))
        elif what == "donthave" and "lt_donthave" in protocol.peer_extended_mapping:
            protocol.send_extended("lt_donthave", piece.to_bytes(4, "big"))
            me.told.append(("lost", piece))
        elif what == "all" and protocol.agreed.fast:
            protocol.send_have_all()
            me.told.append(("set", set(range(PIECES))))
        elif what == "none" and protocol.agreed.fast:
            protocol.send_have_none()
            me.told.append(("set", set()))
        me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, piece=piece, what=st.sampled_from(["suggest", "allowed_fast", "extended handshake"]))
    def send_advice(self, side, piece, what):
        me, other = self.of(side)
        if what == "extended handshake":
            if me.protocol.agreed.extended:
                me.protocol.send_extended_handshake()
        elif me.protocol.agreed.fast:
            getattr(me.protocol, f"send_{what}")(piece)
        me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, key=key, times=st.integers(1, 3))
    def send_request(self, side, key, times):
        """Request a block, perhaps several times, with cancels in between."""
        me, other = self.of(side)
        if key in me.protocol.requests:
            return
        for time in range(times):
            if time:
                me.end(me.protocol.send_cancel(*key), key)
            try:
                me.protocol.send_request(*key, self.next_token)
            except RequestFailed:
                assert not (me.protocol.may_request(key[0]) and me.protocol.peer_pieces.may_have(key[0]))
                return
            self.note_request(me, key)
            me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, piece=piece, count=st.integers(0, 3))
    def send_requests(self, side, piece, count):
        me, other = self.of(side)
        known = set(me.protocol.requests)
        try:
            me.protocol.send_requests(piece, 0, GEOMETRY.piece_size(piece), count, self.next_token)
        except RequestFailed:
            return
        for key in [key for key in me.protocol.requests if key not in known]:
            # One token for all of them would do; the onlooker tells them apart.
            me.protocol.requests[key] = self.next_token
            self.note_request(me, key)
        me.flush(other)

    def note_request(self, me, key):
        me.open[self.next_token] = key
        me.asked[key].append(self.next_token)
        self.next_token += 1

    @precondition(is_ready)
    @rule(side=sides, data=st.data())
    def send_cancel(self, side, data):
        me, other = self.of(side)
        if me.open:
            token = data.draw(st.sampled_from(sorted(me.open)))
            key = me.open[token]
            assert me.protocol.send_cancel(*key) == token
            me.end(token, key)
            me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, data=st.data(), answer=st.sampled_from(["piece", "piece", "piece", "reject"]))
    def answer(self, side, data, answer):
        me, other = self.of(side)
        if not me.protocol.peer_requests:
            return
        key = data.draw(st.sampled_from(sorted(me.protocol.peer_requests)))
        if answer == "piece":
            assert me.protocol.send_piece(key[0], key[1], block_of(key)) is True
        elif me.protocol.agreed.fast:
            me.protocol.send_reject(*key)
        me.flush(other)

    # ------------------------------------------------------------------ what comes of it

    @rule(side=sides, size=st.sampled_from([1, 5, 17, 30, 100, 10_000]))
    def deliver(self, side, size):
        me, sender = self.of(side)
        data, sender.channel = sender.channel[:size], sender.channel[size:]
        for event in me.protocol.receive(data):
            self.check_event(me, event)
        me.flush(sender)
        assert sorted(me.open) == sorted(me.protocol.requests.values())
        assert set(me.protocol.unanswered_requests) <= set(me.protocol.peer_requests)

    def check_event(self, me, event):
        if event[0] == c.PIECE:
            _, piece, offset, block, token = event
            key = (piece, offset, len(block))
            assert bytes(block) == block_of(key)
            me.received += len(block)
            me.end(token, key)
        elif event[0] == FAILED:
            self.check_failure(me, *event[1:])
        elif event[0] == c.EXTENDED and event[1] == 3:
            for failed in me.protocol.lose_piece(int.from_bytes(event[2], "big")):
                self.check_failure(me, *failed[1:])

    def check_failure(self, me, key, token, error):
        assert isinstance(error, RequestFailed)
        me.end(token, key)
        if isinstance(error, PeerChoking):
            assert not me.protocol.may_request(key[0])
        if isinstance(error, RequestRejected):
            # Each request has exactly one answer (BEP 6), and TCP keeps their order: the n-th is that of the n-th.
            assert me.answers[key][me.asked[key].index(token)] == c.REJECT

    def settle(self):
        """Deliver all bytes in flight; then both sides have the same state."""
        if not self.is_ready():
            return
        while any(side.channel for side in self.pair):
            for side in (0, 1):
                self.deliver(side, 1 << 20)
        for me, other in (self.of(0), self.of(1)):
            self.check_settled(me, other)

    def check_settled(self, me, other):
        mine, theirs = me.protocol, other.protocol
        assert mine.agreed == theirs.agreed
        assert mine.peer_choking is theirs.am_choking
        assert mine.peer_interested is theirs.am_interested
        assert mine.downloaded == me.received <= theirs.uploaded
        assert mine.peer_allowed_fast_set <= theirs.allowed_fast_set
        assert {piece for piece in range(PIECES) if piece in mine.peer_pieces} == naive_pieces(other.told)
        if mine.agreed.fast:
            # Each request has exactly one answer, so one without an answer is still held on the other side.
            assert set(mine.requests) <= set(theirs.peer_requests)
        if mine.agreed.extended:
            assert mine.peer_extended_mapping == {"lt_donthave": 3}


def naive_pieces(told):
    has = set()
    for kind, value in told:
        if kind == "set":
            has = set(value)
        elif kind == "have":
            has.add(value)
        else:
            has.discard(value)
    return has


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
