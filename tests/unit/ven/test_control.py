import asyncio

import pytest

from ven.control import AskEvents, AskStatus, Done, Events, ask, served
from ven.errors import ControlFault, UnknownEvent


async def test_a_question_is_answered_over_the_socket(tmp_path):
    path = tmp_path / "ven.sock"

    async def answer(request):
        assert AskEvents() == request
        return Events(events=())

    async with served(path, answer):
        assert Events(events=()) == await ask(path, AskEvents())
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()


async def test_a_refusal_is_raised_with_its_sentence(tmp_path):
    async def answer(_):
        raise UnknownEvent("There is no such event.")

    async with served(tmp_path / "s", answer):
        with pytest.raises(ControlFault, match="There is no such event"):
            await ask(tmp_path / "s", AskStatus())


async def test_nobody_there_is_said_plainly(tmp_path):
    with pytest.raises(ControlFault, match="no VEN runs there; start it with 'ven run'"):
        await ask(tmp_path / "s", AskStatus())


async def test_nonsense_is_refused(tmp_path):
    async def answer(_):
        return Done(sentence="never")

    async with served(tmp_path / "s", answer):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'{"type": "dance"}\n')
        assert b"This is no request" in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_a_socket_left_behind_by_a_killed_ven_is_no_hindrance(tmp_path):
    path = tmp_path / "s"
    path.touch()

    async def answer(_):
        return Done(sentence="yes")

    async with served(path, answer):
        assert Done(sentence="yes") == await ask(path, AskStatus())


async def test_a_path_that_cannot_be_is_named(tmp_path):
    with pytest.raises(ControlFault, match="control socket cannot be made"):
        async with served(tmp_path / ("x" * 200), None):
            pass
