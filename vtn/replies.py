# SPDX-License-Identifier: Apache-2.0
"""The fitting reply to each message, for when all it can say is what went wrong (rule 517)."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import oadr
from oadr import EiResponse
from oadr.codec import escape
from oadr.event import DistributeEvent, RequestEvent
from oadr.messages import CLASS_OF
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.poll import Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Profile,
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
from oadr.vocabulary import ProfileName, TransportName

PROFILES = (Profile(name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),)
"""All that this VTN serves (rule 403)."""

_BY_WIRE_NAME = {oadr.wire_name(kind): kind for kind in CLASS_OF.values()}
_Make = Callable[[EiResponse, str, Any], oadr.Message]


def ok(request_id: str = "") -> EiResponse:
    return EiResponse(response_code="200", description="OK", request_id=request_id)


_RECEIVED = (
    oadr.build(Response(response=ok("\N{BLACK CIRCLE}"), ven_id="\N{WHITE CIRCLE}"))
    .decode()
    .replace("\N{WHITE CIRCLE}", "\N{BLACK CIRCLE}")
    .split("\N{BLACK CIRCLE}")
)


def received(request_id: str, ven_id: str) -> bytes:
    """A whole payload: the bare oadrResponse that says yes to a request."""
    head, middle, tail = _RECEIVED
    return f"{head}{escape(request_id)}{middle}{escape(ven_id)}{tail}".encode()


def kind_of(wire_name: str) -> type | None:
    """The class of a message by its wire name."""
    return _BY_WIRE_NAME.get(wire_name)


def refusal(
    kind: type | None,
    code: str,
    sentence: str,
    *,
    vtn_id: str,
    request_id: str = "",
    message: oadr.Message | None = None,
) -> oadr.Message:
    """The reply that fits a message of class `kind`, bearing `code` and `sentence`.

    `message` where it could be read: some replies repeat a part of it.
    """
    response = EiResponse(response_code=code, description=sentence, request_id=request_id)
    make = _FITTING.get(kind) if kind is not None else None
    return make(response, vtn_id, message) if make else Response(response=response)


def request_id_of(message: oadr.Message) -> str:
    """The requestID that a reply echoes (rules 42, 207, 303)."""
    found: str = getattr(message, "request_id", "")
    return found


def poll_frequency(interval_s: float) -> timedelta:
    """Whole seconds, at least one: durations on the wire know no fractions (rule 1)."""
    return timedelta(seconds=max(1, round(interval_s)))


def _created_party(response: EiResponse, vtn_id: str, _message: Any) -> oadr.Message:
    return CreatedPartyRegistration(response=response, vtn_id=vtn_id, profiles=PROFILES)


_FITTING: Mapping[type, _Make] = {
    RequestEvent: lambda response, vtn_id, _message: DistributeEvent(
        response=response, request_id=response.request_id or "0", vtn_id=vtn_id
    ),
    QueryRegistration: _created_party,
    CreatePartyRegistration: _created_party,
    CancelPartyRegistration: lambda response, _vtn_id, _message: CanceledPartyRegistration(
        response=response
    ),
    RegisterReport: lambda response, _vtn_id, _message: RegisteredReport(response=response),
    CreateReport: lambda response, _vtn_id, _message: CreatedReport(response=response),
    UpdateReport: lambda response, _vtn_id, _message: UpdatedReport(response=response),
    CancelReport: lambda response, _vtn_id, _message: CanceledReport(response=response),
    CreateOpt: lambda response, _vtn_id, message: CreatedOpt(
        response=response, opt_id=getattr(message, "opt_id", "")
    ),
    CancelOpt: lambda response, _vtn_id, message: CanceledOpt(
        response=response, opt_id=getattr(message, "opt_id", None)
    ),
}
