"""Message ids and reserved bits, grouped by the BEP that defines them. The limits are in `geventbt.limits`."""

from __future__ import annotations

from typing import Final

# --- BEP 3: the peer protocol ---
PROTOCOL_STRING: Final = b"\x13BitTorrent protocol"
HANDSHAKE_LENGTH: Final = 68
HASH_LENGTH: Final = 20

CHOKE: Final = 0
UNCHOKE: Final = 1
INTERESTED: Final = 2
UNINTERESTED: Final = 3
HAVE: Final = 4
BITFIELD: Final = 5
REQUEST: Final = 6
PIECE: Final = 7
CANCEL: Final = 8

# --- BEP 5: DHT ---
PORT: Final = 9

# --- BEP 6: fast extension ---
SUGGEST: Final = 13
HAVE_ALL: Final = 14
HAVE_NONE: Final = 15
REJECT: Final = 16
ALLOWED_FAST: Final = 17

# --- BEP 10: extension protocol ---
EXTENDED: Final = 20
EXTENDED_HANDSHAKE: Final = 0

# --- BEP 52: BitTorrent v2 ---
HASH_REQUEST: Final = 21
HASHES: Final = 22
HASH_REJECT: Final = 23

# --- no ids on the wire: other results of the parser, in the form of messages ---
KEEP_ALIVE: Final = -1
HANDSHAKE: Final = -2
UNKNOWN: Final = -3

# --- reserved bits of the handshake, as (byte, mask) ---
RESERVED_DHT: Final = (7, 0x01)
RESERVED_FAST: Final = (7, 0x04)
RESERVED_V2: Final = (7, 0x10)
RESERVED_EXTENDED: Final = (5, 0x10)
