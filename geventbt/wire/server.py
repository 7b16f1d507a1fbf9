"""`PeerServer`: a gevent StreamServer for inbound peers, one greenlet for each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.server import StreamServer

from geventbt import limits
from geventbt.arguments import check_counts, check_flags, check_instances, check_seconds, given
from geventbt.concurrency import descriptors
from geventbt.concurrency.dispatch import Dispatcher, OwnSignal, deliver, log_failure, with_receivers
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.hubs import drop_socket_in_child
from geventbt.errors import WireClosed
from geventbt.handlers import check_handler
from geventbt.net.addresses import Ports
from geventbt.net.network import DIRECT, Network
from geventbt.overloads import TypedAs
from geventbt.signals import SERVER_SIGNALS
from geventbt.wire.listeners import ListenAddress, open_ports, ports_of
from geventbt.wire.network_bound import NetworkBound
from geventbt.wire.torrent_lookup import InfoHashes, lookup_in
from geventbt.wire.transports.base import TCP, UTP, TransportChoice, check_transport
from geventbt.wire.transports.encryption import DISABLE, PREFER, REQUIRE, EncryptionPolicy, InboundOpening, check_policy
from geventbt.wire.transports.turn import turn_of
from geventbt.wire.transports.utp import UtpTransport
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.wire.server_signal_types import ServerOn

_log = logging.getLogger("geventbt")

_STOP_TIMEOUT = 5.0
_KILL_TIMEOUT = 1.0
"""Seconds for a handler to end that has been killed: some catch even that."""

Handler: TypeAlias = Callable[[Wire], Any]

_typed_as_on: TypedAs[ServerOn] = TypedAs()


class PeerServer(StreamServer):
    """Accepts peers and runs a handler for each, on a greenlet of its own. Made by `geventbt.listen`.

    When the handler returns or fails its wire is closed. Without a handler the wire stays open, in the hands of those
    who listen to `peer_connected`.

    Signals, each also ``server.on("name", fn)``: `peer_connected` (wire), `error` (error, wire), `stopping`, `stop`.

    Args:
        address: where to listen, or a socket that listens already; see `geventbt.listen`.
        handler: called with the wire of each inbound peer.
        info_hashes: the torrents to take peers for: a collection, which may change, a callable that returns one, or a
            `TorrentLookup`; None takes any, but in plaintext only.
        encryption: "prefer", "allow", "require" or "disable"; see `geventbt.listen`.
        max_connections: peers at one time; over it they are refused, not queued.
        max_per_address: likewise of one IPv4 address, or one /64 of IPv6; None for no bound.
        exempt_loopback: whether that bound does not hold for this machine's own peers.
        spawn: runs the handlers; see `geventbt.listen`.
        reuse_port: whether others may listen on the port, too; see `geventbt.listen`.
        transport: "tcp", "utp" or "both"; see `geventbt.listen`.
        network: see `geventbt.listen`.

    Attributes:
        udp: the UDP port with the same hosts and number, which other protocols may share.
        utp: what takes connections over uTP there, or None.

    Raises:
        TypeError: the handler is a coroutine function, what is given to listen on is neither an address nor a
            listening socket, or an option has another type.
    """

    def __init__(
        self,
        address: ListenAddress,
        handler: Handler | None = None,
        *,
        info_hashes: InfoHashes | None = None,
        encryption: EncryptionPolicy = PREFER,
        max_connections: int = limits.CONNECTIONS,
        max_per_address: int | None = None,
        exempt_loopback: bool = False,
        spawn: Any = "default",
        reuse_port: bool = False,
        transport: TransportChoice = TCP,
        network: Network = DIRECT,
    ) -> None:
        check_policy(encryption)
        check_transport(transport)
        check_counts(max_connections=max_connections, **given(max_per_address=max_per_address))
        check_flags(exempt_loopback=exempt_loopback, reuse_port=reuse_port)
        check_instances(Network, network=network)
        if encryption == REQUIRE and info_hashes is None:
            raise ValueError("encryption can only be required where the info hashes are known")
        self._handler: Handler | None = None
        self._handlers: set[gevent.Greenlet] = set()
        if handler is not None:
            check_handler(handler)
        self._network = network
        self._takes_tcp = transport != UTP
        listener, self.udp, self.utp = open_ports(address, transport, self, network, reuse_port=reuse_port)
        self.ports: Ports = ports_of(listener)
        """Where it can be reached over IPv4 and IPv6; the same port, unless it takes peers over one of them only."""
        super().__init__(listener, handler, spawn=spawn)
        drop_socket_in_child(self)
        self._turn = turn_of(gevent.get_hub())
        self._accepted_at = float("-inf")
        self._is_short = False
        self.max_connections = max_connections
        self.wires: set[Wire] = set()
        """The wires that are open now."""
        self._networks = NetworkBound(max_per_address, exempts_loopback=exempt_loopback)
        self._encryption: EncryptionPolicy = encryption
        self._torrents = None if info_hashes is None else lookup_in(info_hashes)
        self._signals = {name: OwnSignal(signal.__doc__) for name, signal in SERVER_SIGNALS.items()}
        self._dispatchers: dict[Wire | None, Dispatcher] = {}

    @property
    def encryption(self) -> EncryptionPolicy:
        """How connections are encrypted; see `geventbt.listen`. May be set at any time, for those that come later."""
        return self._encryption

    @encryption.setter
    def encryption(self, policy: EncryptionPolicy) -> None:
        check_policy(policy)
        if policy == REQUIRE and self._torrents is None:
            raise ValueError("encryption can only be required where the info hashes are known")
        self._encryption = policy

    @_typed_as_on
    def on(self, name: str, handler: Callable[..., object]) -> Any:
        """Call ``handler(server, **fields)`` at every signal of that name: peer_connected, error, stopping or stop.

        Returns:
            The handler.

        Raises:
            LookupError: there is no such signal.
            TypeError: the handler is a coroutine function.
        """
        if name not in self._signals:
            raise LookupError(f"a server has no signal {name!r}")
        return self._signals[name].connect(handler)

    def fileno(self) -> int:
        """The descriptor of the listening socket; -1 when it is closed."""
        return -1 if self.closed else self.socket.fileno()

    def set_handle(self, handle: Handler | None) -> None:
        """Call another handler for the peers that come from now on; None for none."""
        if handle is not None:
            check_handler(handle)
        self._handler = handle
        self._context = copy_context()
        super().set_handle(self._handle_peer)

    def set_spawn(self, spawn: Any) -> None:
        """Run handlers by other means from now on; see `geventbt.listen`.

        Raises:
            ValueError: by these they could not block.
            TypeError: it is neither a pool nor a function.
        """
        if spawn is None or spawn is gevent.spawn_raw:
            raise ValueError(f"spawn={spawn!r}: handlers block, which takes a pool, or a function that makes Greenlets")
        if spawn != "default" and not (hasattr(spawn, "spawn") or isinstance(spawn, int) or callable(spawn)):
            raise TypeError(f"spawn={spawn!r}: neither a pool, its size, nor a function like gevent.spawn")
        super().set_spawn(spawn)

    def start_accepting(self) -> None:
        """Begin to accept (overrides gevent's hook: without TCP the socket only keeps the port)."""
        if self._takes_tcp:
            super().start_accepting()

    def has_room(self) -> bool:
        """Whether a peer may come over uTP now; see `UtpAcceptor`."""
        return self.started and not self.full()

    def accept(self, transport: UtpTransport) -> None:
        """Take a peer that has come over uTP; see `UtpAcceptor`."""
        self.do_handle(transport, transport.remote_address)

    def do_read(self) -> Any:
        """Accept a connection (overrides gevent's hook, which prints a traceback for each when descriptors run out)."""
        is_first = self._accepted_at != self.loop.now()
        if not is_first and not self._turn.has_time(self.loop):
            # The next turn goes on: what was accepted is to be read before more is, or those that have hung up
            # unnoticed would fill the server.
            return None
        self._accepted_at = self.loop.now()
        try:
            accepted = super().do_read()
            self._is_short = self._is_short and accepted is None
            return accepted
        except OSError as error:
            if not descriptors.is_shortage(error):
                raise
            if not self._is_short:
                self._is_short = True
                _log.warning("no more peers are taken for now: %s", error)
            self.stop_accepting()
            self._timer = self.loop.timer(limits.SHORTAGE_PAUSE)
            self._timer.start(self._start_accepting_if_started)
            return None

    def do_handle(self, sock: Any, address: Any) -> None:
        """Take a peer, or refuse it when there are too many (overrides gevent's hook: never waits)."""
        is_blocked = isinstance(address, tuple) and self._network.blocks(address[0])
        if is_blocked or len(self.wires) >= self.max_connections or not self._networks.has_room(address):
            sock.close()
            return
        started = perf_counter()
        self._take(sock)
        self._turn.charge(perf_counter() - started)

    def _take(self, sock: Any) -> None:
        try:
            wire = self._make_wire(sock)
        except OSError:
            # It has left already.
            sock.close()
            return
        self.wires.add(wire)
        self._networks.add(wire)
        self._send("peer_connected", wire=wire)
        if self._handler is not None:
            self._spawn_handler(self._handler, wire)

    def _spawn_handler(self, handler: Handler, wire: Wire) -> None:
        greenlet = self._spawn(self._context.copy().run, self._handle_peer, handler, wire)
        if isinstance(greenlet, gevent.Greenlet):
            greenlet.name = "geventbt handler of {}:{}".format(*wire.remote_address)
            self._handlers.add(greenlet)
            greenlet.rawlink(self._handlers.discard)

    def _make_wire(self, sock: Any) -> Wire:
        torrents = self._torrents
        if torrents is None:
            return Wire(sock, incoming=True, on_closed=self._forget)
        find = None if self._encryption == DISABLE else torrents.find
        return Wire(
            sock,
            incoming=True,
            is_known_torrent=torrents.knows,
            opening=InboundOpening(self._encryption, find),
            on_closed=self._forget,
        )

    def _handle_peer(self, handler: Handler, wire: Wire) -> None:
        try:
            if self._torrents is not None:
                # A peer that asks for another torrent gets no answer at all.
                wire.wait_handshake()
            handler(wire)
        except (Exception, gevent.Timeout) as error:
            # What closed the wire has been told of with its end.
            if not isinstance(error, WireClosed) and error is not wire.close_reason:
                log_failure(handler, error)
                self._send("error", error=error, wire=wire)
        finally:
            wire.close()

    def _forget(self, wire: Wire) -> None:
        self.wires.discard(wire)
        self._networks.discard(wire)
        if wire.close_reason is not None:
            self._send("error", error=wire.close_reason, wire=wire)
        # What is in it is still run.
        self._dispatchers.pop(wire, None)

    def _send(self, name: str, wire: Wire | None = None, **fields: Any) -> None:
        """Have the handlers of a signal called: those of one peer in order, and none for the sake of another peer's
        late."""
        receivers = with_receivers(SERVER_SIGNALS[name], self._signals[name])
        if not receivers:
            return
        if wire is not None:
            fields["wire"] = wire
        dispatcher = self._dispatchers.get(wire)
        if dispatcher is None:
            dispatcher = Dispatcher(owner="server" if wire is None else wire)
            if wire is None or not wire.closed:
                self._dispatchers[wire] = dispatcher
        dispatcher.call(deliver, receivers, self, fields)

    def stop(self, timeout: float | None = None) -> None:
        """Take no more peers, close every wire, and wait for the handlers to end, those of the signal `stop` as well.

        Args:
            timeout: seconds for the wires to send what is queued, for the handlers of peers to end, which are then
                killed, and for those of the signal; None for 5. A handler that catches even that is left alone.

        Raises:
            RuntimeError: this is another native thread than the one that made the server.
        """
        check_seconds(**given(timeout=timeout))
        hub = get_hub_if_exists()
        if hub is None or hub.loop is not self.loop:
            raise RuntimeError("a server can only be stopped in the native thread and process that made it")
        if not self.started and not self.wires:
            super().stop(0)
            return
        self._send("stopping")
        seconds = _STOP_TIMEOUT if timeout is None else timeout
        try:
            self.close()
            self._end_peers(seconds)
        finally:
            if self.utp is not None:
                self.utp.close()
            # What else runs in a pool is not ours to end.
            self.pool = None
            super().stop(0)
            self._send("stop")
        if None in self._dispatchers:
            self._dispatchers[None].join(seconds)

    def _end_peers(self, seconds: float) -> None:
        """Close every wire, and end the handlers."""
        closers = [spawn(f"closing {wire}", wire.close, seconds) for wire in list(self.wires)]
        gevent.joinall(closers, seconds + 1)
        handlers = [handler for handler in self._handlers if handler is not gevent.getcurrent()]
        gevent.joinall(handlers, seconds)
        gevent.killall(handlers, block=False)
        gevent.joinall(handlers, _KILL_TIMEOUT)
        for handler in handlers:
            if not handler.ready():
                _log.warning("a handler goes on, although it was killed when the server stopped: %r", handler)

    def __enter__(self) -> PeerServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def listen(
    address: ListenAddress,
    handler: Handler | None = None,
    *,
    info_hashes: InfoHashes | None = None,
    encryption: EncryptionPolicy = PREFER,
    max_connections: int = limits.CONNECTIONS,
    max_per_address: int | None = None,
    exempt_loopback: bool = False,
    spawn: Any = "default",
    reuse_port: bool = False,
    transport: TransportChoice = TCP,
    network: Network = DIRECT,
) -> PeerServer:
    """Listen for peers. The server takes them already when this returns; `serve_forever` blocks.

    Args:
        address: (host, port) or "host:port", or just a port. The host "" is every interface over IPv4 and IPv6,
            "0.0.0.0" over IPv4 and "::" over IPv6 only. Port 0 takes a free one, see `server.server_port`. Or a socket
            that listens already, TCP or Unix: it is taken over, and closed when the server stops.
        handler: called with the wire of each inbound peer, on a greenlet of its own; see `PeerServer`.
        info_hashes: the torrents to take peers for: a collection, which may change, or a callable that returns one;
            others are closed. None takes any, but in plaintext only: the info hash is the key of an encrypted opening.
        encryption: "prefer" and "allow" take plaintext and encrypted peers on one port, and select RC4 where the peer
            can; "require" takes RC4 or nothing; "disable" plaintext only.
        max_connections: peers at one time; over it they are refused, not queued.
        max_per_address: likewise of one IPv4 address, or one /64 of IPv6; None for no bound.
        exempt_loopback: whether that bound does not hold for this machine's own peers.
        spawn: what runs the handlers: "default" for greenlets without bound; a `gevent.pool.Pool`, or its size, for no
            more than that (while it is full, peers wait in the backlog of the system); or a function like
            `gevent.spawn`.
        reuse_port: whether other processes of the same user may listen on the port, too, if all say so
            (``SO_REUSEPORT``): the system gives each new peer to one of them. Linux shares peers out evenly; macOS
            gives all of them to one. Over uTP peers come to the first process only.
        transport: "tcp"; "utp" for uTP (BEP 29), on the UDP port; or "both" on one port number, or TCP alone where the
            UDP port is taken.
        network: whose interface the sockets are bound to, and whose filter holds for peers.

    Raises:
        TypeError: the handler is a coroutine function, `address` is neither an address nor a listening socket, or an
            option has another type.
        ValueError: the socket does not listen, or is to share its port though it is bound already; or handlers cannot
            block by `spawn`.
        OSError: the address is taken, or is not ours; or the system cannot share ports (``errno.ENOTSUP``).
    """
    server = PeerServer(
        address,
        handler,
        info_hashes=info_hashes,
        encryption=encryption,
        max_connections=max_connections,
        max_per_address=max_per_address,
        exempt_loopback=exempt_loopback,
        spawn=spawn,
        reuse_port=reuse_port,
        transport=transport,
        network=network,
    )
    server.start()
    return server
