"""uTP's packets: golden bytes, and everything that is not one."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.protocol.utp import packets as p

# A packet of libtorrent: data with a selective acknowledgement of 13 bytes.
LIBTORRENT = bytes.fromhex("01011f2475888028e3296657000dd4c4249782b6000d0000000000fcffffffffffffff") + b"payload"


def test_a_packet_is_laid_out_as_bep_29_says():
    packet = p.Packet(p.DATA, 0x1234, 0x01020304, 0x05060708, 0x090A0B0C, 0x1111, 0x2222, None, b"abc")
    assert packet.to_bytes().hex() == "010012340102030405060708090a0b0c11112222" + b"abc".hex()
    assert p.parse(packet.to_bytes()) == packet


def test_a_selective_acknowledgement_has_a_multiple_of_four_bytes_and_the_lowest_bit_first():
    packet = p.Packet(p.STATE, 1, 2, 3, 4, 5, 6, 0b1_0000_0001)
    assert packet.to_bytes()[:2] == b"\x21\x01"
    assert packet.to_bytes()[20:] == b"\x00\x04\x01\x01\x00\x00"
    assert p.parse(packet.to_bytes()) == packet


def test_the_odd_length_of_libtorrents_selective_acknowledgements_is_understood():
    packet = p.parse(LIBTORRENT)
    assert packet is not None
    assert packet.sack is not None
    assert packet.sack.bit_length() == 13 * 8
    assert packet.payload == b"payload"


def test_unknown_extensions_are_skipped():
    header = p.pack(p.STATE, 1, 0, 0, 0, 5, 6, extension=77)
    packet = p.parse(header + b"\x01\x03abc" + b"\x00\x04\x02\x00\x00\x00" + b"rest")
    assert packet is not None
    assert (packet.sack, packet.payload) == (2, b"rest")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LIBTORRENT[:19],
        LIBTORRENT[:20],
        LIBTORRENT[:21],
        LIBTORRENT[:34],
        b"\x02" + LIBTORRENT[1:],
        b"\x51" + LIBTORRENT[1:],
        b"d1:ad2:id20:",
    ],
    ids=["empty", "short", "no extension", "no length", "cut off", "other version", "other type", "dht"],
)
def test_what_is_no_packet_is_none(data):
    assert p.parse(data) is None


def test_a_packet_with_more_extensions_than_anybody_sends_is_none():
    header = p.pack(p.STATE, 1, 0, 0, 0, 5, 6, extension=77)
    most = b"\x4d\0" * (limits.UTP_EXTENSIONS - 1) + b"\0\0"
    assert p.parse(header + most) is not None
    assert p.parse(header + b"\x4d\0" + most) is None


def run_of(*packets: p.Packet) -> p.Run | None:
    encoded = [packet.to_bytes() for packet in packets]
    return p.parse_run(memoryview(b"".join(encoded)), len(encoded[0]))


def data(seq: int, payload: bytes = b"abcd", **fields: int) -> p.Packet:
    return p.Packet(p.DATA, 7, 1, 2, 3, seq, 9, None, payload)._replace(**fields)


def test_packets_in_order_are_read_together():
    run = run_of(data(5), data(6, b"efgh", timestamp=4, difference=5, window=6, ack=10))
    assert run == p.Run(p.DATA, 7, 4, 5, 6, 5, 10, (b"abcd", b"efgh"))


@pytest.mark.parametrize(
    "packets",
    [
        (data(5), data(7)),
        (data(0xFFFF), data(0)),
        (data(5), data(6, connection_id=8)),
        (data(5), data(6, kind=p.FIN)),
        (data(5, kind=p.SYN),),
        (data(5, kind=p.RESET),),
        (data(5, b"").__class__(p.STATE, 7, 1, 2, 3, 5, 9, 1),),
    ],
    ids=["gap", "wrapping", "other stream", "end", "syn", "reset", "extension"],
)
def test_what_needs_a_closer_look_is_no_run(packets):
    assert run_of(*packets) is None


def test_acknowledgements_that_come_together_make_a_run():
    run = run_of(data(5, b"", kind=p.STATE), data(5, b"", kind=p.STATE, ack=12))
    assert run is not None
    assert run.ack == 12


@pytest.mark.parametrize("size", [1, 19, 70000])
def test_sizes_that_no_packet_has_are_no_run(size):
    assert p.parse_run(memoryview(bytes(size)), size) is None


@pytest.mark.parametrize(
    ("number", "near", "count"),
    [(5, 3, 5), (0, 0xFFFF, 0x10000), (0xFFFF, 0x10000, 0xFFFF), (2, 0x2FFFE, 0x30002), (0xFFF0, 5, -16)],
)
def test_a_number_stands_for_the_count_that_is_nearest(number, near, count):
    assert p.unwrap(number, near) == count
