# SPDX-License-Identifier: Apache-2.0
"""Faults of the VTN.

Fault
└── VtnError
    ├── StoreError               the database cannot be used as it is
    │   ├── NotAtHead            its tables are not those of this version: `vtn init`
    │   └── StoreUnavailable     it does not answer now; the same act may succeed later
    ├── ListenerFault            an address cannot be bound, or a certificate cannot be used
    ├── Invalid                  what was asked contradicts the standard or itself
    │   ├── InvalidEvent         a draft, modification or cancellation of an event
    │   └── InvalidReportRequest a report nobody offers, or at a rate nobody offers
    ├── Unknown                  no VEN, event, group, context, report ... of that name
    └── Conflict                 it exists already, or has changed meanwhile
"""

from doorway import Fault


class VtnError(Fault):
    """A refusal by the VTN: one sentence, and nothing was changed."""


class StoreError(VtnError):
    """The database cannot be used as it is."""


class NotAtHead(StoreError):
    """The database's tables are not those of this version."""


class StoreUnavailable(StoreError):
    """The database does not answer, or is full; nothing was stored."""


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
