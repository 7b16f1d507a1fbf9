"""How fast whole torrents move, ours against libtorrent's, on the same machine in the same run.

Every client is a process of its own; plaintext TCP on loopback, the payload in a folder that should be on tmpfs. A row
runs libtorrent and ours in turns, so that both see the same machine, and gives the median of each and their ratio.

    python scripts/bench_transfer.py [--size 1024] [--repeat 3] [--rows download,seed] [--folder DIR] [--json]

Rows (the goal in brackets):

    download-256K, download-1M, download-4M   one libtorrent seeder to one downloader [1.0, 1.2, 1.0 times as fast]
    download-rc4     the same, encrypted [1.2 times as fast]
    seed             one seeder to a libtorrent downloader: CPU seconds of the seeder [half]
    seed-50, seed-200   one seeder to so many libtorrent downloaders, 16 MiB each [as fast]
    ours             our seeder to our downloader, against SHA-1 of the same bytes on one core [0.65]
    many             fifty libtorrent seeders to our downloader, against one [0.7]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

MIB = 1 << 20
SMALL = 16
"""MiB that each of many downloaders fetches."""

# ---------------------------------------------------------------------- the clients, each in a process of its own


def _libtorrent_session(encrypted: bool) -> Any:
    import libtorrent as lt

    policy = lt.enc_policy.forced if encrypted else lt.enc_policy.disabled
    return lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "in_enc_policy": int(policy),
            "out_enc_policy": int(policy),
            "allowed_enc_level": int(lt.enc_level.rc4 if encrypted else lt.enc_level.plaintext),
            "allow_multiple_connections_per_ip": True,
            "send_buffer_watermark": 16 * MIB,
            "send_buffer_low_watermark": 1 * MIB,
            "send_buffer_watermark_factor": 300,
            "send_socket_buffer_size": 1 * MIB,
            "recv_socket_buffer_size": 1 * MIB,
            "max_out_request_queue": 2000,
            "max_allowed_in_request_queue": 4000,
            "request_queue_time": 10,
            "max_queued_disk_bytes": 256 * MIB,
            "aio_threads": 4,
            "hashing_threads": 2,
            "unchoke_slots_limit": -1,
            "connections_limit": 1000,
            "connection_speed": 1000,
            "alert_mask": 0,
        }
    )


def _libtorrent_torrent(session: Any, torrent: str, folder: str, *, seed: bool) -> Any:
    import libtorrent as lt

    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    flags = parameters.flags & ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
    parameters.flags = flags | lt.torrent_flags.seed_mode if seed else flags
    return session.add_torrent(parameters)


def _seed_libtorrent(torrent: str, folder: str, options: dict[str, Any]) -> None:
    sessions = [_libtorrent_session(options["encrypted"]) for _ in range(options["count"])]
    for session in sessions:
        _libtorrent_torrent(session, torrent, folder, seed=True)
    _seed_until_told([session.listen_port() for session in sessions], sys.stdin.readline)


def _seed_ours(torrent: str, folder: str, options: dict[str, Any]) -> None:
    import geventbt

    client = geventbt.seed(torrent, folder, ("127.0.0.1", 0), encryption=_policy(options))
    from gevent.fileobject import FileObject

    _seed_until_told([client.port], FileObject(sys.stdin, "rb", close=False).readline)
    client.close()


def _seed_until_told(ports: list[int | None], wait: Callable[[], Any]) -> None:
    """Say where we listen; when told so, say what the seeding has cost since then."""
    before = time.process_time()
    print(json.dumps({"ports": ports}), flush=True)
    wait()
    print(json.dumps({"cpu": time.process_time() - before}), flush=True)


def _download_libtorrent(torrent: str, folder: str, options: dict[str, Any]) -> None:
    sessions = [_libtorrent_session(options["encrypted"]) for _ in range(options["count"])]
    clock = _Clock()
    handles = []
    for number, session in enumerate(sessions):
        handles.append(_libtorrent_torrent(session, torrent, os.path.join(folder, str(number)), seed=False))
        for port in options["ports"]:
            handles[-1].connect_peer(("127.0.0.1", port))
    # It connects on a tick of half a second, which is no part of how fast it moves data.
    while not any(handle.status().total_payload_download for handle in handles):
        time.sleep(0.001)
    clock.restart()
    waiting = list(handles)
    while waiting:
        waiting = [handle for handle in waiting if not handle.status().is_seeding]
        time.sleep(0.005)
    clock.report()
    # Taking a session down takes long, and is not measured.
    sys.stdout.flush()
    os._exit(0)


def _download_ours(torrent: str, folder: str, options: dict[str, Any]) -> None:
    import geventbt

    client = geventbt.Client(None, encryption=_policy(options))
    clock = _Clock()
    peers = [("127.0.0.1", port) for port in options["ports"]]
    client.add(torrent, os.path.join(folder, "0"), peers=peers).wait()
    clock.report()
    client.close(timeout=1)


class _Clock:
    """Says that we are ready, waits for the start, and measures until `report`."""

    def __init__(self) -> None:
        print(json.dumps({}), flush=True)
        sys.stdin.readline()
        self._cpu = time.process_time()
        self.restart()

    def restart(self) -> None:
        self._started = time.perf_counter()

    def report(self) -> None:
        seconds = time.perf_counter() - self._started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "cpu": time.process_time() - self._cpu, "peak": peak}), flush=True)


def _policy(options: dict[str, Any]) -> str:
    return "require" if options["encrypted"] else "disable"


ROLES = {
    "seed libtorrent": _seed_libtorrent,
    "seed ours": _seed_ours,
    "download libtorrent": _download_libtorrent,
    "download ours": _download_ours,
}

# ---------------------------------------------------------------------- one transfer


class _Child:
    """A client in a process of its own, which speaks JSON lines."""

    def __init__(self, role: str, torrent: Path, folder: Path, **options: Any) -> None:
        settings = {"encrypted": False, "count": 1, "ports": [], **options}
        command = [sys.executable, __file__, "--role", role, str(torrent), str(folder), json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a client has ended: {self.process.args!r}")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Bench:
    """Makes the payloads, and moves them.

    Args:
        folder: for everything.
        size: MiB of the large payload.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self._torrents: dict[tuple[int, int], Path] = {}

    def torrent(self, size: int, piece_length: int) -> Path:
        """A torrent of so many MiB, whose data is in the folder "data"."""
        import geventbt

        key = (size, piece_length)
        if key not in self._torrents:
            data = self.folder / "data" / f"{size}.bin"
            data.parent.mkdir(exist_ok=True)
            if not data.exists():
                with open(data, "wb") as file:
                    for _ in range(size):
                        file.write(os.urandom(MIB))
            self._torrents[key] = self.folder / f"{size}-{piece_length}.torrent"
            made = geventbt.create_torrent(data, piece_length=piece_length)
            self._torrents[key].write_bytes(made.to_bytes())
        return self._torrents[key]

    def transfer(
        self,
        seeder: str,
        downloader: str,
        *,
        size: int | None = None,
        piece_length: int = MIB,
        seeders: int = 1,
        downloaders: int = 1,
        encrypted: bool = False,
    ) -> dict[str, float]:
        """Move a payload once. Returns MB/s, CPU seconds of both sides, and the downloader's peak memory in MiB."""
        size = size or self.size
        torrent = self.torrent(size, piece_length)
        target = self.folder / "out"
        shutil.rmtree(target, ignore_errors=True)
        seed = _Child(f"seed {seeder}", torrent, self.folder / "data", encrypted=encrypted, count=seeders)
        try:
            ports = seed.hear()["ports"]
            load = _Child(
                f"download {downloader}", torrent, target, encrypted=encrypted, count=downloaders, ports=ports
            )
            try:
                load.hear()
                load.tell()
                loaded = load.hear()
                seed.tell()
                seeded = seed.hear()
            finally:
                load.end()
        finally:
            seed.end()
            shutil.rmtree(target, ignore_errors=True)
        return {
            "speed": size * downloaders * MIB / 1e6 / loaded["seconds"],
            "cpu": loaded["cpu"],
            "seeder_cpu": seeded["cpu"],
            "peak": loaded["peak"],
        }


# ---------------------------------------------------------------------- the rows


def _in_turns(repeat: int, runs: dict[str, Callable[[], dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The medians of each run, after so many turns of all."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            results[name].append(run())
    return {
        name: {key: median(result[key] for result in several) for key in several[0]}
        for name, several in results.items()
    }


def _row(text: str, goal: str, theirs: float, ours: float, ratio: float, **more: float) -> dict[str, Any]:
    return {"row": text, "goal": goal, "theirs": theirs, "ours": ours, "ratio": ratio, **more}


def download(bench: Bench, repeat: int, name: str, goal: str, **options: Any) -> dict[str, Any]:
    """One libtorrent seeder to one downloader: MB/s."""
    both = _in_turns(
        repeat,
        {who: lambda who=who: bench.transfer("libtorrent", who, **options) for who in ("libtorrent", "ours")},  # type: ignore[misc]
    )
    theirs, ours = both["libtorrent"], both["ours"]
    return _row(
        f"{name}, MB/s",
        goal,
        theirs["speed"],
        ours["speed"],
        ours["speed"] / theirs["speed"],
        their_cpu=theirs["cpu"],
        our_cpu=ours["cpu"],
        our_peak_mib=ours["peak"],
    )


def seed(bench: Bench, repeat: int) -> dict[str, Any]:
    """One seeder to a libtorrent downloader: CPU seconds of the seeder, for a GiB."""
    both = _in_turns(
        repeat,
        {who: lambda who=who: bench.transfer(who, "libtorrent") for who in ("libtorrent", "ours")},  # type: ignore[misc]
    )
    theirs, ours = both["libtorrent"], both["ours"]
    scale = 1024 / bench.size
    return _row(
        "seed, CPU s of the seeder a GiB",
        "<= 0.5",
        theirs["seeder_cpu"] * scale,
        ours["seeder_cpu"] * scale,
        ours["seeder_cpu"] / theirs["seeder_cpu"],
        their_speed=theirs["speed"],
        our_speed=ours["speed"],
    )


def seed_many(bench: Bench, repeat: int, downloaders: int) -> dict[str, Any]:
    """One seeder to many libtorrent downloaders: MB/s of all together."""
    both = _in_turns(
        repeat,
        {
            who: lambda who=who: bench.transfer(who, "libtorrent", size=SMALL, downloaders=downloaders)  # type: ignore[misc]
            for who in ("libtorrent", "ours")
        },
    )
    theirs, ours = both["libtorrent"]["speed"], both["ours"]["speed"]
    return _row(f"seed-{downloaders}, MB/s", ">= 1.0", theirs, ours, ours / theirs)


def ours(bench: Bench, repeat: int) -> dict[str, Any]:
    """Our seeder to our downloader, and SHA-1 of as many bytes on one core: MB/s."""
    chunk = os.urandom(MIB)

    def hash_all() -> dict[str, float]:
        started = time.perf_counter()
        for _ in range(bench.size):
            hashlib.sha1(chunk).digest()
        return {"speed": bench.size * MIB / 1e6 / (time.perf_counter() - started)}

    both = _in_turns(repeat, {"hash": hash_all, "ours": lambda: bench.transfer("ours", "ours")})
    theirs, us = both["hash"]["speed"], both["ours"]["speed"]
    return _row("ours, MB/s, against SHA-1", ">= 0.65", theirs, us, us / theirs)


def many(bench: Bench, repeat: int) -> dict[str, Any]:
    """Fifty seeders to our downloader, and one: MB/s."""
    both = _in_turns(
        repeat,
        {
            "one": lambda: bench.transfer("libtorrent", "ours"),
            "many": lambda: bench.transfer("libtorrent", "ours", seeders=50),
        },
    )
    one, fifty = both["one"]["speed"], both["many"]["speed"]
    return _row("many, MB/s from 50, against 1", ">= 0.7", one, fifty, fifty / one)


ROWS: dict[str, Callable[[Bench, int], dict[str, Any]]] = {
    "download-256K": lambda b, n: download(b, n, "download-256K", ">= 1.0", piece_length=MIB // 4),
    "download-1M": lambda b, n: download(b, n, "download-1M", ">= 1.2"),
    "download-4M": lambda b, n: download(b, n, "download-4M", ">= 1.0", piece_length=4 * MIB),
    "download-rc4": lambda b, n: download(b, n, "download-rc4", ">= 1.2", encrypted=True),
    "seed": seed,
    "seed-50": lambda b, n: seed_many(b, n, 50),
    "seed-200": lambda b, n: seed_many(b, n, 200),
    "ours": ours,
    "many": many,
}


def main() -> None:
    if sys.argv[1:2] == ["--role"]:
        ROLES[sys.argv[2]](sys.argv[3], sys.argv[4], json.loads(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB of the payload")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--folder", help="for the data; default: a new one, on tmpfs where there is one")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    base = arguments.folder or ("/dev/shm" if os.path.isdir("/dev/shm") else None)
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=base) as folder:
        bench = Bench(Path(folder), arguments.size)
        if not arguments.json:
            print(f"{'':36}{'theirs':>10}{'ours':>10}{'ratio':>8}  goal")
        for name in arguments.rows.split(","):
            result = ROWS[name](bench, arguments.repeat)
            results.append(result)
            if not arguments.json:
                more = ", ".join(
                    f"{key} {value:.2f}"
                    for key, value in result.items()
                    if key not in ("row", "goal", "theirs", "ours", "ratio")
                )
                print(
                    f"{result['row']:36}{result['theirs']:10.2f}{result['ours']:10.2f}{result['ratio']:8.2f}"
                    f"  {result['goal']}  {more}",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
