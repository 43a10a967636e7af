import asyncio

import pytest

from doorway.apart import apart


async def failing_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait())
        group.create_task(fail())


async def fail():
    raise ValueError


async def test_who_goes_on_after_a_group_has_failed_is_not_counted_as_cancelled():
    with pytest.raises(ExceptionGroup):
        await apart(failing_group())

    assert not asyncio.current_task().cancelling()


async def test_work_is_cancelled_with_the_one_who_waits_for_it():
    began, ended = asyncio.Event(), []

    async def work():
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    caller = asyncio.create_task(apart(work()))
    await began.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert ended == ["work"]


async def test_what_the_work_gives_is_given():
    assert await apart(asyncio.sleep(0, "result")) == "result"
