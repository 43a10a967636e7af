import asyncio

import pytest

from oadr.poll import Poll, Response
from oadr.registration import RequestReregistration
from oadr.response import EiResponse
from oadr.vocabulary import ServiceName
from ven.errors import Declined, NotRegistered, Overloaded, TurnedAway, Unreachable
from ven.line import Line
from ven.retry import BackOff

OK = Response(response=EiResponse())


class Script:
    """A client whose answers are told beforehand, and a clock that only its sleeper moves."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []
        self.slept = []
        self.elapsed_s = 0.0
        self.under_way = 0
        self.most_under_way = 0

    async def post(self, service, message):
        self.sent.append((self.elapsed_s, message))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.elapsed_s += seconds
        await asyncio.sleep(0)


def line(script, clock):
    return Line(
        script,
        BackOff(cap_s=8.0),
        now=clock.now,
        monotonic=lambda: script.elapsed_s,
        sleep=script.sleep,
        draw=lambda: 0.5,
    )


async def ask(on, ven_id="v"):
    return await on.ask(ServiceName.POLL, Poll(ven_id=ven_id), Response)


async def test_it_tries_until_there_is_an_answer(clock):
    script = Script(*[Unreachable("away")] * 6)
    on = line(script, clock)

    assert await ask(on) == OK
    assert script.slept == [1.0, 2.0, 4.0, 6.0, 6.0, 6.0]
    assert (True, "", clock.now()) == (on.is_up, on.trouble, on.last_answer_at)


async def test_while_the_vtn_answers_messages_go_side_by_side(clock):
    script = Script()
    on = line(script, clock)
    await asyncio.gather(*(ask(on) for _ in range(5)))

    assert script.most_under_way == 5


async def test_a_vtn_that_asks_for_quiet_hears_one_message_at_a_time(clock):
    script = Script(*[Overloaded("503")] * 8)
    on = line(script, clock)
    await asyncio.gather(*(ask(on, str(number)) for number in range(5)))
    tries = [at for at, _ in script.sent]

    # Five at first, together; they count as one failure. Then one at a time, each after its pause.
    assert tries[:5] == [0.0] * 5
    assert tries[5:9] == [1.0, 3.0, 7.0, 13.0]
    assert len(tries) == 9 + 4
    assert {str(number) for number in range(5)} == {m.ven_id for _, m in script.sent}


@pytest.mark.parametrize(
    ("asked_s", "waited_s"), [(None, 1.0), (0.0, 1.0), (-3.0, 1.0), (20.0, 25.0), (1e9, 1125.0)]
)
async def test_a_vtn_that_says_how_long_is_left_alone_so_long(clock, asked_s, waited_s):
    script = Script(Overloaded("503", retry_after_s=asked_s))
    await ask(line(script, clock))

    assert script.slept == [waited_s]


async def test_trouble_is_told_and_forgotten(clock):
    script = Script(Unreachable("no route"))
    on = line(script, clock)
    seen = on.changed.rings
    told = []

    async def listen():
        await on.changed.wait(seen)
        told.append(on.trouble)

    await asyncio.gather(listen(), ask(on))

    assert told == ["no route"]
    assert seen + 2 == on.changed.rings


@pytest.mark.parametrize(("code", "kind"), [("452", Declined), ("463", NotRegistered)])
async def test_application_errors_are_raised_with_their_code(clock, code, kind):
    refusal = Response(response=EiResponse(response_code=code, description="who?"))
    with pytest.raises(kind, match=f"answered oadrPoll with {code}: who?") as fault:
        await ask(line(Script(refusal), clock))

    assert code == fault.value.response_code


async def test_an_answer_of_another_type_is_refused(clock):
    with pytest.raises(Declined, match="answered oadrPoll with oadrPoll"):
        await ask(line(Script(Poll(ven_id="v")), clock))


async def test_a_request_to_register_again_may_answer_anything(clock):  # probe 2
    with pytest.raises(NotRegistered):
        await ask(line(Script(RequestReregistration(ven_id="v")), clock))


async def test_a_status_that_sending_again_does_not_change_is_not_sent_again(clock):
    script = Script(TurnedAway("404", http_status=404))
    on = line(script, clock)
    with pytest.raises(TurnedAway):
        await ask(on)

    assert len(script.sent) == 1
    assert on.is_up
