# SPDX-License-Identifier: Apache-2.0
"""EiOpt: when a VEN is available, and answers to an event that differ by resource."""

from datetime import datetime, timedelta

from doorway.values import value
from oadr.codec import URI, Word, at, many, maybe
from oadr.messages import message
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import OptReason, OptType


@value
class Availability:
    """One stretch of an opt schedule (rule 200); zero duration is open-ended (rule 210)."""

    starts_at: datetime = at("xcal:properties/xcal:dtstart/xcal:date-time")
    duration: timedelta = at("xcal:properties/xcal:duration/xcal:duration")


@value
class QualifiedEvent:
    event_id: str = at("ei:eventID")
    modification_number: int = at("ei:modificationNumber")


@message("oadr:oadrCreateOpt")
@value
class CreateOpt:
    """An opt schedule, or the opt for resources of one event (rule 206)."""

    opt_id: str = at("ei:optID")
    opt_type: OptType = at("ei:optType")
    opt_reason: str = at("ei:optReason", Word(OptReason))
    market_context: str | None = maybe("emix:marketContext", URI)
    ven_id: str = at("ei:venID")
    schedule: tuple[Availability, ...] = many("xcal:vavailability/xcal:components/xcal:available")
    created_at: datetime = at("ei:createdDateTime")
    request_id: str = at("pyld:requestID")
    event: QualifiedEvent | None = maybe("ei:qualifiedEventID")
    target: Target = at("ei:eiTarget", default=Target())
    device_class: Target | None = maybe("oadr:oadrDeviceClass")
    """endDeviceAsset only (rule 209)."""


@message("oadr:oadrCreatedOpt")
@value
class CreatedOpt:
    response: EiResponse = at("ei:eiResponse")
    opt_id: str = at("ei:optID")


@message("oadr:oadrCancelOpt")
@value
class CancelOpt:
    request_id: str = at("pyld:requestID")
    opt_id: str = at("ei:optID")
    ven_id: str = at("ei:venID")


@message("oadr:oadrCanceledOpt")
@value
class CanceledOpt:
    response: EiResponse = at("ei:eiResponse")
    opt_id: str | None = maybe("ei:optID")
