# SPDX-License-Identifier: Apache-2.0
"""Reads what comes from the device under test, runs every check on it, and learns from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from conformance.checks import examine, examine_headers
from conformance.knowledge import Memory
from conformance.outcome import Finding
from conformance.seal import Seal
from conformance.wire import read
from oadr import Message, wire_name
from oadr.event import DistributeEvent, RequestEvent
from oadr.registration import CreatedPartyRegistration, CreatePartyRegistration
from oadr.report import CreateReport, RegisteredReport, RegisterReport, UpdatedReport
from oadr.vocabulary import EventStatus

SCHEMA_RULE = 509
"""The rule that stands in for the schema itself, which has no number."""


@dataclass(slots=True, kw_only=True)
class Examiner:
    """The one way of a payload from the wire into a test."""

    memory: Memory
    now: Callable[[], datetime]
    seal: Seal | None = None
    """Where signatures are agreed upon, what judges them."""
    findings: list[Finding] = field(default_factory=list)
    """What the checks saw since the test began, each thing once."""
    seen: list[Message] = field(default_factory=list)
    """Every message since the test began, oldest first."""

    def take(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        request: Message | None,
        asked: bool,
        agreed: bool = True,
    ) -> Message | None:
        """A body that came in -> its message; None, and a finding, where it is none.

        `request` is what it answers; `asked` says that it came as a request, `agreed` that
        it must be signed where signatures are tested: not so what a stranger is told.
        """
        for finding in examine_headers(headers, request=asked, body=body):
            self._say(finding)
        reading = read(body)
        if reading.message is None or reading.root is None:
            self._say(
                Finding(
                    rule=SCHEMA_RULE, seen=reading.fault, wanted="a payload valid by the schema"
                )
            )
            return None
        # Before the registration nothing is agreed upon.
        if self.seal is not None and agreed and self.memory.registration_id:
            fault = self.seal.open(reading.root)
            if fault:
                self._say(
                    Finding(
                        rule=514,
                        seen=fault,
                        wanted="a payload that is signed",
                        message=wire_name(type(reading.message)),
                    )
                )
        look = self.memory.look(self.now(), request)
        for finding in examine(reading.message, look, reading.root):
            self._say(finding)
        self.seen.append(reading.message)
        self._learn(reading.message, request)
        return reading.message

    def clear(self) -> None:
        """A new test begins."""
        self.findings.clear()
        self.seen.clear()

    def _say(self, finding: Finding) -> None:
        if finding not in self.findings:
            self.findings.append(finding)

    def _learn(self, message: Message, request: Message | None) -> None:
        memory = self.memory
        match message:
            case CreatedPartyRegistration() if message.response.ok:
                memory.vtn_id = memory.vtn_id or message.vtn_id
                if isinstance(request, CreatePartyRegistration):
                    memory.ven_id = message.ven_id or ""
                    memory.registration_id = message.registration_id or ""
            case DistributeEvent():
                self._learn_events(message, request)
            case RegisteredReport() | CreateReport():
                memory.requested.update({one.report_request_id: one for one in message.requests})
            case UpdatedReport() if message.cancel is not None:
                for one in message.cancel.report_request_ids:
                    memory.requested.pop(one, None)
            case RegisterReport() if not memory.from_vtn:
                memory.offered = {one.report_specifier_id: one for one in message.reports}
            case _:
                pass

    def _learn_events(self, message: DistributeEvent, request: Message | None) -> None:
        memory = self.memory
        memory.vtn_id = memory.vtn_id or message.vtn_id
        if not (isinstance(request, RequestEvent) and request.reply_limit is not None):
            memory.events.clear()
        for event in message.events:
            if event.status is not EventStatus.COMPLETED:
                memory.events[event.event_id] = event
