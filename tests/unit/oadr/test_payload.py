import contextlib
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oadr
from oadr import errors
from oadr.codec import NAMESPACES
from oadr.event import Event, Signal, SignalInterval
from oadr.messages import NAME_OF
from oadr.payload import tree
from oadr.schema import validate
from oadr.vocabulary import EventStatus, SignalType
from tests.strategies import MESSAGES

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)


def payload(inner: str, *, before: str = "") -> bytes:
    prefixes = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        f"{before}<oadr:oadrPayload {prefixes}><oadr:oadrSignedObject>{inner}"
        "</oadr:oadrSignedObject></oadr:oadrPayload>"
    ).encode()


POLL = '<oadr:oadrPoll ei:schemaVersion="2.0b"><ei:venID>0042</ei:venID></oadr:oadrPoll>'


def test_all_23_messages_of_the_standard_are_there() -> None:
    assert len(NAME_OF) == 23


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=15)
@given(data=st.data())
def test_what_is_built_is_valid_by_the_schema_and_reads_back_the_same(name, data) -> None:
    message = data.draw(MESSAGES[name])

    body = oadr.build(message)

    validate(tree(body))
    assert message == oadr.parse(body)


def test_an_identifier_stays_the_text_it_was() -> None:
    message = oadr.parse(payload(POLL))

    assert oadr.poll.Poll(ven_id="0042") == message


def test_every_payload_bears_its_schema_version_and_no_schema_location() -> None:
    body = oadr.build(oadr.poll.Poll(ven_id="a"))

    assert b'ei:schemaVersion="2.0b"' in body
    assert b"schemaLocation" not in body


def test_an_empty_optional_element_is_as_good_as_none() -> None:
    inner = (
        "<oadr:oadrResponse><ei:eiResponse><ei:responseCode>200</ei:responseCode>"
        "<ei:responseDescription/><pyld:requestID/></ei:eiResponse><ei:venID></ei:venID>"
        "</oadr:oadrResponse>"
    )

    message = oadr.parse(payload(inner))

    assert message.ven_id is None
    assert message.response.description is None
    assert message.response.request_id == ""


def test_fractions_of_a_second_are_cut_off() -> None:
    signal = Signal(
        intervals=(SignalInterval(duration=timedelta(minutes=5), uid="0", value=1.0),),
        signal_name="SIMPLE",
        signal_type=SignalType.LEVEL,
        signal_id="s",
    )
    event = Event(
        event_id="e",
        market_context="http://m",
        created_at=NOW,
        status=EventStatus.FAR,
        starts_at=NOW,
        duration=timedelta(minutes=5),
        signals=(signal,),
    )
    message = oadr.event.DistributeEvent(request_id="r", vtn_id="v", events=(event,))
    body = oadr.build(message).replace(b"14:00:00Z", b"14:00:00.9375Z")

    assert message == oadr.parse(body)


REFUSED = [
    (b"", errors.Malformed, 406),
    (b"hello", errors.Malformed, 406),
    (payload(POLL)[:-5], errors.Malformed, 406),
    (payload(POLL, before="<!DOCTYPE x>"), errors.ForbiddenXml, 406),
    (payload(POLL, before='<!DOCTYPE x [<!ENTITY a "b">]>'), errors.ForbiddenXml, 406),
    (payload(POLL, before="<!-- <a> --><!DOCTYPE x>"), errors.ForbiddenXml, 406),
    (payload(POLL, before="<?a <a ?><!DOCTYPE x>"), errors.ForbiddenXml, 406),
    (payload(POLL, before='<?xml version="1.0"?>\n<!DOCTYPE x>'), errors.ForbiddenXml, 406),
    (payload(POLL) + b"<!DOCTYPE x>", errors.Malformed, 406),
    (payload("<!DOCTYPE x>" + POLL), errors.Malformed, 406),
    (b"\xef\xbb\xbf" + payload(POLL, before="<!DOCTYPE x>"), errors.ForbiddenXml, 406),
    (payload(POLL.replace("0042", "&a;")), errors.Malformed, 406),
    (payload(POLL).decode().encode("utf-16"), errors.NotUtf8, 406),
    (payload(POLL, before='<?xml version="1.0" encoding="latin-1"?>'), errors.NotUtf8, 406),
    (payload(POLL.replace("0042", "x")).replace(b"x<", b"\xff<"), errors.NotUtf8, 406),
    (payload("<oadr:oadrPoll/>"), errors.SchemaInvalid, 406),
    (payload("<oadr:oadrPol/>"), errors.SchemaInvalid, 406),
    (b"<a/>", errors.SchemaInvalid, 406),
    (oadr.build(oadr.poll.Poll(ven_id="x" * oadr.MAX_BYTES)), errors.Oversize, 413),
]


@pytest.mark.parametrize(("body", "fault", "status"), REFUSED)
def test_what_is_no_payload_is_refused_by_name(body, fault, status) -> None:
    with pytest.raises(fault) as refusal:
        oadr.parse(body)

    assert status == refusal.value.http_status
    assert refusal.value.response_code.startswith("4")
    assert "\n" not in str(refusal.value)


def test_a_signed_object_alone_is_no_payload() -> None:
    body = payload(POLL).replace(b"oadrPayload", b"oadrSignedObject2")

    with pytest.raises(errors.SchemaInvalid):
        oadr.parse(body)


def test_a_fault_quotes_so_much_of_the_body_and_no_more() -> None:
    body = payload(POLL).replace(b'"2.0b"', b'"' + b"9" * 100_000 + b'"')

    with pytest.raises(errors.SchemaInvalid, match="schemaVersion") as refusal:
        oadr.parse(body)
    assert len(str(refusal.value)) < 600


def test_any_global_element_of_the_schema_but_the_payload_is_refused() -> None:
    prefixes = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())

    with pytest.raises(errors.SchemaInvalid, match="oadrPayload"):
        oadr.parse(f"<oadr:oadrSignedObject {prefixes}>{POLL}</oadr:oadrSignedObject>".encode())
    with pytest.raises(errors.SchemaInvalid, match="oadrPayload"):
        oadr.parse(f"<ei:venID {prefixes}>1</ei:venID>".encode())


@settings(max_examples=100)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_rubbish_is_refused_never_worse(rubbish) -> None:
    with pytest.raises(errors.Refused):
        oadr.parse(rubbish)


@settings(max_examples=60)
@given(data=st.data())
def test_a_mutated_message_is_read_or_refused_never_worse(data) -> None:
    name = data.draw(st.sampled_from(["oadrUpdateReport", "oadrDistributeEvent", "oadrCreateOpt"]))
    body = bytearray(oadr.build(data.draw(MESSAGES[name])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))

    with contextlib.suppress(errors.Refused, errors.InvalidContent):
        assert type(oadr.parse(bytes(body))) in NAME_OF


UNUSABLE = [
    ("PT5M", "P1M"),
    ("PT5M", "P1Y"),
    ("PT5M", "-PT5M"),
    ("PT5M", "P"),
    ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00"),
    ("2026-11-20T14:00:00Z", "-2026-11-20T14:00:00Z"),
]


@pytest.mark.parametrize(("good", "bad"), UNUSABLE)
def test_schema_valid_but_unusable_values_name_message_and_request(good, bad) -> None:
    request = oadr.opt.CreateOpt(
        opt_id="o",
        opt_type="optOut",
        opt_reason="economic",
        ven_id="v",
        created_at=NOW,
        request_id="r-7",
        schedule=(oadr.opt.Availability(starts_at=NOW, duration=timedelta(minutes=5)),),
    )
    body = oadr.build(request).replace(good.encode(), bad.encode(), 1)

    if bad == "P":
        assert timedelta(0) == oadr.parse(body).schedule[0].duration
        return
    with pytest.raises(errors.InvalidContent) as fault:
        oadr.parse(body)

    assert (
        fault.value.message,
        fault.value.request_id,
        fault.value.response_code,
    ) == ("oadrCreateOpt", "r-7", "459")


def test_a_payload_that_is_not_a_number_is_invalid_content() -> None:
    report = oadr.report.Report(
        report_request_id="r",
        report_specifier_id="s",
        created_at=NOW,
        intervals=oadr.columns.Intervals(
            count=1, columns=(oadr.columns.Column(r_id="1", values=(1.5,)),)
        ),
    )
    body = oadr.build(oadr.report.UpdateReport(request_id="u", reports=(report,)))

    with pytest.raises(errors.InvalidContent, match="not a finite number"):
        oadr.parse(body.replace(b">1.5<", b">NaN<"))


UNBUILDABLE = [
    oadr.poll.Poll(ven_id="\x00"),
    oadr.poll.Poll(ven_id=None),
    oadr.report.CreateReport(request_id="1", requests=()),
    oadr.poll.Response(response=oadr.EiResponse(response_code="ok")),
    oadr.event.RequestEvent(request_id="1", ven_id="v", reply_limit=-1),
    oadr.event.RequestEvent(request_id="1", ven_id="v", reply_limit=2**32),
    oadr.opt.CreateOpt(
        opt_id="o",
        opt_type="maybe",
        opt_reason="economic",
        ven_id="v",
        created_at=NOW,
        request_id="r",
    ),
    oadr.opt.CreateOpt(
        opt_id="o",
        opt_type="optIn",
        opt_reason="because",
        ven_id="v",
        created_at=NOW.replace(tzinfo=None),
        request_id="r",
    ),
    oadr.opt.CreateOpt(
        opt_id="o",
        opt_type="optIn",
        opt_reason="economic",
        market_context="not a uri",
        ven_id="v",
        created_at=NOW,
        request_id="r",
    ),
    oadr.report.UpdateReport(
        request_id="u",
        reports=(
            oadr.report.Report(
                report_request_id="r",
                report_specifier_id="s",
                created_at=NOW,
                intervals=oadr.columns.Intervals(
                    count=1, columns=(oadr.columns.Column(r_id="1", values=(math.nan,)),)
                ),
            ),
        ),
    ),
]


@pytest.mark.parametrize("message", UNBUILDABLE)
def test_what_the_wire_cannot_carry_is_not_built(message) -> None:
    with pytest.raises(errors.Unbuildable):
        oadr.build(message)
