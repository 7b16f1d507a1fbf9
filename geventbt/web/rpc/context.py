"""`RpcContext`: what the methods of the protocol work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from geventbt import limits
from geventbt.net.addresses import AddressKind
from geventbt.net.http.policy import ANY, AddressPolicy
from geventbt.service.session import Session
from geventbt.service.torrent import ServiceTorrent
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.errors import Code, RpcError

RECENTLY = 60
"""Seconds within which a change is recent."""


@dataclass(frozen=True, slots=True)
class RpcContext:
    """What the methods of the protocol work on.

    Attributes:
        session: the torrents and their settings.
        session_id: what requests must name, so that a web page cannot send them.
        fetches_private_urls: whether URLs of torrents may lead into this machine and its network.
        shut_down: ends the program; None if a client must not.
    """

    session: Session
    session_id: str
    fetches_private_urls: bool = False
    shut_down: Callable[[], object] | None = None

    def chosen(self, arguments: Arguments) -> list[ServiceTorrent]:
        """The torrents that a request names by ``ids``: all of them where it is missing, none where it is an empty
        list. Those that are not there are passed over.

        Raises:
            RpcError: they are not ids.
        """
        ids = arguments.get("ids")
        torrents = self.session.torrents
        if ids is None:
            return torrents
        if isinstance(ids, str) and ids.replace("-", "_") == "recently_active":
            since = self.session.now() - RECENTLY
            return [torrent for torrent in torrents if max(torrent.changed_at, torrent.record.added) >= since]
        wanted = ids if isinstance(ids, list) else [ids]
        if len(wanted) > limits.RPC_ITEMS or not all(isinstance(each, (int, str)) for each in wanted):
            raise RpcError(Code.INVALID_PARAMS, "ids: must be a number, a list of numbers and info hashes, or a text")
        by_name: dict[int | str, ServiceTorrent] = {}
        for torrent in torrents:
            by_name[torrent.record.id] = by_name[torrent.info_hash.hex()] = torrent
        names = [each.lower() if isinstance(each, str) else each for each in wanted]
        return list(dict.fromkeys(by_name[name] for name in names if name in by_name))

    @property
    def url_policy(self) -> AddressPolicy:
        """Which addresses URLs that clients give may lead to."""
        return ANY if self.fetches_private_urls else AddressPolicy(kind=AddressKind.PUBLIC)

    def folder(self, arguments: Arguments, name: str) -> str:
        """The folder that an argument names, as it is on the disk.

        Raises:
            RpcError: it is not absolute, or not one that data may be in.
        """
        text = arguments.text(name)
        if not text.startswith("/"):
            what = "download directory" if name == "download_dir" else "directory"
            raise RpcError(Code.NOT_ABSOLUTE, f"{what} path is not absolute")
        try:
            return self.session.check_folder(text)
        except ValueError as error:
            raise RpcError(Code.SYSTEM, str(error)) from error


Answer: TypeAlias = dict[str, Any]
Method: TypeAlias = Callable[[RpcContext, Arguments], Answer]
Methods: TypeAlias = Mapping[str, Method]
