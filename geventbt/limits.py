"""What a stranger may make us hold, wait for or do: every limit of the package, each with its source.

Sizes are in bytes, times in seconds. "Measured" means against the clients named, on loopback.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# --- messages (BEP 3, 6, 10, 52) ---
MESSAGE = 1 * MIB
"""A message while the number of pieces is unknown, and extended or unknown messages always (libtorrent: 1 MiB)."""
BLOCK = 16 * KIB
"""The length of the blocks we ask for (BEP 3: "all current implementations use 2^14")."""
PEER_BLOCK = 128 * KIB
"""The longest block a peer may ask for or send (webtorrent closes over 128 KiB)."""
PIECES = 8 * MESSAGE
"""The most pieces a torrent may have: what a bitfield of `MESSAGE` bytes can say."""
EARLY_HAVES = 10_000
"""Haves kept before the number of pieces is known (CVE-2014-4909: one far index must allocate nothing)."""

# --- requests ---
PEER_REQUESTS = 2000
"""Requests held for a peer, announced as `reqq` (libtorrent: 2000). More are rejected or dropped."""
REQUESTS = 500
"""Requests sent out to one peer at a time (libtorrent: 500), within the peer's own `reqq`."""
DEFAULT_REQQ = 250
"""The queue we credit a peer with that announced none (libtorrent and uTorrent: 250)."""
FORGOTTEN_REQUESTS = 1000
"""Requests given up (choke, cancel, timeout) whose late answer is still no offence: two full queues."""
UNWANTED_ANSWERS = 64
"""Blocks and rejects that were never asked for, before the wire closes."""
ALLOWED_FAST_SENT = 10
"""Pieces in the allowed-fast set that we grant (BEP 6 suggests 10)."""
ALLOWED_FAST_KEPT = 100
"""Pieces kept of the peer's allowed-fast advice (libtorrent has no bound; *measured*: its memory grows)."""

# --- extensions (BEP 9, 11) ---
METADATA = 32 * MIB
"""A torrent's metadata (libtorrent believes 4 MiB by default)."""
METADATA_PIECE = 16 * KIB
"""A piece of metadata (BEP 9)."""
METADATA_SOURCES = 4
"""Peers that metadata is fetched from at one time, each into a buffer of its own."""
METADATA_WINDOW = 16
"""Pieces of metadata asked for at one time."""
METADATA_REJECTS = 3
"""How often a rejected piece of metadata is asked for again."""
METADATA_SERVED = 3
"""How often a peer may have each piece of our metadata."""
PEX_PEERS = 50
"""Peers added, and dropped, in one message of a peer exchange (BEP 11)."""
PEX_INTERVAL = 60.0
"""Seconds between two messages (BEP 11: at most one a minute)."""
PEX_TOLERANCE = 0.75
"""The part of the interval after which a peer's next message is taken: clocks and networks jitter."""
PEX_KNOWN = 200
"""Peers kept of what one peer has told of (BEP 11 recommends to hold 200)."""

# --- encryption (MSE/PE) ---
MSE_PADDING = 512
"""A padding of an encrypted opening (the specification's own bound)."""
MSE_INITIAL_PAYLOAD = 8 * KIB
"""The stream that comes with an opening (libtorrent: 68)."""
MSE_BUFFER = 16 * KIB
"""Bytes of a peer that are held while its opening is not over: more than all its parts together."""

# --- time ---
HANDSHAKE_TIMEOUT = 10.0
"""For the whole handshake, an encrypted opening included; drips do not extend it."""
INACTIVITY_TIMEOUT = 120.0
"""With no complete message from the peer (BEP 3: two minutes)."""
KEEP_ALIVE_INTERVAL = 100.0
"""Of our silence before we send a keep-alive: well inside the peer's two minutes."""
REQUEST_TIMEOUT = 60.0
"""For one block, by default."""
CONNECT_TIMEOUT = 10.0
"""For a TCP connection to open."""

# --- buffers ---
HIGH_WATER = 1 * MIB
"""Bytes of blocks queued to a peer before `piece` waits."""
CONTROL_QUEUE = 4 * MIB
"""Bytes queued to a peer that does not read at all before the wire closes."""
EVENT_QUEUE = 1000
"""Events or messages waiting for slow handlers before the peer is read no further."""
EVENT_BYTES = 4 * MIB
"""Bytes that such events may hold together."""

# --- server ---
CONNECTIONS = 1000
"""Inbound connections of a server, by default; over it they are refused."""

# --- client ---
HALF_OPEN = 50
"""Connections being opened at one time."""
DISK_QUEUE = 64 * MIB
"""Received data waiting for the disk before the readers wait (libtorrent: 100 MiB)."""

# --- trackers (BEP 3, 12, 15, 31, 48) ---
TRACKER_TIMEOUT = 30.0
"""For one question to a tracker, looking up its name and redirects included (libtorrent: 30)."""
TRACKER_ANSWER = 1 * MIB
"""A tracker's answer, unpacked (libtorrent: 1 MiB)."""
TRACKER_TOKENS = 10_000
"""Bencoded values in a tracker's answer: more than a thousand peers as dictionaries."""
TRACKER_PEERS = 1000
"""Peers kept of one answer; the rest is left out."""
TRACKER_TEXT = 300
"""Characters kept of a tracker's failure reason or warning."""
TRACKER_ID = 256
"""Bytes of a tracker id; a longer one is not kept."""
NUMWANT = 200
"""Peers asked for in one announce (libtorrent: 200)."""
SCRAPE_HASHES = 70
"""Torrents in one scrape (BEP 15: "up to about 74")."""
ANNOUNCE_INTERVAL = 1800.0
"""Between two announces to a tracker that does not say."""
ANNOUNCE_INTERVAL_SHORTEST = 30.0
"""Between two announces, whatever the tracker says (libtorrent: 300, and 30 where there is no min interval)."""
ANNOUNCE_INTERVAL_LONGEST = 24 * 3600.0
"""Between two announces, whatever the tracker says: longer, and it had forgotten us."""
ANNOUNCE_RETRY = 5.0
"""Before a tracker that failed is asked again; doubled with each failure (libtorrent: 5)."""
ANNOUNCE_RETRY_LONGEST = 1800.0
"""The longest that doubling leads to (libtorrent: 60 minutes)."""
ANNOUNCE_STOP_TIMEOUT = 5.0
"""For telling the trackers that we leave (libtorrent: 5)."""
SECOND_FAMILY = 2.0
"""For the answer over the other address family, once there is one (BEP 7)."""
LOOKUPS = 32
"""Names of trackers that are looked up at one time, each in a native thread."""
UDP_RETRANSMIT = 15.0
"""Before a packet to a UDP tracker is sent again; doubled each time (BEP 15)."""
UDP_RETRANSMISSIONS = 8
"""How often it is sent again (BEP 15)."""
UDP_CONNECTION_ID = 60.0
"""For which a connection id may be used (BEP 15: a minute)."""
UDP_CONNECTION_IDS = 1000
"""Connection ids kept: more than the trackers of a few torrents."""

# --- HTTP ---
URL = 8 * KIB
"""A URL that we ask for; most servers take no longer ones."""
REDIRECTS = 5
"""Redirects that are followed (libtorrent: 5)."""
HTTP_OVERHEAD = 64 * KIB
"""Headers and the framing of chunks of one answer, beside its body."""
HTTP_ADDRESSES = 8
"""Addresses of one name that are tried."""

# --- bencode from strangers ---
BENCODE_DEPTH = 32
"""Lists and dicts within each other (libtorrent: 100)."""
BENCODE_TOKENS = 2000
"""Values in one message."""
BENCODE_INTEGER_DIGITS = 20
"""Digits of an integer: enough for 64 bits."""

# --- torrents ---
TORRENT_FILE = 64 * MIB
"""A .torrent file."""
TORRENT_TOKENS = 4_000_000
"""Values in a .torrent file: about a million files."""
PIECE_LENGTH = 512 * MIB
"""A piece; each one in flight is held in memory."""
TORRENT_DEPTH = 100
"""Lists and dicts within each other in a .torrent file: file trees of BEP 52 nest as folders do (libtorrent: 100)."""
PATH_PARTS = 100
"""Folders within each other in a torrent (libtorrent: 100)."""
FILE_NAME = 255
"""Bytes of a file's name in UTF-8: what common file systems take."""
TRACKERS = 200
"""Announce URLs kept of one torrent, and as many web seeds: public lists have about a hundred."""
OPEN_FILES = 64
"""Files of one torrent that are open at a time (libtorrent: 40 for all of them)."""
