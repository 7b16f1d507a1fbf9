"""The whole of what a URL has, bounded in time and in bytes: for trackers and .torrent files."""

from __future__ import annotations

import zlib

from geventbt import limits
from geventbt.net.deadline import deadline
from geventbt.net.http.client import HTTPClient
from geventbt.net.http.connection import Response
from geventbt.net.http.gzip import Unpacker
from geventbt.net.http.policy import ANY, AddressPolicy
from geventbt.net.network import DIRECT, Network
from geventbt.net.text import clean_text

_READ = 16 * limits.KIB


def fetch(
    url: str,
    *,
    timeout: float = limits.TRACKER_TIMEOUT,
    max_bytes: int = limits.TRACKER_ANSWER,
    cookies: str = "",
    policy: AddressPolicy = ANY,
    network: Network = DIRECT,
) -> bytes:
    """Get what a URL has; see `HTTPClient` for its redirects. Proxies of the environment are not used.

    Args:
        url: http or https, at most `limits.URL` characters.
        timeout: seconds for everything: the name, the connections, the redirects and the last byte.
        max_bytes: the most that there may be, unpacked.
        cookies: sent to the origin of the URL alone, such as "a=b; c=d".
        policy: which addresses it may lead to.
        network: opens the sockets.

    Raises:
        FetchError: there is no such server, it does not answer in time, with success, or within the limits; or its
            certificate is not valid.
    """
    with (
        HTTPClient(policy=policy, connect_timeout=timeout, timeout=timeout, network=network) as client,
        deadline(timeout, f"no answer within {timeout:g} seconds"),
    ):
        headers = {"Accept-Encoding": "gzip", "Connection": "close", **({"Cookie": cookies} if cookies else {})}
        response = client.get(url, headers)
        if not response.is_success:
            raise response.error()
        return read_body(response, max_bytes)


def read_body(response: Response, max_bytes: int) -> bytes:
    """Read the body of an answer, and unpack it.

    Args:
        response: the answer.
        max_bytes: the most that it may have, unpacked.

    Raises:
        FetchError: it is longer, cut off, or not what it says.
    """
    if not set(response.headers.words("content-encoding")) & {"gzip", "x-gzip"}:
        return response.read(max_bytes)
    unpacker = Unpacker()
    unpacked = bytearray()
    buffer = memoryview(bytearray(_READ))
    received = 0
    while count := response.read_into(buffer):
        received += count
        try:
            unpacked += unpacker.unpack(bytes(buffer[:count]), max_bytes - len(unpacked))
        except zlib.error as error:
            raise response.failure(clean_text(str(error))) from None
        if len(unpacked) > max_bytes or received > max_bytes + limits.HTTP_OVERHEAD:
            raise response.failure(f"the answer is longer than {max_bytes} bytes")
    if not unpacker.is_whole:
        raise response.failure("the answer is cut off")
    return bytes(unpacked)
