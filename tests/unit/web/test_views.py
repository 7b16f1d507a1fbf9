"""A WSGI app of views, with environs as servers make them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from geventbt.web.views import PART, Refused, Reply, Request, Views, json_reply


class Answer:
    """The answer to a request."""

    def __init__(self, app: Views, path: str, method: str = "GET", **environ: Any) -> None:
        given = {"wsgi.url_scheme": "http", "HTTP_HOST": "localhost:1", "wsgi.input": io.BytesIO(b""), **environ}
        self.status = ""
        self.headers: dict[str, str] = {}
        parts = app({"REQUEST_METHOD": method, "PATH_INFO": path, **given}, self._start)
        self.body = b"".join(parts)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, dict(headers)


@pytest.fixture
def views() -> Views:
    made = Views()
    made.add("/", lambda request: Reply(b"<p>", content_type="text/html"))
    made.add(f"/torrents/{PART}/pause", lambda request, name: json_reply({"paused": name}, 201), "POST")
    made.add(f"/torrents/{PART}", lambda request, name: Reply(name.encode()))
    made.add("/a.b", lambda request: Reply(iter([b"x", b"y"])))
    made.add("/body", lambda request: Reply(request.body(5)), "POST")
    made.add("/json", lambda request: json_reply(request.json(50)), "POST")
    return made


def test_a_view_is_called_for_its_path_and_method(views: Views) -> None:
    page = Answer(views, "/")
    assert (page.status, page.body) == ("200 OK", b"<p>")
    assert page.headers == {"Content-Type": "text/html", "Content-Length": "3"}
    paused = Answer(views, "/torrents/x y/pause", "POST")
    assert (paused.status, paused.body) == ("201 Created", b'{"paused": "x y"}')
    assert Answer(views, "/torrents/\n").body == b"\n"


def test_what_is_sent_in_parts_has_no_length(views: Views) -> None:
    answer = Answer(views, "/a.b")
    assert answer.body == b"xy"
    assert "Content-Length" not in answer.headers


def test_a_head_has_the_headers_alone(views: Views) -> None:
    head = Answer(views, "/", "HEAD")
    assert (head.body, head.headers["Content-Length"]) == (b"", "3")


@pytest.mark.parametrize("path", ["/aXb", "/torrents/", "/torrents/a/b", "//", "/torrents/a/pause/", "x"])
def test_other_paths_are_not_found(views: Views, path: str) -> None:
    assert Answer(views, path).status == "404 Not Found"


def test_other_methods_are_refused(views: Views) -> None:
    answer = Answer(views, "/torrents/x/pause")
    assert (answer.status, answer.headers["Allow"]) == ("405 Method Not Allowed", "POST")
    assert Answer(views, "/", "POST").headers["Allow"] == "GET, HEAD"


def test_without_a_slash_a_browser_is_sent_there(views: Views) -> None:
    moved = Answer(views, "", SCRIPT_NAME="/my torrents")
    assert (moved.status[:3], moved.headers["Location"]) == ("308", "http://localhost:1/my%20torrents/")


def test_a_browser_of_http_1_0_names_no_host(views: Views, caplog: pytest.LogCaptureFixture) -> None:
    moved = Answer(views, "", HTTP_HOST="", SCRIPT_NAME="/a b", SERVER_NAME="127.0.0.1", SERVER_PORT="8080")
    assert (moved.status[:3], moved.headers["Location"]) == ("308", "http://127.0.0.1:8080/a%20b/")
    without = {"wsgi.url_scheme": "http", "REQUEST_METHOD": "GET", "PATH_INFO": ""}
    assert views({**without, "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80"}, lambda status, headers: None)
    assert not caplog.records


def test_a_fault_is_logged_and_answered(views: Views, caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> Reply:
        raise ZeroDivisionError

    def refusing(request: Request) -> Reply:
        raise Refused(503, "later", ("Retry-After", "2"))

    views.add("/broken", broken)
    views.add("/refusing", refusing)
    assert Answer(views, "/broken").status == "500 Internal Server Error"
    assert "ZeroDivisionError" in caplog.text
    refused = Answer(views, "/refusing")
    assert (refused.body, refused.headers["Retry-After"]) == (b"later\n", "2")


class Ends(io.BytesIO):
    """A body that ends early, as gevent's server tells it."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError("unexpected end of file while reading request at position 3")


@pytest.mark.parametrize(
    ("environ", "status", "body"),
    [
        ({"CONTENT_LENGTH": "5", "wsgi.input": io.BytesIO(b"12345more")}, "200", b"12345"),
        ({"CONTENT_LENGTH": "6", "wsgi.input": io.BytesIO(b"123456")}, "413", None),
        ({"CONTENT_LENGTH": "9" * 5000, "wsgi.input": io.BytesIO(bytes(50))}, "413", None),
        ({"CONTENT_LENGTH": "x", "wsgi.input": io.BytesIO(b"123")}, "200", b""),
        ({"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(b"123")}, "200", b""),
        ({"wsgi.input": io.BytesIO(b"123"), "wsgi.input_terminated": True}, "200", b"123"),
        ({"wsgi.input": io.BytesIO(b"123456"), "wsgi.input_terminated": True}, "413", None),
        ({"CONTENT_LENGTH": "5", "wsgi.input": Ends()}, "400", None),
    ],
)
def test_a_body_is_read_within_bounds(views: Views, environ: dict[str, Any], status: str, body: bytes | None) -> None:
    answer = Answer(views, "/body", "POST", **environ)
    assert answer.status[:3] == status
    assert body is None or answer.body == body


def test_json_is_read_and_what_is_not_json_is_an_error() -> None:
    def request(body: bytes) -> Request:
        return Request({"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)})

    assert request(b'{"a": [1]}').json(50) == {"a": [1]}
    for wrong in (b"", b"{", b"\xff", b"[" * 50_000):
        with pytest.raises(ValueError):
            request(wrong).json(100_000)


def test_headers_are_found_in_any_spelling() -> None:
    environ = {"REQUEST_METHOD": "GET", "HTTP_X_MY_TOKEN": "5", "CONTENT_TYPE": "Text/HTML; charset=x"}
    request = Request(environ)
    assert (request.header("X-My-Token"), request.header("Other"), request.mimetype) == ("5", "", "text/html")


def test_the_parts_of_an_answer_are_closed_by_the_server() -> None:
    closed = []

    def parts() -> Iterator[bytes]:
        try:
            yield b"x"
        finally:
            closed.append(True)

    views = Views()
    views.add("/", lambda request: Reply(parts()))
    body: Any = views({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda status, headers: None)
    assert next(iter(body)) == b"x"
    body.close()
    assert closed == [True]
