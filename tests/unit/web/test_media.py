"""The types of files, and how a browser is told to treat them."""

from __future__ import annotations

import pytest

from geventbt.web.media import UNKNOWN, content_type, disposition, is_played


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.mp4", "video/mp4"), ("a.MKV", "video/x-matroska"), ("x.ts", "video/mp2t"), ("a.b.flac", "audio/flac")],
)
def test_media_have_their_type(name: str, kind: str) -> None:
    assert content_type(name) == kind
    assert is_played(name)


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.js", "a.xml", "a.xhtml", "a.swf", "mp4", "", "a.mp4.exe"])
def test_what_could_run_in_a_browser_is_only_saved(name: str) -> None:
    assert content_type(name) == UNKNOWN
    assert disposition(name).startswith("attachment; ")
    assert not is_played(name)


def test_a_film_is_shown_unless_it_is_to_be_saved() -> None:
    assert disposition("a film.mp4") == "inline; filename=\"a film.mp4\"; filename*=UTF-8''a%20film.mp4"
    assert disposition("a.mp4", attachment=True).startswith("attachment; ")


@pytest.mark.parametrize("name", ['"; x=y.mp4', "a\r\nSet-Cookie: b.mp4", "naïve ☃.mp4", "a\u202egpj.mp4", "a\\b.mp4"])
def test_no_name_leaves_its_place_in_the_header(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert header.count(";") == 2
    assert "%E2%80%AE" not in header
