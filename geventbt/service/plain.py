"""`plain_session`: remote control of a client as its program has made it."""

from __future__ import annotations

import os

from geventbt.client.client import Client
from geventbt.concurrency.greenlets import spawn
from geventbt.service.session import Session


def plain_session(client: Client, folder: str | os.PathLike[str] = ".") -> Session:
    """A session for a program that has none: it keeps nothing, lets all torrents run at one time, and ends with its
    client.

    Args:
        client: the client.
        folder: where torrents that are added without a folder are put.
    """
    session = Session(client, settings={"download_dir": os.fspath(folder), "limits_downloads": False})
    spawn("the end of a session", _close_with_client, session)
    return session


def _close_with_client(session: Session) -> None:
    session.client.serve_forever()
    session.close()
