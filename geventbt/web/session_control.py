"""What the user of the page asks for, done by a session, or by the client of a session that keeps nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping

from geventbt.client.pieces.order import HIGHEST, NORMAL
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.metainfo import Magnet, Torrent
from geventbt.service.session import AlreadyThere, Session
from geventbt.service.torrent import ServiceTorrent
from geventbt.web.control import ClientControl


class SessionControl:
    """A `geventbt.web.Control` of a session.

    Args:
        session: the session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, source: Torrent | Magnet) -> ActiveTorrent:
        """Add a torrent, or give the one that is there; raises as `Client.add`."""
        try:
            return self._session.add(source).active
        except AlreadyThere as known:
            return known.torrent.active

    def pause(self, torrent: ActiveTorrent) -> None:
        """Stop it."""
        self._session.stop(self._known(torrent))

    def resume(self, torrent: ActiveTorrent) -> None:
        """Let it run, in its turn."""
        self._session.start(self._known(torrent))

    def check(self, torrent: ActiveTorrent) -> None:
        """Hash all of its data again, in the background."""
        self._session.verify(self._known(torrent))

    def remove(self, torrent: ActiveTorrent, *, delete: bool) -> None:
        """Remove it, and delete its files or leave them."""
        self._session.remove(self._known(torrent), delete=delete)

    def set_priorities(self, torrent: ActiveTorrent, priorities: Mapping[int, int]) -> None:
        """Set priorities of files by their index. One that is not wanted keeps its priority for later."""
        known = self._known(torrent)
        count = len(torrent.metainfo.files) if torrent.metainfo is not None else 0
        if not all(0 <= index < count and 0 <= priority <= HIGHEST for index, priority in priorities.items()):
            raise LookupError(f"the torrent has files 0 to {count - 1}, and priorities are 0 to {HIGHEST}")
        unwanted, kept = set(known.record.unwanted), dict(known.record.priorities)
        for index, priority in priorities.items():
            if priority:
                unwanted.discard(index)
                kept[str(index)] = priority
            else:
                unwanted.add(index)
        changed = {index: priority for index, priority in kept.items() if priority != NORMAL}
        self._session.change(known, unwanted=sorted(unwanted), priorities=changed)

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set both rates of all torrents together, in bytes a second; None for no limit."""
        changes: dict[str, int | bool] = {"limits_down": down is not None, "limits_up": up is not None}
        if down is not None:
            changes["limit_down"] = down
        if up is not None:
            changes["limit_up"] = up
        self._session.change_settings(changes)

    def note_on(self, torrent: ActiveTorrent) -> str | None:
        """What has gone wrong with it, or that it waits for its turn."""
        known = self._session.find(torrent.info_hash)
        if known is None:
            return None
        is_waiting = not known.runs and not known.record.is_stopped
        return known.problem or ("waits for its turn in the queue" if is_waiting else None)

    def _known(self, torrent: ActiveTorrent) -> ServiceTorrent:
        known = self._session.find(torrent.info_hash)
        if known is None:
            raise LookupError(f"the torrent is gone: {torrent.info_hash.hex()}")
        return known


class PlainControl(ClientControl):
    """A `geventbt.web.Control` of a client with a `plain_session`, which is to know what runs, and at which rates.

    Args:
        session: the session.
        folder: what is added is put there, and nowhere else.
    """

    def __init__(self, session: Session, folder: str | os.PathLike[str]) -> None:
        super().__init__(session.client, folder)
        self._session = SessionControl(session)

    def pause(self, torrent: ActiveTorrent) -> None:
        """Pause it."""
        super().pause(torrent)
        self._session.pause(torrent)

    def resume(self, torrent: ActiveTorrent) -> None:
        """Go on with it."""
        super().resume(torrent)
        self._session.resume(torrent)

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set both rates of all torrents together, in bytes a second; None for no limit."""
        self._session.set_limits(down, up)
