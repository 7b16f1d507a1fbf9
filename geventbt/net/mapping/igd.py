"""The XML of UPnP routers: their description, and the actions of their services. Pure.

All of it is untrusted: the size is bounded by who reads it, depth and number of elements here, and a document type, in
which entities are declared, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.http.url import URL, redirected
from geventbt.net.mapping.base import MappingFailed
from geventbt.net.text import clean_text

_TYPE = r"urn:schemas-upnp-org:service:({}):[0-9]{{1,3}}"
"""Of a service, for the names of some. It goes into a header of HTTP."""
CONFLICT, ONLY_PERMANENT = 718, 725


class Service(NamedTuple):
    """What maps ports or opens the firewall: its type, and where its actions are posted to."""

    type: str
    control: URL


class ActionFailed(MappingFailed):
    """The router refuses an action.

    Attributes:
        code: of UPnP; 0 if it does not say.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def parse_description(data: bytes, url: URL, kinds: tuple[str, ...]) -> list[Service]:
    """The services of a router that are wanted.

    Args:
        data: the description.
        url: where it is from; control URLs that lead to another host are left out.
        kinds: their names, such as "WANIPConnection".

    Raises:
        MappingFailed: it is not XML, or too much of it.
    """
    reader = _Reader(("serviceType", "controlURL", "URLBase"), ends="service")
    reader.read(data)
    base = next((fields["URLBase"] for fields in [*reader.groups, reader.fields] if "URLBase" in fields), "")
    wanted = re.compile(_TYPE.format("|".join(kinds)))
    found = []
    for fields in reader.groups:
        kind = fields.get("serviceType", "")
        if not wanted.fullmatch(kind):
            continue
        try:
            control = redirected(redirected(url, base) if base else url, fields.get("controlURL", ""))
        except FetchError:
            continue
        if control.origin.host == url.origin.host and control.origin.scheme == "http":
            found.append(Service(kind, control))
    return found


def pack_action(service: Service, action: str, arguments: Mapping[str, object]) -> tuple[bytes, dict[str, str]]:
    """The body of an action and its headers."""
    fields = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in arguments.items())
    body = (
        '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{escape(service.type)}">{fields}</u:{action}></s:Body></s:Envelope>\r\n'
    )
    headers = {"Content-Type": 'text/xml; charset="utf-8"', "SOAPAction": f'"{service.type}#{action}"'}
    return body.encode(), headers


def parse_result(data: bytes, field: str) -> str:
    """A field of the answer to an action; "" without it.

    Raises:
        MappingFailed: it is not XML, or too much of it.
    """
    reader = _Reader((field,))
    reader.read(data)
    return reader.fields.get(field, "")


def parse_fault(data: bytes, status: int) -> ActionFailed:
    """The error of an action that was refused."""
    reader = _Reader(("errorCode", "errorDescription"))
    try:
        reader.read(data)
    except MappingFailed:
        return ActionFailed(0, f"HTTP status {status}")
    code = reader.fields.get("errorCode", "")
    text = clean_text(reader.fields.get("errorDescription", ""))[:100]
    number = int(code) if code.isascii() and code.isdecimal() and len(code) < 5 else 0
    return ActionFailed(number, f"error {number or status} {text}".rstrip())


class _Reader:
    """Reads the text of some elements, by their names without a prefix.

    Args:
        wanted: the names.
        ends: at the end of each element of this name the fields so far become a group.

    Attributes:
        fields: the text of each, the first one of a name.
        groups: see above.
    """

    def __init__(self, wanted: tuple[str, ...], ends: str = "") -> None:
        self.fields: dict[str, str] = {}
        self.groups: list[dict[str, str]] = []
        self._wanted = wanted
        self._ends = ends
        self._depth = self._elements = 0
        self._text: list[str] | None = None

    def read(self, data: bytes) -> None:
        """Read a document. Raises: MappingFailed."""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._take
        try:
            parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise MappingFailed(f"it answers with broken XML: {clean_text(str(error))}") from None

    def _begin(self, name: str, _attributes: object) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > limits.UPNP_DEPTH or self._elements > limits.UPNP_ELEMENTS:
            raise MappingFailed("it answers with too much XML")
        self._text = [] if _local(name) in self._wanted else None

    def _take(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._text is not None:
            self.fields.setdefault(_local(name), "".join(self._text).strip())
            self._text = None
        if _local(name) == self._ends:
            self.groups.append(self.fields)
            self.fields = {}


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refuse(*_arguments: object) -> None:
    raise MappingFailed("it answers with a document type, which is refused")
