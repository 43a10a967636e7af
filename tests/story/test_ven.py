"""The VEN as a process, between a scripted VTN over mutual TLS and a pretended light node."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from light_node.local import Delta, OverrideState
from oadr import units
from oadr.event import Event, RequestEvent, Signal, SignalInterval
from oadr.opt import CancelOpt, CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatePartyRegistration,
    RequestReregistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    UpdatedReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.vocabulary import EventStatus, OptType, ScaleCode, SignalType
from tests.story.pretend_node import PretendNode
from tests.story.scripted_vtn import (
    VEN_ID,
    ScriptedVtn,
    curtailment_request,
    now,
    status_request,
    usage_request,
)

PROGRAM = [sys.executable, "-c", "from ven.cli import main; main()"]


def event(event_id="e-1", *, starts_at=None, length_s=600, watts=-40_000, **changes):
    length = timedelta(seconds=length_s)
    made = Event(
        event_id=event_id,
        market_context="http://market.example",
        created_at=now(),
        status=EventStatus.FAR,
        starts_at=starts_at or now(),
        duration=length,
        notification=timedelta(0),
        signals=(
            Signal(
                intervals=(SignalInterval(duration=length, uid="0", value=watts / 1000),),
                signal_name="LOAD_DISPATCH",
                signal_type=SignalType.DELTA,
                signal_id="s-1",
                unit=units.power(ScaleCode.KILO),
            ),
        ),
    )
    return replace(made, **changes)


class Site:
    """One VEN: its folder, its settings and its process."""

    def __init__(self, folder, authority, url, issued):
        self.folder = folder
        self.node = PretendNode(folder / "node.sock")
        self.process = None
        self.settings = folder / "ven.toml"
        self.settings.write_text(f"""
[ven]
name = "hq"
cert = "{issued.certificate}"
key = "{issued.key}"
state = "ven.db"
[vtn]
url = "{url}"
ca = "{authority.trust}"
back_off_cap_s = 2
register_again_s = 0.5
[node]
socket = "node.sock"
[polling]
interval_s = 0.1
[reports]
min_period_s = 1
event_batch_s = 2
late_s = 3
[site]
resource_id = "building-1"
rated_w = 200000
""")

    async def start(self):
        log = (self.folder / "ven.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *PROGRAM, "run", "--config", str(self.settings), stdout=log, stderr=log
        )
        log.close()

    async def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = await asyncio.wait_for(self.process.wait(), 60)
        self.process = None
        return status

    async def run(self, *words):
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *words,
            "--config",
            str(self.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, out.decode(), err.decode()

    def log(self):
        return [
            json.loads(line)
            for line in (self.folder / "ven.log").read_text().rpartition("\n")[0].splitlines()
            if line.startswith("{")
        ]


@pytest.fixture(scope="session")
def issued(authority):
    return authority.ven("story-ven")


@pytest.fixture
async def vtn(authority, free_port):
    async with ScriptedVtn(authority, free_port) as running:
        yield running


@pytest.fixture
async def site(tmp_path, authority, issued, vtn):
    made = Site(tmp_path, authority, vtn.url, issued)
    async with made.node:
        yield made
        if made.process is not None:
            with contextlib.suppress(ProcessLookupError):
                made.process.kill()
            await made.process.wait()


def curtailment(event, *, final, baseline=100_000.0, delivered=40_000.0):
    start = event.starts_at.timestamp()
    return {
        "modification_number": event.modification_number,
        "baseline_method": "high 5 of 10",
        "fallback": False,
        "starts_at": event.starts_at,
        "ends_at": event.ends_at,
        "ordered_w": 40_000.0,
        "delivered_w": delivered,
        "fraction": 1.0,
        "samples_expected": 1,
        "samples_received": 1,
        "baseline": [(start, baseline)],
        "delivered": [(start, delivered)],
        "setpoint_acknowledged": True,
        "final": final,
    }


async def test_from_registration_to_the_final_curtailment(site, vtn):
    vtn.requests = (usage_request(), status_request(), curtailment_request())
    await site.start()
    await vtn.until(lambda: vtn.of(RequestEvent))

    names = [type(message) for message in vtn.received]
    assert names.index(CreatePartyRegistration) < names.index(RegisterReport)
    assert names.index(RegisterReport) < names.index(RequestEvent)
    metadata = vtn.of(RegisterReport)[0]
    assert [report.report_name for report in metadata.reports] == [
        "METADATA_TELEMETRY_USAGE",
        "METADATA_TELEMETRY_STATUS",
        "x-METADATA_CURTAILMENT",
        "METADATA_HISTORY_USAGE",
        "METADATA_HISTORY_USAGE",
    ]
    created = await vtn.until(lambda: vtn.of(CreatedReport))
    assert created[0].pending_report_request_ids == ("curtailment-1", "status-1", "usage-1")

    running = event(length_s=4, starts_at=now() + timedelta(seconds=1))
    site.node.curtailments["e-1"] = curtailment(running, final=False)
    vtn.publish(running)
    await vtn.until(vtn.answers)

    assert [(a.event_id, a.opt_type, a.request_id) for a in vtn.answers()] == [
        ("e-1", OptType.OPT_IN, "d-1")
    ]
    await vtn.until(lambda: site.node.steps)
    (step,) = site.node.steps
    assert (step.target, step.starts_at, step.ends_at) == (
        Delta(watts=-40_000),
        running.starts_at,
        running.ends_at,
    )
    end = running.ends_at.timestamp()
    await vtn.until(lambda: max(vtn.reported("usage", "power"), default=0) > end)
    site.node.curtailments["e-1"] = curtailment(running, final=True)
    await vtn.until(lambda: vtn.reported("curtailment", "deviation"))

    start = int(running.starts_at.timestamp())
    assert {start: (100_000.0, "Quality Good - Non Specific")} == vtn.reported(
        "curtailment", "baseline"
    )
    assert vtn.reported("curtailment", "deviation")[start][0] == -40_000.0
    taken = {int(row[1]): row[2] for row in site.node.rows}
    said = vtn.reported("usage", "power")
    assert said
    assert all(taken[at] == pytest.approx(value) for at, (value, _) in said.items())
    await vtn.whole()
    await vtn.until(lambda: vtn.reported("status", "status"))

    assert await site.stop() == 0


async def test_during_an_event_a_reading_arrives_within_8_seconds(site, vtn):
    vtn.requests = (usage_request(back_s=60),)
    vtn.events = [event()]
    await site.start()
    await vtn.until(lambda: len(vtn.reported("usage", "power")) >= 6)

    for update in vtn.of(UpdateReport):
        arrived = vtn.at[id(update)]
        for at in update.reports[0].intervals.starts_at[-2:]:
            assert arrived - at < timedelta(seconds=8)


async def test_a_vtn_that_is_gone_for_a_while_loses_nothing(site, vtn):
    vtn.requests = (usage_request(back_s=1),)
    await site.start()
    await vtn.until(lambda: len(vtn.reported("usage", "power")) >= 2)
    await vtn.stop()
    await asyncio.sleep(3)
    vtn.status = 503
    await vtn.start()
    await vtn.until(lambda: 503 in vtn.received)
    vtn.status = 200
    back = now().timestamp()
    await vtn.whole(since=back + 1)

    assert vtn.registrations == 1


async def test_a_backlog_is_drained_while_live_readings_go_ahead(site, vtn):
    start = int(now().timestamp()) - 3000
    for second in range(start, start + 2990):
        site.node.add(second)
    vtn.requests = (usage_request(back_s=1, start=now() - timedelta(seconds=2990)),)
    await site.start()
    await vtn.until(lambda: len(vtn.reported("usage", "power")) > 2900)
    said = vtn.reported("usage", "power")

    expected = {int(row[1]) for row in site.node.rows if row[1] <= max(said)}
    expected = {at for at in expected if at >= min(said)}
    await vtn.until(lambda: expected <= set(vtn.reported("usage", "power")))
    batches = [update.reports[0].intervals for update in vtn.of(UpdateReport)]
    assert max(batch.count for batch in batches) <= 225
    newest = [batch.starts_at[-1] for batch in batches]
    assert newest != sorted(newest)  # something live went ahead of the backlog


async def test_a_restart_in_the_middle_keeps_the_plan_and_answers_nothing_twice(site, vtn):
    vtn.requests = (usage_request(back_s=1),)
    vtn.events = [event(start_after=timedelta(minutes=5))]
    await site.start()
    await vtn.until(vtn.answers)
    await vtn.until(lambda: site.node.steps)
    before = site.node.steps
    await vtn.until(lambda: vtn.reported("usage", "power"))
    while not json.loads((await site.run("events", "--json"))[1])[0]["acknowledged"]:
        pass  # its acknowledgement is on its way to the VEN's disk
    await site.stop(signal.SIGKILL)
    site.node.plans.clear()
    asked = len(vtn.of(RequestEvent))
    await site.start()
    await vtn.until(lambda: len(vtn.of(RequestEvent)) > asked)
    polls = len(vtn.of(Poll))
    await vtn.until(lambda: len(vtn.of(Poll)) > polls + 3)

    assert before == site.node.steps
    assert len(vtn.answers()) == 1
    assert vtn.registrations == 1
    assert len(vtn.of(RegisterReport)) == 1
    back = now().timestamp()
    await vtn.whole(since=back)


async def test_an_override_at_the_building_opts_out_at_once(site, vtn):
    vtn.events = [event(), event("e-2", starts_at=now() + timedelta(hours=1))]
    await site.start()
    await vtn.until(lambda: len(vtn.answers()) == 2)
    site.node.override = OverrideState(active=True, reason="lift stuck", source="ems")
    await vtn.until(lambda: len(vtn.answers()) == 3)

    last = vtn.answers()[-1]
    assert (last.event_id, last.opt_type, last.request_id) == ("e-1", OptType.OPT_OUT, "d-1")
    assert "lift stuck" in last.description
    await vtn.until(lambda: [step.event_id for step in site.node.steps] == ["e-2"])


async def test_a_person_says_ahead_when_the_site_is_not_there(site, vtn):
    await site.start()
    await vtn.until(lambda: vtn.of(RequestEvent))
    status, out, err = await site.run(
        *("opt", "schedule", "--out", "--id", "night", "--reason", "outageRunStatus"),
        *("--from", "2046-01-01T22:00+01:00", "--to", "2046-01-02T06:00Z"),
        *("--from", "2046-01-03T22:00", "--to", "2046-01-04T06:00"),
    )
    assert (status, out, err) == (0, "Opt schedule night is kept; the VTN is being told.\n", "")
    (told,) = await vtn.until(lambda: vtn.of(CreateOpt))
    assert [(f"{each.starts_at:%dT%H}", each.duration) for each in told.schedule] == [
        ("01T21", timedelta(hours=9)),
        ("03T22", timedelta(hours=8)),
    ]
    (listed,) = json.loads((await site.run("opt", "schedules", "--json"))[1])
    assert (listed["opt_id"], listed["opt"], listed["reason"]) == (
        "night",
        "optOut",
        "outageRunStatus",
    )
    assert "2046-01-01 21:00:00Z to 2046-01-02" in (await site.run("opt", "schedules"))[1]
    assert (await site.run("opt", "cancel", "night"))[0] == 0
    assert await vtn.until(lambda: [each.opt_id for each in vtn.of(CancelOpt)]) == ["night"]
    assert (await site.run("opt", "schedules"))[1] == "There are no opt schedules.\n"


async def test_a_person_decides_and_sees_it(site, vtn):
    vtn.events = [event(starts_at=now() + timedelta(hours=1))]
    await site.start()
    await vtn.until(vtn.answers)

    assert await site.run("opt", "out", "e-1", "--reason", "fire drill") == (
        0,
        "Event e-1: optOut; the VTN is being told.\n",
        "",
    )
    await vtn.until(lambda: len(vtn.answers()) == 2)
    assert OptType.OPT_OUT is vtn.answers()[-1].opt_type
    status, out, _ = await site.run("events", "--json")
    (listed,) = json.loads(out)
    assert (
        status,
        listed["opt"],
        listed["decided_by"],
        listed["reason"],
    ) == (0, "optOut", "person", "fire drill")
    status, out, _ = await site.run("events")
    assert (status, "fire drill" in out) == (0, True)
    status, _, err = await site.run("opt", "out", "nothing")
    assert status == 1
    assert err.startswith("error: There is no event 'nothing'")
    status, out, _ = await site.run("status", "--json")
    told = json.loads(out)
    assert (
        told["running"],
        told["registered"],
        told["ven_id"],
        told["trouble"],
    ) == (True, True, VEN_ID, "")


async def test_create_opt_tells_the_change_of_mind_where_it_is_wanted(site, vtn):
    site.settings.write_text(site.settings.read_text() + '[opt]\nby = "createOpt"\n')
    vtn.events = [event()]
    await site.start()
    await vtn.until(vtn.answers)
    site.node.override = OverrideState(active=True, source="local")
    (told,) = await vtn.until(lambda: vtn.of(CreateOpt))

    assert (
        told.event.event_id,
        told.opt_type,
        told.opt_reason,
    ) == ("e-1", OptType.OPT_OUT, "overrideStatus")


async def test_a_vtn_that_forgot_the_ven_gets_a_new_registration_and_the_load_stays_held(site, vtn):
    vtn.requests = (usage_request(),)
    vtn.events = [event()]
    await site.start()
    await vtn.until(lambda: site.node.steps)
    await vtn.until(lambda: vtn.of(Poll))
    plans = len(site.node.plans)
    refused = EiResponse(response_code="463", description="who?")

    def forgetful(_):
        del vtn.script[Poll]
        return Response(response=refused)

    vtn.script[Poll] = forgetful
    await vtn.until(lambda: vtn.registrations == 2)
    await vtn.until(lambda: len(vtn.of(RegisterReport)) == 2)
    await vtn.until(lambda: len(vtn.of(RequestEvent)) == 2)

    assert all(plan.steps for plan in site.node.plans[plans:])


async def test_registration_is_ended_and_renewed_from_the_vtn(site, vtn):
    vtn.events = [event()]
    await site.start()
    await vtn.until(lambda: site.node.steps)
    vtn.queue.append(RequestReregistration(ven_id=VEN_ID))
    await vtn.until(lambda: vtn.registrations == 2)

    again = vtn.of(CreatePartyRegistration)[-1]
    assert (again.registration_id, again.ven_id) == ("reg-1", VEN_ID)
    assert len(vtn.of(RegisterReport)) == 1  # N1_0065: no metadata again
    vtn.events = []
    vtn.queue.append(CancelPartyRegistration(request_id="c", registration_id="reg-2"))
    (cancelled,) = await vtn.until(lambda: vtn.of(CanceledPartyRegistration))
    assert (cancelled.response.response_code, cancelled.response.request_id) == ("200", "c")
    await vtn.until(lambda: not site.node.steps)
    await vtn.until(lambda: vtn.registrations == 3)
    new = vtn.of(CreatePartyRegistration)[-1]
    assert (new.registration_id, new.ven_id) == (None, None)


async def test_a_person_takes_the_ven_out_and_brings_it_back(site, vtn):
    await site.start()
    await vtn.until(lambda: vtn.of(Poll))
    status, out, _ = await site.run("register", "--cancel")
    assert (status, out.startswith("The registration is cancelled")) == (0, True)
    assert len(vtn.of(CancelPartyRegistration)) == 1
    polls = len(vtn.of(Poll))
    await asyncio.sleep(0.5)
    assert polls == len(vtn.of(Poll))
    assert (await site.run("register"))[0] == 0
    await vtn.until(lambda: len(vtn.of(Poll)) > polls)


async def test_requests_are_created_answered_and_cancelled(site, vtn):
    await site.start()
    await vtn.until(lambda: vtn.of(Poll))
    once = replace(
        usage_request("once", rids=("energy", "power")), report_back=timedelta(0), interval=None
    )
    vtn.queue.append(CreateReport(request_id="q-1", requests=(once,)))
    (update,) = await vtn.until(lambda: vtn.of(UpdateReport))
    assert [c.r_id for c in update.reports[0].intervals.columns] == ["energy", "power"]
    assert update.reports[0].intervals.count == 1

    wrong = replace(usage_request("wrong"), report_specifier_id="nonsense")
    vtn.queue.append(CreateReport(request_id="q-2", requests=(wrong,)))
    await vtn.until(lambda: len(vtn.of(CreatedReport)) == 2)
    assert [(c.response.response_code, c.response.request_id) for c in vtn.of(CreatedReport)] == [
        ("200", "q-1"),
        ("452", "q-2"),
    ]

    endless = usage_request("endless", back_s=1)
    vtn.queue.append(CreateReport(request_id="q-3", requests=(endless,)))
    await vtn.until(lambda: len(vtn.of(UpdateReport)) >= 3)
    vtn.queue.append(
        CancelReport(request_id="q-4", report_request_ids=("endless",), report_to_follow=True)
    )
    (cancelled,) = await vtn.until(lambda: vtn.of(CanceledReport))
    assert cancelled.response.response_code == "200"
    told = len(vtn.of(UpdateReport))
    await asyncio.sleep(3)
    assert len(vtn.of(UpdateReport)) <= told + 1  # the one that was to follow
    vtn.queue.append(CancelReport(request_id="q-5", report_request_ids=("endless",)))
    await vtn.until(lambda: len(vtn.of(CanceledReport)) == 2)
    assert vtn.of(CanceledReport)[-1].response.response_code == "452"


async def test_a_cancel_that_rides_on_an_update_is_obeyed(site, vtn):
    vtn.requests = (usage_request(back_s=1),)

    def piggyback(message):
        return UpdatedReport(
            response=EiResponse(request_id=message.request_id),
            cancel=CancelReport(request_id="p", report_request_ids=("usage-1",)),
        )

    vtn.script[UpdateReport] = piggyback
    await site.start()
    (cancelled,) = await vtn.until(lambda: vtn.of(CanceledReport))

    assert (
        cancelled.response.response_code,
        cancelled.pending_report_request_ids,
    ) == ("200", ())
    await asyncio.sleep(1.5)
    assert len(vtn.of(UpdateReport)) == 1


async def test_a_forgotten_report_request_has_the_reports_registered_anew(site, vtn):
    vtn.requests = (usage_request("usage-1", back_s=1),)
    await site.start()
    await vtn.until(lambda: vtn.reported("usage", "power"))
    refused = []

    def forgetful(message):
        if message.reports[0].report_request_id == "usage-1":
            refused.append(message)
            return UpdatedReport(response=EiResponse(response_code="452"))
        return None

    vtn.requests = (usage_request("usage-2", back_s=1),)
    vtn.script[UpdateReport] = forgetful
    await vtn.until(
        lambda: any(u.reports[0].report_request_id == "usage-2" for u in vtn.of(UpdateReport))
    )

    assert refused
    await vtn.whole()


async def test_the_vtns_own_reports_are_acknowledged(site, vtn):
    await site.start()
    await vtn.until(lambda: vtn.of(Poll))
    vtn.queue.append(RegisterReport(request_id="r-1"))
    (answer,) = await vtn.until(lambda: vtn.of(RegisteredReport))

    assert answer.response.request_id == "r-1"


async def test_check_says_what_is_missing(site, vtn):
    for second in range(3):
        site.node.add(now().timestamp() // 1 - 3 + second)
    status, out, err = await site.run("check")
    assert (status, err) == (0, ""), out
    await vtn.stop()
    status, out, err = await site.run("check")
    assert status == 1
    assert "MISSING  VTN: " in out
    assert "does not answer" in out
    assert err == "error: Not everything is in place: VTN.\n"
    site.settings.write_text(site.settings.read_text().replace("[polling]", "[poling]"))
    status, out, err = await site.run("check")
    assert (status, out) == (1, "")
    assert err.endswith("there is no setting 'poling'; did you mean 'polling'?\n")


async def test_a_second_ven_on_the_same_state_is_refused(site, vtn):
    await site.start()
    await vtn.until(lambda: vtn.of(Poll))
    status, _, err = await site.run("run")

    assert status == 1
    assert "another VEN runs on this state" in err
