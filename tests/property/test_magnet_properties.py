"""Any text is a magnet link or a MagnetError; and what is written is read again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import MagnetError
from geventbt.metainfo import Magnet

hosts = st.one_of(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True), st.ip_addresses().map(str))
urls = st.from_regex(r"(http|udp)://[!-~]{1,30}", fullmatch=True)
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
)


@given(magnets)
def test_what_is_written_is_read_again(magnet: Magnet):
    assert Magnet.from_string(str(magnet)) == magnet


@given(
    st.text()
    | st.text().map(lambda text: "magnet:?" + text)
    | st.text().map(lambda text: "magnet:?xt=urn:btih:" + text)
)
def test_any_text_is_a_link_or_a_magnet_error(text: str):
    try:
        magnet = Magnet.from_string(text)
    except MagnetError:
        return
    assert magnet.info_hash is not None or magnet.info_hash_v2 is not None
