# SPDX-License-Identifier: Apache-2.0
"""What is said: every OpenADR 2.0b message, both ways between bytes and values.

>>> import oadr
>>> message = oadr.parse(oadr.build(oadr.poll.Poll(ven_id="0042")))
>>> message.ven_id
'0042'

Signatures are an option that loads a cryptography library: `oadr.signature` and `oadr.replay` are
imported by name where they are used.
"""

from oadr import (
    columns,
    endpoints,
    errors,
    event,
    opt,
    poll,
    registration,
    report,
    target,
    units,
    vocabulary,
)
from oadr.errors import InvalidContent, OadrError, Refused, Unbuildable
from oadr.messages import wire_name
from oadr.payload import MAX_BYTES, Message, build, checked, parse, read_message
from oadr.response import EiResponse
from oadr.target import Target

__all__ = [
    "MAX_BYTES",
    "EiResponse",
    "InvalidContent",
    "Message",
    "OadrError",
    "Refused",
    "Target",
    "Unbuildable",
    "build",
    "checked",
    "columns",
    "endpoints",
    "errors",
    "event",
    "opt",
    "parse",
    "poll",
    "read_message",
    "registration",
    "report",
    "target",
    "units",
    "vocabulary",
    "wire_name",
]
