# SPDX-License-Identifier: Apache-2.0
"""eiResponse: how it went, in every answer."""

from doorway.values import value
from oadr.codec import RESPONSE_CODE, at, maybe


@value
class EiResponse:
    """200 for success; 4xx with a sentence for what the requester got wrong (oadr.errors)."""

    response_code: str = at("ei:responseCode", RESPONSE_CODE, default="200")
    description: str | None = maybe("ei:responseDescription")
    request_id: str = at("pyld:requestID", default="")
    """The requestID this answers (rules 42, 207, 303)."""

    @property
    def ok(self) -> bool:
        return self.response_code.startswith("2")
