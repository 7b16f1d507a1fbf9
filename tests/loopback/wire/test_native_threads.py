"""Clients and servers belong to one native thread: what acts or waits says so in any other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geventbt
from tests.loopback.harness import eventually


def errors_in_a_native_thread(calls: dict[str, Callable[[], Any]]) -> dict[str, str]:
    """The text of the RuntimeError of each call that raises one."""
    errors: dict[str, str] = {}

    def use() -> None:
        for name, call in calls.items():
            try:
                call()
            except RuntimeError as error:
                errors[name] = str(error)

    thread = threading.Thread(target=use)
    thread.start()
    eventually(lambda: not thread.is_alive())
    return errors


def test_a_client_and_its_torrents_are_refused_to_another_thread(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(100_000))
    torrent = geventbt.create_torrent(tmp_path / "data")
    with geventbt.seed(torrent, tmp_path, ("127.0.0.1", 0)) as client:
        job = client.torrents[torrent.info_hash]
        calls: dict[str, Callable[[], Any]] = {
            "add": lambda: client.add(torrent, tmp_path),
            "serve_forever": client.serve_forever,
            "close": client.close,
            "wait": job.wait,
            "wait_metadata": job.wait_metadata,
            "add_peers": lambda: job.add_peers([]),
            "pause": job.pause,
            "resume": job.resume,
            "remove": job.remove,
            "select": lambda: job.select([0]),
            "open": job.open,
        }
        errors = errors_in_a_native_thread(calls)
        assert errors.keys() == calls.keys()
        assert all("native thread" in text for text in errors.values())
        assert job.state == "seeding"
        assert job.progress.done == 100_000


def test_a_server_is_not_stopped_by_another_thread() -> None:
    with geventbt.listen(("127.0.0.1", 0)) as server:
        assert "native thread" in errors_in_a_native_thread({"stop": server.stop})["stop"]
        assert server.started
