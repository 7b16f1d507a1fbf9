"""Any text is a magnet link or a MagnetError; reading inverts writing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import MagnetError
from geventbt.metainfo import Magnet
from geventbt.metainfo.urls import is_url
from geventbt.net.addresses import is_host_name, normalise

names = st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True).filter(is_host_name)
hosts = names | st.ip_addresses().map(str).filter(lambda ip: normalise((ip, 1)))
texts = st.text(st.characters(exclude_categories=[]))
urls = st.from_regex(r"(http|udp)://[!-~]{1,30}", fullmatch=True).filter(is_url)
links = st.from_regex(r"https?://[!-~]{1,30}", fullmatch=True).filter(is_url)
ranges = st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: (min(pair), max(pair)))

magnets = st.builds(
    Magnet,
    info_hash=st.binary(min_size=20, max_size=20),
    info_hash_v2=st.none() | st.binary(min_size=32, max_size=32),
    name=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    trackers=st.lists(urls, max_size=5, unique=True).map(tuple),
    peers=st.lists(st.tuples(hosts, st.integers(1, 65535)), max_size=5, unique=True).map(tuple),
    web_seeds=st.lists(urls, max_size=5, unique=True).map(tuple),
    select=st.lists(ranges, max_size=5).map(tuple),
    length=st.none() | st.integers(0, 10**18 - 1),
    sources=st.lists(links, max_size=5, unique=True).map(tuple),
)


@given(magnets)
def test_reading_inverts_writing(magnet: Magnet):
    assert Magnet.from_string(str(magnet)) == magnet


@given(
    st.one_of(
        texts,
        texts.map("magnet:?{}".format),
        texts.map("magnet:?xt=urn:btih:{}".format),
        st.text("aA2=ß", min_size=32, max_size=32).map("magnet:?xt=urn:btih:{}".format),
        st.builds(
            "magnet:?xt=urn:btih:{}&{}={}".format,
            st.just("a" * 40),
            st.sampled_from(["dn", "tr", "x.pe", "ws", "xs", "as", "so", "xl", "xt"]),
            texts | st.from_regex(r"[\[a-z0-9.:\]-]{0,70}:[0-9]{1,5}", fullmatch=True),
        ),
    )
)
def test_any_text_is_a_magnet_error_or_a_link_that_can_be_written(text: str):
    try:
        magnet = Magnet.from_string(text)
    except MagnetError:
        return
    assert magnet.info_hash is not None or magnet.info_hash_v2 is not None
    assert magnet.info_hash is None or len(magnet.info_hash) == 20
    for host, _ in magnet.peers:
        host.encode("idna")
    assert Magnet.from_string(str(magnet)) == magnet
