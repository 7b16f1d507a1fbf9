"""What may stand in a URL that we fetch, and where a redirect may lead."""

from __future__ import annotations

import pytest

from geventbt.errors import FetchError
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
