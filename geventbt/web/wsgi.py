"""The types of WSGI (PEP 3333), and short answers in plain text. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers: TypeAlias = list[tuple[str, str]]


def status_line(code: int) -> str:
    """The status of an answer, such as "404 Not Found"."""
    return f"{code} {HTTPStatus(code).phrase}"


def text_headers(body: bytes, *more: tuple[str, str]) -> Headers:
    """The headers of an answer in plain text, which no browser takes for anything else."""
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        *more,
    ]


def answer_text(
    environ: Environ, start_response: StartResponse, code: int, text: str, *headers: tuple[str, str]
) -> list[bytes]:
    """Answer a request with a line of text; a HEAD only with its headers."""
    body = f"{text}\n".encode()
    start_response(status_line(code), text_headers(body, *headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
