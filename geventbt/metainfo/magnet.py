"""Magnet links: a torrent's info hash, and where to ask for the rest (BEP 9, 53)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from geventbt import limits
from geventbt.arguments import check_instances, check_texts
from geventbt.errors import MagnetError
from geventbt.metainfo.torrent import Torrent
from geventbt.metainfo.urls import escaped_url, is_url
from geventbt.net.addresses import Address, address_text, is_host_name, is_port, normalise

_MAX_LENGTH = 64 * limits.KIB
_MAX_FIELDS = 1000
_MAX_PEERS = 200
_MAX_RANGES = 1000
_MAX_WEB_SEEDS = 200
"""Web seeds written into a link, which people copy and paste."""
_LAST_FILE = 1 << 31

_V1 = "urn:btih:"
_V2 = "urn:btmh:"
_SHA256 = "1220"
"""The multihash code of SHA-256, and its length of 32 bytes, in hex."""


@dataclass(frozen=True, slots=True)
class Magnet:
    """A magnet link (BEP 9).

    Attributes:
        info_hash: of version 1, 20 bytes; None in a link of version 2 only.
        info_hash_v2: of version 2, 32 bytes (BEP 52); or None.
        name: what to call it until the metadata is here, or None; untrusted text.
        trackers: announce URLs.
        peers: (host, port) of peers (x.pe).
        web_seeds: URLs that have the data.
        select: the files to fetch, as (first, last) ranges of their indices; empty for all of them (BEP 53).
        length: bytes of all the data, if the link says so; else None.
        sources: http and https URLs of its .torrent file (xs, and as).
    """

    info_hash: bytes | None = None
    info_hash_v2: bytes | None = None
    name: str | None = None
    trackers: tuple[str, ...] = ()
    peers: tuple[tuple[str, int], ...] = ()
    web_seeds: tuple[str, ...] = ()
    select: tuple[tuple[int, int], ...] = ()
    length: int | None = None
    sources: tuple[str, ...] = ()

    @property
    def swarm_hashes(self) -> tuple[bytes, ...]:
        """What peers, trackers and the DHT know the torrent by, as far as the link says; see `Torrent.swarm_hashes`."""
        return tuple(value[:20] for value in (self.info_hash, self.info_hash_v2) if value is not None)

    @property
    def swarm_hash(self) -> bytes:
        """The first of `swarm_hashes`.

        Raises:
            MagnetError: the link has no info hash.
        """
        if not self.swarm_hashes:
            raise MagnetError("the magnet link has no info hash")
        return self.swarm_hashes[0]

    @classmethod
    def from_string(cls, text: str) -> Magnet:
        """Read a magnet link. What it says beside the info hash is advice: what makes no sense is left out.

        Raises:
            MagnetError: it is none, or has no info hash that could be one.
        """
        check_texts(text=text)
        if len(text) > _MAX_LENGTH:
            raise MagnetError(f"a magnet link of more than {_MAX_LENGTH} characters")
        scheme, _, query = text.strip().partition("?")
        if scheme.lower() != "magnet:":
            raise MagnetError("not a magnet link: it does not begin with magnet:?")
        try:
            fields = parse_qsl(query, max_num_fields=_MAX_FIELDS)
        except ValueError as error:
            raise MagnetError(f"not a magnet link: {error}") from None
        # A field may be numbered, as in tr.1 and tr.2.
        values: dict[str, list[str]] = {}
        for key, value in fields:
            values.setdefault(re.sub(r"\.\d+$", "", key.lower()), []).append(value)
        info_hash, info_hash_v2 = _read_topics(values.get("xt", []))
        return cls(
            info_hash=info_hash,
            info_hash_v2=info_hash_v2,
            name=_read_name(values.get("dn", [])),
            trackers=_read_trackers(values.get("tr", [])),
            peers=_read_peers(values.get("x.pe", [])),
            web_seeds=_read_web_seeds(values.get("ws", [])),
            select=_read_select(values.get("so", [])),
            length=_read_length(values.get("xl", [])),
            sources=_read_sources([*values.get("xs", []), *values.get("as", [])]),
        )

    @classmethod
    def from_torrent(cls, torrent: Torrent) -> Magnet:
        """The link to a torrent, with its name, length, trackers and web seeds."""
        check_instances(Torrent, torrent=torrent)
        return cls(
            torrent.info_hash,
            torrent.info_hash_v2,
            name=torrent.name,
            trackers=tuple(url for tier in torrent.trackers for url in tier),
            web_seeds=torrent.web_seeds[:_MAX_WEB_SEEDS],
            length=torrent.length,
        )

    def __str__(self) -> str:
        """The link."""
        fields: list[tuple[str, str]] = []
        if self.info_hash is not None:
            fields.append(("xt", _V1 + self.info_hash.hex()))
        if self.info_hash_v2 is not None:
            fields.append(("xt", _V2 + _SHA256 + self.info_hash_v2.hex()))
        if self.name is not None:
            fields.append(("dn", self.name))
        if self.length is not None:
            fields.append(("xl", str(self.length)))
        fields += [("tr", tracker) for tracker in self.trackers]
        fields += [("ws", url) for url in self.web_seeds]
        fields += [("xs", url) for url in self.sources]
        fields += [("x.pe", address_text(peer)) for peer in self.peers]
        if self.select:
            fields.append(("so", ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.select)))
        return "magnet:?" + "&".join(f"{key}={quote(value, safe=':,[]-', errors='replace')}" for key, value in fields)

    def selects(self, file: int) -> bool:
        """Whether the link asks for the file with this index (BEP 53)."""
        return not self.select or any(first <= file <= last for first, last in self.select)


def link_of_hash(text: str) -> str | None:
    """The magnet link of an info hash alone, in hex or, of version 1, in base32; None for any other text."""
    if re.fullmatch(r"[0-9a-fA-F]{40}|[A-Za-z2-7]{32}", text):
        return f"magnet:?xt={_V1}{text}"
    return f"magnet:?xt={_V2}{_SHA256}{text}" if re.fullmatch(r"[0-9a-fA-F]{64}", text) else None


def _read_topics(topics: Iterable[str]) -> tuple[bytes | None, bytes | None]:
    """The info hashes of version 1, in hex or base32, and of version 2, as a multihash."""
    v1 = v2 = None
    for topic in topics:
        urn = topic[: len(_V1)].lower()
        value = topic[len(_V1) :]
        if urn == _V1:
            v1 = v1 or _read_v1(value)
        elif urn == _V2 and value[:4] == _SHA256:
            v2 = v2 or _read_hex(value[4:], 32)
    if v1 is None and v2 is None:
        raise MagnetError("the magnet link has no BitTorrent info hash (xt=urn:btih:...)")
    return v1, v2


def _read_v1(value: str) -> bytes:
    # Exactly the alphabet: the decoder takes padding, and `upper` maps signs beyond ASCII into it or to two letters.
    if re.fullmatch(r"[A-Za-z2-7]{32}", value):
        return base64.b32decode(value.upper())
    return _read_hex(value, 20)


def _read_hex(value: str, size: int) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]*", value) or len(value) != 2 * size:
        raise MagnetError(f"{value[:80]!r} is not an info hash of {2 * size} hex characters")
    return bytes.fromhex(value)


def _read_name(values: list[str]) -> str | None:
    # The command line gives bytes that are not UTF-8 as lone surrogates, which could not be written again.
    return values[0].encode("utf-8", "replace").decode() if values else None


def _read_trackers(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(is_url, values)))[: limits.TRACKERS]


def _read_web_seeds(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(url for url in map(escaped_url, values) if url is not None))[: limits.WEB_SEEDS]


def _read_sources(values: Iterable[str]) -> tuple[str, ...]:
    urls = (escaped_url(value) for value in values if value.lower().startswith(("http://", "https://")))
    return tuple(dict.fromkeys(filter(None, urls)))[: limits.METADATA_URLS]


def _read_peers(values: Iterable[str]) -> tuple[Address, ...]:
    peers: dict[Address, None] = {}
    for value in values:
        match = re.fullmatch(r"(?:\[([0-9a-fA-F.]*:[0-9a-fA-F:.]*)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", value)
        if match and _is_peer(match[1] or match[2], int(match[3])):
            peers[match[1] or match[2], int(match[3])] = None
    return tuple(peers)[:_MAX_PEERS]


def _is_peer(host: str, port: int) -> bool:
    """Whether a peer can be there; looking up what is not a name would be a UnicodeError."""
    return is_port(port) and (is_host_name(host) or normalise((host, port)) is not None)


def _read_select(values: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Indices and ranges such as "0,2,4-6"; a range is kept as its ends, however far apart they are."""
    ranges = []
    for part in ",".join(values).split(","):
        match = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", part)
        if match:
            first = int(match[1])
            last = int(match[2]) if match[2] else first
            if first <= last < _LAST_FILE:
                ranges.append((first, last))
    return tuple(ranges[:_MAX_RANGES])


def _read_length(values: list[str]) -> int | None:
    return int(values[0]) if values and re.fullmatch(r"[0-9]{1,18}", values[0]) else None
