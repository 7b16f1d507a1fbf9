"""The signals of wires, servers and torrents: one blinker namespace, shared by all.

``signals.unchoke.connect(fn)`` listens to every wire; ``signals.unchoke.connect(fn, sender=wire)`` or, shorter and
without keeping the wire alive, ``wire.on("unchoke", fn)`` listens to one. Handlers are called ``fn(sender, **fields)``
on a greenlet of that wire, with the fields of the table below, which are named as in the BEPs: an `index` is that of a
piece, or in the messages of BEP 52 of a hash in its layer; `begin`, `length` and `count` are bytes, or there a number
of hashes. Info hashes and peer ids have 20 bytes, roots and hashes 32.
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace

from geventbt.handlers import HandlerSignal

_namespace = Namespace()


def _signal(name: str, doc: str) -> HandlerSignal:
    signal = _namespace[name] = HandlerSignal(name, doc)
    return signal


def _added_to(*others: dict[str, NamedSignal]) -> dict[str, NamedSignal]:
    """The signals that have been declared besides those of others."""
    return {name: signal for name, signal in _namespace.items() if not any(name in other for other in others)}


# --- wires ---
handshake = _signal("handshake", "info_hash, peer_id, extensions: the peer's handshake (BEP 3)")
extended_handshake = _signal("extended_handshake", "handshake: the peer's extended handshake, a dict (BEP 10)")
extended = _signal(
    "extended", "name, extended_id, payload: a message of an extension; name is None if it is not ours (BEP 10)"
)
choke = _signal("choke", "the peer chokes us (BEP 3)")
unchoke = _signal("unchoke", "the peer unchokes us (BEP 3)")
interested = _signal("interested", "the peer is interested (BEP 3)")
uninterested = _signal("uninterested", "the peer is not interested (BEP 3)")
have = _signal("have", "index: the peer has one more piece; never twice for one piece (BEP 3)")
bitfield = _signal("bitfield", "bitfield: the bytes of the peer's bitfield (BEP 3)")
have_all = _signal("have_all", "the peer has every piece (BEP 6)")
have_none = _signal("have_none", "the peer has no piece (BEP 6)")
suggest = _signal("suggest", "index: the peer suggests a piece (BEP 6)")
allowed_fast = _signal("allowed_fast", "index: the peer serves this piece even while it chokes us (BEP 6)")
reject = _signal("reject", "index, begin, length: the peer rejected our request (BEP 6)")
request = _signal(
    "request", "index, begin, length, respond: the peer requests a block; respond(block or error) answers, once (BEP 3)"
)
piece = _signal("piece", "index, begin, block: a block that we requested (BEP 3)")
cancel = _signal("cancel", "index, begin, length: the peer no longer wants a block (BEP 3)")
port = _signal("port", "listen_port: the UDP port of the peer's DHT node (BEP 5)")
keep_alive = _signal("keep_alive", "the peer is alive (BEP 3)")
hash_request = _signal(
    "hash_request", "pieces_root, base_layer, index, length, proof_layers: the peer requests hashes (BEP 52)"
)
hashes = _signal("hashes", "pieces_root, base_layer, index, length, proof_layers, hashes: hashes arrived (BEP 52)")
hash_reject = _signal(
    "hash_reject", "pieces_root, base_layer, index, length, proof_layers: no hashes will come (BEP 52)"
)
unknown_message = _signal("unknown_message", "id, payload: a message with an id that no supported BEP defines")
timeout = _signal("timeout", "index, begin, length: our request was not answered in time; the wire goes on")
download = _signal("download", "count: bytes of blocks just received")
upload = _signal("upload", "count: bytes of a block just sent")
close = _signal("close", "error: the wire is closed; error is the reason, or None after an ordinary close")
error = _signal(
    "error", "error: an exception: of a wire, before its `close`; of a server, for one of its peers; or of a torrent"
)

WIRE_SIGNALS: dict[str, NamedSignal] = _added_to()
"""The signals that a wire sends, by name."""

# --- servers ---
peer_connected = _signal("peer_connected", "wire: an inbound peer")
stopping = _signal("stopping", "the server accepts no more peers and closes its wires")
stop = _signal("stop", "the server has stopped")

SERVER_SIGNALS: dict[str, NamedSignal] = {"error": error, **_added_to(WIRE_SIGNALS)}
"""The signals that a server sends, by name."""

# --- torrents of a client ---
piece_verified = _signal("piece_verified", "index: a piece is verified and on disk")
piece_failed = _signal("piece_failed", "index: the hash of a piece was wrong; it is fetched again")
piece_lost = _signal("piece_lost", "index: a piece that was verified is gone from the disk, or was changed there")
file_complete = _signal("file_complete", "index: every piece of a file is verified and on disk")
complete = _signal("complete", "every wanted piece is verified and on disk")
peer_added = _signal("peer_added", "wire: a peer has joined")
peer_removed = _signal("peer_removed", "wire: a peer has left")

TORRENT_SIGNALS: dict[str, NamedSignal] = {"error": error, **_added_to(WIRE_SIGNALS, SERVER_SIGNALS)}
"""The signals that a torrent of a client sends, by name."""
