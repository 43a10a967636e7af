# SPDX-License-Identifier: Apache-2.0
"""Checks of EiOpt."""

from conformance.checks.check import Says, check, local
from conformance.knowledge import Look
from oadr.codec import Element, clark
from oadr.opt import CreatedOpt, CreateOpt


@check(204, "an optID", CreateOpt)
def opt_has_an_id(message: CreateOpt, _look: Look, _root: Element) -> Says:
    if not message.opt_id.strip():
        yield "an empty optID"


@check(204, "the optID of the request in the answer", CreatedOpt)
def opt_id_confirmed(message: CreatedOpt, look: Look, _root: Element) -> Says:
    if isinstance(look.request, CreateOpt) and message.opt_id != look.request.opt_id:
        yield f"optID {message.opt_id!r} answers {look.request.opt_id!r}"


@check(206, "a schedule, or an event without schedule and market context", CreateOpt)
def schedule_or_event(message: CreateOpt, _look: Look, _root: Element) -> Says:
    if message.event is None and not message.schedule:
        yield "neither a schedule nor an event"
    if message.event is not None and (message.schedule or message.market_context):
        yield "an event together with a schedule or a market context"


@check(200, "no tolerance, notification, ramp-up or recovery in a schedule", CreateOpt)
def schedule_is_plain(_message: CreateOpt, _look: Look, root: Element) -> Says:
    for available in root.iter(clark("xcal:available")):
        for name in ("xcal:tolerance", "ei:x-eiNotification", "ei:x-eiRampUp", "ei:x-eiRecovery"):
            if next(available.iter(clark(name)), None) is not None:
                yield name


@check(209, "only endDeviceAsset in oadrDeviceClass", CreateOpt)
def device_class_is_one(_message: CreateOpt, _look: Look, root: Element) -> Says:
    for target in root.iter(clark("oadr:oadrDeviceClass")):
        for child in target:
            if child.tag != clark("power:endDeviceAsset"):
                yield local(child)
