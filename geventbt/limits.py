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
EARLY_BITFIELD = 8192
"""Pieces of a torrent of which a bitfield is sent with our handshake, before the peer's: it fits in one packet."""
EARLY_HAVES = 10_000
"""Haves kept before the number of pieces is known (CVE-2014-4909: one far index must allocate nothing)."""

# --- requests ---
PEER_REQUESTS = 2000
"""Requests held for a peer, announced as `reqq` (libtorrent: 2000). More are rejected or dropped."""
REQUESTS = 500
"""Requests sent out to one peer at a time (libtorrent: 500), within the peer's own `reqq`."""
DEFAULT_REQQ = 250
"""The queue assumed of a peer that announced none (libtorrent and uTorrent: 250)."""
REFUSED_PIECES = 100
"""Pieces of which one peer has rejected a block that are remembered, to ask it for others first."""
FORGOTTEN_REQUESTS = 1000
"""Requests given up (choke, cancel, timeout) that are remembered one by one, so that their late blocks can be used: two
full queues. Of older ones the number is kept: a late answer is never an offence."""
UNWANTED_ANSWERS = 64
"""Blocks and rejects that were never requested, before the wire closes."""
STATE_MESSAGES = 1000
"""Messages of a peer within `STATE_MESSAGES_TIME` that only change its state, such as chokes and have-alls, before the
wire closes. *Measured*: they hold the hub up for 5 ms."""
STATE_MESSAGES_TIME = 10.0
"""Seconds; honest peers choke and unchoke once in such a time (BEP 3)."""
WHOLE_BITFIELDS = 16
"""Bitfields, have-alls and have-nones of one peer before the wire closes (BEP 6: one): each replaces all that is known
of it, which costs 1 ms in a torrent of two million pieces."""
TURN = 0.01
"""Seconds of CPU time of one turn of the loop after which wires are read no further before the next."""
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
METADATA_URLS = 10
"""URLs of .torrent files kept of a magnet link; they are asked one after another."""
METADATA_URL_RETRY, MAX_METADATA_URL_RETRY = 30.0, 1800.0
"""Before they are asked again; doubled each time."""
METADATA_WINDOW = 16
"""Pieces of metadata asked for at one time."""
METADATA_PATIENCE = 15.0
"""Seconds without a piece of metadata before another peer gets a silent one's place."""
METADATA_RELAY = 30.0
"""Seconds for which a peer without metadata stays connected: it may name others, first within a quarter of
`PEX_INTERVAL`, and arrange connections with them (BEP 55). It leaves as soon as another one needs its place."""
METADATA_REJECTS = 3
"""How often a rejected piece of metadata is asked for again."""
METADATA_SERVED = 3
"""How often a peer may have each piece of our metadata."""
HASHES_ASKED = 512
"""Hashes of pieces in one request (BEP 52; libtorrent: 512)."""
HASH_REQUESTS = 16
"""Requests for hashes that are sent to a peer at a time."""
HASHES_SERVED = 8192
"""Hashes in one request that is answered (libtorrent: 8192)."""
HASHES_RATE = 4 * MIB
"""Bytes of hashes that a peer may have a second; what is asked for beyond is rejected."""
LEAVES_RATE = 64 * MIB
"""Bytes of a torrent's data that are read and hashed a second for requests for the hashes of blocks; what is asked for
beyond is rejected."""
LEAF_TREES = 16
"""Pieces of a torrent whose hashes of blocks are kept for further requests: 1 MiB for pieces of 16 MiB."""
LEAF_SOURCES = 4
"""Peers that are asked, one after another, for the hashes of the blocks of a piece that was wrong."""
LEAF_TIMEOUT = 3.0
"""Before the next one is asked (libtorrent: 3 s)."""
REPAIRS = 8
"""Wrong pieces of a torrent that are kept at a time until the hashes of their blocks are known."""
PEX_PEERS = 50
"""Peers added, and dropped, in one message of a peer exchange (BEP 11)."""
PEX_INTERVAL = 60.0
"""Seconds between two messages (BEP 11: at most one a minute)."""
PEX_TOLERANCE = 0.75
"""The part of the interval after which a peer's next message is taken: clocks and networks jitter."""
PEX_KNOWN = 200
"""Peers kept that one peer has sent (BEP 11 recommends to hold 200)."""
HOLEPUNCH_RATE, HOLEPUNCH_BURST = 1.0, 20.0
"""Messages of hole punching (BEP 55) to one peer, and from it: a second, and at once after a pause."""
HOLEPUNCH_RELAYS = 2
"""Peers that are asked to arrange a connection (libtorrent: 1): one may have lost the other peer, or do nothing."""

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
INACTIVITY_TIMEOUT = 140.0
"""With neither a complete message from the peer nor a byte of a block that we asked for (BEP 3: keep-alives come every
two minutes, by the peer's clock)."""
KEEP_ALIVE_INTERVAL = 100.0
"""Of our silence before we send a keep-alive: well inside the peer's two minutes."""
REQUEST_TIMEOUT = 60.0
"""For one block, by default."""
CONNECT_TIMEOUT = 10.0
"""For a TCP connection to open."""

# --- buffers ---
HIGH_WATER = 1 * MIB
"""Bytes of blocks queued to a peer before `piece` waits."""
OUTPUT_TIME, LOW_OUTPUT = 0.5, 64 * KIB
"""Blocks that a client queues to a peer, as the time in which it takes them, and at least: a choke, a have or a cancel
waits behind them (libtorrent: 0.5 s, 10 KiB)."""
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

# --- uTP (BEP 29) ---
UTP_DATAGRAM = 64 * KIB
"""A packet that comes (UDP: 65,507)."""
UTP_EXTENSIONS = 8
"""Extensions in one packet (BEP 29 has one, and others use two more). *Measured*: a packet that is full of them costs
seventy times as much as another."""
UTP_SIZES = (1400, 1232, 548)
"""Our largest packets, as bytes of UDP: over IPv4, with room for what tunnels add; over IPv6, whose least link carries
1,280; and what every host must take (RFC 1122: 576). One that does not get through is followed by the next on new
connections."""
UTP_SMALL_PATHS = 1000
"""Networks of which it is remembered that they take smaller packets only."""
UTP_ROOM, UTP_MIN_ROOM = 2 * MIB, 64 * KIB
"""Bytes that are held of a stream, in order and behind gaps (libtorrent: 1 MiB); of many together no more than what
the system holds for the socket, as its own buffer is the first that overflows."""
UTP_HELD = 64 * MIB
"""Bytes that are held of all streams of a socket; each may hold `UTP_MIN_ROOM` all the same."""
UTP_EARLY_PACKETS = 2016
"""Packets behind a gap that are kept: what a selective acknowledgement can tell of (252 bytes)."""
UTP_FIRST_WINDOW = 64 * KIB
"""What a peer is taken to have room for, before it says."""
UTP_MAX_WINDOW = 4 * MIB
"""Bytes on their way to one peer."""
UTP_PACKETS_IN_FLIGHT = 8192
"""Packets on their way to one peer: a fourth of what their numbers can tell apart."""
UTP_TARGET_DELAY = 0.1
"""Seconds that our packets may wait in queues (BEP 29: 100 ms)."""
UTP_DELAY_MINUTES = 10
"""Minutes of which the least delay counts as that of empty queues (RFC 6817: 10)."""
UTP_TOLERATED_LOSS = 0.04
"""The part of the packets that may be lost without any queue before that counts as congestion (BBR: 2 %)."""
UTP_FIRST_TIMEOUT, UTP_MIN_TIMEOUT, UTP_MAX_TIMEOUT = 1.0, 0.5, 30.0
"""Seconds without an acknowledgement before packets are sent again (RFC 6298; libtorrent: 500 ms at the least)."""
UTP_SYNS = 2
"""How often a connection is asked for (libtorrent: 2)."""
UTP_TIMEOUTS = 6
"""Timeouts with no sign of the peer before the stream fails: 30 s at the least (libtorrent: 3)."""
UTP_LARGE_TIMEOUTS = 3
"""Likewise, where no packet of that size has ever arrived."""
UTP_BURST_TIME = 0.002
"""Seconds of a stream's rate that leave at once: a batch of 64 KiB would fill a slow line's queue."""
UTP_MIN_TIMER = 0.001
"""Seconds; an earlier timer would cost more than the packets that it sends."""
UTP_BATCH_PACKETS, UTP_BATCH_BYTES = 64, 65_000
"""Packets of one call of the system (UDP_SEGMENT: 64 in kernels before 6.9, 64 KiB)."""
UTP_KEEP_ALIVE = 29.0
"""Seconds of our silence before a packet keeps the routers' tables (libutp: 29)."""
UTP_HEAD_START = 0.5
"""Seconds that the one of TCP and uTP that is tried first has before the other (rqbit: 1 s)."""
UTP_LINGER = 5.0
"""Seconds for the peer to acknowledge what has been sent, after a close."""
UTP_REORDERED_FIRST = 8
"""Packets of a new stream of which any may come first."""
UTP_FINISHED, UTP_RESET_ADDRESSES = 1000, 1000
"""Streams and addresses that are remembered, so as to send no more resets than needed."""
UTP_RESET_INTERVAL, UTP_RESETS_PER_SECOND = 10.0, 100
"""Seconds between two resets for packets of no stream to one address; and those of a second to all."""

# --- server ---
CONNECTIONS = 1000
"""Inbound connections of a server, by default; over it they are refused."""

# --- proxies and filters ---
PROXY_LOGIN = 255
"""Bytes of a user name and of a password (RFC 1929)."""
PROXY_TIMEOUT = 30.0
"""For a proxy to relay datagrams."""
PROXY_RETRY, MAX_PROXY_RETRY = 10.0, 600.0
"""Before a proxy that does not relay datagrams is asked again; doubled each time."""
PROXY_WAITING = 64
"""Datagrams that wait until it does."""
PROXY_KEEP_ALIVE = 60
"""Of silence before the system asks whether a proxy that relays datagrams is still there (WireGuard: 25)."""
IP_FILTER_BYTES = 512 * MIB
"""A file of ranges of IP addresses, unpacked (2026: the largest lists have 60 MiB)."""
IP_FILTER_LINE = 4 * KIB
"""Bytes of a line of it that are looked at."""

# --- port mapping ---
MAPPING_LIFETIME = 3600
"""Seconds that a port of the router is asked for (RFC 6886: 7200; libtorrent: 3600). Renewed at half of it."""
MIN_MAPPING_WAIT = 15.0
"""Between two requests to renew it (RFC 6887 has 4 s at the least; gateways of VPNs give 60 s)."""
MAPPING_RETRY, MAX_MAPPING_RETRY = 60.0, 1800.0
"""Before a router that does not map a port is asked again; doubled each time."""
MAPPING_TIMEOUT = 5.0
"""For an answer of a router over HTTP."""
MAPPING_STOP_TIMEOUT = 2.0
"""For all mappings to be removed at the end."""
PMP_ATTEMPTS, PMP_FIRST_WAIT = 5, 0.25
"""How often a request of PCP and NAT-PMP is sent, and the seconds after the first (RFC 6886: 9, 0.25): 8 s."""
UPNP_DATAGRAM = 4 * KIB
"""An answer to the search for routers."""
UPNP_ANSWERS = 64
"""Answers that wait to be looked at."""
UPNP_SLACK = 1.0
"""Seconds that an answer may be late."""
UPNP_ROUTERS = 4
"""Routers that are asked, and services of each."""
UPNP_PORTS = 4
"""Ports that are tried where the one wanted is taken (libtorrent: 4)."""
UPNP_ANSWER = 256 * KIB
"""A description, or the answer to an action (libtorrent: none but that of HTTP)."""
UPNP_DEPTH, UPNP_ELEMENTS = 32, 5000
"""Depth and number of the elements of XML."""

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
TWIN_SILENCE = 10.0
"""After which a silent connection gives way to another one of the same peer, which has lost the first."""
CHECKPOINT_INTERVAL, SEED_CHECKPOINT = 10.0, 300.0
"""Between two records of what is verified: at most its work is done again after a crash; and while nothing is fetched,
when they only notice files that have changed, and close those that are not used."""
DISK_RETRY_FIRST, DISK_RETRY_MAX = 2.0, 60.0
"""Before a torrent that the disk has failed tries again: doubled with each failure."""
STANDSTILL = 60.0
"""Without progress, after which status and log say what a download waits for."""
STOP_TIMEOUT = 5.0
"""For trackers, peers and disk when a torrent is stopped."""
MIN_READAHEAD, FIRST_READAHEAD, MAX_READAHEAD = 512 * KIB, 2 * MIB, 16 * MIB
"""What is fetched ahead of a reader: at the least; before its rate is known, where it reads on twice as much each time
(anacrolix: 5 MiB, webtorrent: 1 MiB); at the most."""
MIN_READING_SPEED = 512 * KIB
"""Bytes a second at which a reader is thought to read at the least, before the speed of the swarm is known."""
READAHEAD_TIME = 10.0
"""What is fetched ahead of a reader at the most, as the time in which it reads it, where its rate is known."""
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
ENDGAME_LOOK, MAX_ENDGAME_LOOK, ENDGAME_LOOK_GROWTH = 0.05, 1.0, 1.5
"""Seconds until idle peers look again whether they may help in the endgame: at first, at the most, and the factor from
each time to the next."""
TAKE_OVER_SAMPLE = 1.0
"""Seconds from its first request on, until it is known which of two peers is faster."""
URGENT_PIECES = 4
"""Pieces that a reader waits for and that may be begun although no other piece may be."""

# --- choking (BEP 3) ---
UPLOAD_SLOTS = 12
"""Peers unchoked at one time, the optimistic one included (libtorrent: 8; BEP 3: 4)."""
CHOKE_INTERVAL = 5.0
"""Between two rounds of choking (BEP 3: "once every ten seconds"; libtorrent: 15)."""
OPTIMISTIC_INTERVAL = 30.0
"""For which the optimistic slot is one peer's (BEP 3: "rotates every 30 seconds")."""
UPLOAD_TURN = 60.0
"""A slot of a seed is one peer's at least so long, if others wait for it (libtorrent: a minute)."""
UPLOAD_QUOTA = 20 * MIB
"""Bytes that it gets at least in its turn (libtorrent: 20 pieces)."""

FIRST_UPLOAD_SLOTS = 5
"""Peers unchoked before the uplink has been measured (BEP 3: 4)."""
UPLOAD_SLOT_RATE = 128 * KIB
"""Bytes a second that an upload slot should have: there are as many slots as fit in what is measured."""
DEALT_SLOTS = 8
"""Peers unchoked at one time meanwhile, as in usual."""
DEALT_RATE = 12_500_000
"""Bytes a second of an uplink that has no need to be spared: 100 Mbit/s."""

# --- the window of requests, and the patience with a silent peer ---
FIRST_REQUESTS, MIN_REQUESTS = 4, 2
"""Requests sent to a peer of unknown speed, and to the slowest (libtorrent: 4 and 2)."""
MIN_REQUEST_TIME, MAX_REQUEST_TIME = 1.0, 3.0
"""Requests sent ahead, as the time in which the peer delivers them (libtorrent: 3 s)."""
READER_QUEUE_TIME = 0.05
"""Likewise while a reader is there, and more by the round trip and the pauses of the peer: what it seeks waits behind
them."""
READER_LINGER = 5.0
"""In which a reader that needs nothing is expected to go on."""
URGENT_TIME = 1.0
"""What a reader needs within it is asked for out of turn if it is late."""
FIRST_URGENT_TIME = 1.2
"""For a block that is overdue, before any peer is known: so each gets two of them to begin with."""
URGENT_BLOCKS = 64
"""Blocks of a piece that are asked for out of turn at a time, several times a second."""
FIRST_SNUB_TIMEOUT = 20.0
"""Without a byte of a first block after which a peer has snubbed us (libtorrent's piece_timeout: 20 s)."""
MIN_SNUB_TIMEOUT, MAX_SNUB_TIMEOUT = 2.0, 120.0
"""Without a byte of a block, for a peer whose usual pauses are known, and after doublings (libtorrent: 2 to 60 s). A
block takes 66 s at 250 bytes/s."""

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
"""Networks (IPv4 addresses, /64s of IPv6) whose peers each sent a whole piece that failed, before the torrent itself is
thought to be wrong there."""
SOLE_SENDERS = 8
"""Peers of one network that are remembered with such a piece."""
STUCK_TIME = 120.0
"""Seconds in which trackers may still find a peer for what was wrong from every peer, before a download fails."""
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
TRACKER_ANNOUNCES, ANNOUNCES = 10, 100
"""Under way at one time, to one tracker and in all (Transmission begins 20 each half second; libtorrent has 50 at one
time over HTTP, whatever the tracker)."""
ANNOUNCE_RETRY = 5.0
"""Before a tracker that failed is asked again; doubled with each failure (libtorrent: 5)."""
MAX_ANNOUNCE_RETRY = 1800.0
"""The maximum of that delay (libtorrent: 60 minutes)."""
ANNOUNCE_STOP_TIMEOUT = 5.0
"""For announcing "stopped" (libtorrent: 5)."""
SECOND_FAMILY = 2.0
"""For the answer over the other address family, once there is one (BEP 7)."""
DNS_TIMEOUT, DNS_ROUNDS, DNS_SERVERS = 2.0, 2, 3
"""For one name server to answer, where they are asked over an interface; how often each is asked, and how many are
(resolv.conf(5): 5, 2 and 3)."""
LOOKUPS = 32
"""Names that are looked up at one time, each in a native thread."""
UDP_RETRANSMIT = 15.0
"""Before a packet to a UDP tracker is sent again; doubled each time (BEP 15)."""
UDP_RETRANSMISSIONS = 8
"""How often it is sent again (BEP 15)."""
UDP_CONNECTION_ID = 60.0
"""For which a connection id may be used (BEP 15: a minute)."""
UDP_ANSWERS = 8
"""Answers of a UDP tracker to one question that wait to be looked at."""
UDP_CONNECTION_IDS = 1000
"""Connection ids kept: more than the trackers of a few torrents."""

# --- HTTP ---
URL = 8 * KIB
"""A URL that we ask for; most servers take no longer ones."""
REDIRECTS = 5
"""Redirects that are followed (libtorrent: 5)."""
HTTP_HEAD = 16 * KIB
"""The head of one answer (h11: 16 KiB)."""
HTTP_HEADERS = 100
"""Headers of one answer (the standard library: 100)."""
HTTP_INTERIM_ANSWERS = 10
"""Answers of the kind "100 Continue" before the one that counts."""
HTTP_LINE = 1 * KIB
"""A line between the chunks of a body."""
HTTP_OVERHEAD = 64 * KIB
"""Bytes by which the lines between the chunks of a body, or its compression, may be more than its data."""
HTTP_ADDRESSES = 8
"""Addresses of one name that are tried."""
HTTP_NEXT_ADDRESS = 0.25
"""For one address to answer before the next one is tried as well (RFC 8305: 250 ms)."""
HTTP_FAILED_ADDRESSES = 1000
"""Addresses remembered as failed, which are tried last; with more, all are forgotten."""
HTTP_TIMEOUT = 20.0
"""For the head of an answer, and without a byte of its body (libtorrent: 20)."""
HTTP_KEEP_ALIVE = 60.0
"""For which an idle connection is used again (nginx: 75)."""
HTTP_CONNECTIONS = 4
"""Connections that one client keeps open: to a web seed, and to the mirrors that it leads to."""
HTTP_REDIRECT_TIME = 600.0
"""For which a redirect that is not permanent is remembered."""
HTTP_REDIRECTS_KEPT = 1000
"""Redirects that one client remembers: mirrors lead each file elsewhere."""

# --- web seeds (BEP 17, 19) ---
WEB_SEED_FIRST_RUN, WEB_SEED_MAX_RUN = 4 * MIB, 64 * MIB
"""The first run of bytes that a web seed is asked for, and the longest: doubled with each that came (libtorrent: 16 MiB
at the most, anacrolix: 64 MiB)."""
WEB_SEED_TRIAL_RUN = 1 * MIB
"""The run that is asked for after a failure."""
WEB_SEED_RUN_TIME = 10.0
"""For a run, by the speed of the seed."""
WEB_SEED_URGENT_RUN = 4 * MIB
"""A run that a reader waits for."""
WEB_SEED_WINDOW, WEB_SEED_WINDOW_TIME = 1 * MIB, 0.25
"""What is received at one time, while it cannot be asked of others: in bytes, and by the speed of the seed."""
WEB_SEED_SKIP = 256 * KIB
"""What is read and thrown away of an answer whose end is not wanted any more, so that the connection can be used again:
more is worth a new connection."""
WEB_SEED_PREFIX = 48 * KIB
"""What is read and thrown away before a range, where the server sends the whole file (anacrolix: 48 KiB)."""
WEB_SEED_AHEAD = 1 * MIB
"""What is left of an answer, at least, when the connection for the next one is opened, where a server sends one only
over each: else it is a quarter."""
WEB_SEED_DELAY = 2.0
"""In which peers may be found before web seeds are asked."""
WEB_SEEDS_ACTIVE = 4
"""Web seeds of a torrent that are asked at one time (libtorrent: 3)."""
WEB_SEED_CONNECTIONS, WEB_SEED_GAIN = 4, 1.2
"""Connections to one web seed, and the factor by which one more must make it faster (Transmission: 4)."""
HOST_CONNECTIONS = 6
"""Connections to one host over all torrents of a client (browsers: 6)."""
HOST_BUSY_RETRY = 2.0
"""Before a web seed is asked again that has led to a host with as many connections."""
WEB_SEED_SAMPLE = 3.0
"""Over which the speed of a web seed is measured before another connection is tried."""
WEB_SEED_PATIENCE = 5.0
"""For what a web seed sends at one time, while nothing else is missing, before others are asked for it."""
WEB_SEED_RESUME = 0.5
"""Before an answer that was cut off is asked for again from where it ended."""
WEB_SEED_RETRY, MAX_WEB_SEED_RETRY = 5.0, 300.0
"""Before a web seed is asked again that failed: doubled with each failure (libtorrent: 30)."""
BUSY_RETRY, MAX_BUSY_RETRY = 30.0, 600.0
"""Before one that is too busy is asked again, if it does not say when."""
MIN_RETRY_AFTER, MAX_RETRY_AFTER = 1.0, 3600.0
"""The bounds of what a server may say."""
WEB_SEED_FAILURES = 4
"""Failures in a row, without a byte between them, before a download counts on a web seed no more (Transmission: 4)."""
WEB_SEED_BAD_PIECES = 5
"""Wrong pieces before a web seed is not used any more (Transmission: 5)."""

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
PATH = 4095
"""Bytes of a file's whole path (Linux: 4096 with a NUL); what has a longer one is kept in our own folder."""
FILE_NAME = 255
"""Bytes of a file's name in UTF-8: what common file systems take."""
TRACKERS = 200
"""Announce URLs kept of one torrent: public lists have about a hundred."""
WEB_SEEDS = 1000
"""URLs of web seeds kept of one torrent: Arch Linux has 203 to 403."""
OPEN_FILES = 256
"""Files of all torrents of the process that are open at a time (libtorrent: 40), where the limit of descriptors allows
it; see `geventbt.concurrency.descriptors`."""
IDLE_FILE = 30.0
"""Seconds after its last use until a file is closed."""
DESCRIPTORS = 65_536
"""The limit of descriptors that a process asks the system for."""
SHORTAGE_PAUSE = 1.0
"""In which no connection is opened or accepted, after there was no descriptor or buffer for one."""
DESCRIPTORS_RESERVE = 96
"""Descriptors that are kept free of files and peers: for trackers, names, locks, and the program itself."""
RESUME_FILE = 1 * KIB
"""A resume file, without its bitfield and its entries of files."""
RESUME_ENTRY = 116
"""The entries of one file in a resume file: its index, four times, and its size, time and inode in 64 bits each."""

# --- the DHT (BEP 5, 32, 33, 42, 44, 51) ---
DHT_PACKET = 1500
"""A datagram that is read at all; more would have come in fragments."""
DHT_MAX_ANSWER = 1024
"""A datagram of ours (BEP 32: "must not send UDP datagrams with a payload larger than 1024 octets")."""
DHT_TOKENS = 400
"""Bencoded values in one packet: a list of peers fills it with less than 200."""
DHT_DEPTH = 20
"""Lists and dictionaries within each other in one packet; a stored value may be nested (BEP 44)."""
DHT_K = 8
"""Nodes of a bucket, of an answer, and that a value is stored on (BEP 5)."""
DHT_FIRST_BUCKET = 128
"""Nodes of the farthest bucket, halved for each further one: a lookup's first step is long then (libtorrent: 128)."""
DHT_REPLACEMENTS = 8
"""Nodes kept for each bucket until there is room (BEP 5)."""
DHT_GOOD_TIME = 900.0
"""After its last sign of life a node is questionable, and a bucket without a change is refreshed (BEP 5)."""
DHT_MAX_FAILURES = 2
"""Queries in a row that a node leaves unanswered before it is bad (BEP 5: "multiple queries in a row")."""
DHT_REFRESH_INTERVAL = 10.0
"""Between two refreshes of buckets."""
DHT_PINGS_PER_SECOND = 5
"""Pings of nodes that might fill a bucket (libtorrent: one in 5 s; *measured*: 70 s until 12 nodes know each other)."""
DHT_PING_INTERVAL = 2.0
"""Between pings of nodes that would fill a bucket beyond what it needs."""
DHT_LOOKUP_WIDTH = 4
"""Queries of one lookup that are waited for at a time (*measured*, simulated: 3 are slower, 8 send a third more)."""
DHT_LOOKUP_CANDIDATES = 200
"""Nodes that one lookup remembers."""
DHT_LOOKUP_INSECURE = 16
"""Answers, with those of nodes whose id does not fit their address, that end a lookup as 8 of others do (BEP 42)."""
DHT_MIN_PATIENCE, DHT_MAX_PATIENCE = 0.3, 1.0
"""For an answer before another node is asked as well; between them it follows the round trips (RFC 6298)."""
DHT_LAST_PATIENCE = 1.5
"""For the last answers of a lookup that has found fewer nodes than it wants."""
DHT_ANSWER_TIMEOUT = 10.0
"""For an answer that is still of use (libtorrent: 15; rqbit: 10)."""
DHT_QUERY_RATE, DHT_QUERY_BURST = 50.0, 100.0
"""Queries a second, by default (rqbit and anacrolix: 250; home routers have trouble above about 100)."""
DHT_ADDRESS_RATE, DHT_ADDRESS_BURST = 5.0, 5.0
"""Queries a second to one address (*measured*: libtorrent goes silent for 5 minutes above it)."""
DHT_CALLS = 1000
"""Calls at a time; more fail."""
DHT_UNHURRIED = 8
"""Searches at a time for torrents that lack nothing, which only announce themselves: the rate of queries is enough for
few, and with many torrents those that need peers must not wait for all the others."""
DHT_SOURCE_RATE, DHT_SOURCE_BURST = 5.0, 50.0
"""Packets a second read of one network (/24, /64) that are not answers to us (libtorrent: 5, averaged over 10 s)."""
DHT_SOURCES = 10_000
"""Networks whose rates are remembered."""
DHT_GLOBAL_RATE, DHT_GLOBAL_BURST = 500.0, 1000.0
"""Packets a second of all of them together: about 2 % of a core."""
DHT_USUAL_PACKET = 200
"""Bytes of a packet up to which it counts once among them: a longer one counts for more. *Measured*: one of 1,200 bytes
can cost 1.1 ms."""
DHT_UNEXPECTED = 4
"""Packets from an address we wait for that are read although its network has sent too much."""
DHT_ANSWER_RATE, DHT_ANSWER_BURST = 16.0 * KIB, 48.0 * KIB
"""Bytes a second of answers to all (libtorrent: 8,000 bytes, 3 s)."""
DHT_TOKEN_TIME = 300.0
"""For which a secret of write tokens is used; its tokens are good as long again (BEP 5: 5 and 10 minutes)."""
DHT_TOKEN = 64
"""Bytes of a node's write token that are kept (libtorrent: 4; ours: 8)."""
DHT_INFO_HASHES, DHT_SWARM_PEERS = 2000, 500
"""Torrents whose peers are stored, and peers of each (libtorrent: the same)."""
DHT_PEER_TIME = 2700.0
"""For which an announced peer is stored (libtorrent: 45 minutes; clients announce each 15 to 30)."""
DHT_VALUES = 80
"""Peers in an answer over IPv4, and a third over IPv6: what fits beside 8 nodes."""
DHT_SAMPLES, DHT_SAMPLE_INTERVAL = 20, 6 * 3600.0
"""Info hashes in a sample, and the time for which it stays the same (BEP 51)."""
DHT_ITEMS = 700
"""Immutable items stored, and as many mutable ones (libtorrent: 700)."""
DHT_ITEM_TIME = 7200.0
"""For which an item is stored (BEP 44: 2 hours)."""
DHT_VALUE, DHT_SALT = 1000, 64
"""Bytes of an item's bencoded value, and of its salt (BEP 44)."""
DHT_MAX_SEQ = (1 << 63) - 1
"""The greatest sequence number of an item (BEP 44)."""
DHT_PEERS_OF_ANSWER = 500
"""Peers taken from one answer."""
DHT_PEERS_OF_SEARCH = 10_000
"""Peers found by one search."""
DHT_VOTES, DHT_AGREEMENT = 8, 0.75
"""Networks that must have reported our address, and the part of them that must agree (BEP 42)."""
DHT_SAVED_NODES = 300
"""Nodes kept across runs, of each address family."""
DHT_SAVE_INTERVAL = 300.0
"""Between two records of the state."""
DHT_STATE_FILE = 64 * KIB
"""The file of the state."""
DHT_TORRENT_NODES = 20
"""Nodes taken from a .torrent file."""
DHT_IDLE_START = 2.0
"""Before a node that no call uses yet asks the routers: most short programs end without it."""
DHT_SOURCE_DELAY = 1.0
"""Before the peers of a torrent are searched for, where its user or its trackers name some."""
DHT_ROUTERS_AFTER = 3.0
"""With too few answers of known nodes before the routers are asked."""
DHT_BOOTSTRAP_RETRY, MAX_DHT_BOOTSTRAP_RETRY = 5.0, 300.0
"""Before the next try to find nodes; doubled each time."""
DHT_MIN_ANNOUNCE_INTERVAL = 60.0
"""Between two searches of a torrent, however much it needs peers."""
DHT_ANNOUNCE_INTERVAL = 900.0
"""Between two announces of a torrent, two minutes more or less (libtorrent: 15 minutes)."""

# --- local service discovery (BEP 14) ---
LSD_INTERVAL = 300.0
"""Between two announces of a torrent (BEP 14: "every 5 minutes")."""
LSD_MIN_INTERVAL = 60.0
"""Between two announces of a client (BEP 14: "no more than 1 announce per minute")."""
LSD_PATIENCE = 3.0
"""After a torrent's first announce for which a download without other sources waits for peers of the local network."""
LSD_PACKET = 1400
"""A datagram (BEP 14: "should not exceed 1400 bytes")."""
LSD_INFO_HASHES = 20
"""Torrents in one announce: what fits."""
LSD_PEERS = 1000
"""Peers counted of one torrent."""
LSD_BYTES_PER_SECOND = 64 * KIB
"""What is read: several hundred announces a second."""

# --- object stores ---
STORE_PART = 8 * MIB
"""A part of a file that is being fetched (S3 joins parts of 5 MiB to 5 GiB)."""
STORE_BUFFER = 64 * MIB
"""Verified data of a torrent that is not in the store yet, as for the disk queue."""
STORE_BATCH = 32 * MIB
"""Complete parts that are sent together."""
STORE_RANGE, STORE_RANGES = 4 * MIB, 8
"""Bytes read at a time, and how many such ranges of a torrent are kept."""
STORE_LOOK_INTERVAL = 10.0
"""Between two looks whether the object of a file has been changed, while it is read."""
STORE_TIMEOUT = 600.0
"""One operation of a store, with the retries of its library."""
STORE_UPLOAD_AGE = 3600.0
"""After which a join in S3 that has not ended counts as cut off: its program has given it up after `STORE_TIMEOUT`."""
STORE_RECORD_TOKENS = 10_000_000
"""Of a record: three and two for each file, and for each part."""

# --- the web interface ---
WEB_CONNECTIONS, WEB_CONNECTIONS_PER_ADDRESS = 1200, 64
"""HTTP connections to us at one time, in all and of one address; a browser opens six to a server."""
WEB_BACKLOG = 256
"""Connections that wait to be accepted."""
WEB_HEAD = 32 * KIB
"""The head of a request (nginx: 32 KiB in all)."""
WEB_HEAD_TIMEOUT, WEB_IDLE = 10.0, 60.0
"""For the head of the first request of a connection, and for the next one to come (nginx: 60 and 75)."""
WEB_BODY = 16 * MIB
"""The body of a request: a .torrent file, or one in base64."""
WEB_BODY_TIMEOUT = 60.0
"""For the body to come."""
WEB_DISCARDED = 64 * KIB
"""Of a body that the answer did not need, to keep the connection (nginx reads on, too)."""
WEB_WRITE_TIMEOUT = 600.0
"""In which a client takes nothing of what is sent: players are paused, and come back by themselves."""
WEB_STOP_TIMEOUT = 2.0
"""For answers to end when the server stops."""
WEB_STREAMS = 64
"""Files that are streamed at one time; each has a reader that is fetched ahead for."""
WEB_STREAM_PATIENCE = 30.0
"""Of a stream for its next piece, under a server that does not say when its client has left."""
WEB_LOGIN_TIME = 600.0
"""For which a right login is remembered: each check takes 33 ms."""
WEB_LOGINS_KEPT = 1000
"""Right logins, and addresses of wrong ones, that are remembered."""
WEB_LOGIN_FAILURES = 5
"""Wrong logins of an address after which it has to pause."""
WEB_LOGIN_PAUSE, WEB_MAX_LOGIN_PAUSE = 15.0, 900.0
"""For which it has to; doubled each time."""
WEB_EVENT_INTERVAL, WEB_EVENT_HEARTBEAT = 1.0, 15.0
"""Between two updates of a page, and between two signs of life without one: proxies close silent connections."""
WEB_LOG_LINES = 300
"""Lines of the log that a page shows."""
WEB_FILES, WEB_PEERS = 2000, 200
"""Files and peers of a torrent that a page shows."""
WEB_LINK = 64 * KIB
"""Characters of a link that is added."""
WEB_JSON = 1 * MIB
"""The body of a request in JSON to the page's own interface."""
WEB_METRICS_TORRENTS = 200
"""Torrents that have metrics of their own, where these are asked for."""
WEB_MAX_RATE = 1 << 40
"""Bytes a second that a limit may be set to on the page."""

# --- the service ---
SERVICE_ROUND = 5.0
"""Between two looks at counters, goals and the queue."""
SERVICE_SAVE, SERVICE_SAVE_ALL = 60.0, 3600.0
"""Between two times that counters are written: of torrents that were changed or have transferred anything, and of all,
whose seconds of seeding count on."""

# --- remote control ---
RPC_BODY = 16 * MIB
"""A request over RPC: a .torrent file in base64 is the longest."""
RPC_BODY_AT_ONCE = 64 * KIB
"""Bytes of a request that is decoded in one call. *Measured*: the worst of this size takes 10 ms, of 16 MiB 2 s."""
RPC_CONTAINERS = 100_000
"""Arrays and objects in a longer request, which lists files by their numbers; a torrent in base64 has none."""
RPC_BATCH = 100
"""Requests of a batch of JSON-RPC."""
GROUPS, GROUP_NAME = 1000, 100
"""Groups of torrents that share rates, and characters of the name of one."""
BLOCKLIST, BLOCKLIST_TIMEOUT = 64 * MIB, 120.0
"""Bytes of a list of IP addresses that is fetched, packed or not (2026: the largest: 60 MiB), and seconds for it."""
RPC_ITEMS = 10_000
"""Items of a list in a request, such as ids."""
