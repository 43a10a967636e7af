# SPDX-License-Identifier: Apache-2.0
"""The reception: a message of the VTN is handed to whom it concerns, who answers it.

The answer to a message is the same whether it came by poll (it is then sent on its own) or by push
(it then goes back in the HTTP response). Events are answered on their own in either case; a
cancelled registration and the wish for a new one have consequences, which `ven.polling` and
`ven.push` see to.
"""

import oadr
from doorway import get_logger
from oadr.event import DistributeEvent
from oadr.poll import Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
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
from oadr.vocabulary import ServiceName
from ven.eventdesk import EventDesk
from ven.registration import Registrar
from ven.reporting import Reporting
from ven.state import State

log = get_logger()

SERVICES: dict[type, ServiceName] = {
    DistributeEvent: ServiceName.EVENT,
    RegisterReport: ServiceName.REPORT,
    CreateReport: ServiceName.REPORT,
    UpdateReport: ServiceName.REPORT,
    CancelReport: ServiceName.REPORT,
    RequestReregistration: ServiceName.REGISTER_PARTY,
    CancelPartyRegistration: ServiceName.REGISTER_PARTY,
}
"""What a VTN may want of a VEN (rules 23 and 401), and by which service."""


class Reception:
    """Answers the VTN's messages."""

    def __init__(
        self, state: State, registrar: Registrar, desk: EventDesk, reporting: Reporting
    ) -> None:
        self._state = state
        self._registrar = registrar
        self._desk = desk
        self._reporting = reporting

    def take(self, message: oadr.Message) -> oadr.Message | None:
        """The answer to a message of SERVICES; None where it is answered otherwise, as events are.

        Whatever is changed is on disk when this returns.
        """
        registration = self._state.registration()
        if registration is None:  # rule 405: what an unregistered VEN hears changes nothing
            return _refused(message, "463", "This VEN is not registered.")
        ven_id = getattr(message, "ven_id", None)
        if ven_id is not None and ven_id != registration.ven_id:  # rules 304, 400 and 512
            log.warning("not_for_this_ven", message=oadr.wire_name(type(message)), ven_id=ven_id)
            return _refused(message, "452", f"The venID '{ven_id}' is unknown here.")
        match message:
            case DistributeEvent():
                self._desk.take(message)
                return None
            case CreateReport():
                return self._reporting.take_requests(message)
            case CancelReport():
                return self._reporting.take_cancel(message)
            case RegisterReport():
                return self._reporting.take_offers(message)
            case RequestReregistration():
                return Response(response=oadr.EiResponse(), ven_id=registration.ven_id)
            case CancelPartyRegistration():
                return self._registrar.answer_cancel(message)
        # An oadrUpdateReport, too: this VEN never asks the VTN for reports.
        return _refused(message, "452", "This VEN has asked for no such thing.")


def is_yes(answer: oadr.Message | None) -> bool:
    """Whether an answer says that what was wanted will be done."""
    response: oadr.EiResponse | None = getattr(answer, "response", None)
    return response is not None and response.ok


def refusal(
    kind: type | None, code: str, sentence: str, *, request_id: str = "", registration_id: str = ""
) -> oadr.Message:
    """The fitting answer to a message of that kind that is not acted on (rules 33 and 517)."""
    response = oadr.EiResponse(response_code=code, description=sentence, request_id=request_id)
    if kind is CancelPartyRegistration:
        return CanceledPartyRegistration(response=response, registration_id=registration_id or None)
    if kind is CreateReport:
        return CreatedReport(response=response)
    if kind is CancelReport:
        return CanceledReport(response=response)
    if kind is RegisterReport:
        return RegisteredReport(response=response)
    if kind is UpdateReport:
        return UpdatedReport(response=response)
    return Response(response=response)


def _refused(message: oadr.Message, code: str, sentence: str) -> oadr.Message:
    return refusal(
        type(message),
        code,
        sentence,
        request_id=getattr(message, "request_id", ""),
        registration_id=getattr(message, "registration_id", ""),
    )
