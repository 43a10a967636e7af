"""What fell when another VTN was attacked, and more: each line is tried on ours, over real TLS.

After each attack: a clean refusal (4xx, 501, an application error, or the connection closed), the
database as it was, and an honest VEN that gets its answer at once.
"""

import asyncio
import contextlib
import dataclasses
import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from sqlalchemy import select

import oadr
from oadr.event import CreatedEvent, DistributeEvent, EventResponse, RequestEvent
from oadr.opt import CancelOpt, CreateOpt, QualifiedEvent
from oadr.poll import Poll
from oadr.registration import CancelPartyRegistration, CreatePartyRegistration, QueryRegistration
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    RegisteredReport,
    RegisterReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import OptType, ServiceName
from tests.conftest import Clock
from tests.story.vtn.served import XML, Wired, serving
from tests.story.vtn.test_rules import schedule
from tests.story.vtn.utility import usage, values
from tests.unit.oadr.test_signature import (
    BEYOND,
    PLACES,
    REFERENCE,
    WRAPPERS,
    Party,
    made,
    moved,
)
from vtn.store.tables import Table

EVENT, OPT, POLL, REGISTER, REPORT = (
    ServiceName.EVENT,
    ServiceName.OPT,
    ServiceName.POLL,
    ServiceName.REGISTER_PARTY,
    ServiceName.REPORT,
)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Scene:
    """A victim with everything a VEN can have, a registered attacker, a stranger, and a signer."""

    vtn: object
    victim: object
    mallory: object
    stranger: object
    signer: object
    newcomer: object
    ids: dict = field(default_factory=dict)

    @property
    def party(self):
        """The signer's certificate and key, with which each signature here is made."""
        issued = self.signer.issued
        return Party(certificate=issued.certificate.read_bytes(), key_pem=issued.key.read_bytes())

    def signed(self, **changed):
        now = self.vtn.clock.now()
        given = {"timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}", "body": SIGNED_POLL, **changed}
        return made(self.party, **given)

    async def dump(self):
        """Every row of every table, but for when somebody was last heard of."""
        found = {}
        async with self.vtn.store.read() as connection:
            for table in Table.metadata.sorted_tables:
                columns = [one for one in table.c if one.name != "last_contact_at"]
                found[table.name] = sorted(map(repr, await connection.execute(select(*columns))))
        return found

    async def honest_answer(self):
        """A VEN that was there all the time and one that has just come are both answered."""
        async with asyncio.timeout(60):
            assert (await self.victim.poll()).response.ok
            async with Wired(self.vtn, "newcomer", self.newcomer.context) as again:
                assert (await again.poll()).response.ok


SIGNED_POLL = (
    "<oadrPoll e:schemaVersion='2.0b' xmlns:e='http://docs.oasis-open.org/ns/energyinterop/201110'>"
    "<e:venID>signer</e:venID></oadrPoll>"
)


async def settle(ven):
    """Take what waits for a VEN until nothing does."""
    while not isinstance(found := await ven.poll(object), oadr.poll.Response):
        if isinstance(found, RegisterReport):
            response = EiResponse(request_id=found.request_id)
            message = RegisteredReport(response=response, ven_id=ven.ven_id)
            await ven.say(REPORT, message, oadr.poll.Response)
        elif isinstance(found, DistributeEvent):
            for event in found.events:
                await ven.answer(event)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("attacked")
    async with contextlib.AsyncExitStack() as stack:
        vtn = await stack.enter_async_context(serving(folder, Clock(), authority))
        names = ("victim", "mallory", "signer", "newcomer")
        vens = {}
        for name in names:
            vens[name] = await stack.enter_async_context(await vtn.wired(name))
        stranger = await stack.enter_async_context(vtn.stranger())
        found = Scene(vtn, vens["victim"], vens["mallory"], stranger, *map(vens.get, names[2:]))
        for name in ("victim", "mallory", "newcomer"):
            await vens[name].register()
            await settle(vens[name])
        signer = found.signer
        signing = oadr.build(CreatePartyRegistration(request_id="r", xml_signature=True))
        body = oadr.signature.Signer(found.party.certificate, found.party.key_pem).sign(
            signing, now=vtn.clock.now()
        )
        assert (await signer.post(REGISTER, body)).status == 200
        event = await vtn.publish(target=Target(ven_ids=("victim",)))
        await settle(found.victim)
        await found.victim.say(OPT, of(found.victim, schedule(vtn, "opt-1")), oadr.opt.CreatedOpt)
        found.ids |= {
            "event": event.event.event_id,
            "registration": found.victim.registration_id,
            "asked": (await found.victim.offer()).requests[0].report_request_id,
            "own": (await found.mallory.offer()).requests[0].report_request_id,
        }
        for ven in vens.values():
            if ven is not signer:
                await settle(ven)
        yield found


def of(ven, message):
    return dataclasses.replace(message, ven_id=ven.ven_id)


def verdict(answer):
    """406 ... of HTTP, or "452" ... of OpenADR."""
    if answer.status != 200:
        assert answer.body.decode().strip()
        assert answer.status < 500, answer
        return answer.status
    response = getattr(oadr.parse(answer.body), "response", None)
    return response.response_code if response is not None else "200"


# --- messages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """One POST: what it is, to whom, how it is refused."""

    name: str
    service: ServiceName
    body: Callable[[Scene], bytes | oadr.Message] | bytes | oadr.Message
    refused: object
    by: str = "mallory"
    headers: dict = field(default_factory=dict)


PLAIN = oadr.build(Poll(ven_id="mallory"))


def doctype(inner: str, use: str = "") -> bytes:
    body = PLAIN.replace(b"mallory", use.encode()) if use else PLAIN
    return body.replace(b"?>", f"?><!DOCTYPE a {inner}>".encode(), 1)


LAUGHS = "".join(
    f'<!ENTITY l{n} "{"".join([f"&l{n - 1};"] * 10) if n else "lol"}">' for n in range(10)
)
XML_BOMBS = [
    Attack("one internal entity", POLL, doctype('[<!ENTITY e "x">]'), 406),
    Attack("the same by a stranger", POLL, doctype('[<!ENTITY e "x">]'), 406, by="stranger"),
    Attack("an internal entity in use", POLL, doctype('[<!ENTITY e "x">]', "&e;"), 406),
    Attack("a billion laughs", POLL, doctype(f"[{LAUGHS}]", "&l9;"), 406),
    Attack(
        "a quadratic blow-up",
        POLL,
        doctype(f'[<!ENTITY q "{"q" * 50_000}">]', "&q;" * 10_000),
        406,
    ),
    Attack("an external entity", POLL, doctype('[<!ENTITY e SYSTEM "file:///etc/passwd">]'), 406),
    Attack("an external DTD", POLL, doctype('SYSTEM "http://127.0.0.1:9/x.dtd"'), 406),
    Attack(
        "a parameter entity",
        POLL,
        doctype('[<!ENTITY % p SYSTEM "http://127.0.0.1:9/x">%p;]'),
        406,
    ),
    Attack("an unknown entity", POLL, PLAIN.replace(b"mallory", b"&x;"), 406),
    Attack("a DOCTYPE in another case", POLL, doctype("").replace(b"DOCTYPE", b"doctype"), 406),
    Attack(
        "schemaLocation",
        POLL,
        PLAIN.replace(
            b"<oadr:oadrPoll",
            b'<oadr:oadrPoll xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
            b' xsi:schemaLocation="urn:x http://127.0.0.1:9/x.xsd"',
        ),
        "200",
    ),
    Attack("deep nesting", POLL, PLAIN.replace(b"mallory", b"<a>" * 5000 + b"</a>" * 5000), 406),
    Attack(
        "an attribute flood",
        POLL,
        PLAIN.replace(
            b"<oadr:oadrPoll",
            b"<oadr:oadrPoll " + b" ".join(b'a%d="1"' % number for number in range(9000)),
        ),
        406,
    ),
    Attack("a NUL", POLL, PLAIN.replace(b"mallory", b"mal\0lory"), 406),
    Attack("a character that is none", POLL, PLAIN.replace(b"mallory", b"&#0;"), 406),
    Attack("nothing", POLL, b"", 406),
    Attack("two documents", POLL, PLAIN + PLAIN, 406),
    Attack("XInclude", POLL, b'<x:include xmlns:x="http://www.w3.org/2001/XInclude"/>', 406),
]

BOMB = gzip.compress(bytes(50_000_000))
ENCODINGS = [
    *(
        Attack(
            f"{name} without a word",
            POLL,
            PLAIN.partition(b"?>")[2].decode().encode(name),
            406,
        )
        for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
    ),
    *(
        Attack(
            f"{name}, and it says so",
            POLL,
            PLAIN.replace(b"UTF-8", name.encode()).decode().encode(name),
            406,
        )
        for name in ("utf-16", "utf-32", "cp037", "utf-7", "iso-8859-1")
    ),
    Attack("bytes that are no UTF-8", POLL, PLAIN.replace(b"mallory", b"\xc0\xae"), 406),
    Attack(
        "a gzip bomb",
        POLL,
        gzip.compress(bytes(50_000_000)),
        406,
        headers={"Content-Encoding": "gzip"},
    ),
    *(
        Attack(f"Content-Encoding {name}", POLL, PLAIN, 406, headers={"Content-Encoding": name})
        for name in ("gzip", "deflate", "br", "zstd", "identity, gzip", "x")
    ),
    Attack("1 MB", POLL, bytes(1_000_000), 413),
    Attack("one byte too many", POLL, b" " * 200_001, 413),
    *(
        Attack(f"as {name}", POLL, PLAIN, 406, headers={"Content-Type": name})
        for name in (
            "text/xml",
            "application/json",
            "application/xml; charset=utf-16",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
            "x",
        )
    ),
]

WRONG_SERVICES = [
    Attack(f"{type(message).__name__} at {service.value}", service, message, 404)
    for service, message in (
        (POLL, RequestEvent(request_id="e", ven_id="mallory")),
        (EVENT, Poll(ven_id="mallory")),
        (REPORT, QueryRegistration(request_id="q")),
        (OPT, RegisterReport(request_id="r", reports=(usage(),), ven_id="mallory")),
        (REGISTER, DistributeEvent(request_id="d", vtn_id="VTN-1")),
    )
]


def reported(scene, asked, *, ven_id=None, **more):
    report = values(scene.ids[asked], scene.vtn.clock.now(), (1e6, 2e6), **more)
    return UpdateReport(request_id="u", reports=(report,), ven_id=ven_id)


def opted_in(scene, event_id, *, ven_id="mallory"):
    response = EventResponse(
        request_id="d", event_id=event_id, modification_number=0, opt_type=OptType.OPT_OUT
    )
    return CreatedEvent(response=EiResponse(), event_responses=(response,), ven_id=ven_id)


FOREIGN_IDS = [
    Attack(
        "a report by a stranger, no venID",
        REPORT,
        lambda s: reported(s, "asked"),
        "463",
        by="stranger",
    ),
    Attack(
        "a report by a stranger under the victim's venID",
        REPORT,
        lambda s: reported(s, "asked", ven_id="victim"),
        "463",
        by="stranger",
    ),
    Attack("the victim's reportRequestID, no venID", REPORT, lambda s: reported(s, "asked"), "452"),
    Attack(
        "the victim's reportRequestID, own venID",
        REPORT,
        lambda s: reported(s, "asked", ven_id="mallory"),
        "452",
    ),
    Attack("the victim's venID", REPORT, lambda s: reported(s, "asked", ven_id="victim"), "452"),
    Attack("an rID that was never offered", REPORT, lambda s: reported(s, "own", r_id="Q"), "452"),
    Attack(
        "another's specifier under an own request",
        REPORT,
        lambda s: reported(s, "own", specifier="other"),
        "452",
    ),
    *(
        Attack(
            f"SQL in the {what}",
            REPORT,
            lambda s, what=what: oadr.build(reported(s, "own", ven_id="mallory")).replace(
                {"venID": "mallory", "reportRequestID": s.ids["own"]}[what].encode(),
                b"x' OR '1'='1' --",
            ),
            "452",
        )
        for what in ("venID", "reportRequestID")
    ),
    Attack("the victim's venID in a poll", POLL, Poll(ven_id="victim"), "452"),
    Attack("a venID in another case", POLL, Poll(ven_id="Mallory"), "452"),
    Attack("a venID of nobody", POLL, Poll(ven_id="nobody"), "452"),
    Attack("a venID split by a comment", POLL, PLAIN.replace(b"mallory", b"vic<!-- -->tim"), "452"),
    Attack("a venID split by CDATA", POLL, PLAIN.replace(b"mallory", b"<![CDATA[victim]]>"), "452"),
    Attack("a poll by a stranger", POLL, Poll(ven_id="victim"), "463", by="stranger"),
    Attack("the victim's events", EVENT, RequestEvent(request_id="e", ven_id="victim"), "452"),
    Attack("the victim's event, answered", EVENT, lambda s: opted_in(s, s.ids["event"]), "452"),
    Attack(
        "the victim's event, answered for it",
        EVENT,
        lambda s: opted_in(s, s.ids["event"], ven_id="victim"),
        "452",
    ),
    Attack("an event of nobody, answered", EVENT, lambda s: opted_in(s, "none"), "452"),
    Attack(
        "the victim's registration cancelled, no venID",
        REGISTER,
        lambda s: CancelPartyRegistration(request_id="c", registration_id=s.ids["registration"]),
        "452",
    ),
    Attack(
        "the same by a stranger",
        REGISTER,
        lambda s: CancelPartyRegistration(request_id="c", registration_id=s.ids["registration"]),
        "463",
        by="stranger",
    ),
    Attack(
        "the same under the own venID",
        REGISTER,
        lambda s: CancelPartyRegistration(
            request_id="c", registration_id=s.ids["registration"], ven_id="mallory"
        ),
        "452",
    ),
    Attack(
        "a registration as the victim",
        REGISTER,
        CreatePartyRegistration(request_id="r", ven_id="victim"),
        "452",
    ),
    Attack(
        "a registration under the victim's registrationID",
        REGISTER,
        lambda s: CreatePartyRegistration(
            request_id="r", ven_id="mallory", registration_id=s.ids["registration"]
        ),
        "452",
    ),
    Attack(
        "a registration by a stranger",
        REGISTER,
        CreatePartyRegistration(request_id="r"),
        "463",
        by="stranger",
    ),
    Attack(
        "the victim's opt cancelled",
        OPT,
        CancelOpt(request_id="c", opt_id="opt-1", ven_id="mallory"),
        "452",
    ),
    Attack(
        "the victim's opt cancelled for it",
        OPT,
        CancelOpt(request_id="c", opt_id="opt-1", ven_id="victim"),
        "452",
    ),
    Attack(
        "an opt for the victim's event",
        OPT,
        lambda s: CreateOpt(
            opt_id="o",
            opt_type=OptType.OPT_OUT,
            opt_reason="economic",
            ven_id="mallory",
            event=QualifiedEvent(event_id=s.ids["event"], modification_number=0),
            created_at=s.vtn.clock.now(),
            request_id="o",
        ),
        "452",
    ),
    Attack(
        "the victim's report request taken on",
        REPORT,
        lambda s: CreatedReport(
            response=EiResponse(), pending_report_request_ids=(s.ids["asked"],), ven_id="mallory"
        ),
        "452",
    ),
    Attack(
        "the victim's report request cancelled",
        REPORT,
        lambda s: CancelReport(
            request_id="c", report_request_ids=(s.ids["asked"],), ven_id="mallory"
        ),
        "452",
    ),
    Attack(
        "the victim's report request said to be cancelled",
        REPORT,
        lambda s: CanceledReport(response=EiResponse(request_id=s.ids["asked"]), ven_id="victim"),
        "452",
    ),
    Attack(
        "metadata for the victim",
        REPORT,
        RegisterReport(request_id="m", reports=(usage(),), ven_id="victim"),
        "452",
    ),
]

MANY = 1000 * REFERENCE.format_map(
    {"p": "ds:", "uri": "#b", "transforms": "", "digest": oadr.signature.SHA256}
)
SIGNATURES = [
    *(
        Attack(
            f"a signed body moved {place}, {evil_id.strip() or 'without an Id'}",
            POLL,
            lambda s, place=place, evil_id=evil_id: moved(
                place,
                evil_id=evil_id,
                evil="victim",
                who=s.party,
                timestamp=f"{s.vtn.clock.now():%Y-%m-%dT%H:%M:%SZ}",
                body=SIGNED_POLL.replace(">signer<", ">0042<"),
            ),
            {403, 406},
            by="signer",
        )
        for place in WRAPPERS
        for evil_id in (' o:Id="b"', ' o:Id="c"', "")
    ),
    *(
        Attack(
            f"beyond the profile: {what}",
            POLL,
            lambda s, what=what: s.signed(**BEYOND[what]),
            {403, 406},
            by="signer",
        )
        for what in BEYOND
    ),
    *(
        Attack(
            f"an unsigned fresh ReplayProtect {where}",
            POLL,
            lambda s, where=where: (
                s.signed(timestamp="2030-01-09T12:00:00Z")
                .decode()
                .replace("<ds:SignatureProperties >", "<ds:SignatureProperties>")
                .replace(*PLACES[where], 1)
                .replace("2026-11-20T15:00:00Z", "2030-01-09T14:00:00Z")
                .encode()
            ),
            {403, 406},
            by="signer",
        )
        for where in PLACES
    ),
    Attack(
        "only the ReplayProtect is signed, twice",
        POLL,
        lambda s: s.signed(body_uri="#p", body=SIGNED_POLL.replace("signer", "victim")),
        403,
        by="signer",
    ),
    Attack(
        "a thousand references",
        POLL,
        lambda s: s.signed(references=MANY, value=False),
        {403, 406},
        by="signer",
    ),
    Attack(
        "signed two hours ago",
        POLL,
        lambda s: s.signed(timestamp="2030-01-09T12:00:00Z"),
        403,
        by="signer",
    ),
    Attack(
        "signed tomorrow",
        POLL,
        lambda s: s.signed(timestamp="2030-01-10T14:00:00Z"),
        403,
        by="signer",
    ),
    Attack(
        "signed at the end of time",
        POLL,
        lambda s: s.signed(timestamp="9999-12-31T23:59:59Z"),
        403,
        by="signer",
    ),
    *(
        Attack(f"signed at {at}", POLL, lambda s, at=at: s.signed(timestamp=at), 403, by="signer")
        for at in ("2030-01-09T12:00:00Z", "2030-01-10T14:00:00Z", "9999-12-31T23:59:59Z")
    ),
    Attack("no signature where one is asked for", POLL, Poll(ven_id="signer"), 403, by="signer"),
    Attack("another's message with its good signature", POLL, lambda s: s.signed(), "452"),
]

LONGEST_S = 0.5
"""Of the processor: no message may hold up the others for longer."""
MESSAGES = [*XML_BOMBS, *ENCODINGS, *WRONG_SERVICES, *FOREIGN_IDS, *SIGNATURES]


async def test_the_honest_forms_of_what_is_attacked_with_are_accepted(scene):
    """Else each refusal below could have another reason."""
    assert verdict(await scene.signer.post(POLL, scene.signed())) == "200"
    assert verdict(await scene.mallory.post(POLL, PLAIN)) == "200"
    own = oadr.build(reported(scene, "own", ven_id="mallory"))
    assert verdict(await scene.mallory.post(REPORT, own)) == "200"


@pytest.mark.parametrize("attack", MESSAGES, ids=lambda attack: attack.name)
async def test_a_hostile_message_is_refused_and_changes_nothing(scene, attack):
    body = attack.body(scene) if callable(attack.body) else attack.body
    body = body if isinstance(body, bytes) else oadr.build(body)
    before = await scene.dump()

    began_s = time.process_time()
    async with asyncio.timeout(60):
        said = verdict(
            await getattr(scene, attack.by).post(attack.service, body, {**XML, **attack.headers})
        )

    wanted = attack.refused if isinstance(attack.refused, set) else {attack.refused}
    assert said in wanted
    # Of the processor, which is the same on a machine that is held up.
    assert time.process_time() - began_s < LONGEST_S
    await scene.honest_answer()
    assert await scene.dump() == before
