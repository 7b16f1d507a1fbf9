"""Clients beside native threads and forked processes: nothing is left behind, nothing hangs, nothing is disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import geventbt


def run(program: str, *arguments: object, timeout: float = 60) -> str:
    """Run a program in a process of its own. Returns what it printed; fails with its errors."""
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def seed(tmp_path: Path) -> tuple[str, Path]:
    """The path of a torrent, and the folder of its data."""
    (tmp_path / "data").write_bytes(os.urandom(300_000))
    torrent = geventbt.create_torrent(tmp_path / "data", piece_length=32768)
    (tmp_path / "t.torrent").write_bytes(torrent.to_bytes())
    return str(tmp_path / "t.torrent"), tmp_path


WHOLE_CALLS = """
import gc, os, sys, threading, time, geventbt
from contextlib import suppress
torrent, folder, out = sys.argv[1:]
ready, over, address = threading.Event(), threading.Event(), []
def serve():
    import gevent
    with geventbt.seed(torrent, folder, ("127.0.0.1", 0)) as client:
        address.append(("127.0.0.1", client.port)); ready.set()
        while not over.is_set(): gevent.sleep(0.01)
server = threading.Thread(target=serve, daemon=True)
server.start()
assert ready.wait(10)
info_hash = geventbt.Torrent.from_file(torrent).info_hash
magnet = f"magnet:?xt=urn:btih:{info_hash.hex()}"
def announce():
    with suppress(geventbt.TrackerError):
        request = geventbt.AnnounceRequest(info_hash, geventbt.new_peer_id(), 6881)
        geventbt.announce("http://127.0.0.1:9/announce", request, timeout=2)
def fail():
    with suppress(geventbt.NoPeersError):
        geventbt.download(torrent, f"{out}/failed", peers=[("127.0.0.1", 9)])
calls = {
    "download": lambda: geventbt.download(torrent, f"{out}/{threading.get_ident()}", peers=address),
    "a download that fails": fail,
    "fetch_metadata": lambda: geventbt.fetch_metadata(magnet, peers=address, timeout=10),
    "inspect_peer": lambda: geventbt.inspect_peer(address[0], info_hash, wait=0.01),
    "announce": announce,
}
def count():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
for name, call in calls.items():
    errors = []
    def work():
        try: call()
        except BaseException as error: errors.append(error)
    for number in range(6):
        # The first call has the seeder open its file.
        if number == 1: before = count()
        thread = threading.Thread(target=work); thread.start(); thread.join(20)
        assert not errors, (name, errors)
    until = time.monotonic() + 5
    while any(now > then for now, then in zip(count(), before)) and time.monotonic() < until: time.sleep(0.02)
    assert all(now <= then for now, then in zip(count(), before)), (name, before, count())
over.set()
# A thread that runs greenlets while the interpreter ends may crash it.
server.join(10)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted in /proc")
def test_a_whole_call_in_a_native_thread_leaves_nothing_behind(seed: tuple[str, Path], tmp_path: Path) -> None:
    run(WHOLE_CALLS, *seed, tmp_path / "out")


FORKS = """
import os, sys, {imports}
import gevent, geventbt
torrent, folder, out = sys.argv[1:]
client = geventbt.seed(torrent, folder, ("127.0.0.1", 0))
here = ("127.0.0.1", client.port)
if {first}: geventbt.download(torrent, out + "/parent", peers=[here])
wire = geventbt.connect(here)
wire.handshake(client.torrents[geventbt.Torrent.from_file(torrent).info_hash].info_hash, geventbt.new_peer_id())
with gevent.Timeout(10):
    while not wire.peer_has_all: gevent.sleep(0.01)
def in_child():
    uses = (lambda: client.add(torrent, folder), wire.interested, client.server.stop, client.serve_forever)
    for use in uses:
        try: use()
        except RuntimeError as error: assert "native thread" in str(error), error
        else: raise AssertionError("the child uses what is the parent's")
    geventbt.download(torrent, f"{{out}}/child{{os.getpid()}}", peers=[here])
    gevent.sleep(0.1)  # for what is left of the parent's: it would run now
def fork():
    pid = os.fork()
    if pid == 0:
        try: in_child()
        except BaseException as error:
            print("child:", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return pid
def end_of(pid):
    with gevent.Timeout(30):
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found: return os.waitstatus_to_exitcode(status)
            gevent.sleep(0.02)
pids = [fork(), gevent.spawn(fork).get()]
assert [end_of(pid) for pid in pids] == [0, 0]
assert not wire.closed
assert wire.peer_has_all or wire.peer_pieces.count()
assert geventbt.download(torrent, out + "/later", peers=[here])
last = os.fork()
if last == 0:
    import time
    time.sleep(20)
    os._exit(0)
wire.close(0)
client.close()
again = geventbt.listen(here)  # the port is free, although a child is there
again.stop()
os.kill(last, 9); end_of(last)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("imports", ["os", "gevent.monkey; gevent.monkey.patch_all()"], ids=["unpatched", "patched"])
@pytest.mark.parametrize("first", [True, False], ids=["after a download", "before any"])
def test_a_forked_child_begins_anew_and_the_parent_goes_on(
    seed: tuple[str, Path], tmp_path: Path, imports: str, first: bool
) -> None:
    run(FORKS.format(imports=imports, first=first), *seed, tmp_path / "out")


IDLE_FORK = """
import os, sys, gevent, geventbt
ticks = []
def tick():
    while True:
        ticks.append(os.getpid()); gevent.sleep(0.01)
geventbt.inspect_peer(("127.0.0.1", 9), b"i" * 20)
gevent.spawn(tick); gevent.sleep(0.05)
pid = gevent.os.fork()
if pid == 0:
    with gevent.Timeout(10):
        while os.getpid() not in ticks: gevent.sleep(0.01)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_greenlets_of_a_program_without_open_wires_go_on_in_a_child_as_gevent_promises() -> None:
    run(IDLE_FORK)


RESET_UNDER_LIBUV = """
import os, socket, struct, sys
os.environ["GEVENT_LOOP"] = "libuv"
import gevent, geventbt
from gevent import socket as gs
listener = gs.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
for behind in (b"", b"\\0\\0\\0\\1\\1", b"\\0\\0\\0\\5\\4\\0\\0\\0\\1" * 20_000):
    wire = geventbt.connect(listener.getsockname()); peer, _ = listener.accept()
    shaking = gevent.spawn(wire.handshake, b"i" * 20, geventbt.new_peer_id())
    peer.sendall(geventbt.Handshake(b"i" * 20, geventbt.new_peer_id(), geventbt.Extensions()).to_bytes())
    peer.recv(1000); shaking.get(); gevent.sleep(0.05)
    peer.sendall(behind)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); peer.close()
    assert gevent.wait([wire], timeout=5) == [wire], behind[:5]
"""


def test_a_reset_behind_bytes_is_noticed_under_libuv() -> None:
    run(RESET_UNDER_LIBUV)
