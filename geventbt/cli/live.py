"""The live view on a terminal, drawn by rich: a bar, a map of the pieces, and a table of the peers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from geventbt.cli.flags import flags_of
from geventbt.cli.piece_map import PLAIN_SHADES, SHADES, piece_map
from geventbt.cli.progress import status_of, tracker_lines
from geventbt.cli.text import human_address, human_size, printable

if TYPE_CHECKING:
    import geventbt

_NAME, _CLIENT = 40, 24
_MAP_ROWS = 3
_LINES_BESIDE_PEERS = 9


class LiveView:
    """Name, bar, bytes, speed, time left, peers, and which pieces are there; on standard error.

    Args:
        verbose: with a table of the peers, the fastest first, and the trackers that do not answer.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._console = Console(stderr=True)
        # Standard output may lead elsewhere and is left alone.
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)
        self._live.start()

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        """Draw it anew."""
        self._live.update(self._draw(torrent), refresh=True)

    def close(self) -> None:
        """Leave the last drawing where it is. The terminal may be gone by now."""
        with suppress(OSError):
            self._live.stop()

    def _draw(self, torrent: geventbt.ActiveTorrent) -> Group:
        progress = torrent.progress
        parts: list[Any] = [_headline(torrent.name, progress, status_of(torrent))]
        pieces = torrent.pieces
        if progress.state != "checking" and len(pieces):
            shades = PLAIN_SHADES if self._console.options.ascii_only else SHADES
            rows = piece_map(pieces, max(10, self._console.width - 2), _MAP_ROWS, shades)
            parts += [Text(f"[{row}]", style="cyan", no_wrap=True) for row in rows]
        peers = torrent.peers if self._verbose else []
        if peers:
            parts.append(self._table(peers))
        if self._verbose:
            parts += [Text(line, no_wrap=True, overflow="ellipsis") for line in tracker_lines(torrent)]
        return Group(*parts)

    def _table(self, peers: list[geventbt.PeerStatus]) -> Table:
        room = max(1, self._console.height - _LINES_BESIDE_PEERS)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (
            ("client", "left"),
            ("address", "left"),
            ("flags", "left"),
            ("down/s", "right"),
            ("up/s", "right"),
            ("pieces", "right"),
        ):
            table.add_column(name, justify=justify, no_wrap=True)
        peers = sorted(peers, key=lambda peer: (-peer.download_speed - peer.upload_speed, peer.address))
        for peer in peers[:room]:
            cells = (
                printable(peer.client)[:_CLIENT],
                human_address(peer.address),
                flags_of(peer),
                human_size(peer.download_speed),
                human_size(peer.upload_speed),
                str(peer.pieces),
            )
            table.add_row(*map(Text, cells))
        if len(peers) > room:
            table.add_row(Text(f"and {len(peers) - room} more"))
        return table


def _headline(name: str, progress: geventbt.Progress, state: str) -> Group:
    """The bar, as wide as there is room, and what it stands for below."""
    is_checking = progress.state == "checking"
    total = (progress.pieces if is_checking else progress.wanted) or 1
    completed = progress.checked if is_checking else progress.done
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    # Text never reads its characters as markup.
    line.add_row(
        Text(printable(name)[:_NAME]),
        ProgressBar(total=total, completed=completed),
        Text(f"{100 * completed // total}%"),
    )
    return Group(line, Text(state, no_wrap=True, overflow="ellipsis"))
