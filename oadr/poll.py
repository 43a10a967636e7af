# SPDX-License-Identifier: Apache-2.0
"""OadrPoll, and the bare oadrResponse."""

from doorway.values import value
from oadr.codec import at, maybe
from oadr.messages import message
from oadr.response import EiResponse


@message("oadr:oadrPoll")
@value
class Poll:
    """A pull VEN asks for whatever waits for it (rule 500)."""

    ven_id: str = at("ei:venID")


@message("oadr:oadrResponse")
@value
class Response:
    """The answer to what has no answer of its own, and to a poll when nothing waits."""

    response: EiResponse = at("ei:eiResponse")
    ven_id: str | None = maybe("ei:venID")
