"""Peer ids: new ones, the client's name in one (BEP 20), and parsing of info hashes and peer ids from users."""

from __future__ import annotations

import os
import re

from geventbt.arguments import check_bytes

CLIENT_PREFIX = b"-GB0100-"
"""The prefix of our peer ids: Azureus style, client GB, version 0.1.0.0."""

PEER_ID_LENGTH = 20
"""Bytes in a peer id, and in an info hash (BEP 3)."""

_AZUREUS_CLIENTS = {
    "AG": "Ares",
    "A~": "Ares",
    "AR": "Arctic",
    "AT": "Artemis",
    "AV": "Avicora",
    "AX": "BitPump",
    "AZ": "Azureus",
    "BB": "BitBuddy",
    "BC": "BitComet",
    "BE": "BitTorrent SDK",
    "BF": "Bitflu",
    "BG": "BTG",
    "BI": "BiglyBT",
    "BL": "BitLord",
    "BR": "BitRocket",
    "BS": "BTSlave",
    "BT": "BitTorrent",
    "BW": "BitTorrent Web",
    "BX": "Bittorrent X",
    "CD": "Enhanced CTorrent",
    "CT": "CTorrent",
    "DE": "Deluge",
    "DP": "Propagate",
    "EB": "EBit",
    "ES": "electric sheep",
    "FC": "FileCroc",
    "FD": "Free Download Manager",
    "FL": "Folx",
    "FT": "FoxTorrent",
    "FW": "FrostWire",
    "FX": "Freebox BitTorrent",
    "GB": "geventbt",
    "GS": "GSTorrent",
    "GT": "anacrolix/torrent",
    "HL": "Halite",
    "HN": "Hydranode",
    "KG": "KGet",
    "KT": "KTorrent",
    "LH": "LH-ABC",
    "LP": "Lphant",
    "LT": "libtorrent",
    "LW": "LimeWire",
    "MG": "MediaGet",
    "MO": "MonoTorrent",
    "MP": "MooPolice",
    "MR": "Miro",
    "MT": "MoonlightTorrent",
    "NX": "Net Transport",
    "OS": "OneSwarm",
    "PD": "Pando",
    "PI": "PicoTorrent",
    "QD": "QQDownload",
    "QT": "Qt 4 Torrent example",
    "RT": "Retriever",
    "RZ": "RezTorrent",
    "S~": "Shareaza alpha",
    "SB": "Swiftbit",
    "SD": "Xunlei",
    "SS": "SwarmScope",
    "ST": "SymTorrent",
    "SZ": "Shareaza",
    "TB": "Torch",
    "TL": "Tribler",
    "TN": "TorrentDotNET",
    "TR": "Transmission",
    "TS": "Torrentstorm",
    "TT": "TuoTu",
    "TX": "Tixati",
    "UE": "uTorrent Embedded",
    "UL": "uLeecher!",
    "UM": "uTorrent for Mac",
    "UT": "uTorrent",
    "UW": "uTorrent Web",
    "VG": "Vagaa",
    "WD": "WebTorrent Desktop",
    "WT": "BitLet",
    "WW": "WebTorrent",
    "WY": "FireTorrent",
    "XF": "Xfplay",
    "XL": "Xunlei",
    "XT": "XanTorrent",
    "XX": "Xtorrent",
    "ZT": "ZipTorrent",
    "lt": "rTorrent",
    "qB": "qBittorrent",
    "rQ": "rqbit",
    "st": "sharktorrent",
}
"""The two letters of Azureus-style ids (BEP 20, and newer clients)."""

_SHADOW_CLIENTS = {
    "A": "ABC",
    "O": "Osprey Permaseed",
    "Q": "BTQueue",
    "R": "Tribler",
    "S": "Shadow",
    "T": "BitTornado",
    "U": "UPnP NAT Bit Torrent",
}
"""The letter of Shadow-style ids (BEP 20)."""

_DASHED_CLIENTS = {"M": "BitTorrent", "A2": "aria2"}
"""The prefix of a version whose numbers are separated by dashes: ``M7-9-2--``, ``A2-1-37-0-``."""

_AZUREUS = re.compile(rb"-([0-9A-Za-z~]{2})([0-9A-Za-z.]{4})-")
_NEARLY_AZUREUS = re.compile(rb"-([0-9A-Za-z~]{2})(?:([0-9A-Za-z.]{1,5})\0*-)?")
"""The same with another number of signs, as uTorrent, BitTorrent and KTorrent have it, or a version written
in another way, as BitLord, uTorrent Web and Free Download Manager do."""
_TIXATI = re.compile(rb"TIX(\d\d)(\d\d)")
_FREE_DOWNLOAD_MANAGER = re.compile(rb"FDM(\d?)")
_DASHED = re.compile(rb"(M|A2-)(\d{1,3})-(\d{1,3})-(\d{1,3})-")
_SHADOW = re.compile(rb"([AOQRSTU])([0-9A-Za-z.]{1,5})-{2,}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz."
_HEX = re.compile(r"[0-9A-Fa-f]{40}")
_HEX_V2 = re.compile(r"[0-9A-Fa-f]{64}")
_INFO_HASH_V2 = 32
_UNSAFE = re.compile(r"[^0-9A-Za-z~-]")


def new_peer_id() -> bytes:
    """A new peer id of ours: 20 bytes, ``-GB0100-`` and twelve random ones (BEP 20)."""
    return CLIENT_PREFIX + os.urandom(PEER_ID_LENGTH - len(CLIENT_PREFIX))


def client_name(peer_id: bytes) -> str:
    """The name of the client that a peer id belongs to (BEP 20).

    Args:
        peer_id: the bytes of the id; untrusted.

    Returns:
        A name and version, such as "libtorrent 2.1.1.0", or "unknown (...)" with the id's first bytes. Safe to print:
        only ASCII letters, digits, blanks and common punctuation occur in it.
    """
    check_bytes(peer_id=peer_id)
    if match := _AZUREUS.match(peer_id):
        code, version = match[1].decode(), match[2].decode()
        return f"{_AZUREUS_CLIENTS.get(code, code)} {_numbers(version)}"
    if match := _DASHED.match(peer_id):
        return f"{_DASHED_CLIENTS[match[1].decode().rstrip('-')]} {b'.'.join(match.groups()[1:]).decode()}"
    if match := _SHADOW.match(peer_id):
        return f"{_SHADOW_CLIENTS[match[1].decode()]} {_numbers(match[2].decode())}"
    if match := _TIXATI.match(peer_id):
        return f"Tixati {int(match[1])}.{match[2].decode()}"
    if match := _FREE_DOWNLOAD_MANAGER.match(peer_id):
        return f"{_AZUREUS_CLIENTS['FD']} {match[1].decode()}".rstrip()
    if (match := _NEARLY_AZUREUS.match(peer_id)) and (name := _AZUREUS_CLIENTS.get(match[1].decode())):
        return f"{name} {_numbers(match[2].decode())}" if match[2] else name
    return f"unknown ({_UNSAFE.sub('.', bytes(peer_id[:8]).decode('latin-1'))})"


def info_hash_or_v2(value: bytes | str) -> tuple[bytes, bytes | None]:
    """Parse an info hash of either version.

    Args:
        value: 20 bytes or 40 hex characters of version 1 (BEP 3); or 32 bytes or 64 hex characters of version 2, of
            which peers use the first 20 bytes (BEP 52).

    Returns:
        The 20 bytes, and again if they are of version 2, else None.

    Raises:
        ValueError: for anything else.
    """
    raw = bytes.fromhex(value) if isinstance(value, str) and _HEX_V2.fullmatch(value) else value
    if isinstance(raw, (bytes, bytearray)) and len(raw) == _INFO_HASH_V2:
        short = bytes(raw[:PEER_ID_LENGTH])
        return short, short
    return hash_or_id(value, "info hash"), None


def hash_or_id(value: bytes | str, what: str) -> bytes:
    """Parse an info hash or peer id in one of the forms that users pass.

    Args:
        value: 20 bytes, or 40 hex characters.
        what: its name in the error message, such as "info hash".

    Returns:
        The 20 bytes.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, (bytes, bytearray)) and len(value) == PEER_ID_LENGTH:
        return bytes(value)
    if isinstance(value, str) and _HEX.fullmatch(value):
        return bytes.fromhex(value)
    if isinstance(value, str):
        got = f"{value[:80]!r}"
    elif isinstance(value, (bytes, bytearray)):
        got = f"{len(value)} bytes"
    else:
        got = type(value).__name__
    raise ValueError(f"the {what} must be 20 bytes or 40 hex characters, not {got}")


def _numbers(version: str) -> str:
    """The characters of a version as numbers with dots: the digits are 0-9, A-Z, a-z, as in Shadow's ids."""
    return ".".join(str(_DIGITS.index(sign)) for sign in version)
