"""The small interface in JSON that the page uses: views below ``/api``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventbt import __version__, limits
from geventbt.client.client import Client
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.concurrency.threads import in_thread
from geventbt.errors import FetchError, GeventBTError
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.magnet import link_of_hash
from geventbt.net.addresses import AddressKind
from geventbt.net.http.fetch import fetch
from geventbt.net.http.policy import ANY, AddressPolicy
from geventbt.net.network import Network
from geventbt.net.text import clean_text
from geventbt.web.control import Control
from geventbt.web.departure import socket_of
from geventbt.web.feed import Feed
from geventbt.web.guard import Token
from geventbt.web.journal import Journal
from geventbt.web.snapshot import details_of, free_space
from geventbt.web.views import PART, Refused, Reply, Request, View, Views, json_reply

_TORRENT = "application/x-bittorrent"
_Action = Callable[[ActiveTorrent, Request], None]


class PageAPI:
    """The views below ``/api``. What changes anything is a POST with the token in a header; see `Token`.

    Args:
        client: has the torrents.
        folder: where what is added is put.
        control: does what the user asks for.
        stream_url: where files are streamed, or None.
        fetches_private_urls: whether URLs of torrents may lead into this machine and its network.
    """

    def __init__(
        self, client: Client, folder: str, control: Control, stream_url: str | None, *, fetches_private_urls: bool
    ) -> None:
        self._client = client
        self._folder = folder
        self._control = control
        self._stream_url = stream_url
        self._policy = ANY if fetches_private_urls else AddressPolicy(kind=AddressKind.PUBLIC)
        self._token = Token("X-Geventbt-Token")
        self._journal = Journal()
        self._feed = Feed(client, self._journal, self._totals, control.note_on)

    def add_to(self, views: Views) -> None:
        """Add the views."""
        views.add("/api/events", self._events)
        views.add(f"/api/torrents/{PART}", self._details)
        views.add("/api/torrents", self._checked(self._add), "POST")
        views.add("/api/limits", self._checked(self._set_limits), "POST")
        for name, action in {
            "pause": self._pause,
            "resume": self._resume,
            "check": self._check,
            "remove": self._remove,
            "files": self._set_priorities,
        }.items():
            views.add(f"/api/torrents/{PART}/{name}", self._checked(self._view_of(action)), "POST")

    def _events(self, request: Request) -> Reply:
        headers = [("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")]
        events = self._feed.events(socket_of(request.environ))
        return Reply(events, content_type="text/event-stream; charset=utf-8", headers=headers)

    def _details(self, request: Request, info_hash: str) -> Reply:
        return json_reply(details_of(self._torrent(info_hash)))

    def _totals(self) -> dict[str, Any]:
        free = free_space(self._folder)
        return {
            "version": __version__,
            "stream": self._stream_url,
            "folder": clean_text(self._folder),
            "free": None if free is None else free // limits.MIB * limits.MIB,
            "limit_down": self._client.limit_down,
            "limit_up": self._client.limit_up,
        }

    def _torrent(self, info_hash: str) -> ActiveTorrent:
        try:
            return self._client.torrents[bytes.fromhex(info_hash)]
        except (ValueError, KeyError):
            raise Refused(404, "there is no such torrent") from None

    def _checked(self, view: View) -> View:
        """A view that is called with the token alone, and whose errors are text for the page."""

        def checked(request: Request, *parts: str) -> Reply:
            if not self._token.is_in(request.environ):
                token = [(self._token.header, self._token.value)]
                return json_reply({"error": "the token is missing or old"}, 409, token)
            try:
                return view(request, *parts)
            except (GeventBTError, ValueError, LookupError, OSError) as error:
                return json_reply({"error": clean_text(str(error))}, 400)

        return checked

    def _add(self, request: Request) -> Reply:
        if request.mimetype == _TORRENT:
            source: Torrent | Magnet = in_thread(Torrent.from_bytes, request.body(limits.WEB_BODY))
        else:
            source = read_link(str(_json(request, "link").get("link", "")), self._client.network, self._policy)
        torrent = self._control.add(source)
        self._journal.note(f"added {torrent.name}")
        return json_reply({"hash": torrent.info_hash.hex(), "name": clean_text(torrent.name)}, 201)

    def _view_of(self, action: _Action) -> View:
        def view(request: Request, info_hash: str) -> Reply:
            action(self._torrent(info_hash), request)
            return json_reply({})

        return view

    def _pause(self, torrent: ActiveTorrent, request: Request) -> None:
        self._control.pause(torrent)
        self._journal.note(f"paused {torrent.name}")

    def _resume(self, torrent: ActiveTorrent, request: Request) -> None:
        self._control.resume(torrent)
        self._journal.note(f"resumed {torrent.name}")

    def _check(self, torrent: ActiveTorrent, request: Request) -> None:
        self._control.check(torrent)
        self._journal.note(f"checking {torrent.name}")

    def _remove(self, torrent: ActiveTorrent, request: Request) -> None:
        deletes = _json(request, "delete").get("delete", False)
        if not isinstance(deletes, bool):
            raise ValueError("delete: true or false")
        self._control.remove(torrent, delete=deletes)
        self._journal.note(f"removed {torrent.name}; its files are {'deleted' if deletes else 'kept'}")

    def _set_priorities(self, torrent: ActiveTorrent, request: Request) -> None:
        wanted = _json(request, "priorities").get("priorities")
        if not isinstance(wanted, dict) or not all(type(value) is int for value in wanted.values()):
            raise ValueError("priorities: an object of numbers from 0 to 7 by the index of the file")
        if not all(index.isascii() and index.isdecimal() for index in wanted):
            raise ValueError("priorities: the index of a file is a number from 0 on")
        self._control.set_priorities(torrent, {int(index): value for index, value in wanted.items()})

    def _set_limits(self, request: Request) -> Reply:
        given = _json(request, "down", "up")
        for value in given.values():
            if value is not None and (type(value) is not int or not 0 <= value <= limits.WEB_MAX_RATE):
                raise ValueError("a limit is a number of bytes a second from 0 on, or null")
        down, up = given.get("down"), given.get("up")
        self._control.set_limits(down, up)
        self._journal.note(f"limits: {_rate(down)} down, {_rate(up)} up")
        return json_reply({})


def read_link(text: str, network: Network, policy: AddressPolicy) -> Torrent | Magnet:
    """The torrent, or the link to one, that a text names: a magnet link, an info hash, or the URL of a .torrent file.

    Args:
        text: as the user has given it.
        network: opens the sockets.
        policy: which addresses a URL may lead to: the page may be used by others than those who may reach our network.

    Raises:
        GeventBTError: it names none, or it cannot be fetched.
    """
    text = text.strip()
    if not text or len(text) > limits.WEB_LINK:
        raise ValueError("give a magnet link, an info hash, or the URL of a .torrent file")
    if text.lower().startswith(("http://", "https://")):
        try:
            return in_thread(Torrent.from_bytes, fetch(text, max_bytes=limits.WEB_BODY, policy=policy, network=network))
        except FetchError as error:
            hint = "only addresses of the internet are fetched from; save the file, and add that"
            why = f"{error}" if policy is ANY else f"{error} ({hint})"
            raise FetchError(f"the URL cannot be fetched: {why}") from error
    return Magnet.from_string(link_of_hash(text) or text)


def _json(request: Request, *known: str) -> dict[str, Any]:
    """The body of a request, an object with these keys and no others."""
    found = request.json(limits.WEB_JSON)
    if not isinstance(found, dict) or not found.keys() <= set(known):
        raise ValueError(f"the body is an object with {' and '.join(known)}")
    return found


def _rate(value: int | None) -> str:
    return "no limit" if value is None else f"{value} bytes/s"
