"""`Client.serve_forever`: waits although nothing else does, and returns when the client is closed, not before."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import Client
from tests.loopback.harness import eventually, remains


@pytest.mark.parametrize("port", [None, 0], ids=["no listener", "a listener"])
def test_a_client_without_torrent_waits(port: int | None) -> None:
    """In a thread of its own, whose loop has nothing else to wait for."""
    clients: list[Any] = []
    errors: list[BaseException] = []

    def serve() -> None:
        client = Client(port, host="127.0.0.1")
        clients.append((gevent.get_hub(), client))
        try:
            client.serve_forever()
        except BaseException as error:
            errors.append(error)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=serve)
    thread.start()
    eventually(lambda: clients)
    remains(lambda: thread.is_alive() and not errors)
    hub, client = clients[0]
    closing = in_gevent(hub, client.close)
    eventually(closing.done)
    closing.result()
    eventually(lambda: not thread.is_alive())
    assert not errors


def in_gevent(hub: Any, function: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """As in the guide on threads: call a function on a greenlet of a hub in another thread."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    hub.loop.run_callback_threadsafe(gevent.spawn, call)
    return future


def test_it_returns_when_the_close_is_over(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(100_000))
    torrent = geventbt.create_torrent(tmp_path / "data")
    client = geventbt.seed(torrent, tmp_path, ("127.0.0.1", 0))
    order: list[str] = []

    def close() -> None:
        client.close()
        order.append("closed")

    gevent.spawn_later(0.05, close)
    client.serve_forever()
    order.append("served")
    assert order == ["closed", "served"]
    geventbt.seed(torrent, tmp_path, ("127.0.0.1", client.port or 0)).close()
    # Once more is not an error.
    client.serve_forever()


def test_it_returns_although_the_greenlet_that_closed_was_killed() -> None:
    client = Client(0, host="127.0.0.1")
    closing = gevent.spawn(client.close)
    gevent.sleep(0)
    closing.kill(block=False)
    with gevent.Timeout(10):
        client.serve_forever()


def test_gevent_waits_for_torrents(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(100_000))
    torrent = geventbt.create_torrent(tmp_path / "data")
    with geventbt.seed(torrent, tmp_path, ("127.0.0.1", 0)) as seed, Client(None) as client:
        job = client.add(torrent, tmp_path / "out")
        assert gevent.wait([job], timeout=0.1) == []
        job.add_peers([("127.0.0.1", seed.port or 0)])
        assert gevent.wait([job], timeout=10) == [job]
        assert job.ready()
        assert list(gevent.iwait([job], timeout=5)) == [job]
