"""The live view on a terminal: for each torrent a bar and its figures, for a single one a map of the pieces, and the
peers if asked for. What the window is too narrow or too low for is left out, never cut."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.text import Text

from geventbt.cli.columns import Column, fitting, joined
from geventbt.cli.flags import FLAGS, flags_of
from geventbt.cli.piece_map import PLAIN_SHADES, SHADES, legend, piece_map
from geventbt.cli.progress import source_parts, status_parts, web_seed_parts
from geventbt.cli.screen import Screen
from geventbt.cli.text import human_address, human_size, printable

if TYPE_CHECKING:
    import geventbt

_NAME, _CLIENT = 40, 24
_MIN_NAME, _MIN_BAR = 8, 10
_MAP_ROWS = 3
_MESSAGES = 3
_DELAY = 0.2
"""Seconds before the view opens, so that what is over by then does not flicker."""
_INTERVAL = 0.1


class LiveView:
    """Name, bar, bytes, speeds, time left, peers and ratio of each torrent, and which pieces are there.

    Args:
        verbose: with a table of the peers, the fastest first, and the sources that peers are found by.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._console = Console(stderr=True)
        self._torrents: dict[bytes, geventbt.ActiveTorrent] = {}
        self._screen: Screen | None = None
        self._next = monotonic() + _DELAY

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        """Draw all torrents anew, unless that was done just before for another one."""
        self._torrents[torrent.info_hash] = torrent
        now = monotonic()
        if now < self._next:
            return
        self._next = now + _INTERVAL
        if self._screen is None:
            self._screen = Screen()
        width, height = self._console.size
        frame = self._frame(width - 1, height - min(_MESSAGES, len(self._screen.messages)))
        frame += [Text(line) for line in self._screen.messages[-_MESSAGES:]]
        self._screen.draw([self._rendered(line, width - 1) for line in frame], (width, height))

    def finish(self, torrent: geventbt.ActiveTorrent) -> None:
        """Draw all torrents anew."""
        self.update(torrent)

    def close(self) -> None:
        """Leave nothing of it on the terminal."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    def _rendered(self, line: Text, width: int) -> str:
        """A line with its colours, as the terminal reads them."""
        line.truncate(width, overflow="ellipsis")
        with self._console.capture() as capture:
            self._console.print(line, end="", soft_wrap=True, highlight=False)
        return capture.get()

    def _frame(self, width: int, height: int) -> list[Text]:
        """All lines of the view, the most important ones first, and no more than there is room for."""
        torrents = list(self._torrents.values())
        heads = [line for torrent in torrents for line in self._head(torrent, width)]
        if len(torrents) > 1 and len(heads) > height:
            shown = (height - 1) // 2
            heads = [*heads[: 2 * shown], Text(f"and {len(torrents) - shown} more torrents")]
        frame = heads
        if len(torrents) == 1:
            frame += self._map(torrents[0], width, height - len(frame))
        for torrent in torrents if self._verbose else ():
            frame += self._peers(torrent, width, height - len(frame))
            sources = [Text(joined(parts, width)) for parts in [*source_parts(torrent), *web_seed_parts(torrent)]]
            frame += sources[: max(0, height - len(frame))]
        return frame[:height]

    def _head(self, torrent: geventbt.ActiveTorrent, width: int) -> list[Text]:
        """The name, the bar and the percentage; below it the figures that fit."""
        progress = torrent.progress
        is_checking = progress.state == "checking"
        total = (progress.pieces if is_checking else progress.wanted) or 1
        completed = progress.checked if is_checking else progress.done
        percent = f"{100 * completed // total}%"
        name = printable(torrent.name)
        room = max(_MIN_NAME, min(_NAME, width - len(percent) - _MIN_BAR - 2))
        name = name if cell_len(name) <= room else f"{set_cell_size(name, room - 1)}…"
        line = Text(name)
        bar = width - cell_len(name) - len(percent) - 2
        if bar >= _MIN_BAR:
            line.append(" ").append_text(self._bar(total, completed, bar)).append(" ")
        else:
            line.append("  ")
        return [line.append(percent), Text(joined(status_parts(torrent), width))]

    def _bar(self, total: int, completed: int, width: int) -> Text:
        bar = Text()
        for segment in self._console.render(ProgressBar(total, completed, width), self._console.options):
            bar.append(segment.text.rstrip("\n"), segment.style)
        bar.append(" " * (width - bar.cell_len))
        return bar

    def _map(self, torrent: geventbt.ActiveTorrent, width: int, height: int) -> list[Text]:
        """Which pieces are there, and what the signs mean; nothing where there is no room for both."""
        pieces = torrent.pieces
        if torrent.state == "checking" or not len(pieces) or height < 2:
            return []
        shades = PLAIN_SHADES if self._console.options.ascii_only else SHADES
        rows = piece_map(pieces, max(10, width - 2), min(_MAP_ROWS, height - 1), shades)
        meaning = legend(len(pieces), sum(map(len, rows)), shades)
        lines = [Text(f"[{row}]", style="cyan") for row in rows]
        return [*lines, Text(joined(meaning, width), style="dim")]

    def _peers(self, torrent: geventbt.ActiveTorrent, width: int, height: int) -> list[Text]:
        """A table of as many peers as fit, with those columns that fit."""
        peers = sorted(torrent.peers, key=lambda peer: (-peer.download_speed - peer.upload_speed, peer.address))
        if not peers or height < 2:
            return []
        room = height - 1 if len(peers) <= height - 1 else height - 2
        lines = fitting(_columns(peers[:room]), width)
        table = [Text(lines[0], style="bold"), *map(Text, lines[1:])]
        if len(peers) > room:
            table.append(Text(f"and {len(peers) - room} more"))
        if height - len(table) >= 1:
            table.append(Text(joined(FLAGS, width), style="dim"))
        return table


def _columns(peers: Sequence[geventbt.PeerStatus]) -> list[Column]:
    """The columns of the table of peers; those of the lowest rank go first where there is no room."""
    return [
        Column("client", [printable(peer.client)[:_CLIENT] for peer in peers], rank=1),
        Column("address", [human_address(peer.address) for peer in peers], rank=5),
        Column("flags", [flags_of(peer) for peer in peers], rank=2),
        Column("down/s", [human_size(peer.download_speed) for peer in peers], rank=6, is_number=True),
        Column("up/s", [human_size(peer.upload_speed) for peer in peers], rank=4, is_number=True),
        Column("pieces", [str(peer.pieces) for peer in peers], rank=3, is_number=True),
    ]
