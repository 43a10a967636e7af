# SPDX-License-Identifier: Apache-2.0
"""What is said: every OpenADR 2.0b message, both ways between bytes and values.

>>> import oadr
>>> message = oadr.parse(oadr.build(oadr.poll.Poll(ven_id="0042")))
>>> message.ven_id
'0042'
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
from oadr.payload import MAX_BYTES, Message, build, parse
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
    "columns",
    "endpoints",
    "errors",
    "event",
    "opt",
    "parse",
    "poll",
    "registration",
    "report",
    "target",
    "units",
    "vocabulary",
    "wire_name",
]
