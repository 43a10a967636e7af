# SPDX-License-Identifier: Apache-2.0
"""Faults of the VEN.

Fault
└── VenFault
    ├── CredentialFault      a certificate, key or trust file cannot be used
    ├── StateFault           the VEN's own store cannot be opened, or another VEN runs on it
    ├── VtnFault             what the VTN did with a message
    │   ├── Unreachable      no usable answer this time: the same message may be sent again
    │   │   ├── Overloaded   the VTN asked for quiet (HTTP 503, 429)
    │   │   └── Unproven     signatures are asked for, and the answer proves nothing (rule 514)
    │   ├── TurnedAway       an HTTP status that sending again at once does not change
    │   │   └── Stumbled     HTTP 500: the VTN failed at this very message
    │   ├── Unusable         an answer valid by the schema that cannot be acted on
    │   └── Declined         an application error; bears its OpenADR responseCode
    │       └── NotRegistered  463, or 452 for the venID: register anew
    ├── RegistrationEnded    the registration was cancelled, by either side
    ├── SignalFault          a signal cannot become a set-point; bears the responseCode to answer
    ├── UnknownEvent         no such event is known here
    ├── UnknownOpt           no such opt schedule, or resource, is known here
    ├── EnrolmentFault       no certificate this time: the same command may be tried again
    ├── EnrolmentRefused     the VTN gives none; bears the HTTP status
    ├── Renewed              the certificate was renewed: begin anew with it
    ├── PushFault            pushes cannot be listened for at the address
    └── ControlFault         the running VEN cannot be reached, or refused
"""

from doorway import Fault


class VenFault(Fault):
    """A refusal by the VEN."""


class CredentialFault(VenFault):
    """A certificate, key or trust file cannot be used; the sentence names it."""


class StateFault(VenFault):
    """The VEN's own store cannot be used."""


class VtnFault(VenFault):
    """What the VTN did with a message."""


class Unreachable(VtnFault):
    """No usable answer; whether the VTN took the message is not known."""


class Overloaded(Unreachable):
    """The VTN asked for quiet (HTTP 503 or 429)."""

    def __init__(self, sentence: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s
        """How long it asked to be left alone; None where it did not say."""


class Unproven(Unreachable):
    """Somebody answers, but nothing shows that it is the VTN (rule 514): the answer is ignored."""


class TurnedAway(VtnFault):
    """The VTN refused the request itself, by its HTTP status."""

    def __init__(self, sentence: str, *, http_status: int) -> None:
        super().__init__(sentence)
        self.http_status = http_status


class Stumbled(TurnedAway):
    """The VTN failed at this message (HTTP 500); others may fare better, and this one later."""


class Unusable(VtnFault):
    """The VTN's answer is valid by the schema but cannot be acted on (rules 33 and 48)."""

    def __init__(self, sentence: str, *, response_code: str, message: str, request_id: str) -> None:
        super().__init__(sentence)
        self.response_code = response_code
        self.message = message
        """The wire name of the answer: "oadrDistributeEvent"."""
        self.request_id = request_id


class Declined(VtnFault):
    """The VTN answered with an application error."""

    def __init__(self, sentence: str, *, response_code: str) -> None:
        super().__init__(sentence)
        self.response_code = response_code


class NotRegistered(Declined):
    """The VTN does not know this VEN (any more)."""


class RegistrationEnded(VenFault):
    """The registration was cancelled; what is known of the VTN has been erased (rule 407)."""


class SignalFault(VenFault):
    """A signal, or one of its values, cannot become a set-point here."""

    def __init__(self, sentence: str, *, response_code: str) -> None:
        super().__init__(sentence)
        self.response_code = response_code
        """460 not supported; 459 it contradicts itself."""


class UnknownEvent(VenFault):
    """No event of that name is known here."""


class UnknownOpt(VenFault):
    """No opt schedule or resource of that name is known here."""


class EnrolmentFault(VenFault):
    """No certificate was got this time; nothing is lost by trying again."""


class EnrolmentRefused(VenFault):
    """The VTN gives no certificate; the sentence is its own, `status` its HTTP status."""

    def __init__(self, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Renewed(VenFault):
    """The certificate was renewed; whatever holds the old one is to begin anew."""


class PushFault(VenFault):
    """Pushes cannot be listened for at the address of the settings."""


class ControlFault(VenFault):
    """The running VEN cannot be reached through its control socket, or it refused."""
