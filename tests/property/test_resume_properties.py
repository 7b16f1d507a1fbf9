"""Resume files: reading inverts writing, and untrusted contents never raise."""

from __future__ import annotations

from hashlib import sha256

from bitarray import bitarray
from hypothesis import given
from hypothesis import strategies as st

from geventbt import bencoding
from geventbt.metainfo import Torrent
from geventbt.storage.disk import resume
from geventbt.storage.disk.record import Fingerprint

PIECES, FILES = 11, 4

FILE_LIST = [{"length": 11 * 16 // FILES, "path": [str(index)]} for index in range(FILES)]
TORRENT = Torrent.from_info(
    bencoding.encode({"name": "t", "piece length": 16, "pieces": bytes(20 * PIECES), "files": FILE_LIST})
)

fingerprints = st.builds(Fingerprint, st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
indices = st.integers(0, FILES - 1)
bits = st.lists(st.booleans(), min_size=PIECES, max_size=PIECES).map(lambda bits: bitarray(bits, endian="big"))
resumes = st.builds(
    resume.Resume, bits, st.dictionaries(indices, fingerprints), st.sets(indices), st.one_of(st.none(), fingerprints)
)
values = st.recursive(
    st.one_of(st.integers(-(10**19), 10**19), st.binary(max_size=30)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.binary(max_size=12), inner, max_size=4)),
)


@given(resumes)
def test_reading_inverts_writing(written: resume.Resume) -> None:
    data = resume.encode(TORRENT, written)
    assert len(data) <= resume.largest(TORRENT)
    assert resume.decode(TORRENT, data) == written


@given(st.one_of(st.none(), st.binary(max_size=300), values.map(bencoding.encode)))
def test_any_other_bytes_are_read_as_no_resume_data(data: bytes | None) -> None:
    assert resume.decode(TORRENT, data) == resume.decode(TORRENT, None)


@given(resumes, st.sampled_from([b"version", b"info_hash", b"bitfield", b"files", b"in_parts", b"parts"]), values)
def test_any_contents_with_a_good_digest_are_read_or_say_nothing(
    written: resume.Resume, key: bytes, value: object
) -> None:
    content = bencoding.decode(resume.encode(TORRENT, written))
    content.pop(b"digest")
    content[key] = value
    digest = sha256(bencoding.encode(content)).digest()
    found = resume.decode(TORRENT, bencoding.encode({**content, b"digest": digest}))
    assert len(found.have) == PIECES
