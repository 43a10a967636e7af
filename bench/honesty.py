# SPDX-License-Identifier: Apache-2.0
"""The honesty gate: every answer is parsed, valid by the schema, of the right kind and ID.

Answers that are equal byte for byte are looked at once.
"""

from collections.abc import Iterable
from typing import TypeVar

import oadr
from bench.errors import WrongAnswer
from bench.load import Reply
from oadr.event import DistributeEvent
from oadr.poll import Response
from oadr.report import UpdatedReport
from oadr.response import EiResponse
from oadr.signature import Verifier

M = TypeVar("M")


def message(reply: Reply, kind: type[M], *, who: str, verifier: Verifier | None = None) -> M:
    """The message in a reply: HTTP 200, valid by the schema, of this class, and, with `verifier`,
    read from what the VTN signed.

    Raises WrongAnswer for anything else.
    """
    if reply.status != 200:
        said = reply.body[:200].decode(errors="replace")
        raise WrongAnswer(f"{who} answered HTTP {reply.status}: {said}")
    try:
        if verifier is None:
            found = oadr.parse(reply.body)
        else:
            verified = verifier.verify(oadr.checked(reply.body))
            found = oadr.read_message(verified.signed_object)
    except oadr.OadrError as error:
        raise WrongAnswer(f"{who} answered what is no OpenADR 2.0b: {error}") from error
    if not isinstance(found, kind):
        name = oadr.wire_name(type(found))
        raise WrongAnswer(f"{who} answered {name} instead of {oadr.wire_name(kind)}.")
    return found


def ok(response: EiResponse | None, *, who: str, request_id: str | None = None) -> None:
    """Raise WrongAnswer unless it went well and, if given, the requestID is echoed."""
    if response is None or not response.ok:
        why = "no eiResponse" if response is None else f"{response.response_code}"
        raise WrongAnswer(f"{who} refused: {why}, {response.description if response else ''}")
    if request_id is not None and response.request_id != request_id:
        raise WrongAnswer(f"{who} echoed '{response.request_id}', not '{request_id}'.")


def idle(
    replies: Iterable[Reply], ven_id: str, *, who: str, verifier: Verifier | None = None
) -> int:
    """How many replies to polls for which nothing waits; each must be an oadrResponse to the VEN.

    Raises WrongAnswer.
    """
    seen: set[bytes] = set()
    count = 0
    for reply in replies:
        count += 1
        if reply.status == 200 and reply.body in seen and verifier is None:
            continue
        found = message(reply, Response, who=who, verifier=verifier)
        ok(found.response, who=who)
        _to(found.ven_id, ven_id, who)
        seen.add(reply.body)
    return count


def updated(reply: Reply, ven_id: str, request_id: str, *, who: str) -> None:
    """Raise WrongAnswer unless the values were taken."""
    found = message(reply, UpdatedReport, who=who)
    ok(found.response, who=who, request_id=request_id)
    if found.ven_id is not None:
        _to(found.ven_id, ven_id, who)


def distributed(reply: Reply, vtn_id: str, *, who: str) -> DistributeEvent:
    """The message with one event. Raises WrongAnswer."""
    found = message(reply, DistributeEvent, who=who)
    if found.vtn_id != vtn_id:
        raise WrongAnswer(f"{who} calls itself '{found.vtn_id}', not '{vtn_id}'.")
    if len(found.events) != 1:
        raise WrongAnswer(f"{who} sent {len(found.events)} events instead of 1.")
    return found


def _to(found: str | None, ven_id: str, who: str) -> None:
    if found != ven_id:
        raise WrongAnswer(f"{who} answered to the VEN '{found}', not '{ven_id}'.")
