"""What is read of a message without parsing it, and XML laid out for people."""

import asyncio
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from vtn import conversation
from vtn.config import MessageSettings
from vtn.console.messages import pretty
from vtn.conversation import Conversation, Exchange, code_of, is_wrong, kind_of

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)


def exchange(request=b"", reply=b"", status=200):
    return Exchange(AT, "mill", "", "OadrPoll", status, request, reply)


def test_the_message_is_named_whatever_its_prefix():
    body = b"<o:oadrPayload><o:oadrSignedObject><o:oadrPoll o:x='1'>"
    assert kind_of(body) == "oadrPoll"
    assert kind_of(b"<oadrPayload><oadrSignedObject><oadrCreatedEvent>") == "oadrCreatedEvent"
    assert not kind_of(b"no XML at all <html>")


def test_the_worst_code_of_an_exchange_counts():
    good, bad = b"<ei:responseCode>200</ei:responseCode>", b"<responseCode> 452 </responseCode>"
    answer = b"<oadrCreatedEvent>"
    assert code_of(exchange(b"<oadrPoll>", good + bad)) == "452"
    assert code_of(exchange(b"<oadrPoll>", good)) == "200"
    assert code_of(exchange(answer + bad, b"<oadrResponse>" + good)) == "452"
    assert code_of(exchange(b"<oadrPoll>", b"come again", 503)) == "503"
    assert code_of(exchange(status=0)) == "none"
    assert not is_wrong("200")
    assert is_wrong("none")


def test_what_waits_to_be_written_down_is_bounded_and_may_be_nothing():
    some, none = Conversation(MessageSettings()), Conversation(MessageSettings(keep_hours=0))
    for _ in range(1200):
        some.hear(exchange(b"x" * 30_000))
        none.hear(exchange(b"x"))

    assert some.left_out == 1200 - 16 * 1024 * 1024 // 30_000
    assert none.left_out == 0


async def test_what_cannot_be_written_down_does_not_end_the_vtn(monkeypatch):
    monkeypatch.setattr(conversation, "FLUSH_S", 0)
    tried, again = [], asyncio.Event()

    async def flush(*_):
        tried.append(1)
        if len(tried) == 1:
            raise ValueError("strange")
        again.set()

    kept = Conversation(MessageSettings())
    monkeypatch.setattr(kept, "flush", flush)
    running = asyncio.create_task(kept.run(None, lambda: AT))

    async with asyncio.timeout(10):
        await again.wait()
    running.cancel()
    await asyncio.wait([running])


@given(st.text(st.sampled_from("<>/ab!?-= \n"), max_size=60))
def test_xml_laid_out_loses_nothing_but_blanks(text):
    def solid(one):
        return "".join(one.split())

    assert solid(pretty(text.encode())) == solid(text)


def test_xml_is_laid_out_by_depth():
    assert pretty(b"<a><b>1</b><c/><d></d></a>").splitlines() == [
        "<a>",
        "  <b>1</b>",
        "  <c/>",
        "  <d></d>",
        "</a>",
    ]
