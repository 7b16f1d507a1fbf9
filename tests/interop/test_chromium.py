"""The page and the streams in Chromium: a person adds a torrent, watches it, plays a film of it, and removes it.

One browser for all of it. On failure the message names a picture of the page.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import gevent
import pytest

import geventbt
from geventbt import limits
from geventbt.web import WebServer, make_app, serve
from geventbt.web.control import ClientControl
from tests.browser import Browser, browsing

pytestmark = pytest.mark.interop

NAME = "<script>window.hacked=1<-script><img src=x onerror=window.hacked=1>"
FILM = "film <b>.webm"
LENGTH = 30
"""Seconds of the film."""
RATE = 1_000_000
"""Bytes a second of the only seeder."""
DROP = """
const data = new DataTransfer();
data.items.add(new File([Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0))], "a.torrent"));
const drop = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
document.querySelector("#list").dispatchEvent(drop);
"""
OPTIONS: dict[str, Any] = {"host": "127.0.0.1", "dht": False, "lsd": False}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film of noise, which compresses badly."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    folder = tmp_path_factory.mktemp("origin") / NAME
    folder.mkdir()
    source = f"testsrc2=size=192x108:rate=10:duration={LENGTH},noise=alls=60:allf=t"
    options = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k", "-g", "20", "-threads", "2"]
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *options, str(folder / FILM)]
    subprocess.run(command, check=True)
    (folder / "notes.txt").write_text("notes")
    return folder


@pytest.fixture
def stage(origin: Path, tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(limits, "WEB_EVENT_INTERVAL", 0.1)
    with ExitStack() as stack:
        yield Stage(stack, origin, tmp_path, browser)
        # The page would ask a server that is gone, again and again.
        browser.open("about:blank")


class Stage:
    """A client with its page, and a seeder of the film whose rate is limited."""

    def __init__(self, stack: ExitStack, origin: Path, folder: Path, browser: Browser) -> None:
        self.browser = browser
        self.torrent = geventbt.create_torrent(origin, piece_length=32768)
        self.client = stack.enter_context(geventbt.Client(0, **OPTIONS))
        seeder = stack.enter_context(geventbt.Client(0, limit_up=RATE, **OPTIONS))
        seeder.add(self.torrent, origin.parent, seed_only=True).wait(10)
        self.peer = f"127.0.0.1:{seeder.port}"
        self.folder = folder / "out"
        self.app = make_app(self.client, self.folder)
        self.server = stack.enter_context(serve(self.app))

    @property
    def magnet(self) -> str:
        return f"{geventbt.Magnet.from_torrent(self.torrent)}&x.pe={self.peer}"

    def open(self, width: int = 1200, height: int = 800) -> None:
        self.browser.resize(width, height)
        self.browser.open(self.server.url)
        self.browser.until("document.querySelector('#place').textContent.includes('geventbt')")

    def add(self) -> None:
        self.browser.write("#link", self.magnet)
        self.browser.click("#add button[type=submit]")
        self.browser.until("document.querySelectorAll('#list .row').length === 1")


def test_a_torrent_is_added_watched_played_and_removed(stage: Stage) -> None:
    browser = stage.browser
    browser.errors()
    stage.open()
    assert browser.run("return !document.querySelector('#empty').hidden")
    stage.add()
    browser.until("document.querySelectorAll('#panel-files .item').length === 2")
    browser.click("#tab-peers")
    browser.until("document.querySelector('#panel-peers .title')?.textContent === arguments[0]", stage.peer)
    browser.click("#tab-files")
    # A film can be played long before it is there.
    browser.click(".play")
    browser.until("document.querySelector('#video').currentTime > 0.3")
    duration = browser.run("return document.querySelector('#video').duration")
    assert abs(duration - LENGTH) < 1
    browser.run("document.querySelector('#video').currentTime = arguments[0]", LENGTH - 5)
    browser.until(
        "!document.querySelector('#video').seeking && document.querySelector('#video').currentTime > arguments[0]",
        LENGTH - 4.5,
    )
    assert browser.run("return document.querySelector('#video').videoWidth") == 192
    browser.click("#player-close")
    browser.until("document.querySelector('#list .state').textContent === 'seeding'")
    assert browser.run("return document.querySelector('#list .bar').getAttribute('aria-valuenow')") == "100"
    assert browser.run("return document.querySelector('#list .name').textContent") == NAME
    assert browser.run("return document.querySelector('#panel-files .title').textContent").endswith(FILM)
    browser.click("#remove")
    browser.until("document.querySelector('#remove-dialog').open")
    assert browser.run("return document.activeElement.textContent") == "Cancel"
    browser.until("document.querySelector('#remove-what').textContent.startsWith('It keeps 2 files with ')")
    browser.click("#remove-data")
    what = browser.run("return document.querySelector('#remove-what').textContent")
    assert what.startswith("This deletes 2 files with ")
    assert what.endswith(f": {NAME} in {stage.folder}. It cannot be undone.")
    browser.click("#remove-yes")
    browser.until("document.querySelectorAll('#list .row').length === 0")
    assert not stage.client.torrents
    assert not list(stage.folder.glob("<*"))
    assert is_unharmed(browser)
    # Answers such as the 409 that gives the page its token are among them, and no faults.
    assert [text for text in browser.errors() if "Failed to load resource" not in text] == []


@pytest.mark.parametrize("width", [390, 320])
def test_a_telephone_shows_all_without_scrolling_aside(stage: Stage, width: int) -> None:
    stage.open(width, 800)
    stage.add()
    browser = stage.browser
    browser.until("document.querySelectorAll('#panel-files .item').length === 2")
    assert browser.run("return document.documentElement.scrollWidth <= arguments[0]", width), browser.picture(
        "telephone"
    )
    small = browser.run(
        "return [...document.querySelectorAll('button, select, input:not(.hidden):not([type=checkbox])')]"
        ".filter((one) => one.offsetParent && one.getBoundingClientRect().height < 44).map((one) => one.outerHTML)"
    )
    assert small == []


def test_everything_can_be_done_by_keyboard(stage: Stage) -> None:
    stage.open()
    browser = stage.browser
    browser.press("a")
    assert browser.run("return document.activeElement.id") == "link"
    browser.write("#link", stage.magnet)
    browser.press("enter")
    browser.until("document.querySelectorAll('#panel-files .item').length === 2")
    browser.press("escape", "escape", "down", "enter")
    browser.until("!document.querySelector('#pane').hidden")
    browser.press("space")
    browser.until("document.querySelector('#list .state').textContent === 'paused'")
    browser.press("space")
    browser.until("document.querySelector('#list .state').textContent !== 'paused'")
    browser.press("delete")
    browser.until("document.querySelector('#remove-dialog').open")
    browser.press("escape")
    browser.until("!document.querySelector('#remove-dialog').open")
    assert stage.client.torrents
    # From "Cancel" to the button after it.
    browser.press("delete", "tab", "enter")
    browser.until("document.querySelectorAll('#list .row').length === 0")
    assert (stage.folder / NAME).exists()


def test_a_file_is_dropped_its_files_are_chosen_and_limits_set(stage: Stage) -> None:
    stage.open()
    browser = stage.browser
    browser.run(DROP, b64encode(stage.torrent.to_bytes()).decode())
    browser.until("document.querySelectorAll('#panel-files .item').length === 2")
    browser.run(
        "const select = document.querySelector('#panel-files select'); select.value = '0';"
        "select.dispatchEvent(new Event('change'))"
    )
    active = next(iter(stage.client.torrents.values()))
    until(lambda: [file.priority for file in active.files] == [0, 4])
    browser.click("#limits-button")
    browser.write("#limit-down", "100")
    browser.click("#limits-set")
    until(lambda: (stage.client.limit_down, stage.client.limit_up) == (102_400, None))
    browser.until("document.querySelector('#total-down').textContent.includes('at most 100.0 KiB/s')")


def test_the_page_says_when_the_server_is_gone_and_goes_on_when_it_is_back(stage: Stage) -> None:
    stage.open()
    stage.add()
    port = stage.server.server_port
    stage.server.stop(0.2)
    stage.browser.until("!document.querySelector('#lost').hidden")
    with again(stage, port):
        stage.browser.until("document.querySelector('#lost').hidden && document.querySelector('#list .row')")
        stage.browser.click("#pause")
        stage.browser.until("document.querySelector('#list .state').textContent === 'paused'")


@pytest.fixture
def crowd(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    monkeypatch.setattr(limits, "WEB_EVENT_INTERVAL", 0.1)
    crowd = Crowd()
    monkeypatch.setattr("geventbt.web.feed.row_of", lambda torrent, note: {**ROW, **torrent})
    monkeypatch.setattr("geventbt.web.page_api.details_of", lambda torrent: DETAILS)
    client = cast(Any, crowd)
    with serve(make_app(client, control=ClientControl(client, "."))) as server:
        browser.open(server.url)
        yield crowd
        browser.open("about:blank")


class Crowd:
    """What a page asks of a client, for torrents that there are not.

    Attributes:
        torrents: what is to be seen of each, beside `ROW`.
    """

    limit_down = limit_up = None
    network = None

    def __init__(self) -> None:
        self.torrents: dict[bytes, dict[str, Any]] = {}


ROW: dict[str, Any] = {
    "name": "a", "state": "downloading", "error": None, "waiting": None, "size": 1000, "wanted": 1000, "done": 10,
    "fraction": 0.01, "down": 0, "up": 0, "sent": 0, "peers": 0, "seeds": 0, "eta": None,
}  # fmt: skip
HOSTILE = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "'\"><svg onload=window.hacked=1>",
    "</textarea></title><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "javascript:window.hacked=1",
    "&lt;b&gt;&#60;b&#62;",
    "${window.hacked=1}{{window.hacked=1}}",
]
BAD = " ".join(HOSTILE)
DETAILS: dict[str, Any] = {
    "hash": "", "name": BAD, "folder": BAD, "magnet": BAD, "pieces": 1, "piece_length": 1, "map": "9", "file_count": 1,
    "files": [{"index": 0, "name": BAD, "length": 1, "priority": 4, "fraction": 1, "path": quote(BAD), "played": True}],
    "peers": [{"address": BAD, "client": BAD, "fraction": 1, "down": 0, "up": 0, "encrypted": True, "incoming": True}],
    "trackers": [{"url": BAD, "error": BAD, "warning": BAD, "seeders": 1, "leechers": 1, "peers": 1, "next": 1}],
}  # fmt: skip


def test_no_text_of_others_becomes_a_part_of_the_page(crowd: Crowd, browser: Browser) -> None:
    for number, text in enumerate(HOSTILE):
        crowd.torrents[bytes([number]) * 20] = {"name": text, "error": text, "waiting": text}
    logging.getLogger("geventbt").warning("%s", BAD)
    browser.until("document.querySelectorAll('#list .row').length === arguments[0]", len(HOSTILE))
    names = browser.run("return [...document.querySelectorAll('#list .name')].map((one) => one.textContent)")
    assert sorted(names) == sorted(HOSTILE)
    browser.press("down", "enter")
    for tab in ("files", "peers", "trackers"):
        browser.click(f"#tab-{tab}")
        browser.until(f"document.querySelector('#panel-{tab} .title')?.textContent === arguments[0]", BAD)
    assert browser.run("return document.querySelector('#panel-trackers .bad').textContent") == BAD
    assert browser.run("return document.querySelector('#pane-note').textContent") in HOSTILE
    browser.until("document.querySelector('#lines').textContent.includes(arguments[0])", HOSTILE[0])
    browser.press("delete")
    browser.until("document.querySelector('#remove-what').textContent.includes(arguments[0])", BAD)
    browser.press("escape")
    browser.click("#tab-files")
    browser.click(".play")
    assert browser.run("return document.querySelector('#player-name').textContent") == BAD
    browser.click("#player-close")
    # What the server says is wrong with it is text as well.
    browser.write("#link", BAD)
    browser.press("enter")
    browser.until("document.querySelector('#error').textContent !== ''")
    assert is_unharmed(browser)


def is_unharmed(browser: Browser) -> bool:
    """Whether nothing has put an element or a script of its own into the page."""
    found = browser.run(
        "return window.hacked === undefined"
        " && document.querySelectorAll('img, svg, iframe, b b, #list script').length === 0"
    )
    return bool(found)


def test_a_thousand_torrents_are_listed_filtered_sorted_and_kept_up_to_date(crowd: Crowd, browser: Browser) -> None:
    for number in range(1000):
        crowd.torrents[number.to_bytes(20, "big")] = {"name": f"torrent {number:03}"}
    browser.until("document.querySelectorAll('#list .row').length === 1000")
    browser.press("down", "end")
    assert browser.run("return document.activeElement.querySelector('.name').textContent") == "torrent 999"
    for number, torrent in enumerate(crowd.torrents.values()):
        torrent.update(down=1024 * (number + 1), fraction=0.5, done=500)
    browser.until("document.querySelector('#list .row:last-child .down').textContent.includes('1000.0 KiB/s')")
    browser.run(
        "const sort = document.querySelector('#sort'); sort.value = 'down'; sort.dispatchEvent(new Event('change'))"
    )
    assert browser.run("return document.querySelector('#list .name').textContent") == "torrent 999"
    browser.write("#filter", "torrent 12")
    browser.until("document.querySelectorAll('#list .row').length === 10")
    del crowd.torrents[(129).to_bytes(20, "big")]
    browser.until("document.querySelectorAll('#list .row').length === 9")


def test_who_hears_the_page_is_told_what_each_control_does(stage: Stage) -> None:
    stage.open()
    stage.add()
    browser = stage.browser
    browser.until("document.querySelectorAll('#panel-files .item').length === 2")
    tree = browser.command("Accessibility.getFullAXTree")["nodes"]
    roles = (
        "button",
        "checkbox",
        "combobox",
        "link",
        "listbox",
        "option",
        "progressbar",
        "searchbox",
        "tab",
        "textbox",
    )
    controls = [node for node in tree if not node["ignored"] and node["role"]["value"] in roles]
    assert len(controls) > 20
    assert [node for node in controls if not node.get("name", {}).get("value")] == []


def again(stage: Stage, port: int) -> WebServer:
    """The same client with a new app, as after a restart: tokens of before are not valid."""
    return serve(make_app(stage.client), ("127.0.0.1", port))


def until(condition: object) -> None:
    """Wait for a condition of this process."""
    assert callable(condition)
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.02)
