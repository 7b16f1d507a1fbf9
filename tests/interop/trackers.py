"""Real trackers on loopback: opentracker, and bittorrent-tracker of npm.

npm's is looked for in the folder that the environment variable GEVENTBT_TEST_NODE_MODULES names, such as
``/somewhere/node_modules``, and among the packages that are installed globally.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.free_port import free_port
from tests.interop.conftest import wait_until

NODE_MODULES = "GEVENTBT_TEST_NODE_MODULES"

NODE_SERVER = """
const [folder] = process.argv.slice(1)
const { default: Server } = await import(`${folder}/bittorrent-tracker/server.js`)
const server = new Server({ ws: false, stats: false })
server.on('error', error => { console.error(error); process.exit(1) })
server.on('warning', () => {})
server.listen(0, { http: process.argv[2], udp: '127.0.0.1', udp6: '::1' }, () => console.log(JSON.stringify({
  http: server.http.address().port, udp: server.udp4.address().port, udp6: server.udp6.address().port
})))
"""


class RunningTracker(NamedTuple):
    """The announce URLs of a tracker that runs; `udp6` is "" where it has none."""

    http: str
    udp: str
    udp6: str = ""


@contextmanager
def running_opentracker(*info_hashes: bytes, host: str = "127.0.0.1") -> Iterator[RunningTracker]:
    """opentracker on `host`, for these torrents, at least one: Debian's takes no others."""
    if shutil.which("opentracker") is None:
        pytest.skip("opentracker is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        # It gives up its privileges, if it has any, before it reads the list.
        Path(folder).chmod(0o755)
        (Path(folder) / "torrents").write_text("".join(f"{info_hash.hex()}\n" for info_hash in info_hashes))
        command = ["opentracker", "-i", host, "-p", str(port), "-P", str(port), "-d", folder, "-w", "torrents"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: _takes(host, port, info_hashes[0]) or process.poll() is not None)
                assert process.poll() is None, "opentracker has ended"
                yield RunningTracker(f"http://{host}:{port}/announce", f"udp://{host}:{port}/announce")
            finally:
                process.kill()


@contextmanager
def running_npm_tracker(host: str = "127.0.0.1") -> Iterator[RunningTracker]:
    """bittorrent-tracker of npm, its HTTP on `host`, for any torrent."""
    command = ["node", "--input-type=module", "-e", NODE_SERVER, _node_modules(), host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            shown = f"[{host}]" if ":" in host else host
            yield RunningTracker(
                f"http://{shown}:{ports['http']}/announce",
                f"udp://127.0.0.1:{ports['udp']}/announce",
                f"udp://[::1]:{ports['udp6']}/announce",
            )
        finally:
            process.kill()


def _node_modules() -> str:
    """The folder that has bittorrent-tracker."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    folders = [os.environ.get(NODE_MODULES, "")]
    if shutil.which("npm"):
        folders.append(subprocess.run(["npm", "root", "-g"], capture_output=True, text=True).stdout.strip())
    for folder in folders:
        if folder and (Path(folder) / "bittorrent-tracker" / "server.js").exists():
            return folder
    return pytest.skip(f"bittorrent-tracker of npm is neither installed globally nor in {NODE_MODULES}")


def _takes(host: str, port: int, info_hash: bytes) -> bool:
    """Whether it listens and has read its list, which it does later: a peer comes, and leaves when it is taken.

    The list is looked up only for an announce.
    """
    query = f"http://{host}:{port}/announce?info_hash={quote(info_hash)}&peer_id={'x' * 20}&port=1&left=1&event="
    try:
        with urlopen(query + "started", timeout=5) as answer:
            if b"failure reason" in answer.read():
                return False
        with urlopen(query + "stopped", timeout=5) as answer:
            return b"failure reason" not in answer.read()
    except OSError:
        return False


@pytest.fixture
def opentracker() -> Iterator[Callable[..., RunningTracker]]:
    """Runs opentracker for some info hashes, and ends it: ``opentracker(info_hash).http``."""
    with ExitStack() as stack:
        yield lambda *info_hashes: stack.enter_context(running_opentracker(*info_hashes))


@pytest.fixture
def npm_tracker() -> Iterator[Callable[..., RunningTracker]]:
    """Runs npm's bittorrent-tracker, and ends it: ``npm_tracker().http``."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running_npm_tracker(*arguments))
