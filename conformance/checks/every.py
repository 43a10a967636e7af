# SPDX-License-Identifier: Apache-2.0
"""Checks of every message: form, identity, the echo of requestIDs."""

import re
from collections.abc import Mapping
from typing import Any, Final

from conformance.checks.check import (
    Says,
    check,
    local,
)
from conformance.knowledge import Look
from oadr import Message
from oadr.codec import Element, clark
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.registration import (
    CanceledPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    UpdatedReport,
    UpdateReport,
)

XSI: Final = "{http://www.w3.org/2001/XMLSchema-instance}"


@check(45, "no xsi:schemaLocation anywhere")
def no_schema_location(_message: Message, _look: Look, root: Element) -> Says:
    for element in root.iter():
        for name in ("schemaLocation", "noNamespaceSchemaLocation"):
            if element.get(XSI + name) is not None:
                yield f"{local(element)} has the attribute xsi:{name}"


@check(509, "schemaVersion 2.0b on the message")
def schema_version(_message: Message, _look: Look, root: Element) -> Says:
    body = root[-1][0]
    version = body.get(clark("ei:schemaVersion"))
    if version != "2.0b":
        yield f"{local(body)} has schemaVersion {version!r}"


_TIMES: Final = (
    clark("xcal:date-time"),
    *(clark(f"ei:{name}") for name in ("createdDateTime", "modificationDateTime")),
)
_DURATIONS: Final = tuple(
    clark(name)
    for name in ("xcal:duration", "xcal:startafter", "oadr:oadrMinPeriod", "oadr:oadrMaxPeriod")
)


@check(1, "instants that end in Z, and durations without decimals")
def times_in_utc(_message: Message, _look: Look, root: Element) -> Says:
    for element in root.iter(*_TIMES):
        text = (element.text or "").strip()
        if text and not text.endswith("Z"):
            yield f"{local(element)} {text}"
    for element in root.iter(*_DURATIONS):
        text = (element.text or "").strip()
        if re.search(r"[.,]", text):
            yield f"{local(element)} {text}"


@check(512, "the one vtnID, in the same letters, in every message")
def the_vtn_is_itself(message: Message, look: Look, _root: Element) -> Says:
    vtn_id = getattr(message, "vtn_id", None)
    if vtn_id is not None and look.vtn_id and vtn_id != look.vtn_id:
        yield f"vtnID {vtn_id!r} instead of {look.vtn_id!r}"


@check(21, "the venID that was agreed at registration")
def the_ven_is_itself(message: Message, look: Look, _root: Element) -> Says:
    ven_id = getattr(message, "ven_id", None)
    if isinstance(message, CreatedPartyRegistration) and isinstance(
        look.request, CreatePartyRegistration
    ):
        return  # the IDs are being given right now
    if ven_id and look.ven_id and ven_id != look.ven_id:
        yield f"venID {ven_id!r} instead of {look.ven_id!r}"


@check(508, "the venID in every message of a VEN")
def ven_names_itself(message: Message, look: Look, _root: Element) -> Says:
    if look.from_vtn or isinstance(message, QueryRegistration | CreatePartyRegistration):
        return
    if hasattr(message, "ven_id") and not message.ven_id:
        yield "no venID"


_REPORT_ECHOES: Final[Mapping[type, tuple[type, ...]]] = {
    RegisteredReport: (RegisterReport,),
    CreatedReport: (CreateReport,),
    UpdatedReport: (UpdateReport,),
    CanceledReport: (CancelReport,),
}


@check(207, "the requestID of the request in its answer", CreatedOpt, CanceledOpt)
def opt_request_echoed(message: Any, look: Look, _root: Element) -> Says:
    if isinstance(look.request, CreateOpt | CancelOpt):
        yield from _echo(message, look.request)


@check(303, "the requestID of the request in its answer", *_REPORT_ECHOES)
def report_request_echoed(message: Any, look: Look, _root: Element) -> Says:
    if isinstance(look.request, _REPORT_ECHOES[type(message)]):
        yield from _echo(message, look.request)


@check(
    403,
    "the requestID of the request in its answer",
    CreatedPartyRegistration,
    CanceledPartyRegistration,
)
def registration_request_echoed(message: Any, look: Look, _root: Element) -> Says:
    if hasattr(look.request, "request_id"):
        yield from _echo(message, look.request)


def _echo(answer: Any, request: Any) -> Says:
    if answer.response.request_id != request.request_id:
        yield f"requestID {answer.response.request_id!r} answers {request.request_id!r}"
