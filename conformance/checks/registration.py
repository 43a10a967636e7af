# SPDX-License-Identifier: Apache-2.0
"""Checks of EiRegisterParty."""

from conformance.checks.check import Says, check
from conformance.knowledge import Look
from oadr.codec import Element
from oadr.registration import (
    CreatedPartyRegistration,
    CreatePartyRegistration,
)
from oadr.vocabulary import ProfileName, TransportName


@check(403, "profile 2.0b with simpleHttp, and a poll frequency for pull", CreatedPartyRegistration)
def vtn_lists_what_it_speaks(message: CreatedPartyRegistration, look: Look, _r: Element) -> Says:
    if not message.response.ok:
        return
    spoken = {
        transport for p in message.profiles if p.name is ProfileName.B for transport in p.transports
    }
    if TransportName.SIMPLE_HTTP not in spoken:
        yield "no 2.0b over simpleHttp among the profiles"
    pulls = isinstance(look.request, CreatePartyRegistration) and look.request.http_pull_model
    if pulls and message.poll_interval is None:
        yield "no oadrRequestedOadrPollFreq"


@check(
    402,
    "oadrHttpPullModel with simpleHttp, an address with push, both IDs or none",
    CreatePartyRegistration,
)
def ven_says_how_it_speaks(message: CreatePartyRegistration, look: Look, _root: Element) -> Says:
    if message.transport is TransportName.SIMPLE_HTTP and message.http_pull_model is None:
        yield "simpleHttp without oadrHttpPullModel"
    address = message.transport_address
    if message.http_pull_model is False and not (address or "").startswith("http"):
        yield f"push with the address {address!r}"
    if message.http_pull_model and address is not None and "://" not in address:
        yield f"pull with the address {address!r}"
    if message.registration_id and not message.ven_id:
        yield "a registrationID without a venID"
    if message.registration_id and look.registration_id not in ("", message.registration_id):
        yield f"registrationID {message.registration_id!r} instead of {look.registration_id!r}"
