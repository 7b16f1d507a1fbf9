"""What the user of the page asks for, done by a session, which keeps it."""

from __future__ import annotations

from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.metainfo import Magnet, Torrent
from geventbt.service.session import AlreadyThere, Session
from geventbt.service.torrent import ServiceTorrent


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

    def remove(self, torrent: ActiveTorrent) -> None:
        """Remove it; its files stay."""
        self._session.remove(self._known(torrent))

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set both rates of all torrents together, in bytes a second; None for no limit."""
        changes: dict[str, int | bool] = {"limits_down": down is not None, "limits_up": up is not None}
        if down is not None:
            changes["limit_down"] = down
        if up is not None:
            changes["limit_up"] = up
        self._session.change_settings(changes)

    def _known(self, torrent: ActiveTorrent) -> ServiceTorrent:
        known = self._session.find(torrent.info_hash)
        if known is None:
            raise LookupError(f"the torrent is gone: {torrent.info_hash.hex()}")
        return known
