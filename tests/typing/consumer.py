"""A program that uses every public name of geventbt; type checkers run over it, see test_typing.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from bitarray import bitarray

import geventbt
from geventbt import (
    DHT,
    AnnounceRequest,
    AnnounceResponse,
    BencodeError,
    Client,
    DHTError,
    DHTNotFound,
    DHTRejected,
    DHTSourceStatus,
    DHTStatus,
    DHTTimeout,
    DownloadError,
    DownloadTimeout,
    EncryptionPolicy,
    Extension,
    Extensions,
    FetchError,
    FileStatus,
    FsspecBackend,
    Geometry,
    GeventBTError,
    Handshake,
    HandshakeError,
    Item,
    LocalProtocolError,
    LtDonthave,
    Magnet,
    MagnetError,
    MemoryBackend,
    MetadataError,
    MetadataMismatch,
    MetadataNotAvailable,
    MetainfoError,
    Network,
    NoPeersError,
    PeerChoking,
    PeerReport,
    PeerServer,
    PeerStatus,
    PieceNotAvailable,
    PortMapping,
    Progress,
    ProtocolError,
    ProxyError,
    Put,
    RemoteProtocolError,
    Request,
    RequestCancelled,
    RequestFailed,
    RequestRejected,
    RequestTimeout,
    Sample,
    ScrapeResult,
    SourceStatus,
    Storage,
    StorageBackend,
    StorageError,
    SwarmEstimate,
    TcpPath,
    Torrent,
    TorrentReader,
    TorrentState,
    TrackerError,
    TrackerStatus,
    UploadOnly,
    UtHolepunch,
    UtMetadata,
    UtPex,
    WebSeedState,
    WebSeedStatus,
    Wire,
    WireClosed,
    WireTimeout,
    web,
)
from geventbt.protocol.message_objects import Have, Message, Piece

INFO_HASH = "c10c" * 10


class Ping(Extension):
    """A third party's extension."""

    name = "x_ping"
    signal_names = ("pong",)

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.pongs = 0

    def on_handshake(self, handshake: Handshake) -> None:
        print(handshake.peer_id.hex())

    def on_extended_handshake(self, handshake: dict[str, Any]) -> None:
        if self.supported:
            self.send({"ping": 1}, b"data")

    def on_message(self, payload: bytes) -> None:
        geventbt.bencoding.decode(payload)
        self.pongs += 1
        self.emit("pong", count=self.pongs)

    def on_close(self, error: Exception | None) -> None:
        print(self.wire.remote_address, error)


def use_extensions(wire: Wire) -> None:
    ping: Ping = wire.use(Ping)
    ping.on("pong", lambda extension, count: print(count))
    metadata: UtMetadata = wire.use(lambda wire: UtMetadata(wire, b"d1:ai1ee"))
    info: bytes = metadata.fetch(10, patience=5)
    pex: UtPex = wire.use(UtPex)
    pex.update([("10.0.0.1", 6881)])
    pex.on("peers", lambda pex, added, dropped: print(added, dropped))
    metadata.on("warning", lambda metadata, **fields: print(fields))
    wire.use(LtDonthave).donthave(3)
    wire.use(UploadOnly).announce(True)
    asked: bool = wire.use(UtHolepunch).rendezvous(("10.0.0.1", 6881))
    same: tuple[UtMetadata, UtPex, LtDonthave, UploadOnly, UtHolepunch] = (
        wire.ut_metadata,
        wire.ut_pex,
        wire.lt_donthave,
        wire.upload_only,
        wire.ut_holepunch,
    )
    plugins: dict[str, Extension] = wire.ext
    print(info, asked, same, plugins)


def read_state(wire: Wire) -> None:
    kind: Literal["incoming", "outgoing"] = wire.type
    encryption: Literal["plaintext", "rc4"] | None = wire.encryption
    transport: str = wire.transport
    address: tuple[str, int] = wire.remote_address
    pieces: bitarray = wire.peer_pieces
    extensions: Extensions = wire.peer_extensions
    version: object = wire.peer_extended_handshake.get("v")
    requests: list[Request] = wire.requests + wire.peer_requests
    flags: list[bool] = [wire.am_choking, wire.am_interested, wire.peer_choking, wire.peer_interested, wire.closed]
    announced: bool = wire.peer_has_announced
    speeds: list[float] = [wire.download_speed(), wire.upload_speed()]
    sizes: list[int] = [wire.downloaded, wire.uploaded, wire.wasted, wire.queued, wire.request_limit, wire.owed_answers]
    queue_time: float | None = wire.queue_time
    path: TcpPath | None = wire.tcp_path
    waiting: list[float] = [] if path is None else [path.under_way, path.acknowledged, path.queue_time, path.silence]
    reason: Exception | None = wire.close_reason
    print(kind, encryption, transport, address, pieces, extensions, version, requests, flags, speeds, sizes)
    print(announced, queue_time, waiting, reason)


def leech(wire: Wire) -> bytes:
    shaken: Handshake = wire.handshake(
        INFO_HASH, geventbt.new_peer_id(), geometry=Geometry(1 << 20, 1 << 16), bitfield=bytes(2), interested=True
    )
    print(geventbt.client_name(shaken.peer_id))
    wire.interested()
    wire.wait_unchoked(timeout=10)
    wire.wait_for_piece(0, timeout=10)
    buffer = bytearray(1 << 16)
    wire.read_into(1, 0, buffer)
    index: int = wire.wait_for("have", timeout=1)["index"]
    block: bytes = wire.request(0, 0, 16384, timeout=5)
    return block + wire.read(0, 16384, 16384) + bytes(index)


def wait(wire: Wire, name: str) -> None:
    """The fields of every signal."""
    shaken = wire.wait_for("handshake")
    info_hash: bytes = shaken["info_hash"]
    extensions: Extensions = shaken["extensions"]
    version: object = wire.wait_for("extended_handshake", 5)["handshake"].get("v")
    extended = wire.wait_for("extended")
    extension: tuple[str | None, int, bytes] = extended["name"], extended["extended_id"], extended["payload"]
    wire.wait_for("unchoke", timeout=10)
    suggested: int = wire.wait_for("suggest")["index"]
    bitfield: bytes = wire.wait_for("bitfield")["bitfield"]
    rejected = wire.wait_for("reject")
    place: tuple[int, int, int] = rejected["index"], rejected["begin"], rejected["length"]
    requested = wire.wait_for("request")
    requested["respond"](bytes(requested["length"]))
    requested["respond"](ValueError("no such block"))
    block: bytes = wire.wait_for("piece")["block"]
    port: int = wire.wait_for("port")["listen_port"]
    root: bytes = wire.wait_for("hash_request")["pieces_root"]
    hashes: bytes = wire.wait_for("hashes")["hashes"]
    unknown: int = wire.wait_for("unknown_message")["id"]
    count: int = wire.wait_for("upload")["count"]
    error: Exception = wire.wait_for("error")["error"]
    reason: Exception | None = wire.wait_for("close")["error"]
    any_signal: Mapping[str, Any] = wire.wait_for(name)
    print(info_hash, extensions, version, extension, suggested, bitfield, place, block, port, root, hashes, unknown)
    print(count, error, reason, any_signal)


def seed(wire: Wire) -> None:
    wire.handshake(wire.wait_handshake(timeout=5).info_hash, geventbt.new_peer_id())
    supported: dict[str, int] = wire.wait_extended_handshake(timeout=5)["m"]
    print(supported)
    wire.bitfield(bitarray("1101"))
    wire.unchoke()
    requests: Iterator[Request] = wire.incoming_requests()
    for piece, offset, length in requests:
        sent: bool = wire.piece(piece, offset, memoryview(bytes(length)))
        if not sent:
            wire.reject(piece, offset, length)
    wire.serve(lambda piece, offset, length: bytes(length))


def follow(wire: Wire) -> None:
    def on_have(wire: Wire, index: int) -> None:
        print(index)

    wire.off("have", wire.on("have", on_have))
    wire.once("close", lambda wire, error: print(error))
    wire.on_unchoke.connect(lambda wire: print("unchoked"))
    geventbt.signals.piece.connect(lambda wire, **fields: print(fields))
    message: Message
    for message in wire.messages():
        if isinstance(message, Have):
            print(message.index + 1)
        elif isinstance(message, Piece):
            print(message.begin, message.block.hex())


def follow_any(wire: Wire, name: str) -> None:
    """Handlers may take the fields in any order, and leave out what they do not use."""

    def on_request(wire: Wire, *, begin: int, index: int, **fields: object) -> None:
        print(index, begin, fields)

    wire.on("request", on_request)
    wire.on("have", lambda wire, **fields: print(fields))
    wire.on(name, lambda wire, **fields: print(fields))


def follow_wrongly(wire: Wire, server: PeerServer, torrent: geventbt.ActiveTorrent, name: str) -> None:
    """Handlers that cannot be called; the checkers also say where an error is missing."""

    def on_have(wire: Wire, index: int) -> None:
        print(index)

    def on_have_text(wire: Wire, index: str) -> None:
        print(index)

    wire.on("have", on_have_text)  # type: ignore[call-overload]
    wire.on("have", lambda wire, piece: None)  # type: ignore[call-overload]
    wire.on("unchoke", on_have)  # type: ignore[call-overload]
    wire.once("close", lambda wire: None)  # type: ignore[call-overload]
    wire.on("no_such_signal", on_have)  # type: ignore[call-overload]
    wire.on(name, on_have)  # type: ignore[call-overload]
    server.on("peer_connected", lambda server: None)  # type: ignore[call-overload]
    server.on("error", lambda server, error: None)  # type: ignore[call-overload]
    wire.ut_pex.on("peers", lambda pex, peers: None)  # type: ignore[call-overload]
    wire.ut_holepunch.on("error", lambda holepunch, error: None)  # type: ignore[call-overload]
    torrent.on("complete", lambda torrent, index: None)  # type: ignore[call-overload]
    torrent.on("piece_verified", lambda torrent, piece: None)  # type: ignore[call-overload]


def serve() -> None:
    server: PeerServer = geventbt.listen(("127.0.0.1", 0), seed, info_hashes=[INFO_HASH], encryption="prefer")
    server.on("peer_connected", lambda server, wire: print(wire))
    assert server.server_port is not None
    with server, geventbt.connect(("127.0.0.1", server.server_port), info_hash=INFO_HASH) as wire:
        leech(wire)


def run_client(path: Path) -> None:
    torrent: Torrent = geventbt.create_torrent(path)
    magnet: Magnet = Magnet.from_string(f"magnet:?xt=urn:btih:{INFO_HASH}")
    with Client(0) as client:
        active: geventbt.ActiveTorrent = client.add(torrent, path)
        active.on("piece_verified", lambda torrent, index: print(index))
        active.on("peer_added", lambda torrent, wire: print(wire))
        finished: bool = active.wait(10)
        progress: Progress = active.progress
        group: geventbt.RateGroup = client.rate_group(limit_down=0, keeps_client_limits=False)
        active.rate_group = group
        active.rate_weight = 2.0
        client.encryption = "allow"
        client.default_trackers = [["udp://tracker.example:1337"]]
        client.listen_on(6882)
        state: TorrentState = progress.state
        peers: list[PeerStatus] = active.peers
        files: list[FileStatus] = active.files
        trackers: Mapping[str, TrackerStatus] = active.trackers
        seeds: list[WebSeedStatus] = active.web_seeds
        print([seed.state is WebSeedState.OFF for seed in seeds])
        sources: Mapping[str, SourceStatus] = active.sources
        dht: DHTSourceStatus | None = active.dht
        print(finished, state is TorrentState.SEEDING, peers, files, trackers, sources, dht)
        for status in peers:
            cipher: Literal["plaintext", "rc4"] | None = status.encryption
            print(status.address, cipher)
        read(active)
    complete: Torrent = geventbt.download(torrent, path)
    found: Torrent = geventbt.fetch_metadata(magnet, peers=[("127.0.0.1", 6881)])
    seeding: Client = geventbt.seed(complete, path, super_seeding=True)
    report: PeerReport = geventbt.inspect_peer(("127.0.0.1", 6881), INFO_HASH)
    print(found, seeding, report, TorrentReader.__doc__, geventbt.__version__)
    with Storage(torrent, path) as storage:
        block: bytes = storage.read(0, 0, 16)
        leaves: list[bytes] = storage.leaf_hashes(0)
        length: int = complete.length
        print(block, leaves, length, geventbt.allowed_fast_set("10.0.0.1", bytes(20), 100))


def read(active: geventbt.ActiveTorrent) -> None:
    with active.open(0) as file:
        start: bytes = file.read(16)
        size: int = file.size
    piece: bytes = active.read_piece(0)
    verified: list[tuple[int, bytes]] = list(active.iter_pieces())
    print(start, size, piece, verified)


def encrypt(policy: EncryptionPolicy = "prefer") -> None:
    inherited = socket.create_server(("127.0.0.1", 0))
    with Client(inherited) as second, Client(0, reuse_port=True) as third:
        sent: int = sum(torrent.uploaded for torrent in second.torrents.values())
        for torrent in third.torrents.values():
            torrent.count_elsewhere(uploaded=sent, upload_speed=0.5, peers=1)
        geventbt.listen(0, seed, reuse_port=True).stop()
    choice: geventbt.TransportChoice = "both"
    with (
        Client(0, encryption=policy, transport=choice) as client,
        geventbt.listen(0, seed, encryption=policy, transport=choice) as server,
    ):
        print(client.port, server.server_port)
    geventbt.connect(("127.0.0.1", 6881), encryption=policy, info_hash=INFO_HASH, transport=choice).close()


def keep_in_a_bucket(torrent: Torrent, path: Path) -> None:
    make = FsspecBackend("s3://bucket/prefix", overwrite=True, endpoint_url="http://127.0.0.1:9000")
    with Client(None) as client:
        client.add(torrent, storage=make)
    backend: StorageBackend = make(torrent, path)
    print(backend.size(0))


def keep_in_memory(torrent: Torrent, path: Path) -> None:
    backend: StorageBackend = MemoryBackend(torrent)
    with Client(None) as client:
        client.add(torrent, path, storage=lambda torrent, folder: backend)
    print(backend.read(0, 0, 16))


def ask_trackers(url: str, request: AnnounceRequest) -> None:
    answer: AnnounceResponse = geventbt.announce(url, request)
    counts: dict[bytes, ScrapeResult] = geventbt.scrape(url, [INFO_HASH])
    print(answer, counts, geventbt.Announcer.__doc__, geventbt.protocol.__doc__)


def use_the_dht(path: Path) -> None:
    with DHT(routers=[("127.0.0.1", 6881)], state=path, read_only=True) as dht, Client(None, dht=dht) as client:
        dht.wait_ready(10)
        for host, port in dht.get_peers(INFO_HASH):
            print(host, port)
        stored: int = dht.announce(INFO_HASH, 6881, seed=True)
        put: Put = dht.put(b"value")
        item: Item = dht.get(put.target)
        counted: SwarmEstimate = dht.scrape(INFO_HASH)
        sample: Sample = dht.sample(("127.0.0.1", 6881))
        status: DHTStatus = dht.status()
        print(stored, put.stored, item.value, counted.seeds, sample.info_hashes, status.nodes, client.dht)


def use_the_network(path: Path) -> None:
    network = Network(proxy="socks5://127.0.0.1:1080", interface=None, ip_filter=["10.0.0.0/8", ("1.1.1.1", "1.1.1.9")])
    network.set_ip_filter(path)
    with Client(network=network, dht=False, port_mapping=False) as client:
        mappings: tuple[PortMapping, ...] = client.port_mappings
        client.set_ip_filter(())
        print(mappings, network.is_proxied, network.carries_udp, network.blocks("10.0.0.1"))
    geventbt.connect("127.0.0.1:6881", network=network)
    geventbt.download("a.torrent", proxy="http://127.0.0.1:8080", interface="lo", ip_filter=path)


def name(error: GeventBTError) -> str:
    """Every error, from the special to the general."""
    if isinstance(error, RemoteProtocolError):
        return f"{error.message_id} {error.bep}"
    if isinstance(error, TrackerError):
        return f"{error.retry_in} {error.status}"
    for kind in (
        HandshakeError,
        LocalProtocolError,
        ProtocolError,
        WireClosed,
        RequestTimeout,
        WireTimeout,
        PeerChoking,
        RequestRejected,
        RequestCancelled,
        PieceNotAvailable,
        RequestFailed,
        MetadataNotAvailable,
        MetadataMismatch,
        MetadataError,
        BencodeError,
        MagnetError,
        MetainfoError,
        StorageError,
        FetchError,
        ProxyError,
        DHTTimeout,
        DHTNotFound,
        DHTRejected,
        DHTError,
        NoPeersError,
        DownloadTimeout,
        DownloadError,
    ):
        if isinstance(error, kind):
            return kind.__name__
    return "GeventBTError"


def use_the_web(client: Client) -> None:
    login = web.Login("me", web.hash_password("secret"))
    app: web.Guard = web.make_app(client, "downloads", login=login, hosts=["media.example"])
    with web.serve(app, ("127.0.0.1", 0), max_connections=10) as server:
        print(server.url, server.connections)
    flask = web.page_blueprint(client, Path("downloads"), stream_url="stream/")
    print(flask.name, web.stream_blueprint(web.Streams(client)).name)
    text: str = web.Metrics(client, per_torrent=True).text()
    print(text, web.metrics_blueprint(web.Metrics(client)).name, web.rpc_blueprint(client).name)
    web.make_app(client, parts={"/transmission": web.rpc.rpc_app(client), "/page": web.page_app(client)})


def view(environ: dict[str, Any], reader: TorrentReader) -> list[bytes]:
    answer = web.Answer(reader, environ, etag="v1")
    print(answer.code, dict(answer.headers))
    return list(answer.body) or list(web.respond(reader, environ, lambda status, headers: None, attachment=True))
