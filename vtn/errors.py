# SPDX-License-Identifier: Apache-2.0
"""Faults of the VTN.

Fault
└── VtnError
    ├── StoreError               the database cannot be used as it is
    │   ├── NotAtHead            its tables are not those of this version: `vtn upgrade`
    │   ├── NewerSchema          they are those of a later version
    │   ├── BackupFault          a backup cannot be made, is damaged, or may not be put there
    │   └── StoreUnavailable     it does not answer now; the same act may succeed later
    ├── WorkersFault             several workers cannot serve, or one cannot begin
    ├── ListenerFault            an address cannot be bound, or a certificate cannot be used
    ├── Invalid                  what was asked contradicts the standard or itself
    │   ├── InvalidEvent         a draft, modification or cancellation of an event
    │   └── InvalidReportRequest a report nobody offers, or at a rate nobody offers
    ├── Unknown                  no VEN, event, group, context, report ... of that name
    ├── Conflict                 it exists already, or has changed meanwhile
    │   ├── NeedsApproval        a second person has to agree first
    │   └── Stale                somebody else has changed it since it was looked at
    ├── Unauthorised             an operator's request without the right token, or not logged in
    │   ├── LoginRefused         a name, password or code that do not belong together
    │   └── CodeWanted           the password is right; the second factor is wanted too
    ├── Forbidden                logged in, and not allowed to do this
    │   └── MustChangePassword   nothing else goes before the password is one's own
    ├── NotSeen                  a change without saying which version was looked at
    ├── TooOften                 too many requests without the right token
    ├── ProviderFault            the identity provider does not answer, or not as it should
    ├── NoAnswer                 the command line does not reach a running VTN
    ├── RefusedByVtn             the running VTN refused; the sentence is its own
    ├── ExportFault              a file cannot be written, or not in that format
    ├── NotShown                 a TLS front hands on no certificate of our authorities
    ├── NotPushed                a VEN did not take what was pushed to it
    ├── NotEnrolled              a device gets no certificate; bears the HTTP status
    └── Rejected                 a VEN's message that is answered with an application error
"""

from doorway import Fault

LONGEST_SENTENCE = 500
"""Of what a VEN is answered; it may quote an ID of the VEN's, which may be absurdly long."""


class VtnError(Fault):
    """A refusal by the VTN: one sentence, and nothing was changed."""


class StoreError(VtnError):
    """The database cannot be used as it is."""


class NotAtHead(StoreError):
    """The database's tables are not those of this version."""


class NewerSchema(StoreError):
    """The database's tables were made by a later version of the VTN."""


class BackupFault(StoreError):
    """A backup cannot be made, is damaged, or may not be restored there."""


class StoreUnavailable(StoreError):
    """The database does not answer, or is full; nothing was stored."""


class WorkersFault(VtnError):
    """Several workers cannot serve together, or one of them cannot begin."""


class ListenerFault(VtnError):
    """A listener cannot start; the sentence names the address or the file."""


class Invalid(VtnError):
    """What was asked contradicts the standard or itself."""


class InvalidEvent(Invalid):
    """An event that may not be published, modified or cancelled like this."""


class InvalidReportRequest(Invalid):
    """A report request that no offer of the VEN covers."""


class Unknown(VtnError):
    """There is nothing of that name."""


class Conflict(VtnError):
    """It exists already, or was changed by somebody else meanwhile."""


class NeedsApproval(Conflict):
    """A second person has to agree first."""


class Stale(Conflict):
    """Somebody else has changed it since it was looked at (If-Match)."""


class Unauthorised(VtnError):
    """An operator's request without the right token, or of somebody who is not logged in."""


class LoginRefused(Unauthorised):
    """A name, password or code that do not belong together; it is not said which."""


class CodeWanted(Unauthorised):
    """The password is right; the code of the second factor is wanted too."""


class Forbidden(VtnError):
    """Logged in, and not allowed to do this."""


class MustChangePassword(Forbidden):
    """Nothing else goes before the password is one's own."""


class NotSeen(VtnError):
    """A change that does not say which version was looked at (If-Match is wanted)."""


class TooOften(VtnError):
    """Too many requests of one client without the right token."""


class ProviderFault(VtnError):
    """The identity provider does not answer, or not as it should; local users log in as ever."""


class NoAnswer(VtnError):
    """The command line does not reach a running VTN, or what answers is none."""


class RefusedByVtn(VtnError):
    """The running VTN refused; the sentence is its own, `status` its HTTP status."""

    def __init__(self, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class ExportFault(VtnError):
    """An export cannot be written, or not in that format."""


class NotShown(VtnError):
    """A TLS front hands on no certificate, or none that lets anybody in."""


class NotPushed(VtnError):
    """A VEN did not take what was pushed to it; it is tried again."""


class NotEnrolled(VtnError):
    """A device gets no certificate; `status` is the HTTP status that says so."""

    def __init__(self, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Rejected(VtnError):
    """A VEN's message that is not acted on; `response_code` as oadr.errors lists them.

    Of a sentence that quotes too much of what the VEN said, only the beginning is kept.
    """

    def __init__(self, response_code: str, sentence: str) -> None:
        if len(sentence) > LONGEST_SENTENCE:
            sentence = f"{sentence[:LONGEST_SENTENCE]} ..."
        super().__init__(sentence)
        self.response_code = response_code
