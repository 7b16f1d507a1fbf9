"""`PeerProtocol`: any stream in any split, any call with any argument, and two of them that talk to each other."""

from __future__ import annotations

from collections import defaultdict

from bitarray import bitarray
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from strategies import copied, extensions, handshakes, messages, packed, parts, small

from geventbt import limits
from geventbt.errors import LocalProtocolError, RemoteProtocolError, RequestFailed, RequestRejected
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol.connection import FAILED, PeerProtocol
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.parser import Parser

PIECES = 4
SIZE = 64
"""Bytes of a piece: so small that the same blocks are asked for again and again."""
GEOMETRY = Geometry(PIECES * SIZE - 10, SIZE)
INFO_HASH = b"i" * 20


def state(protocol):
    """All that can be read of a protocol, in a form that can be compared."""
    pieces = protocol.peer_pieces
    return {
        "handshakes": (protocol.handshake_sent, protocol.handshake_received, protocol.agreed),
        "flags": (protocol.am_choking, protocol.am_interested, protocol.peer_choking, protocol.peer_interested),
        "pieces": (pieces.count, pieces.bits, pieces.announced, pieces.has_all, protocol.geometry),
        "requests": (list(protocol.requests.items()), list(protocol.peer_requests), list(protocol.unserved)),
        "fast": (set(protocol.allowed_fast_set), set(protocol.peer_allowed_fast_set)),
        "extended": (dict(protocol.peer_extended_handshake), dict(protocol.peer_extended_mapping)),
        "counts": (protocol.downloaded, protocol.uploaded),
        "outgoing": b"".join(map(bytes, protocol.outgoing)),
    }


# ---------------------------------------------------------------------- any stream, any split


def converse(ours, stream_parts, geometry):
    """Feed a stream to a new protocol; all that comes of it, comparable."""
    protocol = PeerProtocol()
    if ours:
        protocol.send_handshake(Handshake(INFO_HASH, b"o" * 20, ours))
    if geometry:
        protocol.set_geometry(geometry)
    seen = []
    error = None
    try:
        for part in stream_parts:
            for event in protocol.receive(part):
                seen.append(copied(event))
                if event[0] == c.HANDSHAKE and ours:
                    protocol.send_unchoke()
                if event[0] == c.UNCHOKE and ours and not protocol.requests and protocol.peer_pieces.may_have(0):
                    protocol.send_request(0, 0, 5, "token")
    except RemoteProtocolError as caught:
        error = (type(caught), str(caught), caught.message_id, caught.bep)
    return [(*event[:-1], type(event[-1])) if event[0] == FAILED else event for event in seen], error, state(protocol)


@given(
    data=st.data(),
    ours=st.none() | extensions,
    theirs=extensions,
    stream=st.lists(messages, max_size=10),
    geometry=st.sampled_from([None, GEOMETRY]),
)
def test_any_split_of_any_stream_gives_the_same_events_and_the_same_state(data, ours, theirs, stream, geometry):
    wire = Handshake(INFO_HASH, b"p" * 20, theirs).to_bytes() + b"".join(map(packed, stream))
    whole = converse(ours, [wire], geometry)
    assert converse(ours, data.draw(parts(wire)), geometry) == whole
    assert converse(ours, [wire[at : at + 1] for at in range(len(wire))], geometry) == whole


@given(theirs=handshakes)
def test_any_handshake_is_taken_or_refused(theirs):
    protocol = PeerProtocol()
    protocol.send_handshake(Handshake(INFO_HASH, b"o" * 20))
    try:
        list(protocol.receive(theirs.to_bytes()))
    except RemoteProtocolError:
        assert not protocol.established
    else:
        assert theirs.info_hash == INFO_HASH


# ---------------------------------------------------------------------- any call, any argument

number = st.integers(-2, 70) | st.sampled_from([2**16, 2**31, 2**32 - 1, 2**32, 2**64]) | small
_calls = st.one_of(
    st.tuples(
        st.sampled_from(["send_choke", "send_unchoke", "send_interested", "send_uninterested", "send_keep_alive"])
    ),
    st.tuples(st.sampled_from(["send_have_all", "send_have_none", "send_extended_handshake"])),
    st.tuples(st.sampled_from(["send_have", "send_suggest", "send_allowed_fast", "send_port", "set_pieces"]), number),
    st.tuples(st.sampled_from(["send_cancel", "send_reject", "drop_request"]), number, number, number),
    st.tuples(st.just("send_request"), number, number, number, st.just("token")),
    st.tuples(st.just("send_requests"), number, number, number, number, st.just("token")),
    st.tuples(st.just("send_bitfield"), st.binary(max_size=3) | st.lists(st.booleans(), max_size=9).map(bitarray)),
    st.tuples(st.just("send_piece"), number, number, st.binary(max_size=9)),
    st.tuples(st.just("send_extended"), st.sampled_from(["ut_pex", "ut_metadata"]), st.binary(max_size=9)),
    st.tuples(st.just("send_handshake"), handshakes),
)


@given(
    calls=st.lists(_calls, min_size=1, max_size=12),
    ours=st.none() | extensions,
    theirs=st.none() | extensions,
    stream=st.lists(messages, max_size=4),
    geometry=st.sampled_from([None, GEOMETRY]),
)
def test_any_call_works_or_raises_an_error_of_ours_and_changes_nothing(calls, ours, theirs, stream, geometry):
    protocol = PeerProtocol()
    if ours:
        protocol.send_handshake(Handshake(INFO_HASH, b"o" * 20, ours))
    if geometry:
        protocol.set_geometry(geometry)
    try:
        if theirs:
            wire = Handshake(INFO_HASH, b"p" * 20, theirs).to_bytes() + b"".join(map(packed, stream))
            list(protocol.receive(wire))
    except RemoteProtocolError:
        return
    for name, *args in calls:
        before = state(protocol)
        pending = tuple(args[:3])
        if name == "send_request" and pending in protocol.requests:
            continue  # the caller is to see to it
        try:
            getattr(protocol, name)(*args)
        except (LocalProtocolError, RequestFailed):
            assert state(protocol) == before
        except RemoteProtocolError:
            assert name in ("set_pieces", "send_handshake"), name
            return
        if not protocol.handshake_sent:
            assert not protocol.outgoing
    assert_is_a_stream(protocol)


def assert_is_a_stream(protocol):
    """What goes out can be parsed by anybody."""
    for message in Parser().feed(b"".join(map(bytes, protocol.outgoing))):
        assert message[0] != c.UNKNOWN


# ---------------------------------------------------------------------- two that talk to each other


def block_of(key):
    """The data that a block has, whoever sends it."""
    piece, offset, length = key
    return bytes((piece * SIZE + offset + at) % 251 for at in range(length))


class Side:
    """One of the two, with the bytes on their way from it, and what a naive onlooker knows of it."""

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
        """One of its requests has ended; each does so once."""
        assert self.open.pop(token) == key


class Conversation(RuleBasedStateMachine):
    """Two honest peers, through random splits. Neither may ever be blamed, nor a request be lost or ended twice."""

    sides = st.sampled_from([0, 1])
    key = st.tuples(st.integers(0, PIECES - 1), st.integers(0, 3).map(lambda at: at * 16), st.sampled_from([16, 6]))
    piece = st.integers(0, PIECES - 1)

    @initialize(first=extensions, second=extensions, same=st.booleans())
    def start(self, first, second, same):
        both = Extensions(fast=True, extended=True)
        self.pair = [Side("a", both if same else first), Side("b", both if same else second)]
        self.next_token = 1
        self.tolerated = limits.UNWANTED_ANSWERS
        # Between honest peers no answer comes that was not asked for.
        limits.UNWANTED_ANSWERS = 0

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

    @rule(side=sides)
    def shake_hands(self, side):
        me, other = self.of(side)
        if not me.protocol.handshake_sent:
            me.protocol.send_handshake(Handshake(INFO_HASH, me.name.encode() * 20, me.promised))
            me.flush(other)

    @rule(side=sides)
    def learn_the_geometry(self, side):
        self.pair[side].protocol.set_geometry(GEOMETRY)

    @precondition(is_ready)
    @rule(side=sides, what=st.sampled_from(["choke", "unchoke", "unchoke", "interested", "uninterested", "keep_alive"]))
    def send_bare(self, side, what):
        me, other = self.of(side)
        getattr(me.protocol, f"send_{what}")()
        me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, piece=piece)
    def send_have(self, side, piece):
        me, other = self.of(side)
        me.protocol.send_have(piece)
        me.told.append(("have", piece))
        me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, bits=st.lists(st.booleans(), min_size=PIECES, max_size=PIECES))
    def send_bitfield(self, side, bits):
        me, other = self.of(side)
        me.protocol.send_bitfield(bitarray(bits))
        me.told.append(("set", {piece for piece in range(PIECES) if bits[piece]}))
        me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, has=st.booleans())
    def send_have_all_or_none(self, side, has):
        me, other = self.of(side)
        if me.protocol.agreed.fast:
            me.protocol.send_have_all() if has else me.protocol.send_have_none()
            me.told.append(("set", set(range(PIECES)) if has else set()))
            me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, piece=piece)
    def send_donthave(self, side, piece):
        me, other = self.of(side)
        if "lt_donthave" in me.protocol.peer_extended_mapping:
            me.protocol.send_extended("lt_donthave", piece.to_bytes(4, "big"))
            me.told.append(("lost", piece))
            me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, piece=piece, what=st.sampled_from(["suggest", "allowed_fast", "allowed_fast"]))
    def send_advice(self, side, piece, what):
        me, other = self.of(side)
        if me.protocol.agreed.fast:
            getattr(me.protocol, f"send_{what}")(piece)
            me.flush(other)

    @precondition(is_ready)
    @rule(side=sides)
    def send_extended_handshake_again(self, side):
        me, other = self.of(side)
        if me.protocol.agreed.extended:
            me.protocol.send_extended_handshake()
            me.flush(other)

    @precondition(is_ready)
    @rule(side=sides, key=key)
    def send_request(self, side, key):
        me, other = self.of(side)
        if key in me.protocol.requests or not GEOMETRY.contains(*key):
            return
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

    @rule(side=sides, size=st.integers(1, 100))
    def deliver(self, side, size):
        me, sender = self.of(side)
        data, sender.channel = sender.channel[:size], sender.channel[size:]
        for event in me.protocol.receive(data):
            self.check_event(me, event)
        me.flush(sender)
        assert sorted(me.open) == sorted(me.protocol.requests.values())
        assert set(me.protocol.unserved) <= set(me.protocol.peer_requests)

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
        if isinstance(error, RequestRejected):
            # Each request has exactly one answer (BEP 6), and TCP keeps their order: the n-th is that of the n-th.
            assert me.answers[key][me.asked[key].index(token)] == c.REJECT

    def settle(self):
        """Deliver all that is on its way; then both sides know the same."""
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
TestConversation.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
