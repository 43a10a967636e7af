"""Whatever a VEN says that satisfies the schema is answered; nothing makes the VTN stumble."""

import asyncio
import dataclasses

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import oadr
from oadr.messages import NAME_OF
from oadr.vocabulary import ServiceName
from tests.story.vtn.utility import metadata, point, usage, utility
from tests.strategies import any_of
from vtn.gateway import SERVICES

SERVICE_OF = {kind: service for service, kinds in SERVICES.items() for kind in kinds}
EVERY = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def runner():
    with asyncio.Runner() as found:
        yield found


def test_any_message_at_any_service_is_answered_in_form(database, tmp_path, clock, runner):
    house_of = utility(database, tmp_path, clock)
    house = runner.run(house_of.__aenter__())

    async def prepare():
        ven = await house.registered()
        await ven.offer()
        await house.publish(event_id="0042")
        return ven

    ven = runner.run(prepare())

    @EVERY
    @given(st.sampled_from(sorted(NAME_OF, key=str)).flatmap(any_of))
    def any_message_is_answered(message):
        service = SERVICE_OF.get(type(message), ServiceName.POLL)
        names = {field.name for field in dataclasses.fields(message)}
        own = {"ven_id": "0042"} if "ven_id" in names else {}
        body = oadr.build(dataclasses.replace(message, **own))

        answer = runner.run(ven.post(service, body))

        assert answer.status in (200, 404), answer
        if answer.status == 200:
            oadr.parse(answer.body)
        ven.connection += 1

    try:
        any_message_is_answered()
    finally:
        runner.run(house_of.__aexit__(None, None, None))


CUTS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 12),
        st.binary(max_size=4)
        | st.sampled_from(
            [b"<", b"/>", b"<!--", b"]]>", b"&#0;", b"&x;", b"0043", b"PT", b"-", b'"']
        ),
    ),
    min_size=1,
    max_size=4,
)


def test_a_mutated_message_is_answered_or_refused_never_worse(database, tmp_path, clock, runner):
    """And a refusal changes nothing."""
    house_of = utility(database, tmp_path, clock)
    house = runner.run(house_of.__aenter__())
    ven = runner.run(house.registered())

    @EVERY
    @given(st.sampled_from(sorted(NAME_OF, key=str)).flatmap(any_of), CUTS)
    def mutated_is_answered(message, cuts):
        service = SERVICE_OF.get(type(message), ServiceName.POLL)
        names = {field.name for field in dataclasses.fields(message)}
        own = {"ven_id": "0042"} if "ven_id" in names else {}
        body = bytearray(oadr.build(dataclasses.replace(message, **own)))
        for where, length, instead in cuts:
            at = int(where * len(body))
            body[at : at + length] = instead
        before = runner.run(house.desk.audit(limit=1))

        answer = runner.run(ven.post(service, bytes(body)))

        assert answer.status in (200, 404, 406, 413), answer
        if answer.status == 200:
            oadr.parse(answer.body)
        else:
            assert runner.run(house.desk.audit(limit=1)) == before

    try:
        mutated_is_answered()
    finally:
        runner.run(house_of.__aexit__(None, None, None))


def test_any_values_of_a_report_that_was_asked_for_are_answered(database, tmp_path, clock, runner):
    house_of = utility(database, tmp_path, clock)
    house = runner.run(house_of.__aenter__())

    async def prepare():
        ven = await house.registered()
        status = metadata("METADATA_TELEMETRY_STATUS", "s", point("S", "x-resourceStatus"))
        reply = await ven.offer(usage(), status)
        return ven, {one.report_specifier_id: one.report_request_id for one in reply.requests}

    ven, asked = runner.run(prepare())

    @EVERY
    @given(any_of(oadr.report.Report), st.sampled_from(["usage", "s"]))
    def any_values_are_answered(report, specifier):
        intervals = report.intervals
        if intervals is not None:
            r_id = "P" if specifier == "usage" else "S"
            column = dataclasses.replace(intervals.columns[0], r_id=r_id)
            assume(len(intervals.columns) == 1)
            intervals = dataclasses.replace(intervals, columns=(column,))
        known = dataclasses.replace(
            report,
            report_request_id=asked[specifier],
            report_specifier_id=specifier,
            intervals=intervals,
        )

        reply = runner.run(ven.update(known))

        assert reply.response.response_code in ("200", "454"), reply

    try:
        any_values_are_answered()
    finally:
        runner.run(house_of.__aexit__(None, None, None))
