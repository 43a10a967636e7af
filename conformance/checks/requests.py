# SPDX-License-Identifier: Apache-2.0
"""Checks of what reports are asked for."""

from typing import Any, Final

from conformance.checks.check import Says, check, doubles, local
from conformance.knowledge import Look
from oadr.codec import Element, clark
from oadr.report import (
    CreateReport,
    RegisteredReport,
)


@check(322, "each reportRequestID once", CreateReport, RegisteredReport)
def report_requests_unique(message: Any, look: Look, _root: Element) -> Says:
    ids = [one.report_request_id for one in message.requests]
    yield from doubles(ids, "reportRequestID")
    for one in message.requests:
        before = look.requested.get(one.report_request_id)
        if before is not None and before != one:
            yield f"{one.report_request_id} stands for another request already"


@check(338, "readingType x-notApplicable in a report request", CreateReport, RegisteredReport)
def requests_leave_the_reading_type(message: Any, _look: Look, _root: Element) -> Says:
    for one in message.requests:
        for payload in one.payloads:
            if payload.reading_type != "x-notApplicable":
                yield f"readingType {payload.reading_type!r} for {payload.r_id}"


@check(
    324,
    "a reportInterval in a periodic request and in one for history",
    CreateReport,
    RegisteredReport,
)
def periodic_has_an_interval(message: Any, look: Look, _root: Element) -> Says:
    for one in message.requests:
        offer = look.offered.get(one.report_specifier_id)
        history = offer is not None and "HISTORY" in (offer.report_name or "")
        metadata = one.report_specifier_id == "METADATA"
        if one.interval is None and (history or one.report_back) and not metadata:
            yield f"{one.report_request_id} has none"


@check(
    321,
    "no tolerance, notification, ramp-up, recovery or itemBase in a report request",
    CreateReport,
    RegisteredReport,
)
def requests_are_plain(_message: Any, _look: Look, root: Element) -> Says:
    for interval in root.iter(clark("ei:reportInterval")):
        for name in ("xcal:tolerance", "ei:x-eiNotification", "ei:x-eiRampUp", "ei:x-eiRecovery"):
            if next(interval.iter(clark(name)), None) is not None:
                yield f"{name} in a reportInterval"
    for payload in root.iter(clark("ei:specifierPayload")):
        extra = [local(child) for child in payload if child.tag not in _SPECIFIER]
        if extra:
            yield f"{', '.join(extra)} in a specifierPayload"


_SPECIFIER: Final = (clark("ei:rID"), clark("ei:readingType"))


@check(304, "a reportSpecifierID and rIDs of the metadata", CreateReport, RegisteredReport)
def requests_name_what_is_offered(message: Any, look: Look, _root: Element) -> Says:
    for one in message.requests:
        if one.report_specifier_id == "METADATA" or not look.offered:
            continue
        offer = look.offered.get(one.report_specifier_id)
        if offer is None:
            yield f"reportSpecifierID {one.report_specifier_id!r}"
            continue
        known = {point.r_id for point in offer.descriptions}
        for payload in one.payloads:
            if payload.r_id not in known:
                yield f"rID {payload.r_id!r} of {one.report_specifier_id}"


@check(308, "rID 0 where metadata is asked for", CreateReport, RegisteredReport)
def metadata_asked_for_by_zero(message: Any, _look: Look, _root: Element) -> Says:
    for one in message.requests:
        if one.report_specifier_id == "METADATA":
            for payload in one.payloads:
                if payload.r_id != "0":
                    yield f"rID {payload.r_id!r}"


@check(
    317,
    "a granularity within the sampling limits and not above the reportBackDuration",
    CreateReport,
    RegisteredReport,
)
def granularity_possible(message: Any, look: Look, _root: Element) -> Says:
    for one in message.requests:
        if one.report_back and one.granularity > one.report_back:
            yield f"granularity {one.granularity} above reportBackDuration {one.report_back}"
        offer = look.offered.get(one.report_specifier_id)
        asked = {payload.r_id for payload in one.payloads}
        for point in offer.descriptions if offer is not None and one.granularity else ():
            rate = point.sampling_rate
            if point.r_id not in asked or rate is None:
                continue
            if not rate.min_period <= one.granularity <= rate.max_period:
                yield f"granularity {one.granularity} of {point.r_id}"
