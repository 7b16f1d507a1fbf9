"""What may stand in a URL that we fetch, and where a redirect may lead."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.addresses import AddressKind
from geventbt.net.http.head import Headers, retry_after
from geventbt.net.http.policy import ANY, AddressPolicy
from geventbt.net.http.redirects import Destination, RedirectMemory
from geventbt.net.http.url import parse_url, redirected


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "file:///etc/passwd",
        "host/path",
        "",
        "http://",
        "http:///path",
        "http://host:0/",
        "http://host:99999/",
        "http://host:x/",
        "http://[::1/",
        "http://host/a b",
        "http://host/\r\nHost: other",
        "http://host/\x00",
        "http://h\u00f6st/",
        "http://host/" + "a" * 10_000,
    ],
)
def test_a_url_that_cannot_be_fetched_is_an_error(url):
    with pytest.raises(FetchError):
        parse_url(url)


def test_a_redirect_may_be_relative_or_go_to_https():
    assert str(redirected(parse_url("http://a/x/y?z"), "w")) == "http://a/x/w"
    assert str(redirected(parse_url("http://a/x"), "https://b/y")) == "https://b/y"
    assert str(redirected(parse_url("https://a/x"), "//b/y")) == "https://b/y"


@pytest.mark.parametrize("location", ["", "http://a/x", "file:///etc/passwd", "http://[::1", "gopher://a/"])
def test_a_redirect_from_https_goes_nowhere_else(location):
    with pytest.raises(FetchError):
        redirected(parse_url("https://a/x"), location)


def test_a_redirect_from_a_name_that_a_proxy_has_looked_up_stays_in_the_internet():
    assert ANY.after(None).kind is AddressKind.PUBLIC


@pytest.mark.parametrize(
    ("path", "is_allowed"),
    [
        ("/announce", True),
        ("/announce.php", True),
        ("/announce/a..b/..c", True),
        ("/admin", False),
        ("/announce/..", False),
        ("/announce/../admin", False),
        ("/announce/%2e%2E/admin", False),
        ("/announce%2f..%2fadmin", False),
        ("/announce\\..\\admin", False),
        ("/announce/..;/admin", False),
    ],
)
def test_no_path_leads_past_those_that_are_asked_for_on_this_machine(path, is_allowed):
    policy = AddressPolicy(loopback_paths=("/announce",))
    url = parse_url(f"http://localhost{path}?left=0")
    policy.check_request(url, "93.184.216.34")
    if is_allowed:
        policy.check_request(url, "127.0.0.1")
    else:
        with pytest.raises(FetchError, match="this machine"):
            policy.check_request(url, "127.0.0.1")


NOON = 1_704_110_400.0
"""Mon, 01 Jan 2024 12:00:00 GMT."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("Mon, 01 Jan 2024 12:00:30 GMT", 30),
        ("Monday, 01-Jan-24 12:01:00 GMT", 60),
        ("Mon Jan  1 12:02:00 2024", 120),
        ("Mon, 01 Jan 2024 13:00:30 +0100", 30),
        ("Sun, 31 Dec 2023 12:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 30, None),
        ("Mon, 99 Jan 2024 99:99:99 GMT", None),
        ("", None),
    ],
)
def test_when_to_ask_again_is_seconds_or_a_date(text: str, seconds: float | None):
    assert retry_after(Headers([("Retry-After", text)]), NOON) == seconds


def destination(number: int) -> Destination:
    return Destination(parse_url(f"http://mirror/{number}"), ANY)


def test_a_permanent_redirect_is_remembered_for_ever_and_others_for_ten_minutes():
    memory, first, second = RedirectMemory(), parse_url("http://a/1"), parse_url("http://a/2")
    memory.remember(first, destination(1), 100.0, is_permanent=True)
    memory.remember(second, destination(2), 100.0, is_permanent=False)
    just_before = 100.0 + limits.HTTP_REDIRECT_TIME - 1
    assert memory.find(second, just_before) == destination(2)
    assert memory.find(second, just_before + 1) is None
    assert memory.find(first, 1e9) == destination(1)


def test_a_redirect_that_fails_is_forgotten_unless_it_is_permanent():
    memory, first, second = RedirectMemory(), parse_url("http://a/1"), parse_url("http://a/2")
    memory.remember(first, destination(1), 0.0, is_permanent=True)
    memory.remember(second, destination(2), 0.0, is_permanent=False)
    assert [memory.failed(url) for url in (first, second, second)] == [False, True, False]
    assert (memory.find(first, 1.0), memory.find(second, 1.0)) == (destination(1), None)


def test_so_many_redirects_are_remembered_and_the_oldest_is_forgotten_first():
    memory = RedirectMemory()
    urls = [parse_url(f"http://a/{number}") for number in range(limits.HTTP_REDIRECTS_KEPT + 1)]
    for number, url in enumerate(urls):
        memory.remember(url, destination(number), 0.0, is_permanent=True)
    assert memory.find(urls[0], 1.0) is None
    assert memory.find(urls[1], 1.0) == destination(1)
