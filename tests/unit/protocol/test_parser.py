"""The stream parser: lengths checked per id, streams cut anywhere, no memory for a claimed length."""

from __future__ import annotations

import tracemalloc
from struct import pack

import pytest

from geventbt import limits
from geventbt.errors import HandshakeError, RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.handshake import Handshake
from geventbt.protocol.parser import Parser, bep_of

HANDSHAKE = Handshake(b"i" * 20, b"p" * 20).to_bytes()
MIB = 1024 * 1024

EXACT = {0: 0, 1: 0, 2: 0, 3: 0, 4: 4, 6: 12, 8: 12, 9: 2, 13: 4, 14: 0, 15: 0, 16: 12, 17: 4, 21: 48, 23: 48}
"""The payload length of each message that has only one."""


def open_parser(bitfield_length=None):
    """A parser behind its handshake."""
    parser = Parser()
    parser.bitfield_length = bitfield_length
    assert len(list(parser.feed(HANDSHAKE))) == 1
    return parser


def copied(messages):
    return [tuple(bytes(x) if isinstance(x, memoryview) else x for x in message) for message in messages]


def header(payload, message_id):
    return pack(">IB", 1 + payload, message_id)


def assert_refused(parser, data, message_id, bep=None):
    with pytest.raises(RemoteProtocolError) as caught:
        list(parser.feed(data))
    assert caught.value.message_id == message_id
    assert caught.value.bep == (bep_of(message_id) if bep is None else bep)


# ---------------------------------------------------------------------- the handshake


def test_nothing_comes_before_the_whole_handshake():
    parser = Parser()
    for at in range(67):
        assert list(parser.feed(HANDSHAKE[at : at + 1])) == []
        assert parser.missing == 0
    (message,) = parser.feed(HANDSHAKE[67:])
    assert message[:3] == (c.HANDSHAKE, b"i" * 20, b"p" * 20)


@pytest.mark.parametrize(
    "first", [b"\x00", b"\x12", b"GET / HTTP/1.1\r\n", b"\x13BitTorrent Protocol", b"\x16\x03\x01"]
)
def test_another_protocol_is_refused_at_its_first_wrong_byte(first):
    with pytest.raises(HandshakeError):
        list(Parser().feed(first))
    parser = Parser()
    wrong = next(at for at in range(len(first)) if first[at] != HANDSHAKE[at])
    for at in range(wrong):
        assert list(parser.feed(first[at : at + 1])) == []
    with pytest.raises(HandshakeError):
        list(parser.feed(first[wrong : wrong + 1]))


def test_a_refused_stream_stays_refused():
    parser = Parser()
    for _ in range(3):
        with pytest.raises(HandshakeError):
            list(parser.feed(b"x"))


def test_messages_may_follow_the_handshake_in_the_same_bytes():
    messages = list(Parser().feed(HANDSHAKE + m.pack_bare(c.UNCHOKE) + m.KEEP_ALIVE_BYTES))
    assert [message[0] for message in messages] == [c.HANDSHAKE, c.UNCHOKE, c.KEEP_ALIVE]


# ---------------------------------------------------------------------- lengths


@pytest.mark.parametrize(("message_id", "payload"), EXACT.items())
def test_a_message_of_one_length_is_taken_at_that_length_only(message_id, payload):
    message = header(payload, message_id) + bytes(payload)
    assert [x[0] for x in open_parser().feed(message)] == [message_id]
    for wrong in {0, payload - 1, payload + 1, payload + 4, 1000, MIB, 2**32 - 2} - {payload, -1}:
        is_over_all = wrong > limits.MESSAGE
        assert_refused(open_parser(), header(wrong, message_id), None if is_over_all else message_id)
        if wrong <= 1000:
            assert_refused(open_parser(), header(wrong, message_id) + bytes(wrong + 20), message_id)


def test_no_id_may_claim_more_than_a_mebibyte():
    for message_id in range(256):
        assert_refused(open_parser(), header(limits.MESSAGE + 1, message_id), None)
        assert_refused(open_parser(), header(2**32 - 2, message_id), None)


@pytest.mark.parametrize("length", [limits.MESSAGE + 2, 2**31, 2**32 - 1])
@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_length_that_no_message_may_have_is_refused_without_its_id(length, cut):
    parser = open_parser()
    header = pack(">I", length)
    if cut < 4:
        assert list(parser.feed(header[:cut])) == []
    assert_refused(parser, header[cut % 4 :], None)


def test_a_length_that_some_message_may_have_is_refused_when_its_id_is_known():
    parser = open_parser()
    assert list(parser.feed(pack(">I", 1000))) == []
    assert_refused(parser, bytes([c.HAVE]), c.HAVE)


def test_an_unknown_id_passes_with_its_payload():
    for message_id in [10, 11, 12, 18, 19, *range(24, 256)]:
        assert copied(open_parser().feed(header(3, message_id) + b"abc")) == [(c.UNKNOWN, message_id, b"abc")]
        assert copied(open_parser().feed(header(0, message_id))) == [(c.UNKNOWN, message_id, b"")]


def test_an_unknown_message_of_a_whole_mebibyte_passes():
    data = header(limits.MESSAGE, 99) + bytes(limits.MESSAGE)
    ((kind, message_id, payload),) = open_parser().feed(data)
    assert (kind, message_id, len(payload)) == (c.UNKNOWN, 99, limits.MESSAGE)


def test_a_block_of_128_kib_passes_and_one_byte_more_does_not():
    longest = m.pack_piece_header(1, 2, limits.PEER_BLOCK) + bytes(limits.PEER_BLOCK)
    ((_, index, begin, block),) = open_parser().feed(longest)
    assert (index, begin, len(block)) == (1, 2, 128 * 1024)
    assert_refused(open_parser(), m.pack_piece_header(1, 2, limits.PEER_BLOCK + 1), c.PIECE)
    assert_refused(open_parser(), m.pack_piece_header(1, 2, limits.PEER_BLOCK + 1)[:5], c.PIECE)
    assert_refused(open_parser(), m.pack_piece_header(1, 2, limits.PEER_BLOCK + 1) + bytes(200_000), c.PIECE)


def test_a_piece_message_without_room_for_its_offsets_is_refused():
    for payload in range(8):
        assert_refused(open_parser(), header(payload, c.PIECE), c.PIECE)
        assert_refused(open_parser(), header(payload, c.PIECE) + bytes(100), c.PIECE)


def test_an_empty_block_is_a_message():
    assert copied(open_parser().feed(m.pack_piece_header(1, 2, 0))) == [(c.PIECE, 1, 2, b"")]


def test_an_extended_message_needs_its_extended_id():
    assert_refused(open_parser(), header(0, c.EXTENDED), c.EXTENDED, bep=10)
    assert copied(open_parser().feed(header(1, c.EXTENDED) + b"\x05")) == [(c.EXTENDED, 5, b"")]


@pytest.mark.parametrize("payload", [0, 47, 49, 48 + 31, 48 + 33])
def test_hashes_come_in_whole_hashes(payload):
    assert_refused(open_parser(), header(payload, c.HASHES), c.HASHES, bep=52)


@pytest.mark.parametrize("hashes", [0, 1, 2, 512])
def test_hashes_of_any_number_pass(hashes):
    data = m.pack_hash_range(c.HASHES, b"r" * 32, 0, 0, 2, 0, bytes(32 * hashes))
    ((*_, payload),) = open_parser().feed(data)
    assert len(payload) == 32 * hashes


# ---------------------------------------------------------------------- the bitfield's length


@pytest.mark.parametrize("size", [1, 2, 1000, MIB])
def test_a_bitfield_of_any_length_passes_while_the_pieces_are_unknown(size):
    ((message_id, payload),) = open_parser().feed(header(size, c.BITFIELD) + bytes(size))
    assert (message_id, len(payload)) == (c.BITFIELD, size)


def test_a_bitfield_that_can_belong_to_no_torrent_is_refused():
    assert_refused(open_parser(), header(0, c.BITFIELD), c.BITFIELD)


def test_a_bitfield_of_another_length_is_refused_once_the_pieces_are_known():
    assert copied(open_parser(3).feed(header(3, c.BITFIELD) + b"abc")) == [(c.BITFIELD, b"abc")]
    for wrong in (0, 2, 4, MIB):
        assert_refused(open_parser(3), header(wrong, c.BITFIELD), c.BITFIELD, bep=3)


def test_a_bitfield_cut_off_is_checked_again_when_the_pieces_become_known():
    parser = open_parser()
    assert list(parser.feed(header(4, c.BITFIELD) + b"ab")) == []
    parser.bitfield_length = 3
    assert_refused(parser, b"c", c.BITFIELD)


# ---------------------------------------------------------------------- cut anywhere

STREAM = [
    m.KEEP_ALIVE_BYTES,
    m.pack_bare(c.UNCHOKE),
    m.pack_index(c.HAVE, 1),
    m.pack_bitfield(b"\xff\x80"),
    m.pack_range(c.REQUEST, 1, 2, 3),
    m.pack_piece_header(1, 2, 20) + bytes(range(20)),
    m.KEEP_ALIVE_BYTES,
    m.pack_range(c.CANCEL, 1, 2, 3),
    m.pack_port(6881),
    m.pack_extended(0, b"de"),
    m.pack_piece_header(0, 0, 0),
    header(2, 99) + b"xy",
    m.pack_hash_range(c.HASHES, b"r" * 32, 0, 0, 2, 0, b"h" * 64),
    m.KEEP_ALIVE_BYTES,
]
WHOLE = b"".join(STREAM)
SEEN = copied(open_parser().feed(WHOLE))


def test_the_stream_has_every_message():
    assert len(SEEN) == len(STREAM)


def test_a_stream_cut_in_two_gives_the_same_messages():
    for cut in range(len(WHOLE) + 1):
        parser = open_parser()
        assert copied(parser.feed(WHOLE[:cut])) + copied(parser.feed(WHOLE[cut:])) == SEEN, cut


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 11, 13, 17, 64])
def test_a_stream_in_small_parts_gives_the_same_messages(size):
    parser = open_parser()
    seen = []
    for at in range(0, len(WHOLE), size):
        seen += copied(parser.feed(WHOLE[at : at + size]))
    assert seen == SEEN


def test_no_bytes_are_no_message():
    parser = open_parser()
    assert list(parser.feed(b"")) == []
    assert list(parser.feed(WHOLE[:7])) != []
    assert list(parser.feed(b"")) == []
    assert len(list(parser.feed(WHOLE[7:]))) == len(SEEN) - 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer_is_taken(kind):
    parser = Parser()
    data = HANDSHAKE + WHOLE
    seen = []
    for part in (data[:30], data[30:80], data[80:]):
        seen += copied(parser.feed(kind(part)))
    assert seen[1:] == SEEN


def test_messages_before_a_broken_one_are_given_first():
    data = WHOLE + header(3, c.CHOKE) + b"abc"
    for size in (1, 5, len(data)):
        parser = open_parser()
        seen = []

        def read(parser=parser, seen=seen, size=size):
            for at in range(0, len(data), size):
                for message in parser.feed(data[at : at + size]):
                    seen.extend(copied([message]))

        with pytest.raises(RemoteProtocolError):
            read()
        assert seen == SEEN


# ---------------------------------------------------------------------- what is missing


def test_missing_is_the_number_of_bytes_that_complete_a_cut_off_message():
    ends = [sum(map(len, STREAM[: i + 1])) for i in range(len(STREAM))]
    for cut in range(len(WHOLE) + 1):
        parser = open_parser()
        list(parser.feed(WHOLE[:cut]))
        start = max([0, *(end for end in ends if end <= cut)])
        rest = min([end for end in ends if end > cut], default=cut) - cut
        # With four bytes the length is here, but not the id that it is checked with.
        possible = (rest,) if cut - start >= 5 else (0, rest) if cut - start == 4 else (0,)
        assert parser.missing in possible, cut


# ---------------------------------------------------------------------- memory


def test_a_block_seen_in_place_is_not_copied():
    data = bytearray(m.pack_piece_header(0, 0, 4) + b"good")
    ((*_, block),) = open_parser().feed(data)
    data[-4:] = b"same"
    assert block == b"same"


def test_every_buffer_of_one_feed_is_valid_until_the_next():
    first, second, third = (m.pack_piece_header(i, 0, 50) + bytes([i]) * 50 for i in range(3))
    parser = open_parser()
    list(parser.feed(first[:30]))
    messages = list(parser.feed(first[30:] + second + third[:20]))
    assert [bytes(message[3]) for message in messages] == [b"\x00" * 50, b"\x01" * 50]


def test_the_callers_buffer_may_be_used_again_for_the_next_bytes():
    data = HANDSHAKE + WHOLE
    scratch = bytearray(16)
    parser = Parser()
    seen = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        scratch[: len(part)] = part
        seen += copied(parser.feed(memoryview(scratch)[: len(part)]))
    assert seen[1:] == SEEN


@pytest.mark.parametrize("message_id", [c.BITFIELD, c.EXTENDED, 99])
def test_a_claimed_length_of_a_mebibyte_keeps_only_the_bytes_received(message_id):
    parser = open_parser()
    tracemalloc.start()
    try:
        list(parser.feed(header(limits.MESSAGE, message_id) + bytes(100)))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000
    assert peak < 20_000


def test_a_message_that_never_ends_keeps_little_more_than_itself():
    parser = open_parser()
    part = bytes(64 * 1024)
    tracemalloc.start()
    try:
        list(parser.feed(header(limits.MESSAGE, c.EXTENDED)))
        for _ in range(15):
            list(parser.feed(part))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < limits.MESSAGE * 1.25


def test_nothing_is_kept_between_whole_messages():
    parser = open_parser()
    tracemalloc.start()
    try:
        for _ in range(20):
            assert [len(message) for message in parser.feed(header(MIB, 99) + bytes(MIB))] == [3]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000


@pytest.mark.parametrize(
    ("message_id", "bep"),
    [
        (0, 3),
        (7, 3),
        (9, 5),
        (13, 6),
        (14, 6),
        (15, 6),
        (16, 6),
        (17, 6),
        (20, 10),
        (21, 52),
        (22, 52),
        (23, 52),
        (99, 3),
    ],
)
def test_each_id_belongs_to_its_bep(message_id, bep):
    assert bep_of(message_id) == bep
