"""Resource limits and timeouts, with the source of each value.

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
"""The queue assumed of a peer that announced none (libtorrent and uTorrent: 250)."""
FORGOTTEN_REQUESTS = 1000
"""Requests given up (choke, cancel, timeout) whose late answer is tolerated: two full queues."""
UNWANTED_ANSWERS = 64
"""Blocks and rejects that were never requested, before the wire closes."""
ALLOWED_FAST_SENT = 10
"""Pieces in the allowed-fast set that we grant (BEP 6 suggests 10)."""
ALLOWED_FAST_KEPT = 100
"""Pieces kept of the peer's allowed-fast advice (libtorrent has no bound; *measured*: its memory grows)."""

# --- extensions (BEP 9, 11) ---
METADATA = 32 * MIB
"""A torrent's metadata (libtorrent: 4 MiB by default)."""
METADATA_PIECE = 16 * KIB
"""A piece of metadata (BEP 9)."""
METADATA_SOURCES = 4
"""Peers that metadata is fetched from at one time, each into a buffer of its own; as many that have come to us."""
METADATA_SILENCE = 3.0
"""Seconds without a piece of metadata after which a source no longer counts among those."""
METADATA_ASKED = 32
"""Peers that metadata is awaited from at one time, the silent ones included; as many that have come to us."""
METADATA_WINDOW = 16
"""Pieces of metadata asked for at one time."""
METADATA_PATIENCE = 15.0
"""Seconds without a piece of metadata before another peer gets a silent one's place."""
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
"""Peers kept that one peer has sent (BEP 11 recommends to hold 200)."""

# --- encryption (MSE/PE) ---
MSE_PADDING = 512
"""A padding of an encrypted opening (the specification's own bound)."""
MSE_INITIAL_PAYLOAD = 8 * KIB
"""The stream that comes with an opening (libtorrent: 68)."""
MSE_BUFFER = 16 * KIB
"""Bytes of a peer that are held while its opening is not over: more than all its parts together."""
KEY_QUEUE, KEYS_PER_ADDRESS = 500, 32
"""Inbound connections that wait for the computation of their key, in all and of one address; each takes about 1 ms."""

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
EVENTS_WHILE_WAITING = 20 * EVENT_QUEUE
"""Events waiting for a handler that itself waits for the same peer, which must therefore be read on; then the wire
closes."""
EVENT_BYTES_WHILE_WAITING = 4 * EVENT_BYTES
"""Bytes that such events may hold together."""

# --- server ---
CONNECTIONS = 1000
"""Inbound connections of a server, by default; over it they are refused."""

# --- client ---
HALF_OPEN = 50
"""Connections being opened at one time."""
CONNECTS_PER_SECOND = 30
"""Connections that are begun in a second (libtorrent: 30)."""
TORRENT_PEERS = 200
"""Connections of one torrent, by default (Transmission: 50, libtorrent: no bound but its 200 in all)."""
CONNECTIONS_PER_ADDRESS = 100
"""Inbound connections of one address at one time, by default: half of what a torrent may have."""
OUTBOUND_SHARE = 4
"""While anything is missing, the total divided by this number is kept for peers that we connect to."""
PENDING_PEERS = 50
"""Inbound connections over the total, whose handshake is awaited: one may take the place of a peer of no use."""
POINTLESS_PEER = 60.0
"""Without a block, after which a peer that is in no way interested, nor we in it, gives its place up to another."""
USELESS_PEER = 120.0
"""Likewise for one where either side is interested."""
EVICTION_INTERVAL = 5.0
"""Between two peers that give their places up: the next one needs time to be connected to."""
CHECKPOINT_INTERVAL = 10.0
"""Between two records of what is verified: at most so much is done again after a crash."""
STOP_TIMEOUT = 5.0
"""For trackers, peers and disk when a torrent is stopped."""
FIRST_READAHEAD, MAX_READAHEAD = 512 * KIB, 16 * MIB
"""What is fetched ahead of a reader: doubled as long as it reads on, back to the first when it seeks."""
HASH_QUEUE = 8 * MIB
"""Complete pieces waiting for the hash and the disk, before no more is asked for."""
DISK_QUEUE = 64 * MIB
"""Received data waiting for the disk before the readers wait (libtorrent: 100 MiB)."""
ENDGAME_CLAIMANTS = 3
"""Peers that the same block is requested from in the endgame (Transmission: 2)."""
ENDGAME_PATIENCE = 0.5
"""Seconds that a peer is idle before it is sent requests that others have, too."""
ENDGAME_BLOCKS = 4
"""Blocks requested from one peer at a time that others were asked for, too (libtorrent: 1): most come twice."""
URGENT_PIECES = 4
"""Pieces that a reader waits for and that may be begun although no other piece may be."""

# --- choking (BEP 3) ---
UPLOAD_SLOTS = 8
"""Peers unchoked at one time, the optimistic one included (libtorrent: 8; BEP 3: 4)."""
CHOKE_INTERVAL = 10.0
"""Between two rounds of choking (BEP 3: "once every ten seconds")."""
OPTIMISTIC_INTERVAL = 30.0
"""For which the optimistic slot is one peer's (BEP 3: "rotates every 30 seconds")."""
UPLOAD_TURN = 60.0
"""A slot of a seed is one peer's at least so long, if others wait for it (libtorrent: a minute)."""
UPLOAD_QUOTA = 20 * MIB
"""Bytes that it gets at least in its turn (libtorrent: 20 pieces)."""

# --- the window of requests, and the patience with a silent peer ---
FIRST_REQUESTS, MIN_REQUESTS = 4, 2
"""Requests sent to a peer of unknown speed, and to the slowest (libtorrent: 4 and 2)."""
REQUEST_QUEUE_TIME = 3.0
"""Requests sent ahead, as the time in which the peer delivers them (libtorrent: 3 s)."""
FIRST_SNUB_TIMEOUT = 20.0
"""Without a first block after which a peer has snubbed us (libtorrent's piece_timeout: 20 s)."""
MIN_SNUB_TIMEOUT, MAX_SNUB_TIMEOUT = 2.0, 60.0
"""Without a block, for a peer whose usual pauses are known (libtorrent: 2 to 60 s)."""

# --- rate limits ---
RATE_BURST = 0.25
"""Seconds of a rate that may be used at once after a pause; at least two blocks."""
RATE_TICK = 0.01
"""The shortest wait of a throttle: at high rates many waiters are served at each of its wakes."""

# --- known peers ---
KNOWN_PEERS = 1000
"""Addresses kept for a torrent (libtorrent: 3000)."""
KNOWN_SHARE = 4
"""The peers from one reporter may take up to the total divided by this number."""
PEERS_OF_HOST = 8
"""Addresses kept of one public host: a list of ports must not make us flood a host (libtorrent: 1)."""
CONNECT_FAILURES = 6
"""Failures in a row after which an address is given up (libtorrent: 3, at longer intervals)."""
FIRST_RETRY, MAX_RETRY = 5.0, 600.0
"""Before an address is tried again: doubled with each failure."""
RETRY_RENAMED = 600.0
"""Before an address that was given up gets another try because it was named again."""
BANNED = 10_000
"""Bans kept."""
BANS_OF_HOST = 3
"""Bans of peers of one host, after which no other peer of it is accepted."""
OWN_ADDRESSES = 100
"""Addresses kept at which our own peer id has answered."""

# --- who sent bad data ---
BLAMED_PIECES, BLAMED_BLOCKS = 64, 64 * KIB
"""Failed pieces, and blocks of them, whose senders are remembered: about 10 MiB."""
SOLE_SOURCES = 3
"""Peers that each sent a whole piece that failed, before the torrent itself is thought to be wrong there."""
SOLE_PIECES = 1000
"""Pieces whose sole sources are remembered."""

# --- trackers (BEP 3, 12, 15, 31, 48) ---
TRACKER_TIMEOUT = 30.0
"""For one question to a tracker, looking up its name and redirects included (libtorrent: 30)."""
TRACKER_ANSWER = 1 * MIB
"""A tracker's answer, unpacked (libtorrent: 1 MiB)."""
TRACKER_TOKENS = 10_000
"""Bencoded values in a tracker's answer: more than a thousand peers as dictionaries."""
TRACKER_PEERS = 1000
"""Peers kept of one answer; the rest is left out."""
TRACKER_NAMES = 50
"""Names of peers in one answer that are resolved."""
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
MIN_ANNOUNCE_INTERVAL = 30.0
"""The minimum between two announces (libtorrent: 300, and 30 where the tracker gives no min interval)."""
EARLY_ANNOUNCE = 60.0
"""Before a tracker that gives no min interval is asked for more peers; doubled each time that it has no others."""
TRACKER_GIVEN = 10_000
"""Peers of one tracker that are remembered as given."""
MAX_ANNOUNCE_INTERVAL = 24 * 3600.0
"""The maximum between two announces: after a longer one the tracker would have dropped us."""
ANNOUNCE_RETRY = 5.0
"""Before a tracker that failed is asked again; doubled with each failure (libtorrent: 5)."""
MAX_ANNOUNCE_RETRY = 1800.0
"""The maximum of that delay (libtorrent: 60 minutes)."""
ANNOUNCE_STOP_TIMEOUT = 5.0
"""For announcing "stopped" (libtorrent: 5)."""
SECOND_FAMILY = 2.0
"""For the answer over the other address family, once there is one (BEP 7)."""
LOOKUPS = 32
"""Names that are looked up at one time, each in a native thread."""
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

# --- untrusted bencode ---
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
RESUME_FILE = 1 * KIB
"""A resume file, without its bitfield and its entries of files."""
RESUME_ENTRY = 64
"""The entry of one file in a resume file: its index, twice, and its size and time in 64 bits each."""
