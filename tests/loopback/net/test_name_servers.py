"""With an interface, names are looked up over it and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.network import Network
from tests.loopback import fake_names
from tests.loopback.fake_names import FAILED, IPV4, answer, record
from tests.loopback.fake_trackers import FakeUdp


@pytest.fixture(autouse=True)
def only_over_the_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver of the system is not asked, and servers that say nothing do not hold up for long."""

    def refuse(*args: Any) -> None:
        pytest.fail(f"looked up: {args}")

    monkeypatch.setattr("geventbt.net.resolve._threads.call", refuse)
    monkeypatch.setattr(limits, "DNS_TIMEOUT", 0.1)


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Network]]:
    """Makes a network of one interface whose name servers answer so, one after the other."""
    servers: list[FakeUdp] = []

    def make(*answers: Callable[[bytes], list[bytes]]) -> Network:
        servers.extend(FakeUdp(give) for give in answers)
        monkeypatch.setenv("GEVENTBT_NAME_SERVERS", " ".join(f"127.0.0.1:{server.port}" for server in servers))
        return Network(interface="127.0.0.1")

    yield make
    for server in servers:
        server.close()


def knowing(query: bytes) -> list[bytes]:
    return fake_names.known(query, {"tracker.test": "127.0.0.7", "six.test": "::7"})


def silent(query: bytes) -> list[bytes]:
    return []


def failing(query: bytes) -> list[bytes]:
    return [answer(query, flags=FAILED)]


def lying(query: bytes) -> list[bytes]:
    """Answers to other questions, again and again, and then to ours."""
    wrong = bytes([query[0] ^ 255]) + answer(query, record(b"\xc0\x0c", IPV4, bytes([6, 6, 6, 6])))[1:]
    return [wrong] * 50 + knowing(query)


@pytest.mark.parametrize("answers", [[knowing], [silent, knowing], [failing, knowing], [lying]])
def test_a_name_is_looked_up_by_the_first_server_that_knows(resolving, answers):
    network = resolving(*answers)
    assert [endpoint.address for endpoint in network.resolve("tracker.test", 80)] == [("127.0.0.7", 80)]
    assert [endpoint.address for endpoint in network.resolve("127.0.0.9", 80)] == [("127.0.0.9", 80)]


def test_an_address_of_the_other_family_is_of_no_use_to_an_address(resolving):
    with pytest.raises(FetchError, match="no address of this family"):
        resolving(knowing).resolve("six.test", 80)


def test_a_name_that_is_not_there_is_an_error_at_once(resolving):
    with pytest.raises(FetchError, match=r"other\.test: there is no such name"):
        resolving(knowing, silent).resolve("other.test", 80)


@pytest.mark.parametrize("answers", [[], [silent], [failing, failing]])
def test_without_an_answer_the_error_says_what_to_do(resolving, answers):
    started = monotonic()
    with pytest.raises(FetchError, match=r"over the interface 127\.0\.0\.1; GEVENTBT_NAME_SERVERS can name others"):
        resolving(*answers).resolve("tracker.test", 80)
    assert monotonic() - started < 5


def test_this_machine_is_known_without_a_question(resolving):
    assert ("127.0.0.1", 80) in [endpoint.address for endpoint in resolving().resolve("localhost", 80)]


def test_servers_that_are_not_named_as_addresses_are_refused_at_once(monkeypatch):
    monkeypatch.setenv("GEVENTBT_NAME_SERVERS", "dns.example.org")
    with pytest.raises(ValueError, match=r"'dns\.example\.org' is not an IP address"):
        Network(interface="127.0.0.1")
