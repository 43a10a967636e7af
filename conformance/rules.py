# SPDX-License-Identifier: Apache-2.0
"""The numbered conformance rules of OpenADR 2.0b, one line of our own each.

Numbers and order are those of the Profile Specification 1.1; the sentences are not. Numbers that
are missing here are missing there.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One demand of the standard, and on whom it lies ("VTN", "VEN" or "both")."""

    number: int
    who: str
    demand: str
    unseen: str = ""
    """Why no test can see from outside whether it is kept; empty where one can."""


def _rules(text: str, unseen: dict[int, str]) -> dict[int, Rule]:
    rules = {}
    for line in text.strip().splitlines():
        number, who, demand = line.split(" | ")
        rules[int(number)] = Rule(
            number=int(number), who=who, demand=demand, unseen=unseen.get(int(number), "")
        )
    return rules


UNSEEN: Final[dict[int, str]] = {
    7: "about the 2.0a profile, which is not tested",
    38: "push and pull are tested; XMPP is not",
    64: "about the 2.0a profile, which is not tested",
    69: "about what a 2.0a VTN prints",
    110: "a value that is left undefined cannot be wrong",
    113: "about the 2.0a profile, which is not tested",
    201: "left to each programme",
    319: "an accuracy is right or wrong only against the meter",
    506: "about the 2.0a profile, which is not tested",
    507: "about XMPP, which is not tested",
    515: "about XMPP, which is not tested",
}
"""Rules that no test of this harness pins, with the reason."""

# ruff: noqa: E501 - a table reads by its lines
# fmt: off
RULES: Final = _rules("""
1 | both | UTC times must end in Z (no +00:00); fractions allowed, receiver truncates; ISO 8601 durations without decimals
2 | VTN | every signal interval has a uid counting 0,1,2...
3 | VTN | priority: lower number = higher; 0 = none (lowest)
4 | VTN | a new event starts at modificationNumber 0
5 | VTN | each change (other than createdDateTime, eventStatus, currentValue) increments modificationNumber by 1; cancel too
6 | VEN | any testEvent text except "false" means test event
7 | VTN | exactly one signal, named SIMPLE
8 | VTN | interval durations add up to the active period
9 | VTN | SIMPLE payloads only 0,1,2,3
10 | VTN | cancel = eventStatus cancelled, modificationNumber+1
12 | VEN | answer every event (new, unchanged, changed, cancelled) with responseRequired always; never for never
13 | VTN | status goes far->near->active; near begins at ramp-up start, without ramp-up far->active
14 | VTN | currentValue 0 for SIMPLE when not active
15 | VTN | order: active first; active by priority then start; pending by start; stable under replyLimit
16 | VTN | record optIn and optOut from oadrCreatedEvent (unless rule 206 applies)
17 | VTN | accept a later asynchronous optOut
18 | both | overlap is judged on start+duration+startafter; adjacent: end exclusive, start inclusive
19 | VEN | mixed valid/invalid events: answer the valid ones, do not reject the message
20 | VTN | may change pending/active event but not the past
21 | both | validate venID, vtnID, eventID; error if unexpected (not for unknown cancelled event)
22 | VEN | empty eiTarget = me; several criteria are OR-ed
23 | both | oadrRequestEvent only VEN->VTN
25 | VTN | if eiResponse failed ignore eventResponses; else look at each
27 | VTN | honour replyLimit
29 | VTN | currentValue equals the active interval's payload
30 | VEN | randomise start within startafter; end = randomised start+duration; keep the offset over modifications
31 | VEN | act on dtstart, duration, tolerance, ramp-up, recovery
32 | VEN | act on interval duration and payload
33 | both | application error for missing info/wrong payload 459, ID 452, illogical request
35 | VEN | eventResponses required unless error in eiResponse
36 | VEN | answer cancellation: optIn = cancelled, optOut = cannot; then forget it
37 | VEN | HTTP VEN must do pull, may do push
38 | VTN | must support HTTP push, HTTP pull and XMPP
40 | VTN | eiResponse present in distributeEvent when answering requestEvent/poll
41 | VTN | top-level requestID always present
42 | VEN | echo that requestID in each eventResponse, also later; eiResponse requestID left empty
43 | VEN | do not assume requestIDs unique
45 | both | no schemaLocation attribute
46 | both | understand optional elements; empty = omitted
47 | both | duration 0 = open-ended until cancelled
48 | both | schema-valid but illogical -> 4xx; VEN: market context 462, target 462, signal 460, optOut; VTN: eventID 452, modificationNumber 450
50 | VTN | distributeEvent always carries all far/near/active events; cancelled ones until acknowledged
51 | both | pull only uses VEN-initiated requests; push anything but oadrPoll
52 | VTN | resend cancelled event until acked, completed or bounded retries
53 | both | headers Host, Content-Length, Content-Type application/xml
56 | VEN | unknown eventID -> new event
57 | VEN | higher modificationNumber replaces
58 | VEN | lower modificationNumber -> 450
59 | VEN | cancel known event -> delete
60 | VEN | cancel of unknown event: ignore but acknowledge if required
61 | VEN | event absent from payload -> implied cancel
62 | VEN | process every oadrEvent; answer according to responseRequired in all scenarios
63 | VTN | at most one venID in eiTarget
64 | VEN | answer all events before next poll
65 | VEN | randomise termination on cancel of a randomised event
66 | both | randomised event stays in payloads until dtstart+duration+startafter; "completed" must not stop the VEN
67 | both | TLS 1.2; VTN server supports both ECDHE-ECDSA-AES128-CBC-SHA256 and RSA-AES128-CBC-SHA256 by default
68 | both | client+server X.509; VTN both ECC and RSA; RSA>=2048, ECC>=224 (256 in section 10.1)
69 | VTN | signalType of SIMPLE is informational (printed without number)
70 | VTN | venID unique in VTN; eventID unique per VEN
100 | VTN | signals/baseline use signalPayload+payloadFloat, exactly one per interval
101 | VTN | uid 0,1,2... in baseline intervals
102 | VTN | interval durations present and sum to event (or baseline) duration
103 | VTN | no dtstart in signal/baseline intervals
104 | VTN | well-known signals use the types/units/values of Table 1
105 | VTN | eiNotification always present
106 | VTN | SIMPLE may accompany other signals
107 | VTN | signalID unique within event
108 | VTN | baseline resourceIDs = aggregate
109 | VEN | unsupported signalType/unit -> 460
110 | VTN | currentValue undefined for non-SIMPLE when inactive
111 | VTN | signal-level target only endDeviceAsset, 22 mRID classes or x-; OR-ed, AND-ed with event target
112 | VEN | cannot resolve resource -> 469
113 | VTN | currentValue mandatory towards 2.0a
114 | VEN | clocks in sync; VEN may compute status itself
115 | VTN | createdDateTime renewed on change and identical for all events of a payload; refresh eventStatus at requestEvent
116 | both | SIMPLE has signalType level in 2.0b
200 | both | vavailability without tolerance, ramp-up, recovery, notification
201 | both | opt types, precedence, defaults are programme-specific
202 | VEN | empty target = all resources; several are OR-ed
203 | VTN | new schedule replaces old for same scope; per-resource supersedes; optIn and optOut independent
204 | VEN | optID always sent, need not be unique; cancel by optID cancels all with it
205 | VTN | marketContext limits the schedule
206 | both | createOpt with eventID overrides createdEvent for those resources until another createOpt; targets must be a subset of the event's else 4xx; no vavailability/marketContext with eventID
207 | both | echo requestID in createdOpt/canceledOpt
208 | VEN | venID, optID validated (452)
209 | both | oadrDeviceClass only endDeviceAsset (list of 111)
210 | both | duration 0 = open-ended opt
211 | both | no cancelOpt for a qualified-event opt; no error when cancelling a superseded schedule
300 | both | request within metadata within well-known profile; report has all requested points
301 | both | registerReport after registration/reset even with nothing to report; answer METADATA requests
302 | both | reportDataSource targets OR-ed, filtered by marketContext
303 | both | echo requestID
304 | both | validate venID, vtnID, rID, reportRequestID, reportSpecifierID (452)
305 | both | metadata has reportDescription + units, no intervals/dtstart/eiReportID
306 | both | metadata replaces earlier one and cancels outstanding data reports (not periodic metadata)
307 | both | reportSubject only endDeviceAsset
308 | both | unique reportSpecifierIDs and rIDs; METADATA request rID=0
309 | both | send metadata before other non-registration service (requestEvent allowed)
311 | both | oadrReport reportRequestID 0 in metadata; outer reportRequestID only when answering a request
312 | both | duration = buffer size, required; maxPeriod <= duration
313 | both | data report has dtstart, intervals, reportName; no description
314 | both | dtstart = first interval; all or none have dtstart; ascending
315 | both | report duration covers all intervals; interval duration all or none; absent = point data
316 | both | uid required (0,1,2...) when interval has no dtstart
317 | both | granularity within sampling limits and <= reportBackDuration; 0 = on change; history uses 0
318 | both | no valid data -> placeholder with Quality Bad code
319 | both | accuracy in value units
321 | both | report request has no tolerance/notification/ramp/recovery/itemBase
322 | both | reportRequestID unique
324 | both | reportBackDuration 0 = once, now; else periodic; periodic and history need reportInterval
325 | both | telemetry starts at dtstart for duration; 0 = for ever; history looks back, 0 = all
327 | both | reportSpecifierID "METADATA" asks for metadata
328 | both | piggyback cancel in updatedReport must be obeyed
329 | both | pendingReports lists all future reports
330 | both | rID is a string (EI: three digits)
331 | both | well-known table: TELEMETRY_USAGE/HISTORY_USAGE usage + powerReal/energyReal/pulseCount + Direct Read; TELEMETRY_STATUS x-resourceStatus, x-notApplicable, oadrPayloadResourceStatus; names prefixed METADATA_
333 | VEN | oadrSamplingRate required for telemetry
334 | VEN | status should carry capacity/levelOffset/percentOffset/setPoint; same set in all intervals
335 | both | if reports go on after piggyback cancel, use oadrCancelReport
336 | both | cancelReport with unknown ID -> 4xx in canceledReport
337 | both | interval data must be pre-sampled so that one-shot can be answered at once; include duration
338 | both | specifierPayload readingType x-notApplicable
339 | both | ignore eiReportID
340 | both | more data asked than offered -> 454 in createdReport
341 | both | dtstart is the oldest interval; offset <= granularity
342 | both | forbidden dtstart/duration combinations (interval data with dtstart only; point data with duration)
343 | both | no source/subject/context = all resources
344 | both | must act on piggyback report request (sending optional)
345 | both | reportToFollow -> one final report
346 | VEN | regular sequence; corrected/missing data may be sent early and replaces earlier values; resending is not a violation
400 | both | validate venID, vtnID, registrationID (452)
401 | both | directions of registration messages; VEN retries after cancel; unregistered VEN registers at boot
402 | VEN | simpleHttp needs oadrHttpPullModel; push needs transport address; IDs only when re-registering
403 | VTN | createdPartyRegistration lists ALL supported profiles/transports; pull needs poll frequency; IDs
404 | VTN | query answer: profiles; no IDs if unregistered
405 | both | after new registration exchange metadata, then VEN requestEvent; ignore VTN when unregistered
406 | VTN | new registration without IDs while registered wipes reports+registration
407 | both | on cancelPartyRegistration erase everything about the peer
500 | both | oadrPoll only pull; one payload per poll; drain queue; wrong venID 452; async logical responses; VTN may hold polls till answered; interval <=20 % of event length
501 | both | VTN and HTTP VEN support oadrPoll
502 | VTN | poll returns events when new/changed; always the full list
506 | VTN | 2.0b VTN also serves 2.0a
507 | VTN | XMPP besides HTTP
508 | VEN | venID in every payload
509 | both | schemaVersion attribute in every payload
510 | both | minimum features: SIMPLE, ELECTRICITY_PRICE/price, LOAD_DISPATCH/setpoint; VEN TELEMETRY_STATUS (oadrOnline, oadrManualOverride) with resourceID, TELEMETRY_USAGE, >=100 stored points; report-only adds HISTORY_USAGE; VTN venID+resourceID targets; VEN EiOpt qualifies events
511 | both | URL template .../OpenADR2/Simple/2.0b/<service>, RFC 3986 normalisation
512 | both | venID/vtnID case-sensitive; marketContext normalised
514 | both | optional signatures: allowed algorithms; configured -> ignore unsigned; ReplayProtect with send time + nonce; reject outside window
515 | both | XMPP presence, ping, discovery, CN = user name, no VEN-VEN
516 | both | no talk with expired certificate
517 | VTN | TLS failure 403; unregistered VEN 463; wrong ID 452, in the right payload type
""", UNSEEN)
# fmt: on
