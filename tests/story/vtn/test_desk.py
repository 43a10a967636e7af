"""The operator's desk: what it does, and the sentences with which it refuses."""

from datetime import timedelta

import pytest

from oadr.report import ReportRequest, SpecifierPayload
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType
from tests.story.vtn.utility import CONTEXT, draft, metadata, point, sha, usage, values
from vtn.errors import Conflict, Invalid, InvalidEvent, InvalidReportRequest, Unknown


async def test_a_ven_is_added_with_its_resources_and_groups(house):
    await house.desk.add_group("north", "Northern feeder", by="anna")

    ven = await house.desk.add_ven(
        ven_id=None,
        name="Town hall",
        certificate_sha256=sha(10).upper(),
        resources=("hvac", "lights"),
        groups=("north",),
        by="anna",
    )

    assert ven == await house.desk.ven(ven.ven_id)
    assert (ven.resources, ven.groups) == (("hvac", "lights"), ("north",))
    assert ven.fingerprint == "00:00:00:00:00:00:00:00:00:0A"
    assert [ven] == await house.desk.vens(group="north")
    assert (ven.ven_id,) == (await house.desk.groups())[0].ven_ids


@pytest.mark.parametrize(
    ("changes", "fault", "sentence"),
    [
        ({"ven_id": "0042"}, Conflict, "There is a VEN '0042' already"),
        ({"certificate_sha256": sha(1)}, Conflict, "that of the VEN '0042'"),
        ({"certificate_sha256": "AA:BB:CC:DD:EE:FF:00:11:22:33"}, Invalid, "64 hex digits"),
        ({"certificate_der": b"another"}, Invalid, "do not belong together"),
        ({"groups": ("south",)}, Unknown, "no group 'south'"),
        ({"ven_id": " x"}, Invalid, "cannot be a venID"),
        ({"resources": ("x" * 256,)}, Invalid, "at most 255"),
    ],
)
async def test_a_ven_that_cannot_be_added_changes_nothing(house, changes, fault, sentence):
    await house.let_in("0042")
    lines = len(await house.desk.audit())
    given = {"ven_id": "0043", "name": "x", "certificate_sha256": sha(2), "by": "anna"}

    with pytest.raises(fault, match=sentence):
        await house.desk.add_ven(**{**given, **changes})

    assert [ven.ven_id for ven in await house.desk.vens()] == ["0042"]
    assert lines == len(await house.desk.audit())


async def test_a_ven_with_another_certificate_is_the_same_ven(house):
    ven = await house.registered("0042")
    registration = (await house.desk.ven("0042")).registration_id

    await house.desk.replace_certificate("0042", certificate_sha256=sha(50), by="anna")

    assert house.office.directory.by_certificate(ven.certificate) is None
    assert house.office.directory.by_certificate(sha(50)).ven.ven_id == "0042"
    assert (await house.desk.ven("0042")).registration_id == registration
    assert (await house.desk.audit())[0].act == "replace certificate"


async def test_a_certificate_is_given_to_one_ven_only(house):
    await house.let_in("0042")
    await house.let_in("gone")
    await house.desk.revoke_ven("gone", by="anna")

    for ven_id, digest, fault in (
        ("0042", sha(2), Conflict),
        ("0042", "AA:BB", Invalid),
        ("gone", sha(9), Conflict),
        ("nobody", sha(9), Unknown),
    ):
        with pytest.raises(fault):
            await house.desk.replace_certificate(ven_id, certificate_sha256=digest, by="anna")


async def test_an_event_reaches_groups_resources_vens_or_everybody(house):
    for name, resources in (("a", ("ra",)), ("b", ("rb",)), ("c", ("rc",))):
        await house.let_in(name, resources=resources)
    await house.desk.add_group("pair", "A pair", ven_ids=["a", "b"], by="anna")
    expected = {
        Target(): ("a", "b", "c"),
        Target(ven_ids=("c",)): ("c",),
        Target(group_ids=("pair",)): ("a", "b"),
        Target(group_names=("A pair",)): ("a", "b"),
        Target(resource_ids=("rb", "rc")): ("b", "c"),
        Target(group_ids=("pair",), resource_ids=("rc",)): ("a", "b", "c"),
    }

    for hours, (target, ven_ids) in enumerate(expected.items()):
        start = house.clock.now() + timedelta(hours=hours + 1)
        record = await house.publish(target=target, starts_at=start)
        assert ven_ids == record.ven_ids
        assert target == record.event.target


@pytest.mark.parametrize(
    ("changes", "fault", "sentence"),
    [
        ({"target": Target(ven_ids=("nobody",))}, Unknown, "no VEN 'nobody'"),
        ({"target": Target(group_ids=("south",))}, Unknown, "no group 'south'"),
        ({"target": Target(resource_ids=("boiler",))}, Unknown, "resource 'boiler'"),
        (
            {"target": Target(ven_ids=("0042",), resource_ids=("r9",))},
            Unknown,
            "of these has the resource 'r9'",
        ),
        ({"target": Target(pnodes=("n",))}, Invalid, "VENs, groups and resources only"),
        ({"target": Target(ven_ids=("gone",))}, Invalid, "revoked"),
        ({"market_context": "http://x"}, Unknown, "no market context 'http://x'; there is"),
        ({"event_id": "first"}, Conflict, "There is an event 'first' already"),
        ({"value": float(7), "event_id": "e" * 300}, Invalid, "at most 255"),
    ],
)
async def test_an_event_that_cannot_be_published_changes_nothing(house, changes, fault, sentence):
    """Rules 48 and 70: an eventID is used once."""
    await house.let_in("0042")
    await house.let_in("other", resources=("r9",))
    await house.let_in("gone")
    await house.desk.revoke_ven("gone", by="anna")
    await house.publish(event_id="first")
    start = house.clock.now() + timedelta(hours=1)

    with pytest.raises(fault, match=sentence):
        await house.publish(**{"starts_at": start, **changes})

    assert [one.event.event_id for one in await house.desk.events()] == ["first"]


async def test_events_of_one_context_do_not_overlap_at_one_ven(house):
    """Rule 18."""
    await house.let_in("a")
    await house.let_in("b", resources=())
    first = await house.publish(target=Target(ven_ids=("a",)))

    with pytest.raises(Conflict, match=f"overlaps '{first.event.event_id}'"):
        await house.publish(starts_at=first.event.starts_at + timedelta(minutes=4))
    after = await house.publish(starts_at=first.event.starts_at + timedelta(minutes=5))
    elsewhere = await house.publish(target=Target(ven_ids=("b",)))
    await house.desk.cancel_event(first.event.event_id, by="anna")
    again = await house.publish(target=Target(ven_ids=("a",)))

    assert (
        len(
            {
                first.event.event_id,
                after.event.event_id,
                elsewhere.event.event_id,
                again.event.event_id,
            }
        )
        == 4
    )


async def test_a_modification_of_a_version_already_replaced_is_a_conflict(house):
    """Rule 5."""
    await house.let_in()
    event_id = (await house.publish()).event.event_id
    longer = draft(house.clock.now(), duration=timedelta(minutes=9))
    await house.desk.modify_event(event_id, longer, expected_modification=0, by="anna")

    with pytest.raises(Conflict, match="at modification 1, not 0"):
        await house.desk.modify_event(event_id, longer, expected_modification=0, by="bert")
    with pytest.raises(Conflict, match="at modification 1, not 0"):
        await house.desk.cancel_event(event_id, expected_modification=0, by="bert")

    assert (await house.desk.event(event_id)).event.modification_number == 1


async def test_an_event_over_or_cancelled_stays_as_it_is(house):
    await house.let_in()
    event_id = (await house.publish()).event.event_id
    await house.desk.cancel_event(event_id, by="anna")
    with pytest.raises(InvalidEvent, match="is cancelled"):
        await house.desk.cancel_event(event_id, by="anna")

    past = (await house.publish()).event.event_id
    house.clock.advance(3600)
    with pytest.raises(InvalidEvent, match="is completed"):
        await house.desk.modify_event(past, draft(house.clock.now()), by="anna")
    with pytest.raises(Unknown, match="no event 'nothing'"):
        await house.desk.cancel_event("nothing", by="anna")


async def test_events_are_listed_by_status_and_ven(house):
    await house.let_in("a")
    await house.let_in("b", resources=())
    far = (await house.publish(starts_at=house.clock.now() + timedelta(hours=5))).event.event_id
    soon = (await house.publish(target=Target(ven_ids=("a",)))).event.event_id
    house.clock.advance(11 * 60)

    async def ids(**wanted):
        return [one.event.event_id for one in await house.desk.events(**wanted)]

    assert [far, soon] == await ids()
    assert [far] == await ids(limit=1)
    assert [soon] == await ids(status=EventStatus.ACTIVE)
    assert [far] == await ids(status=EventStatus.FAR)
    assert await ids(status=EventStatus.COMPLETED) == []
    assert [far] == await ids(ven_id="b")
    with pytest.raises(Unknown):
        await ids(ven_id="nobody")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"report_specifier_id": "other"}, "offers no report 'other'"),
        ({"payloads": (SpecifierPayload(r_id="Q"),)}, "no rID 'Q'; it has P"),
        ({"granularity": timedelta(seconds=1)}, "every 0:00:04 at best"),
        ({"granularity": timedelta(seconds=99)}, "may not be longer"),
        ({"granularity": timedelta(hours=2)}, "every 1:00:00 at least"),
        ({"report_specifier_id": "kept"}, "granularity 0"),
        ({"report_specifier_id": "kept", "granularity": timedelta(0)}, "needs a report interval"),
        ({"report_specifier_id": "METADATA"}, "needs a report interval"),
        ({}, "needs a report interval"),
        ({"payloads": ()}, "at least one rID"),
    ],
)
async def test_a_report_that_is_not_offered_is_not_asked_for(house, changes, sentence):
    """Rules 300, 317, 324 and 340."""
    ven = await house.registered()
    await ven.offer(usage(), metadata("METADATA_HISTORY_USAGE", "kept", point("P")))
    given = {
        "report_request_id": "",
        "report_specifier_id": "usage",
        "granularity": timedelta(seconds=4),
        "report_back": timedelta(seconds=60),
        "payloads": (SpecifierPayload(r_id="P"),),
    }

    with pytest.raises(InvalidReportRequest, match=sentence):
        await house.desk.request_report("0042", ReportRequest(**{**given, **changes}), by="anna")


async def test_what_cannot_be_cancelled_says_so(house):
    ven = await house.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    await house.desk.cancel_report("0042", asked, by="anna")

    with pytest.raises(Conflict, match="is cancelling"):
        await house.desk.cancel_report("0042", asked, by="anna")
    with pytest.raises(Unknown, match="Nothing was asked of '0042' under 'x'"):
        await house.desk.cancel_report("0042", "x", by="anna")
    await house.let_in("new", resources=())
    with pytest.raises(Conflict, match="is not registered"):
        await house.desk.cancel_registration("new", by="anna")
    with pytest.raises(Unknown, match="no VEN 'nobody'"):
        await house.desk.revoke_ven("nobody", by="anna")


async def test_a_market_context_is_known_in_its_normal_form(house):
    with pytest.raises(Conflict):
        await house.desk.add_market_context("HTTP://Utility.example/peak", "again", by="anna")
    with pytest.raises(Invalid):
        await house.desk.add_market_context("two words", "x", by="anna")

    assert [one.uri for one in await house.desk.market_contexts()] == [CONTEXT]


async def test_the_inputs_of_a_curtailment_are_those_of_the_event(house):
    ven = await house.registered()
    reply = await ven.offer(
        metadata("METADATA_TELEMETRY_USAGE", "usage", point("P1"), point("P2")),
        metadata(
            "x-METADATA_CURTAILMENT",
            "claim",
            point("B", "baseline", period_s=60),
            point("D", "deviation", period_s=60),
        ),
    )
    asked = {one.report_specifier_id: one.report_request_id for one in reply.requests}
    event = (await house.publish()).event
    early = event.starts_at - timedelta(seconds=40)
    for r_id, watts in (("P1", 100.0), ("P2", 50.0)):
        await ven.update(values(asked["usage"], early, (watts,) * 30, r_id=r_id))
    for r_id, watts in (("B", 200.0), ("D", -50.0)):
        claim = values(
            asked["claim"], event.starts_at, (watts,) * 2, r_id=r_id, specifier="claim", step_s=60
        )
        await ven.update(claim)
    house.clock.advance(3600)

    inputs = await house.desk.curtailment_inputs(event.event_id, "0042")

    assert list(inputs.measured.values) == [150.0] * 20
    assert event.starts_at.timestamp() == inputs.measured.starts_at[0]
    assert (
        list(inputs.baseline.values),
        list(inputs.deviation.values),
    ) == ([200.0] * 2, [-50.0] * 2)
    assert (inputs.granularity_s, inputs.claim_granularity_s) == (4.0, 60.0)
    with pytest.raises(Unknown):
        await house.desk.curtailment_inputs(event.event_id, "nobody")


async def test_health_counts_who_is_there(house):
    ven = await house.registered("a")
    await house.let_in("b", resources=())
    await house.publish()
    await house.desk.request_reregistration("a", by="anna")
    await ven.poll(object)

    now = await house.desk.health()
    house.clock.advance(31)
    later = await house.desk.health()

    assert (
        now.vens,
        now.registered,
        now.online,
        now.events_pending,
        now.messages_waiting,
    ) == (2, 1, 1, 1, 1)
    assert later.online == 0


async def test_the_answer_of_a_ven_stands_in_the_record(house):
    ven = await house.registered()
    event = (await house.publish()).event
    await ven.answer(event, OptType.OPT_OUT)

    record = await house.desk.event(event.event_id)

    assert record.answers["0042"].opt_type == OptType.OPT_OUT
    assert house.clock.now() == record.answers["0042"].at
    assert record.deliveries["0042"].acknowledged_modification == 0
    assert record.published_by == "anna"
