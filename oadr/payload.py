# SPDX-License-Identifier: Apache-2.0
"""The envelope: bytes -> message, message -> bytes."""

import re
from typing import Any

from lxml import etree

from oadr import event, opt, poll, registration, report
from oadr.codec import NAMESPACES, Element, clark, read, write
from oadr.errors import (
    ForbiddenXml,
    InvalidContent,
    Malformed,
    NotUtf8,
    OadrError,
    Oversize,
    SchemaInvalid,
)
from oadr.messages import CLASS_OF, NAME_OF
from oadr.schema import validate
from oadr.telemetry import folded

Message = (
    event.CreatedEvent
    | event.DistributeEvent
    | event.RequestEvent
    | opt.CancelOpt
    | opt.CanceledOpt
    | opt.CreateOpt
    | opt.CreatedOpt
    | poll.Poll
    | poll.Response
    | registration.CancelPartyRegistration
    | registration.CanceledPartyRegistration
    | registration.CreatePartyRegistration
    | registration.CreatedPartyRegistration
    | registration.QueryRegistration
    | registration.RequestReregistration
    | report.CancelReport
    | report.CanceledReport
    | report.CreateReport
    | report.CreatedReport
    | report.RegisterReport
    | report.RegisteredReport
    | report.UpdateReport
    | report.UpdatedReport
)
"""Any of the 23 root messages."""

MAX_BYTES = 1024 * 1024

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<oadr:oadrPayload '
    + " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    + "><oadr:oadrSignedObject>"
)
_TAIL = "</oadr:oadrSignedObject></oadr:oadrPayload>"
_OPEN = {kind: f'<{name} ei:schemaVersion="2.0b">' for kind, name in NAME_OF.items()}
_CLOSE = {kind: f"</{name}>" for kind, name in NAME_OF.items()}

_ENCODING = re.compile(rb"""\A\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']""")
_NO_PROLOG = re.compile(rb"\A(?:<\?xml[^<>?]*\?>)?\s*<[A-Za-z_]")
"""The root element begins right after the XML declaration: a DOCTYPE could no longer follow."""
_PAYLOAD = clark("oadr:oadrPayload")
_REQUEST_ID = clark("pyld:requestID")


def build(message: Message) -> bytes:
    """A message as an unsigned oadrPayload: UTF-8, without schemaLocation (rules 45 and 509).

    Raises Unbuildable, naming the field, for a value the standard has no place for.

    >>> build(poll.Poll(ven_id="0042"))[-65:-37]
    b'venID></oadr:oadrPoll></oadr'
    """
    kind = type(message)
    parts = [_HEAD, _OPEN[kind]]
    write(message, parts)
    parts.append(_CLOSE[kind])
    parts.append(_TAIL)
    return "".join(parts).encode()


def parse(body: bytes, *, max_bytes: int = MAX_BYTES) -> Message:
    """The bytes of an oadrPayload -> its message, checked by the schema.

    Raises Oversize, NotUtf8, Malformed, ForbiddenXml or SchemaInvalid where the bytes are no
    OpenADR 2.0b payload (the HTTP status is the answer), and InvalidContent where they are one that
    cannot be acted on (an application error is the answer).
    """
    fold = folded(body) if len(body) <= max_bytes else None
    if fold is not None:
        try:
            message = read_message(checked(fold.body)[-1])
        except OadrError:
            pass  # parsed in full, it says what is wrong, and where
        else:
            whole = fold.unfolded(message)
            if whole is not None:
                return whole
    return read_message(checked(body, max_bytes=max_bytes)[-1])


def checked(body: bytes, *, max_bytes: int = MAX_BYTES) -> Element:
    """The bytes as an oadrPayload that is valid by the schema; its last child is the signed object.

    Raises Oversize, NotUtf8, Malformed, ForbiddenXml or SchemaInvalid.
    """
    root = tree(body, max_bytes=max_bytes)
    if root.tag != _PAYLOAD:
        raise SchemaInvalid("The root element is not oadrPayload.")
    validate(root)
    return root


def read_message(signed_object: Element) -> Message:
    """The message in an oadrSignedObject of a `checked` payload. Raises InvalidContent.

    Where signatures are asked for, hand it the element that `oadr.signature` verified, no other.
    """
    element = signed_object[0]
    try:
        message: Message = read(CLASS_OF[str(element.tag)], element)
    except InvalidContent as error:
        error.message = str(element.tag).rpartition("}")[2]
        error.request_id = _request_id(element)
        raise
    return message


def tree(body: bytes, *, max_bytes: int = MAX_BYTES) -> Element:
    """The bytes as an element tree, safe to look at but not yet valid by the schema."""
    if len(body) > max_bytes:
        raise Oversize(f"The body is longer than {max_bytes} bytes; send it in parts.")
    declared = _ENCODING.match(body)
    if declared and declared[1].lower() not in (b"utf-8", b"utf8"):
        raise NotUtf8("The body declares another encoding than UTF-8.")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(f"The body is not UTF-8 (byte {error.start}).") from error
    if _NO_PROLOG.match(body) is None and b"<!DOCTYPE" in body:
        raise ForbiddenXml("A payload may not declare a DOCTYPE.")
    try:
        root = etree.fromstring(body, _parser())
    except etree.XMLSyntaxError as error:
        raise Malformed(f"The body is not well-formed XML: {error.msg}.") from error
    if root.getroottree().docinfo.doctype:
        raise ForbiddenXml("A payload may not declare a DOCTYPE.")
    return root


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _request_id(element: Any) -> str:
    found = next(element.iter(_REQUEST_ID), None)
    return (found.text or "") if found is not None else ""
