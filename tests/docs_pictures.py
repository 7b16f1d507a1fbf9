"""The pictures of the page in docs/, made in Chromium: ``PYTHONPATH=. python tests/docs_pictures.py``."""

from __future__ import annotations

import random
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import geventbt
from geventbt.web import make_app, serve
from tests.browser import Browser, browsing

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
_TORRENTS = {
    "debian-13.2-amd64": {"debian-13.2-amd64.iso": 24_000_000},
    "big-buck-bunny": {"big-buck-bunny.mp4": 6_000_000, "big-buck-bunny.srt": 20_000, "poster.jpg": 300_000},
    "a-talk-on-greenlets": {"talk.webm": 9_000_000, "slides.pdf": 800_000},
    "field-recordings": {f"recording-{number}.flac": 900_000 for number in range(1, 6)},
}


def make_torrents(folder: Path) -> list[geventbt.Torrent]:
    """Torrents with data of no meaning."""
    source = random.Random(1)
    for name, files in _TORRENTS.items():
        (folder / name).mkdir(parents=True)
        for file, size in files.items():
            (folder / name / file).write_bytes(source.randbytes(size))
    return [geventbt.create_torrent(folder / name, piece_length=65536) for name in _TORRENTS]


def take(browser: Browser, url: str, torrent: geventbt.Torrent) -> None:
    """Take all pictures."""
    for name, width, height, scheme in (
        ("page", 1280, 720, "light"),
        ("page-dark", 1280, 720, "dark"),
        ("page-telephone", 390, 844, "light"),
    ):
        browser.resize(width, height)
        browser.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(url)
        browser.until("document.querySelectorAll('#list .row').length === 4")
        if "telephone" not in name:
            browser.click(f"[data-hash='{torrent.swarm_hash.hex()}']")
            browser.until("document.querySelectorAll('#panel-files .item').length > 0")
            browser.until("document.querySelector('#total-down').textContent !== '0 B/s'")
        shutil.copy(browser.picture(name), PICTURES / f"{name}.png")


def main() -> None:
    """Make the pictures of a client that downloads from another one."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        torrents = make_torrents(folder / "origin")
        options: dict[str, Any] = {"host": "127.0.0.1", "dht": False, "lsd": False}
        seeder = stack.enter_context(geventbt.Client(0, limit_up=900_000, **options))
        client = stack.enter_context(geventbt.Client(0, **options))
        for torrent in torrents[:3]:
            seeder.add(torrent, folder / "origin").wait(30)
        client.add(torrents[3], folder / "origin")
        for torrent in torrents[:3]:
            active = client.add(torrent, folder / "downloads", peers=[("127.0.0.1", seeder.port or 0)])
        active.pause()
        server = stack.enter_context(serve(make_app(client, "/srv/torrents")))
        browser = stack.enter_context(browsing(folder))
        PICTURES.mkdir(exist_ok=True)
        take(browser, server.url, torrents[1])


if __name__ == "__main__":
    main()
