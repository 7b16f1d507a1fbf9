"""`Rpc`: the Transmission RPC protocol over JSON values, without HTTP.

There are two forms of a message. The older one is ``{"method": ..., "arguments": {...}, "tag": ...}``, answered by
``{"result": "success" or what is wrong, "arguments": {...}, "tag": ...}``, in a mix of kebab-case and camelCase. Since
Transmission 4.1 there is JSON-RPC 2.0, in snake_case, with batches. The methods know the second spelling only.
"""

from __future__ import annotations

import json
import logging
import secrets
import string
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import chain, repeat
from typing import Any

from geventbt import limits
from geventbt.client.client import Client
from geventbt.concurrency.turns import in_turns, let_others_run
from geventbt.errors import GeventBTError
from geventbt.net.text import clean_text
from geventbt.service.plain import plain_session
from geventbt.service.session import Session
from geventbt.web.rpc import groups, queues, sessions, settings, torrents
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.context import Answer, Methods, RpcContext
from geventbt.web.rpc.decoding import decode_request
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.names import legacy_answer, snake_name

_log = logging.getLogger("geventbt")

METHODS: Methods = {**torrents.METHODS, **sessions.METHODS, **settings.METHODS, **groups.METHODS, **queues.METHODS}
_PART = 1000
"""Items of a list that are written at a time."""
_ID_SIGNS = string.ascii_letters + string.digits


class Rpc:
    """Answers requests.

    Args:
        client: the client.
        session: its torrents; None for a `plain_session`.
        fetches_private_urls: whether URLs of torrents may lead into this machine and its network.
        shut_down: ends the program; None if clients must not.

    Attributes:
        session: see above.
        session_id: what requests over HTTP must name, so that a web page cannot send them.
    """

    def __init__(
        self,
        client: Client,
        session: Session | None = None,
        *,
        fetches_private_urls: bool = False,
        shut_down: Callable[[], object] | None = None,
    ) -> None:
        self.session = session or plain_session(client)
        self.session_id = "".join(secrets.choice(_ID_SIGNS) for _ in range(48))
        self._context = RpcContext(self.session, self.session_id, fetches_private_urls, shut_down)

    def answer(self, body: bytes) -> bytes | None:
        """Answer a request as it comes over HTTP.

        Args:
            body: JSON.

        Returns:
            JSON; None where no answer is wanted.
        """
        try:
            request = decode_request(body)
        except (ValueError, RecursionError) as error:
            if b'"jsonrpc"' in body:
                return _dumped(_failed(None, RpcError(Code.PARSE, f"not JSON: {clean_text(str(error))}")))
            return _dumped({"arguments": {}, "result": "no method name"})
        if isinstance(request, list):
            return self._answer_batch(request)
        answer = self.handle(request if isinstance(request, dict) else {})
        return None if answer is None else _dumped(answer)

    def _answer_batch(self, requests: list[Any]) -> bytes | None:
        if not requests or len(requests) > limits.RPC_BATCH:
            what = f"a batch must have 1 to {limits.RPC_BATCH} requests"
            return _dumped(_failed(None, RpcError(Code.INVALID_REQUEST, what)))
        wanted: list[Any] = []
        for request in requests:
            answer = self._handle_new(request if isinstance(request, dict) else {})
            wanted += [] if answer is None else [answer]
            let_others_run()
        return _dumped(wanted) if wanted else None

    def handle(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Answer a request of either form.

        Args:
            request: the JSON object.

        Returns:
            The answer; None where none is wanted, as for a request of JSON-RPC 2.0 without an id.
        """
        return self._handle_new(request) if "jsonrpc" in request else self._handle_old(request)

    # ------------------------------------------------------------------ the two forms

    def _handle_old(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request.get("method")
        method = snake_name(name) if isinstance(name, str) else ""
        arguments: Answer = {}
        result = "success"
        try:
            if not method:
                raise RpcError(Code.NO_METHOD, "no method name")
            given = request.get("arguments")
            answer = self._call(method, given if isinstance(given, dict) else {})
            arguments = legacy_answer(method, _for_old_clients(method, answer), in_turns)
        except RpcError as error:
            result, arguments = error.text, legacy_answer(method, error.result) if error.result else {}
        tag = request.get("tag")
        known_tag = {"tag": tag} if isinstance(tag, (int, float)) and not isinstance(tag, bool) else {}
        return {"arguments": arguments, "result": result, **known_tag}

    def _handle_new(self, request: dict[str, Any]) -> dict[str, Any] | None:
        number = request.get("id")
        has_id = "id" in request
        is_id = number is None or (isinstance(number, (int, float, str)) and not isinstance(number, bool))
        try:
            if request.get("jsonrpc") != "2.0" or not is_id or not isinstance(request.get("method"), str):
                number, has_id = number if is_id else None, True
                raise RpcError(Code.INVALID_REQUEST, "not a request of JSON-RPC 2.0")
            params = request.get("params") or {}
            if not isinstance(params, dict):
                raise RpcError(Code.INVALID_PARAMS, "params must be given by name")
            answer: dict[str, Any] = {"jsonrpc": "2.0", "result": self._call(request["method"], params), "id": number}
        except RpcError as error:
            answer = _failed(number, error)
        return answer if has_id else None

    def _call(self, name: str, arguments: dict[str, Any]) -> Answer:
        method = METHODS.get(name)
        if method is None:
            raise RpcError(Code.NO_METHOD, "method name not recognized")
        try:
            return method(self._context, Arguments(arguments))
        except (GeventBTError, OSError) as error:
            raise RpcError(Code.SYSTEM, clean_text(str(error))) from error
        except RpcError:
            raise
        except Exception as bug:
            _log.exception("the RPC method %s failed", name)
            raise RpcError(Code.INTERNAL, "internal error") from bug


def _for_old_clients(method: str, answer: Answer) -> Answer:
    """What clients of the older spelling expect to be different in an answer."""
    if method == "session_get" and "rpc_version" in answer:
        answer = {**answer, "rpc_version": settings.LEGACY_RPC_VERSION}
    if answer.get("encryption") == "allowed":
        answer = {**answer, "encryption": "tolerated"}
    if method == "torrent_get":
        for torrent in answer["torrents"]:
            if isinstance(torrent, dict) and "wanted" in torrent:
                torrent["wanted"] = [int(value) for value in torrent["wanted"]]
        heads = answer["torrents"][:1]
        if heads and isinstance(heads[0], list) and "wanted" in heads[0]:
            at = heads[0].index("wanted")
            for row in answer["torrents"][1:]:
                row[at] = [int(value) for value in row[at]]
    return answer


def _failed(number: Any, error: RpcError) -> dict[str, Any]:
    names = {Code.PARSE: "Parse error", Code.INVALID_REQUEST: "Invalid Request", Code.NO_METHOD: "Method not found"}
    data: dict[str, Any] = {"error_string": error.text}
    if error.result:
        data["result"] = error.result
    message = names.get(error.code, error.text)
    return {"jsonrpc": "2.0", "error": {"code": int(error.code), "message": message, "data": data}, "id": number}


def _dumped(value: Any) -> bytes:
    """JSON; of what is long in parts, with turns of others between."""
    if not _is_long(value):
        return _text(value).encode()
    # Not by join(), which would copy all of it in one call.
    written = BytesIO()
    for part in in_turns(_parts(value)):
        written.write(part.encode())
    return written.getvalue()


def _parts(value: Any) -> Iterator[str]:
    if not _is_long(value):
        yield _text(value)
    elif isinstance(value, dict):
        for sign, (key, inner) in zip(chain("{", repeat(",")), value.items(), strict=False):
            yield f"{sign}{_text(key)}:"
            yield from _parts(inner)
        yield "}"
    else:
        for at in range(0, len(value), _PART):
            part = value[at : at + _PART]
            yield "," if at else "["
            if _is_long(part):
                for number, inner in enumerate(part):
                    yield "," if number else ""
                    yield from _parts(inner)
            else:
                yield _text(part)[1:-1]
        yield "]"


def _is_long(value: Any) -> bool:
    """Whether there is a long list in it: a torrent may have very many files."""
    if isinstance(value, list):
        return len(value) > _PART or any(map(_is_long, value))
    return isinstance(value, dict) and any(map(_is_long, value.values()))


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
