# SPDX-License-Identifier: Apache-2.0
"""Which service a message belongs to, and what may answer it."""

from collections.abc import Mapping
from typing import Final

from oadr import Message
from oadr.event import CreatedEvent, DistributeEvent, RequestEvent
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
    RequestReregistration,
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

EVENT, REPORT, REGISTER, OPT, POLL = (
    "EiEvent",
    "EiReport",
    "EiRegisterParty",
    "EiOpt",
    "OadrPoll",
)

SERVICE_OF: Final[Mapping[type, str]] = {
    **dict.fromkeys((RequestEvent, DistributeEvent, CreatedEvent), EVENT),
    **dict.fromkeys(
        (
            RegisterReport,
            RegisteredReport,
            CreateReport,
            CreatedReport,
            UpdateReport,
            UpdatedReport,
            CancelReport,
            CanceledReport,
        ),
        REPORT,
    ),
    **dict.fromkeys(
        (
            QueryRegistration,
            CreatePartyRegistration,
            CreatedPartyRegistration,
            CancelPartyRegistration,
            CanceledPartyRegistration,
            RequestReregistration,
            Response,
        ),
        REGISTER,
    ),
    **dict.fromkeys((CreateOpt, CreatedOpt, CancelOpt, CanceledOpt), OPT),
    Poll: POLL,
}
"""Message class -> the service it is posted to. A bare oadrResponse is posted only when a VEN
accepts oadrRequestReregistration (rule 401)."""

ANSWER_TO: Final[Mapping[type, type]] = {
    QueryRegistration: CreatedPartyRegistration,
    CreatePartyRegistration: CreatedPartyRegistration,
    CancelPartyRegistration: CanceledPartyRegistration,
    RequestEvent: DistributeEvent,
    RegisterReport: RegisteredReport,
    CreateReport: CreatedReport,
    UpdateReport: UpdatedReport,
    CancelReport: CanceledReport,
    CreateOpt: CreatedOpt,
    CancelOpt: CanceledOpt,
}
"""Request class -> answer class; everything else is answered by oadrResponse."""


def answer_class(request: Message) -> type:
    """What answers `request` when it is acted on, and carries the error when it is not."""
    return ANSWER_TO.get(type(request), Response)
