"""Magnet links: what is read of them, what is refused, and writing them."""

from __future__ import annotations

import base64

import pytest

from geventbt import bencoding, limits
from geventbt.errors import MagnetError
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.magnet import link_of_hash

HASH = bytes(range(20))
V2 = bytes(range(32))


def link(**fields: str) -> str:
    return f"magnet:?xt=urn:btih:{HASH.hex()}" + "".join(f"&{key.replace('_', '.')}={fields[key]}" for key in fields)


def test_the_info_hash_is_read_in_hex_and_in_base32_of_either_case():
    for text in (
        HASH.hex(),
        HASH.hex().upper(),
        base64.b32encode(HASH).decode(),
        base64.b32encode(HASH).decode().lower(),
    ):
        assert Magnet.from_string(f"magnet:?xt=urn:btih:{text}").info_hash == HASH
    assert Magnet.from_string(f"MAGNET:?XT=URN:BTIH:{HASH.hex()}").info_hash == HASH


@pytest.mark.parametrize("text", [HASH.hex(), base64.b32encode(HASH).decode(), V2.hex(), V2.hex().upper()])
def test_an_info_hash_alone_makes_a_link(text: str):
    link = link_of_hash(text)
    assert link is not None
    assert Magnet.from_string(link).swarm_hashes == (HASH,)


@pytest.mark.parametrize("text", ["", HASH.hex()[:-1], V2.hex() + "0", "é" * 40, HASH.hex() + "\n", "my.torrent"])
def test_other_text_makes_no_link(text: str):
    assert link_of_hash(text) is None


def test_a_multihash_of_version_2_is_recognised():
    magnet = Magnet.from_string(f"magnet:?xt=urn:btmh:1220{V2.hex()}")
    assert (magnet.info_hash, magnet.info_hash_v2) == (None, V2)
    hybrid = Magnet.from_string(f"magnet:?xt=urn:btmh:1220{V2.hex()}&xt=urn:btih:{HASH.hex()}")
    assert (hybrid.info_hash, hybrid.info_hash_v2) == (HASH, V2)


def test_everything_else_is_read():
    magnet = Magnet.from_string(
        link(dn="a+name%20%26%20more", tr_1="http%3A%2F%2Fone%2Fannounce", tr_2="udp://two:80", xl="12", so="0,2,4-6")
        + "&x.pe=127.0.0.1:6881&x.pe=[::1]:6882&x.pe=peer.example:1&ws=http://seed/file"
    )
    assert magnet == Magnet(
        HASH,
        name="a name & more",
        trackers=("http://one/announce", "udp://two:80"),
        peers=(("127.0.0.1", 6881), ("::1", 6882), ("peer.example", 1)),
        web_seeds=("http://seed/file",),
        select=((0, 0), (2, 2), (4, 6)),
        length=12,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://example/",
        "magnet:",
        "magnet:?",
        "magnet:?dn=name",
        "magnet:?xt=urn:btih:",
        "magnet:?xt=urn:btih:1234",
        "magnet:?xt=urn:btih:" + "g" * 40,
        "magnet:?xt=urn:btih:" + "1" * 32,
        "magnet:?xt=urn:btih:" + "A" * 26 + "======",
        "magnet:?xt=urn:btih:" + "A" * 24 + "\N{LATIN SMALL LETTER SHARP S}" * 8,
        "magnet:?xt=urn:btih:" + "\N{LATIN SMALL LETTER DOTLESS I}" * 32,
        "magnet:?xt=urn:sha1:" + "a" * 40,
        "magnet:?xt=urn:btmh:1220abcd",
        "magnet:?xt=urn:btmh:1114" + "a" * 40,
        "magnet:?xt=urn:btih:" + "a" * 40 + "&x=" + "y" * 70_000,
        "magnet:?xt=urn:btih:" + "a" * 40 + "&a=1" * 2000,
    ],
)
def test_what_is_no_usable_link_is_refused(text: str):
    with pytest.raises(MagnetError):
        Magnet.from_string(text)


def test_advice_that_makes_no_sense_is_left_out():
    magnet = Magnet.from_string(
        link(tr="not a url", x_pe="nobody", xl="many", so="x,3-1,,-", ws="%00://x", unknown="1")
        + "&x.pe=1.2.3.4:0&x.pe=a:99999"
    )
    assert magnet == Magnet(HASH)


@pytest.mark.parametrize(
    "host", ["a..b", ".", ".a", "a" * 64, "a." * 130 + "a", "[:::]", "[1.2.3.4]", "[fe80::1%25eth0]", "::1"]
)
def test_a_peer_whose_host_cannot_be_one_is_left_out(host: str):
    magnet = Magnet.from_string(link() + f"&x.pe={host}:6881&x.pe=good.example.:6881")
    assert magnet.peers == (("good.example.", 6881),)


def test_a_name_that_is_no_unicode_can_still_be_written():
    magnet = Magnet.from_string(link(dn="caf\udce9"))
    assert magnet.name == "caf?"
    assert Magnet.from_string(str(magnet)) == magnet
    assert str(Magnet(HASH, name="caf\udce9")) == str(magnet)


def test_a_wide_range_of_files_allocates_nothing():
    magnet = Magnet.from_string(link(so="0-2000000000"))
    assert magnet.select == ((0, 2_000_000_000),)
    assert magnet.selects(1_999_999_999)
    assert not Magnet.from_string(link(so="1,3")).selects(2)
    assert Magnet(HASH).selects(7)


def test_lists_are_bounded():
    magnet = Magnet.from_string(link() + "".join(f"&tr=http://{n}/&x.pe=10.0.0.1:{n + 1}" for n in range(450)))
    assert len(magnet.trackers) == limits.TRACKERS
    assert len(magnet.peers) == 200


def test_a_link_to_a_torrent_names_it():
    info = {"length": 5, "name": "a & b", "piece length": 16384, "pieces": bytes(20)}
    torrent = Torrent.from_bytes(bencoding.encode({"announce": "http://t/", "info": info}))
    text = str(Magnet.from_torrent(torrent))
    assert text == f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}&dn=a%20%26%20b&xl=5&tr=http:%2F%2Ft%2F"
    assert Magnet.from_string(text) == Magnet.from_torrent(torrent)


def test_a_link_to_a_torrent_has_its_web_seeds():
    seeds = [f"http://{number}.example/a%20b?c=d&e=f" for number in range(30)]
    info = {"length": 5, "name": "a", "piece length": 16384, "pieces": bytes(20)}
    torrent = Torrent.from_info(bencoding.encode(info), web_seeds=seeds)
    assert Magnet.from_string(str(Magnet.from_torrent(torrent))).web_seeds == tuple(seeds)


def test_a_web_seed_of_a_link_is_escaped():
    link = Magnet.from_string(f"magnet:?xt=urn:btih:{'a' * 40}&ws=http%3A%2F%2Fa%2Fb+c&ws=nonsense")
    assert link.web_seeds == ("http://a/b%20c",)


def test_the_urls_of_the_torrent_file_are_read_those_that_are_exact_first():
    fields = "&as=http://b/y&xs=http://a/x+z&xs=urn:btpk:abc&xs=http://b/y&xs.1=https://c/&xs=ftp://d/"
    link = Magnet.from_string(f"magnet:?xt=urn:btih:{'a' * 40}{fields}")
    assert link.sources == ("http://a/x%20z", "http://b/y", "https://c/")
    many = Magnet.from_string(f"magnet:?xt=urn:btih:{'a' * 40}" + "".join(f"&xs=http://{n}/" for n in range(99)))
    assert len(many.sources) == limits.METADATA_URLS
