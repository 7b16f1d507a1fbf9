"""A server of the S3 protocol on loopback: moto's, in a process of its own."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.free_port import free_port

LOGIN = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class S3Server:
    """A running server with an empty bucket.

    Attributes:
        port: its port.
        process: its process.
    """

    port: int
    process: subprocess.Popen[bytes]

    @property
    def options(self) -> dict[str, Any]:
        """For a file system of s3fs."""
        return options_of(self.port)

    @property
    def environment(self) -> dict[str, str]:
        """The same for a program."""
        return {**LOGIN, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}


def options_of(port: int) -> dict[str, Any]:
    """For a file system of s3fs that uses a server on loopback."""
    return {"endpoint_url": f"http://127.0.0.1:{port}", "key": "someone", "secret": "secret"}


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server with a bucket named "bucket"; the test is skipped where it, or s3fs, is not installed."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (pip install s3fs)")
    pytest.importorskip("flask_cors", reason="moto's server is not installed (pip install 'moto[s3]' flask flask-cors)")
    pytest.importorskip("moto", reason="moto is not installed (pip install 'moto[s3]' flask flask-cors)")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(port)
        yield S3Server(port, process)
    finally:
        process.kill()
        process.wait()


def _make_bucket(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("PUT", "/bucket")
            assert connection.getresponse().status == 200
            return
        except ConnectionError:
            assert time.monotonic() < deadline, "moto's server has not started"
            time.sleep(0.05)
        finally:
            connection.close()
